app_name = "frappe"
app_title = "Frappe Framework"
app_description = "A small stand-in for the Frappe framework"

web_include_css = "website.bundle.css"
web_include_js = "frappe-web.bundle.js"

scheduler_events = {"all": ["frappe.utils.scheduler.heartbeat"]}
