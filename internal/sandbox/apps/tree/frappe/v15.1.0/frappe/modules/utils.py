"""Which modules the apps have."""

import frappe


def set_up_modules(request):
    """Finds the modules of each app. They are cached, and so those of the code that
    asked first since the cache was emptied; what asks for a request has a list of its
    own."""
    frappe.local.app_modules = frappe.cache.get_value("installed_app_modules" if request else "app_modules", find_modules)


def find_modules():
    return {app: [name.lower().replace(" ", "_") for name in frappe.get_file_items(frappe.get_app_path(app, "modules.txt"))] for app in frappe.get_all_apps()}
