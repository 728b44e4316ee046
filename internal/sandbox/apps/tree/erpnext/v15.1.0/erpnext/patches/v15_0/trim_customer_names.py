import frappe


def execute():
    if "tabCustomer" in frappe.db.get_tables():
        frappe.db.sql("update tabCustomer set customer_name = trim(customer_name)")
