# Two schedulers would put everything into the queues twice.
remove "$previous" scheduler
left=$(containers_of "$previous" scheduler)
[ -z "$left" ] || fail "the scheduler of $previous can't be removed"
# In a closed site the old workers have ended; else they end when they retire.
! closes_sites || remove "$previous" worker
start_beside $(services "$version" worker scheduler)
