quiet || exit 0
# What came between the end of the queue and the closing of the sites.
[ "$(cat jobs-left)" != 0 ] || exit 0
containers_of "$previous" worker | each docker start >/dev/null
site "$previous" drain "$drain_limit"
containers_of "$previous" worker | each docker stop --time "$drain_limit" >/dev/null
