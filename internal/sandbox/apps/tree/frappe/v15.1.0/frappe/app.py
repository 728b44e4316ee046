"""The WSGI application: gunicorn serves frappe.app:application."""

import html
import json
import os
import traceback

import pymysql
from werkzeug.exceptions import HTTPException, NotFound
from werkzeug.wrappers import Request, Response

import frappe
from frappe.utils import get_assets_json


@Request.application
def application(request):
    try:
        return respond(request)
    except HTTPException as e:
        return e
    except Exception as e:
        status = getattr(e, "http_status_code", 500)
        if status == 500:
            traceback.print_exc()
        if request.path.startswith("/api/"):
            return as_json({"exc_type": type(e).__name__}, status)
        text = "The system is being updated. Please refresh again after a few moments." if status == 503 else "Server Error"
        return Response(page("Updating" if status == 503 else "Server Error", f"<p>{text}</p>", []), status, mimetype="text/html")
    finally:
        frappe.destroy()


def respond(request):
    site = request.headers.get("X-Frappe-Site-Name") or request.host.split(":", 1)[0]
    try:
        frappe.init(site, sites_path=os.environ.get("SITES_PATH", "."), force=True, request=True)
    except frappe.IncorrectSitePath as e:
        raise NotFound(str(e)) from e
    if not frappe.conf.db_name:
        raise NotFound(f"{site} does not exist")
    if frappe.conf.maintenance_mode:
        raise frappe.SessionStopped("Session Stopped")
    frappe.connect()
    parts = request.path.strip("/").split("/")
    if parts[:2] == ["api", "method"] and len(parts) == 3:
        response = call_method(request, parts[2])
    elif parts[:2] == ["api", "resource"] and len(parts) in (3, 4):
        response = resource(request, *parts[2:])
    elif request.method in ("GET", "HEAD"):
        response = web_page(request.path.strip("/"))
    else:
        raise NotFound
    frappe.db.commit()
    return response


def as_json(value, status=200):
    return Response(json.dumps(value, default=str), status, mimetype="application/json")


def call_method(request, name):
    if name == "ping":
        return as_json({"message": "pong"})
    if name == "version":
        from frappe.utils.change_log import get_versions

        apps = {app: info["version"] for app, info in get_versions().items()}
        return as_json({"message": frappe.__version__, "apps": apps})
    try:
        method = frappe.get_attr(name)
    except (ImportError, AttributeError, ValueError) as e:
        raise NotFound(f"Failed to get method for command {name} with {e}") from e
    if not getattr(method, "whitelisted", False):
        return as_json({"exc_type": "PermissionError"}, 403)
    return as_json({"message": method(**form(request))})


def form(request):
    values = request.get_json() if request.is_json else request.values.to_dict()
    return {key: value for key, value in values.items() if key != "cmd"}


def resource(request, doctype, name=None):
    """Lists, reads and inserts documents."""
    try:
        if request.method == "POST" and not name:
            name = frappe.db.insert(doctype, **form(request))
            return as_json({"data": frappe.db.get_all(doctype, ["*"], {"name": name})[0]})
        if name:
            rows = frappe.db.get_all(doctype, ["*"], {"name": name})
            return as_json({"data": rows[0]}) if rows else as_json({"exc_type": "DoesNotExistError"}, 404)
        fields = json.loads(request.args.get("fields", '["name"]'))
        filters = json.loads(request.args.get("filters", "{}"))
        limit = request.args.get("limit_page_length") or request.args.get("limit") or 20
        return as_json({"data": frappe.db.get_all(doctype, fields, filters, limit=int(limit))})
    except pymysql.err.ProgrammingError as e:
        if e.args[0] != 1146:  # no such table
            raise
        return as_json({"exc_type": "DoesNotExistError"}, 404)


def web_page(path):
    """A page of an app's www folder, the login page, or the front page."""
    if path not in ("", "login"):
        for app in reversed(frappe.get_installed_apps()):
            file = frappe.get_app_path(app, "www", f"{path}.html")
            if "/" not in path and os.path.exists(file):
                with open(file) as f:
                    return Response(f.read(), mimetype="text/html")
        return Response(page("Not Found", "<p>The resource you are looking for is not available</p>", []), 404, mimetype="text/html")
    bundles = [bundle for hook in ("web_include_css", "web_include_js") for bundle in frappe.get_hooks(hook)]
    apps = "".join(f"<li>{html.escape(app)}</li>" for app in frappe.get_installed_apps())
    body = f"<ul class='apps'>{apps}</ul>"
    if path == "login":
        body = "<form class='form-signin form-login'><input id='login_email'><input id='login_password' type='password'></form>"
    return Response(page("Login" if path == "login" else frappe.local.site, body, bundles), mimetype="text/html")


def page(title, body, bundles):
    assets = get_assets_json() if bundles else {}
    tags = ""
    for bundle in bundles:
        path = assets.get(bundle, bundle)
        if bundle.endswith(".css"):
            tags += f'<link type="text/css" rel="stylesheet" href="{path}">\n'
        else:
            tags += f'<script type="text/javascript" src="{path}"></script>\n'
    return f"<!DOCTYPE html>\n<html>\n<head>\n<title>{html.escape(title)}</title>\n{tags}</head>\n<body>\n{body}\n</body>\n</html>\n"
