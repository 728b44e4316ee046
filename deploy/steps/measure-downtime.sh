# Asks the site for a sign of life ten times a second, through the port $1 of
# the loopback as the site $2, and prints a line whenever the answer changes:
# the moments before and after the request, in seconds since the host was
# started, and the status code.
last=
while :; do
	read -r before _ </proc/uptime
	code=$(curl --silent --output /dev/null --max-time 2 --write-out '%{http_code}' \
		--header "Host: $2" "http://127.0.0.1:$1/api/method/ping")
	read -r after _ </proc/uptime
	[ "$code" = "$last" ] || echo "$before $after $code"
	last=$code
	sleep 0.1
done
