import frappe


def execute():
    """Fails on every site, after a change of its own which is rolled back."""
    frappe.db.sql("delete from tabCustomer where territory = 'Region: Denmark'")
    frappe.db.sql("update tabCustomer set no_such_column = 1")
