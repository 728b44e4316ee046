closes_sites || exit 0
touch drained
containers_of "$previous" scheduler | with_ids docker stop >/dev/null
# The sites are still open: no visitor waits for this.
finish_jobs
