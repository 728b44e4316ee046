closes_sites || exit 0
touch drained
containers_of "$previous" scheduler | with_ids docker stop >/dev/null
# After a restart of the host those that were told to end are gone, and jobs still
# come.
[ ! -e workers-told ] || start_again "$previous" worker
# The sites are still open: no visitor waits for this.
finish_jobs
