package deploy

import (
	"strconv"
	"strings"
)

// watch asks the site for a sign of life ten times a second, through the port
// $1 of the host's loopback as the site $2, and prints a line whenever the
// answer changes: the moments before and after the request, in seconds since
// the host was started, and the status code.
const watch = `last=
while :; do
	read -r before _ </proc/uptime
	code=$(curl --silent --output /dev/null --max-time 2 --write-out '%{http_code}' \
		--header "Host: $2" "http://127.0.0.1:$1/api/method/ping")
	read -r after _ </proc/uptime
	[ "$code" = "$last" ] || echo "$before $after $code"
	last=$code
	sleep 0.1
done`

// downtime gives how long the site did not answer, in seconds: from the first
// refused request to the first good answer after the last refused one. It is
// zero for a site that never answered before.
func downtime(watched string) float64 {
	var from, to float64
	var up, down bool
	for line := range strings.Lines(watched) {
		words := strings.Fields(line)
		if len(words) != 3 {
			continue
		}
		before, err := strconv.ParseFloat(words[0], 64)
		if err != nil {
			continue
		}
		after, err := strconv.ParseFloat(words[1], 64)
		if err != nil {
			continue
		}
		good := words[2] == "200"
		switch {
		case good && down:
			to, down = after, false
		case good:
			up = true
		case up && !down:
			down = true
			if from == 0 {
				from = before
			}
		}
	}
	return max(0, to-from)
}
