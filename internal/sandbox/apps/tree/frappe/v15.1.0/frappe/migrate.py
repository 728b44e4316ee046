"""Brings a site to the version of the apps on the bench."""

import json
import os
import socket
from urllib.parse import urlparse

import frappe
from frappe.model.sync import sync_all
from frappe.modules.patch_handler import run_all
from frappe.utils.change_log import update_installed_applications
from frappe.utils.synchronization import filelock


def migrate(site, skip_failing=False, skip_search_index=False):
    frappe.init(site)
    frappe.connect()
    if not redis_cache_is_up():
        print("Service redis_cache is not running.")
        print("Cannot run bench migrate without the services running.")
        raise SystemExit(1)
    with filelock("bench_migrate", timeout=1):
        touched_tables = frappe.get_site_path("touched_tables.json")
        frappe.clear_cache()
        if os.path.exists(touched_tables):
            os.remove(touched_tables)
        frappe.db.touched_tables.clear()
        try:
            run_hooks("before_migrate")
            run_all("pre_model_sync", skip_failing)
            sync_all()
            run_all("post_model_sync", skip_failing)
            update_installed_applications()
            run_hooks("after_migrate")
        finally:
            with open(touched_tables, "w") as f:
                json.dump(sorted(frappe.db.touched_tables), f, indent=4)
            if not skip_search_index:
                print(f"Queued rebuilding of search index for {site}")
                frappe.enqueue("frappe.utils.background_jobs.build_index_for_all_routes", queue="long")
            frappe.destroy()


def run_hooks(hook):
    for app in frappe.get_installed_apps():
        for method in frappe.get_hooks(hook, app):
            frappe.get_attr(method)()
    frappe.db.commit()


def redis_cache_is_up():
    url = urlparse(frappe.conf.redis_cache)
    try:
        socket.create_connection((url.hostname, url.port or 6379), timeout=10).close()
    except OSError:
        return False
    return True
