"""Makes sites, installs apps on them and changes their configuration."""

import gzip
import hashlib
import json
import os
import re
import secrets
import shutil
import subprocess

import click
import pymysql

import frappe
from frappe.database import setup_database
from frappe.model.sync import sync_for
from frappe.modules.patch_handler import get_patches_from_app, log_patch
from frappe.utils.change_log import update_installed_applications
from frappe.utils.synchronization import filelock


def new_site(site, db_name=None, db_password=None, db_host=None, db_port=None, root_login=None, root_password=None,
             admin_password=None, install_apps=(), source_sql=None, force=False, any_host=False):
    """Makes a site; with force, makes its database anew."""
    if not force and os.path.exists(site):
        print(f"Site {site} already exists")
        raise SystemExit(1)
    frappe.init(site, new_site=True, force=True)
    # The name depends on nothing but the path, so that it can be found again.
    db_name = db_name or "_" + hashlib.sha1(os.path.realpath(frappe.get_site_path()).encode(), usedforsecurity=False).hexdigest()[:16]
    for folder in ("public/files", "private/backups", "private/files", "locks", "logs"):
        os.makedirs(frappe.get_site_path(folder), exist_ok=True)
    with filelock("bench_new_site", timeout=1):
        config = frappe.get_site_path("site_config.json")
        if not os.path.exists(config):
            values = {"db_name": db_name, "db_password": db_password or secrets.token_hex(8), "db_type": "mariadb"}
            values |= {key: value for key, value in (("db_host", db_host), ("db_port", db_port)) if value}
            with open(config, "w") as f:
                json.dump(values, f, indent=1, sort_keys=True)
        frappe.init(site, force=True)
        # A restored site's scheduler is as it was before, not as in the dump.
        enable_scheduler = scheduler_is_enabled()
        root_password = root_password or frappe.conf.root_password or click.prompt("MySQL root password", hide_input=True)
        setup_database(root_login or frappe.conf.root_login or "root", root_password, any_host, source_sql)
        for app in ["frappe", *(frappe.conf.install_apps or []), *install_apps]:
            install_app(app, set_as_patched=not source_sql)
        if password := admin_password or frappe.conf.admin_password:
            set_admin_password(password)
        frappe.db.set_single_value("System Settings", "enable_scheduler", int(enable_scheduler))
        frappe.db.commit()
        print("*** Scheduler is", "enabled" if enable_scheduler else "disabled", "***")


def scheduler_is_enabled():
    try:
        frappe.connect()
        enabled = frappe.db.get_single_value("System Settings", "enable_scheduler") == "1"
        frappe.db.close()
        return enabled
    except pymysql.err.Error:
        return False


def install_app(app, set_as_patched=True, force=False):
    """Installs an app after those it requires."""
    for required in frappe.get_hooks("required_apps", app):
        # Frappe asks GitHub's API then, which a bench may have no way to.
        if "/" not in required and not os.path.exists(required):
            raise Exception(f"no owner of the app {required} can be found")
        install_app(required.rstrip("/").rpartition("/")[2], set_as_patched)
    if app not in frappe.get_all_apps():
        raise Exception(f"App {app} not in apps.txt")
    installed = frappe.get_installed_apps()
    if app in installed and not force:
        click.secho(f"App {app} already installed", fg="yellow")
        return
    print(f"\nInstalling {app}...")
    sync_for(app)
    if app not in installed:
        frappe.db.set_global("installed_apps", json.dumps([*installed, app]))
    if set_as_patched:
        for patch in get_patches_from_app(app):
            log_patch(patch)
    for method in frappe.get_hooks("after_install", app):
        frappe.get_attr(method)()
    update_installed_applications()
    frappe.db.commit()


def set_admin_password(password):
    salt = secrets.token_bytes(16)
    digest = hashlib.pbkdf2_hmac("sha256", password.encode(), salt, 29000)
    frappe.db.sql("replace into __Auth (doctype, name, fieldname, password) values ('User', 'Administrator', 'password', %s)",
                  (f"$pbkdf2-sha256$29000${salt.hex()}${digest.hex()}",))


def restore(site, path, root_login, root_password, admin_password, install_apps, force, public_files, private_files):
    """Puts a dump in the place of the site's database, and archives in the
    place of its files."""
    path = bench_relative(path)
    plain = path
    if path.endswith(".sql.gz"):
        plain = path.removesuffix(".gz")
        with gzip.open(path) as source, open(plain, "wb") as target:
            shutil.copyfileobj(source, target)
    with open(plain, errors="replace") as f:
        header = f.readline()
        if not any("tabDefaultValue" in line for line in f) and not force:
            click.secho("Table `tabDefaultValue` not found in file.", fg="red")
            raise frappe.InvalidDatabaseFile
    version = re.search(r"Frappe (\d+)\.(\d+)\.(\d+)", header)
    if not force and version and [int(n) for n in version.groups()] > [int(n) for n in frappe.__version__.split(".")]:
        print(f"Your site will be downgraded from Frappe {'.'.join(version.groups())} to {frappe.__version__}")
        click.confirm("This is not recommended and may lead to unexpected behaviour. Do you want to continue anyway?", abort=True)
    new_site(site, db_name=frappe.conf.db_name, root_login=root_login, root_password=root_password,
             admin_password=admin_password, install_apps=install_apps, source_sql=plain, force=True)
    if plain != path:
        os.remove(plain)
    for archive in filter(None, (public_files, private_files)):
        subprocess.run(["tar", "xf", os.path.abspath(bench_relative(archive)), "--strip", "2"], cwd=site, check=True)
    with_files = " with files" if public_files or private_files else ""
    click.secho(f"Site {site} has been restored{with_files}", fg="green")


def bench_relative(path):
    """A path given as seen from the sites folder or from the bench."""
    path = path if os.path.exists(path) else os.path.join("..", path)
    if not os.path.exists(path):
        print(f"Invalid path {path}")
        raise SystemExit(1)
    return path


def update_site_config(key, value, path=None):
    """Sets a key of the site's configuration, or of the bench's; "None" takes
    it out."""
    with filelock("site_config", is_global=bool(path)):
        path = path or frappe.get_site_path("site_config.json")
        config = frappe.read_json(path)
        value = {"0": 0, "1": 1, "true": True, "false": False}.get(value, value) if isinstance(value, str) else value
        if value == "None":
            config.pop(key, None)
        else:
            config[key] = value
        with open(path, "w") as f:
            json.dump(config, f, indent=1, sort_keys=True)
