"""Bundles the apps' scripts and styles, with the apps linked where the site's
front end looks for them."""

import os
import shutil
import subprocess

import frappe


def bundle(mode, apps=None, hard_link=False):
    link_assets(hard_link)
    command = ["yarn", "run", mode, "--run-build-command"] + (["--apps", apps] if apps else [])
    subprocess.run(command, cwd=frappe.get_app_path("frappe", ".."), check=True)


def link_assets(hard_link):
    """sites/assets/APP is APP/public, and APP/public/node_modules its modules."""
    assets = os.path.join(frappe.local.sites_path, "assets")
    for folder in ("js", "css"):
        os.makedirs(os.path.join(assets, folder), exist_ok=True)
    for app in frappe.get_all_apps():
        root = os.path.abspath(frappe.get_app_path(app))
        link(os.path.join(root, "public"), os.path.join(assets, app), hard_link)
        link(os.path.join(os.path.dirname(root), "node_modules"), os.path.join(assets, app, "node_modules"), hard_link)


def link(source, target, hard_link):
    if not os.path.isdir(source):
        return
    if os.path.islink(target):
        os.unlink(target)
    elif os.path.isdir(target):
        shutil.rmtree(target)
    if hard_link:
        shutil.copytree(source, target)
    else:
        os.symlink(source, target)
