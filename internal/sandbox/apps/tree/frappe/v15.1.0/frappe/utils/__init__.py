"""Facts of the bench and its sites."""

import json
import os
from datetime import datetime

import pytz

import frappe


def get_bench_path():
    return os.path.realpath(os.path.join(os.path.dirname(frappe.__file__), "..", "..", ".."))


def get_bench_id():
    """What tells the queues of this bench from those of others on one Redis."""
    return frappe.get_conf().bench_id or get_bench_path().strip("/").replace("/", "-")


def get_sites(sites_path="."):
    return sorted(
        name for name in os.listdir(sites_path)
        if not os.path.islink(os.path.join(sites_path, name))
        and os.path.exists(os.path.join(sites_path, name, "site_config.json"))
    )


def now_datetime():
    """The time in the site's zone, which is India's unless set."""
    zone = frappe.db and frappe.db.get_single_value("System Settings", "time_zone")
    return datetime.now(pytz.timezone(zone or "Asia/Kolkata")).replace(tzinfo=None)


def now():
    return datetime.now(pytz.timezone("Asia/Kolkata")).strftime("%Y-%m-%d %H:%M:%S.%f")


def get_assets_json():
    """Which file a bundle is. Kept in redis_cache under a key that all sites
    share, which neither clear-cache nor migrate removes."""
    return frappe.cache.get_value("assets_json", read_assets_json, shared=True)


def read_assets_json():
    assets = {}
    for name in ("assets.json", "assets-rtl.json"):
        path = os.path.join(frappe.local.sites_path, "assets", name)
        if os.path.exists(path):
            with open(path) as f:
                assets.update(json.load(f))
    return assets
