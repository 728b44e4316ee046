app_name = "de_macrs"
app_title = "MACRS"
app_description = "Depreciation after the Modified Accelerated Cost Recovery System"

required_apps = ["frappe/erpnext"]
