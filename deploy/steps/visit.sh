# Put before scripts that ask as a visitor does.

# visit SITE PATH [OPTIONS OF CURL…]: asks the proxy at $address and $port. Where
# that leads to https, it is followed: on this host, whatever the certificate
# says. One that goes by the word of a proxy before it is told that this is https.
visit() {
	local site=$1 path=$2
	shift 2
	curl --silent --noproxy '*' --max-time 5 --location --max-redirs 5 --insecure --connect-to "::$address:" \
		--header "Host: $site" --header "X-Forwarded-Proto: https" "$@" "http://$address:$port$path"
}

# visited SITE: the status code of a sign of life, and from where it came. It is
# 000 where nothing answers at the last address, and "page" where the answer is not
# of the site, but of the page in its place.
visited() {
	local answer code ended=0
	answer=$(visit "$1" /api/method/ping --output /dev/null --dump-header - --write-out '\n%{http_code} %{url_effective}') || ended=$?
	code=${answer##*$'\n'}
	# 47 is one redirect too many.
	[ "$ended" = 0 ] || [ "$ended" = 47 ] || code="000 ${code#* }"
	case ${answer,,} in *$'\n'x-maintenance-page:*) code="page ${code#* }" ;; esac
	echo "$code"
}
