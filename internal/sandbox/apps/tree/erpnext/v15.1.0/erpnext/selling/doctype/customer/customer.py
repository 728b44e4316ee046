import frappe
from unidecode import unidecode


@frappe.whitelist
def slugs():
    """The customers' names in letters that fit an address."""
    rows = frappe.db.get_all("Customer", ["name"])
    return sorted(unidecode(row["name"]).lower().replace(" ", "-").strip(".") for row in rows)
