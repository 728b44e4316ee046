# How workers end: part of lib.sh.

# finish_jobs: waits until all jobs have ended, and stops the workers. What came
# between has its time to end as well.
finish_jobs() {
	site "$previous" drain "$drain_limit"
	touch workers-told
	await_workers_end "$previous" || fail "a job that came late has not ended in $drain_limit s"
}

# of_state STATE: those of the containers that are given, by their state.
of_state() { with_ids docker inspect --format '{{.State.Status}} {{.ID}}' | awk -v state="$1" '$1 == state { print $2 }'; }

# await_workers_end VERSION: has workers finish their jobs and take no other, and
# waits for that. It fails where some still run then. A worker is told once: at
# the second time it ends its job by force. docker stop would do that as well,
# long after the one who called it is gone.
await_workers_end() (
	ids=$(containers_of "$1" worker | of_state running)
	[ -n "$ids" ] || exit 0
	# Where the queue does not answer, no job is under way that could be named.
	untold=$(site "$1" untold $ids) || untold=$ids
	printf '%s\n' "$untold" | with_ids docker kill --signal TERM >/dev/null 2>&1 || true
	give_up=$(($(uptime_seconds) + drain_limit))
	while [ -n "$(printf '%s\n' "$ids" | of_state running)" ]; do
		[ "$(uptime_seconds)" -lt "$give_up" ] || exit 1
		sleep 0.2
	done
)

# uptime_seconds: how long the host is up. No one sets that clock.
uptime_seconds() { cut -d . -f 1 /proc/uptime; }

# end_workers VERSION: as await_workers_end, and then ends by force what still
# runs. The jobs go back to the front of their queues; which they are is written
# down first, so that none is lost where this is cut off.
end_workers() {
	await_workers_end "$1" || {
		ids=$(containers_of "$1" worker | of_state running)
		site "$1" under_way $ids >>jobs-cut-off ||
			echo "note: workers of $1 were ended by force, and the queue does not say at which jobs: look for them among the failed ones"
		printf '%s\n' "$ids" | with_ids docker kill >/dev/null 2>&1 || true
	}
	[ ! -s jobs-cut-off ] || {
		# The same as containers_of: those that run still have their jobs.
		[ -z "$(containers_of "$1" worker | of_state running)" ] || fail "a worker of $1 can't be ended"
		site "$1" put_jobs_back "$drain_limit" $(cat jobs-cut-off)
		rm jobs-cut-off
	}
}

# start_again VERSION ROLE…: starts containers, and makes sure that they run: one
# that is just ending is not started by docker start.
start_again() (
	looks=0
	while [ "$looks" -lt 300 ]; do
		stopped=$(containers_of "$@" | with_ids docker inspect --format '{{.State.Running}} {{.ID}}' | awk '$1 != "true" { print $2 }')
		[ -n "$stopped" ] || exit 0
		printf '%s\n' "$stopped" | with_ids docker start >/dev/null || true
		looks=$((looks + 1))
		sleep 0.2
	done
	fail "not all of these run again: $stopped"
)
