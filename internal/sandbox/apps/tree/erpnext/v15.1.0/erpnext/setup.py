import frappe

CUSTOMERS = {"Ærø Skibsværft": "Denmark", "Grant Plastics Ltd.": "United Kingdom", "West View Software Ltd.": ""}


def after_install():
    """Gives a new site data that a migration can change."""
    for name, territory in CUSTOMERS.items():
        frappe.db.insert("Customer", name=name, customer_name=name, territory=territory)
