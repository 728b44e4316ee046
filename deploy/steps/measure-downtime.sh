# Asks the site $3 for a sign of life ten times a second, at the address $1 and
# the port $2, and prints a line whenever the answer changes:
# the moments before and after the request, in seconds since the host was
# started, and the status code.
address=$1 port=$2 site=$3
last=
while :; do
	read -r before _ </proc/uptime
	code=$(visit "$site" /api/method/ping --output /dev/null --max-time 2 --write-out '%{http_code}')
	read -r after _ </proc/uptime
	[ "$code" = "$last" ] || echo "$before $after $code"
	last=$code
	sleep 0.1
done
