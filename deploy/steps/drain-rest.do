closes_sites || exit 0
# What came between the end of the queue and the closing of the sites.
[ "$(cat jobs-left)" != 0 ] || exit 0
containers_of "$previous" worker | with_ids docker start >/dev/null
finish_jobs
