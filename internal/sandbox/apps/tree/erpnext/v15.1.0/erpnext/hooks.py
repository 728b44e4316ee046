app_name = "erpnext"
app_title = "ERPNext"
app_description = "A small stand-in for ERPNext"

web_include_css = "erpnext-web.bundle.css"
web_include_js = "erpnext-web.bundle.js"

after_install = "erpnext.setup.after_install"
