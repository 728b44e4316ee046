closes_sites || exit 0
# What came between the end of the queue and the closing of the sites.
[ "$(cat jobs-left)" != 0 ] || exit 0
start_again "$previous" worker
finish_jobs
