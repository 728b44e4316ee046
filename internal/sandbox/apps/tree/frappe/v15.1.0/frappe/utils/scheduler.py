"""Queues what the apps want done regularly."""

import time

import frappe
from frappe.utils import get_sites, now
from frappe.utils.background_jobs import enqueue


def start_scheduler():
    """Runs for ever. It handles no signal: as a container's first process it
    is deaf to SIGTERM, as Frappe's is, unless an init stands before it."""
    tick = int(frappe.get_conf().scheduler_tick_interval or 60)
    while True:
        time.sleep(tick)
        for site in get_sites():
            try:
                enqueue_events(site)
            except Exception as e:
                print(f"Exception in Enqueue Events for Site {site}: {e}", flush=True)


def enqueue_events(site):
    frappe.init(site, force=True)
    frappe.connect()
    try:
        if not is_scheduler_inactive():
            for events in frappe.get_hooks("scheduler_events"):
                for method in events.get("all", []):
                    enqueue(method, job_id=f"scheduled_job::{method}", deduplicate=True)
    finally:
        frappe.destroy()


def is_scheduler_inactive():
    conf = frappe.conf
    return bool(conf.maintenance_mode or conf.pause_scheduler or is_scheduler_disabled())


def is_scheduler_disabled():
    return bool(frappe.conf.disable_scheduler or frappe.db.get_single_value("System Settings", "enable_scheduler") != "1")


def toggle_scheduler(enable):
    frappe.db.set_single_value("System Settings", "enable_scheduler", int(enable))
    frappe.db.commit()


def heartbeat():
    """Leaves a trace in the database that scheduler and workers are alive."""
    frappe.db.insert("Scheduled Job Log", status="Complete", scheduled_job_type="heartbeat", details=now())
