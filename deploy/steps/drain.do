quiet || exit 0
touch drained
containers_of "$previous" scheduler | each docker stop >/dev/null
site "$previous" drain "$drain_limit"
# The sites are open still, so that nobody waits for this.
containers_of "$previous" worker | each docker stop --time "$drain_limit" >/dev/null
