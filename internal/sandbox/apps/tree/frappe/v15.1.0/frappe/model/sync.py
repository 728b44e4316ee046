"""Brings the tables of a site to what the apps' DocType files say."""

import glob
import hashlib
import importlib
import os

import frappe

TYPES = {
    "Check": "int(1) not null default 0",
    "Int": "int(11) not null default 0",
    "Float": "decimal(21,9) not null default 0.000000000",
    "Currency": "decimal(21,9) not null default 0.000000000",
    "Date": "date",
    "Datetime": "datetime(6)",
    "Small Text": "text",
    "Text": "text",
    "Long Text": "longtext",
}
STANDARD = {
    "name": "varchar(140) not null primary key",
    "creation": "datetime(6)",
    "modified": "datetime(6)",
    "modified_by": "varchar(140)",
    "owner": "varchar(140)",
    "docstatus": "int(1) not null default 0",
    "idx": "int(8) not null default 0",
}
CHILD = {"parent": "varchar(140)", "parentfield": "varchar(140)", "parenttype": "varchar(140)"}


def sync_all():
    for app in frappe.get_installed_apps():
        sync_for(app)
    frappe.clear_cache()


def sync_for(app):
    files = []
    for module in frappe.local.app_modules.get(app, []):
        folder = os.path.dirname(importlib.import_module(f"{app}.{module}").__file__)
        files += sorted(glob.glob(os.path.join(folder, "doctype", "*", "*.json")))
    for path in files:
        sync_doctype(app, path)
        frappe.db.commit()
    if files:
        print(f"Updating DocTypes for {app:20}: [{'=' * 40}] 100%")


def sync_doctype(app, path):
    """Creates the table of a DocType or adds the columns that it lacks. A file
    unchanged since the last time is passed over."""
    with open(path, "rb") as f:
        digest = hashlib.md5(f.read(), usedforsecurity=False).hexdigest()
    doctype = frappe.read_json(path)
    if frappe.db.get_value("DocType", doctype.name, "migration_hash") == digest:
        return
    if not doctype.issingle:
        sync_table(doctype)
    frappe.db.sql("delete from tabDocType where name=%s", (doctype.name,))
    frappe.db.insert(
        "DocType", name=doctype.name, module=doctype.module, app=app,
        issingle=doctype.issingle or 0, migration_hash=digest,
    )


def sync_table(doctype):
    columns = STANDARD | (CHILD if doctype.istable else {})
    for field in doctype.fields:
        columns[field["fieldname"]] = TYPES.get(field["fieldtype"], "varchar(140)")
    table = f"tab{doctype.name}"
    if table not in frappe.db.get_tables():
        body = ", ".join(f"`{name}` {kind}" for name, kind in columns.items())
        frappe.db.sql(f"create table `{table}` ({body}) engine=InnoDB row_format=dynamic character set=utf8mb4 collate=utf8mb4_unicode_ci")
        return
    known = frappe.db.get_columns(doctype.name)
    if added := [f"add column `{name}` {kind}" for name, kind in columns.items() if name not in known]:
        frappe.db.sql(f"alter table `{table}` {', '.join(added)}")
