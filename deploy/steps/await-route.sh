# Waits until the proxy at the address $1 and the port $2 leads visitors of the
# site $3 "to" the release with the number $5, or "away" from it. Its frontend
# says in each answer what it is; one that does not was made by others, and the
# proxy has a while to hear of it. The page in place of a site is no frontend.
address=$1 port=$2 site=$3 want=$4 number=$5
for _ in {1..600}; do
	answer=$(visit "$site" /api/method/ping --output /dev/null --dump-header -) || answer=
	release=$(sed -n 's/^[Xx]-[Rr]elease: *\([0-9]*\).*/\1/p' <<<"$answer" | tail -n 1)
	if [ "$answer" ] && [ -z "$release" ] && [[ ${answer,,} != *$'\n'x-maintenance-page:* ]]; then
		sleep 3
		exit 0
	fi
	if [ "$want" = to ] && [ "$release" = "$number" ]; then exit 0; fi
	if [ "$want" = away ] && [ "$release" != "$number" ]; then exit 0; fi
	sleep 0.1
done
echo "the proxy does not lead visitors $want release number $number"
exit 1
