app_name = "de_customs"
app_title = "Customs"
app_description = "Workflows of one company's own"

required_apps = ["frappe/erpnext"]
