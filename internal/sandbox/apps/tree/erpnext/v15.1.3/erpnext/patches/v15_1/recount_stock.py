import os
import time

import frappe


def execute():
    """Takes as long as the site's configuration says in slow_patch_seconds,
    or the environment in SLOW_PATCH_SECONDS: 30 seconds unless told. Makes a
    table anew, for which the disk needs room."""
    seconds = float(frappe.conf.slow_patch_seconds or os.environ.get("SLOW_PATCH_SECONDS") or 30)
    frappe.db.sql("alter table tabCustomer force")
    frappe.db.sql("update tabCustomer set territory = upper(territory)")
    time.sleep(seconds)
