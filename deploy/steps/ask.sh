# Asks the sites $5… at the address $1 and the port $2 for a sign of life, until
# they answer with the code $3, for up to a minute: the proxy learns of new
# containers a moment after they are healthy. With "assets" in $4 it then asks
# for a file whose name has its hash in it.
address=$1 port=$2 want=$3 assets=$4
shift 4
for site; do
	code=
	for _ in {1..300}; do
		code=$(visited "$site")
		code=${code%% *}
		[ "$code" != "$want" ] || break
		sleep 0.2
	done
	echo "$site answers with $code"
	[ "$code" = "$want" ]
	[ "$assets" ] || continue
	# Images made by others may have them in the place of the link.
	cd /home/frappe/frappe-bench || exit
	[ -e assets/assets.json ] || cd sites || exit
	asset=$(jq --raw-output '[.[] | strings | select(test("[.-][A-Z0-9]{8}[.](js|css)$"))] | first // ""' assets/assets.json)
	[ "$asset" ] || { echo "assets.json names no hashed asset"; exit 1; }
	visit "$site" "$asset" --fail --show-error --max-time 20 | cmp - ".$asset"
	echo "$site serves $asset"
done
