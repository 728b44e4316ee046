import frappe


def execute():
    frappe.db.sql("update tabCustomer set territory = concat('Region: ', territory)")
