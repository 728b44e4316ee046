# Asks the sites $4… on the port $1 of the loopback for a sign of life, until
# they answer with the code $2, for up to a minute: the proxy learns of new
# containers a moment after they are healthy. With "assets" in $3 it then asks
# for a file whose name has its hash in it.
port=$1 want=$2 assets=$3
shift 3
for site; do
	code=
	for _ in {1..300}; do
		code=$(curl --silent --output /dev/null --max-time 5 --write-out '%{http_code}' \
			--header "Host: $site" "http://127.0.0.1:$port/api/method/ping") || true
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
	curl --fail --silent --show-error --max-time 20 --header "Host: $site" "http://127.0.0.1:$port$asset" | cmp - ".$asset"
	echo "$site serves $asset"
done
