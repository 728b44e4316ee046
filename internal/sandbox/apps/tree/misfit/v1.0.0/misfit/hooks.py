app_name = "misfit"
app_title = "Misfit"
app_description = "An app that fits neither this Frappe nor its packages"
