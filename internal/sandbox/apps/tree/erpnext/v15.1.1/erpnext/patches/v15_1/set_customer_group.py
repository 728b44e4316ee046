import frappe


def execute():
    """Fills the table and the column that the model sync has just added."""
    frappe.db.sql("insert into `tabCustomer Group` (name, customer_group_name) values ('Commercial', 'Commercial')")
    frappe.db.sql("update tabCustomer set customer_group = 'Commercial' where customer_group is null")
