bring_up "$version" --remove-orphans $(services "$version" data once web)
# Only create-site knows whether there was a site before.
if compose "$version" logs --no-color create-site 2>/dev/null | grep -q "site $first_site is made"; then
	touch fresh
fi
