"""Runs the patches of the apps, each once on each site."""

import configparser
import time
import traceback

import frappe


def run_all(patch_type, skip_failing=False):
    executed = {row["patch"] for row in frappe.db.get_all("Patch Log", ["patch"], {"skipped": 0})}
    for app in frappe.get_installed_apps():
        for patch in get_patches_from_app(app, patch_type):
            if patch not in executed:
                run_patch(patch, skip_failing)


def get_patches_from_app(app, patch_type=None):
    """The lines of an app's patches.txt, whole: a line changed is another patch.
    A file without sections is all pre_model_sync."""
    path = frappe.get_app_path(app, "patches.txt")
    parser = configparser.ConfigParser(allow_no_value=True, delimiters="\n")
    parser.optionxform = str
    try:
        parser.read(path)
    except configparser.MissingSectionHeaderError:
        return frappe.get_file_items(path) if patch_type in (None, "pre_model_sync") else []
    wanted = [patch_type] if patch_type else parser.sections()
    return [line for section in wanted if parser.has_section(section) for line in parser[section]]


def run_patch(patch, skip_failing):
    try:
        execute_patch(patch)
    except Exception:
        if not skip_failing:
            raise
        print("Failed to execute patch")
        traceback.print_exc()
        log_patch(patch, skipped=1, traceback=traceback.format_exc())
        frappe.db.commit()


def execute_patch(patch):
    """Runs a patch in a transaction of its own."""
    print(f"Executing {patch} in {frappe.local.site} ({frappe.db.cur_db_name})", flush=True)
    start = time.monotonic()
    frappe.db.begin()
    try:
        if patch.startswith("execute:"):
            exec(patch.removeprefix("execute:"), {"frappe": frappe})
        else:
            frappe.get_attr(patch.split()[0] + ".execute")()
        log_patch(patch)
    except Exception:
        frappe.db.rollback()
        raise
    frappe.db.commit()
    print(f"Success: Done in {round(time.monotonic() - start, 3)}s", flush=True)


def log_patch(patch, **values):
    frappe.db.insert("Patch Log", patch=patch, **values)
