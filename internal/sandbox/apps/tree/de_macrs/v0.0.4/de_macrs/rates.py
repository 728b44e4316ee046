import frappe

# Percent of the cost per year: half-year convention, property of five years.
FIVE_YEARS = (20.0, 32.0, 19.2, 11.52, 11.52, 5.76)


@frappe.whitelist
def schedule(cost):
    """What is written off of a cost, year by year."""
    return [round(float(cost) * rate / 100, 2) for rate in FIVE_YEARS]
