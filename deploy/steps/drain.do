quiet || exit 0
touch drained
containers_of "$previous" scheduler | each docker stop >/dev/null
# The sites are open still, so that nobody waits for this.
finish_jobs
