"""The versions of the apps."""

import importlib
import subprocess

import frappe


def get_app_branch(app):
    """The branch an app is on; empty where its .git is gone, as in an image."""
    return git(app, "rev-parse", "--abbrev-ref", "HEAD")


def get_app_commit(app):
    return git(app, "rev-parse", "--short=7", "HEAD")


def git(app, *args):
    try:
        root = frappe.get_app_path(app, "..")
        return subprocess.run(["git", "-C", root, *args], capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return ""


@frappe.whitelist
def get_versions():
    """The versions of the apps installed on the site."""
    versions = {}
    for app in frappe.get_installed_apps():
        hooks = importlib.import_module(f"{app}.hooks")
        versions[app] = {
            "title": hooks.app_title,
            "description": hooks.app_description,
            "branch": get_app_branch(app),
            "version": importlib.import_module(app).__version__,
        }
    return versions


def update_installed_applications():
    """Notes in the database which apps the site has, in which version."""
    frappe.db.sql("delete from `tabInstalled Application`")
    for idx, (app, info) in enumerate(get_versions().items(), 1):
        frappe.db.insert(
            "Installed Application", parent="Installed Applications", parenttype="Installed Applications",
            parentfield="installed_applications", idx=idx, app_name=app,
            app_version=info["version"], git_branch=info["branch"] or "UNVERSIONED",
        )
