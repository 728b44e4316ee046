import frappe


def execute():
    frappe.db.sql("drop table if exists tabSessions")
