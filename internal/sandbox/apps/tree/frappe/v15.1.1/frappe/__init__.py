"""The state of a process that works on a site, and what every part needs."""

import importlib
import json
import os
import threading

__version__ = "15.1.1"

local = threading.local()


class _dict(dict):
    """A dict whose keys are attributes, None where there is none."""

    __getattr__ = dict.get
    __setattr__ = dict.__setitem__


class SiteNotSpecifiedError(Exception):
    def __init__(self):
        super().__init__("Please specify --site sitename")


class IncorrectSitePath(Exception):
    pass


class SessionStopped(Exception):
    http_status_code = 503


class InvalidDatabaseFile(Exception):
    pass


def __getattr__(name):
    # frappe.db and frappe.conf are those of the site at hand.
    if name in ("db", "conf", "flags"):
        return getattr(local, name, None)
    if name == "cache":
        return importlib.import_module("frappe.utils.redis_wrapper").cache
    raise AttributeError(f"module 'frappe' has no attribute {name!r}")


def init(site="", sites_path=".", new_site=False, force=False, request=False):
    """Makes a site the one at hand, for a request or not. Empty is a bench without a
    site."""
    if getattr(local, "site", None) == site and getattr(local, "conf", None) is not None and not force:
        return
    destroy()
    local.site = site
    local.sites_path = sites_path
    local.site_path = os.path.join(sites_path, site)
    local.flags = _dict(new_site=new_site)
    local.conf = get_site_config()
    if local.conf.db_name:
        importlib.import_module("frappe.modules.utils").set_up_modules(request)


def connect(site=None, db_name=None):
    """Connects to the database of the site at hand."""
    from frappe.database import Database

    if site:
        init(site)
    user = db_name or local.conf.db_name
    local.db = Database(user, local.conf.db_password, user)


def destroy():
    if getattr(local, "db", None):
        local.db.close()
    local.__dict__.clear()


def read_json(path):
    with open(path) as f:
        return _dict(json.load(f))


def get_conf():
    """The configuration of the bench, or of the site at hand."""
    if getattr(local, "conf", None) is None:
        init("")
    return local.conf


def get_site_config():
    """The bench's configuration, overlaid with the site's, then with the environment."""
    conf = _dict()
    common = os.path.join(local.sites_path, "common_site_config.json")
    if os.path.exists(common):
        conf.update(read_json(common))
    site_config = os.path.join(local.site_path, "site_config.json")
    if os.path.exists(site_config):
        conf.update(read_json(site_config))
    elif local.site and not local.flags.new_site:
        raise IncorrectSitePath(f"{local.site} does not exist")
    defaults = {
        "redis_queue": "redis://127.0.0.1:11311",
        "redis_cache": "redis://127.0.0.1:13311",
        "db_type": "mariadb",
        "db_host": "127.0.0.1",
        "db_port": 3306,
    }
    for key, default in defaults.items():
        conf[key] = os.environ.get(f"FRAPPE_{key.upper()}") or conf.get(key) or default
    return conf


def get_site_path(*parts):
    return os.path.join(local.site_path, *parts)


def get_file_items(path):
    """The lines of a file which are neither empty nor comments."""
    if not os.path.exists(path):
        return []
    with open(path) as f:
        return [line.strip() for line in f if line.strip() and not line.startswith("#")]


def get_all_apps():
    """The apps of the bench. frappe comes first."""
    apps = get_file_items(os.path.join(getattr(local, "sites_path", "."), "apps.txt"))
    return ["frappe"] + [app for app in apps if app != "frappe"]


def get_installed_apps():
    """The apps of the site, in the order of their installation."""
    db = getattr(local, "db", None)
    return json.loads(db.get_global("installed_apps") or "[]") if db else []


def get_app_path(app, *parts):
    return os.path.join(os.path.dirname(importlib.import_module(app).__file__), *parts)


def get_hooks(hook, app_name=None):
    """The values of a hook in one app, or in all apps of the site."""
    values = []
    for app in [app_name] if app_name else get_installed_apps():
        value = getattr(importlib.import_module(f"{app}.hooks"), hook, [])
        values += value if isinstance(value, list) else [value]
    return values


def get_attr(dotted):
    module, _, name = dotted.rpartition(".")
    return getattr(importlib.import_module(module), name)


def whitelist(fn):
    """Lets a function be called as /api/method/…"""
    fn.whitelisted = True
    return fn


def ping():
    return "pong"


def enqueue(method, queue="default", **kwargs):
    from frappe.utils.background_jobs import enqueue

    return enqueue(method, queue=queue, **kwargs)


def clear_cache():
    """Forgets what is cached of the site. Keys shared by all sites stay."""
    importlib.import_module("frappe.utils.redis_wrapper").cache.delete_keys("")
