# Looks whether every asset that assets.json names is there.
cd /home/frappe/frappe-bench || exit
# Images made by others may have them in the place of the link.
[ -e assets/assets.json ] || cd sites || exit
missing=$(jq --raw-output '.[] | strings' assets/assets.json | while read -r one; do [ -e ".$one" ] || echo "$one"; done)
[ -z "$missing" ] || {
	echo "assets are missing: $missing"
	exit 1
}
