app_name = "hrms"
app_title = "Frappe HR"
app_description = "A small stand-in for Frappe HR, with a front end of its own"

required_apps = ["frappe/erpnext"]
