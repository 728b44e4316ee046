import frappe
import humanize


@frappe.whitelist
def customers():
    """How many customers there are, in words."""
    return humanize.apnumber(frappe.db.count("Customer"))
