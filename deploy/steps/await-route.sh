# Waits until the proxy on the port $1 leads visitors of the site $2 "to" the
# release with the number $4, or "away" from it. Its frontend says in each
# answer what it is; one that does not was made by others, and the proxy has a
# while to hear of it.
port=$1 site=$2 want=$3 number=$4
for _ in {1..600}; do
	answer=$(curl --silent --output /dev/null --max-time 5 --dump-header - --header "Host: $site" "http://127.0.0.1:$port/api/method/ping") || answer=
	release=$(sed -n 's/^[Xx]-[Rr]elease: *\([0-9]*\).*/\1/p' <<<"$answer")
	if [ "$answer" ] && [ -z "$release" ]; then
		sleep 3
		exit 0
	fi
	if [ "$want" = to ] && [ "$release" = "$number" ]; then exit 0; fi
	if [ "$want" = away ] && [ "$release" != "$number" ]; then exit 0; fi
	sleep 0.1
done
echo "the proxy does not lead visitors $want release number $number"
exit 1
