app_name = "payments"
app_title = "Payments"
app_description = "A small stand-in for the payments app"
