import frappe


def execute():
    """Fills the column that the model sync has just added."""
    frappe.db.sql("update tabCustomer set customer_group = 'Commercial' where customer_group is null")
