import frappe


def execute():
    frappe.db.sql("update tabCustomer set territory = 'All Territories' where ifnull(territory, '') = ''")
