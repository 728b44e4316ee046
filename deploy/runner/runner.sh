#!/bin/sh
# Carries out one run on this host, by itself: it needs no connection.
#
# It lies in the folder of its run, runs/ID, among its steps. A step NAME is
# the script NAME.do, and NAME.undo if it can be undone; steps run in the order
# of their names. The first one that fails ends the run: then the .undo of
# every step begun is run, the newest first. A .undo that fails means that the
# run is held: the operator is needed, and nothing more is touched.
#
#   runner start     carry out a new run
#   runner resume    carry on with a run that was interrupted, or that is held,
#                    from the first step that did not succeed; if it was
#                    undoing, carry on undoing
#   runner undo      undo a run that was interrupted, or that is held
#   runner wake      resume a run whose process is gone, and nothing else; the
#                    crontab of the user calls it, see below
#   runner stop      stop a run that is under way, unless it is too late for
#                    that; it undoes what it did
#   runner status    one word: not-started, running, interrupted, done, undone
#                    or held
#
# Beside the steps it keeps
#   journal    what was begun and ended, one line each:
#              UTC time, seconds since boot, event, details
#   child      the process of the step under way
# and in the folder above runs/ the deploy lock, the file "lock": one run at a
# time. It belongs to a run and names the process that works on it.
#
# While a run lasts, a line in the user's crontab has it go on after a restart
# of the host, or when its process was killed.
#
# The file wait-docker.sh, if there is one, waits until the Docker engine answers,
# and prints what tells one start of it from the next. A step that failed while
# the engine was restarted is done once more.
#
# The file "critical" names the first step from which on the run can't be
# stopped any more: SIGTERM before it undoes the run, later it is ignored.
#
# Exit codes: 0 done, 3 failed and undone, 4 held, 10 refused
# (another run has the lock, or this one is not in a state for the verb).
set -u
umask 077
# Journal and messages are read by programs.
LC_ALL=C
export LC_ALL

run=$(cd "$(dirname "$0")" && pwd -P) || exit 10
id=${run##*/}
base=${run%/runs/*}
lock=$base/lock
cd "$run" || exit 10

# started PID: the tick at which a process started (field 22 of proc(5)'s
# stat, the 20th after the name, which may have blanks in it), or nothing.
started() {
	stat=
	{ read -r stat <"/proc/$1/stat"; } 2>/dev/null || return 1
	# shellcheck disable=SC2086 # to be split
	set -- ${stat##*) }
	# A zombie has ended.
	[ "$1" != Z ] || return 1
	shift 19
	echo "$1"
}

boot() { cat /proc/sys/kernel/random/boot_id; }

# alive PID TICK BOOT: whether it is the same process still.
alive() {
	[ "$3" = "$(boot)" ] && tick=$(started "$1") && [ "$tick" = "$2" ]
}

# journal EVENT DETAILS…: to the journal, and for the client that follows to the
# output.
journal() {
	read -r seconds _ </proc/uptime
	entry="$(date -u +%Y-%m-%dT%H:%M:%SZ) $seconds $*"
	printf '%s\n' "$entry" >>journal
	written=$?
	# It has to be there after a power cut.
	sync journal 2>/dev/null || sync
	printf '@journal %s\n' "$entry"
	return "$written"
}

# field NAME FILE: a value out of a file of NAME=VALUE lines.
field() { sed -n "s/^$1=//p" "$2" 2>/dev/null | head -n 1; }

# owned: whether this very process has the lock.
owned() { [ "$(field run "$lock")" = "$id" ] && [ "$(field pid "$lock")" = "$$" ]; }

# acquire VERB: takes the deploy lock. Making a hard link is one step and fails
# where there is a lock. A lock of this very run whose process has ended is
# taken over; that of another run is not, whatever became of it.
acquire() {
	mine=$run/lock.$$
	{
		echo "run=$id"
		echo "pid=$$"
		echo "tick=$(started $$)"
		echo "boot=$(boot)"
		echo "since=$(date -u +%Y-%m-%dT%H:%M:%SZ)"
		[ ! -f owner ] || cat owner
	} >"$mine" || {
		rm -f "$mine"
		echo "can't write to $run" >&2
		return 1
	}
	if ! ln "$mine" "$lock" 2>/dev/null; then
		holder=$(field run "$lock")
		pid=$(field pid "$lock")
		if [ "$holder" != "$id" ] || [ "$1" = start ] ||
			alive "$pid" "$(field tick "$lock")" "$(field boot "$lock")"; then
			rm -f "$mine"
			echo "the deploy lock is held by run ${holder:-unknown}, process ${pid:-unknown}" >&2
			return 1
		fi
		# Of two that see the same stale lock, one moves it away; the one that
		# moved away something newer puts it back.
		if mv "$lock" "$run/stale.$$" 2>/dev/null; then
			[ "$(field pid "$run/stale.$$")" = "$pid" ] || ln "$run/stale.$$" "$lock"
			rm -f "$run/stale.$$"
		fi
		if ! ln "$mine" "$lock" 2>/dev/null; then
			rm -f "$mine"
			echo "another runner of this run was quicker" >&2
			return 1
		fi
	fi
	rm -f "$mine"
}

release() { if owned; then rm -f "$lock"; fi; }

# What the journal says. The client reads some of it too (journal.go), out of a
# log that it follows and out of those of old runs; a test holds that both read
# the same.

# state STEP: what became of a step: begun, ok, failed or undone, or nothing.
state() {
	[ -f journal ] || return 0
	awk -v step="$1" '
		$4 != step { next }
		$3 == "begin" { state = "begun" }
		# A line that a power cut has cut off has no code.
		$3 == "end" { state = $5 == "0" ? "ok" : "failed" }
		# What is half undone is not done.
		$3 == "undo-begin" { state = "failed" }
		$3 == "undo-end" && $5 == "0" { state = "undone" }
		END { print state }' journal
}

# begun: the steps that were begun, the newest first.
begun() {
	awk '$3 == "begin" { name[NR] = $4; last[$4] = NR }
		END { for (n = NR; n > 0; n--) if (n in name && last[name[n]] == n) print name[n] }' journal
}

# outcome: how the run ended last: done, undone, held, or nothing.
outcome() {
	[ -f journal ] || return 0
	awk '$3 == "run-begin" { last = "" } $3 == "run-end" { last = $4 } END { print last }' journal
}

# was_undoing: whether the run was undoing when it was interrupted. One that is
# held was asked to try again.
was_undoing() {
	awk '$3 == "run-end" { undoing = 0 } $3 == "undoing" { undoing = 1 } END { exit !undoing }' journal
}

# working: whether a runner works on this run.
working() {
	[ "$(field run "$lock")" = "$id" ] && alive "$(field pid "$lock")" "$(field tick "$lock")" "$(field boot "$lock")"
}

# under_way: whether a step that an earlier runner began runs still.
under_way() {
	[ -f child ] && alive "$(field pid child)" "$(field tick child)" "$(field boot child)"
}

# terminate PID: SIGTERM to a process and all below it: a shell that gets a
# signal does not pass it on. It goes first, or it would see its children end
# and carry on.
# shellcheck disable=SC2317 # called by the trap
terminate() (
	below=
	for file in /proc/[0-9]*/stat; do
		stat=
		{ read -r stat <"$file"; } 2>/dev/null || continue
		# shellcheck disable=SC2086 # to be split
		set -- "$1" ${stat##*) }
		if [ "$3" = "$1" ]; then
			other=${file#/proc/}
			below="$below ${other%/stat}"
		fi
	done
	kill -TERM "$1" 2>/dev/null
	for other in $below; do terminate "$other"; done
)

child=
stopping=
critical=$(cat critical 2>/dev/null)
reached=

# Neither a terminal nor a lost connection ends a run.
trap '' HUP INT
trap 'on_term' TERM
# shellcheck disable=SC2317 # called by the trap
on_term() {
	if [ -n "$reached" ]; then
		echo "not stopped: the run is past the point where it can be"
	elif [ -z "$stopping" ]; then
		stopping=1
		[ -z "$child" ] || terminate "$child"
	fi
}

# execute FILE: runs a script and returns its exit code. It runs beside, so that
# a signal is heard while it does; and without input, which it could wait for.
execute() {
	sh "$run/$1" </dev/null &
	child=$!
	printf 'pid=%s\ntick=%s\nboot=%s\n' "$child" "$(started "$child")" "$(boot)" >child
	# A wish to stop that came before there was a child to tell.
	[ -z "$stopping" ] || [ -n "$reached" ] || terminate "$child"
	# A signal ends wait, not the child.
	while :; do
		wait "$child"
		code=$?
		started "$child" >/dev/null || break
	done
	# After a signal the code is the signal's; the child's own is had by
	# waiting again, where the shell still knows it.
	if [ "$code" -gt 128 ]; then
		wait "$child" 2>/dev/null
		again=$?
		[ "$again" = 127 ] || code=$again
	fi
	child=
	rm -f child
	return "$code"
}

# attempt FILE: execute, and again where Docker was restarted meanwhile.
attempt() {
	tries=1
	while :; do
		before=$(wait_docker) || return 1
		execute "$1"
		code=$?
		[ "$code" != 0 ] && [ "$tries" -lt 4 ] || return "$code"
		[ -z "$stopping" ] || [ -n "$reached" ] || return "$code"
		after=$(wait_docker) || return "$code"
		[ "$before" != "$after" ] || return "$code"
		echo "restarted meanwhile: ${1%.*} is done again"
		tries=$((tries + 1))
	done
}

wait_docker() { [ ! -f wait-docker.sh ] || sh ./wait-docker.sh </dev/null; }

# The lines of this run in the crontab. On a host without cron, the operator has
# to call resume after a restart.
quoted=$(printf '%s\n' "$run" | sed -e "s/'/'\\\\''/g" -e 's/%/\\%/g')
mark="# run $id"
# others: the lines of the user's crontab that are not of this run. Where it
# can't be read it is left alone.
others() {
	lines=$(crontab -l 2>&1) || case $lines in
	*"no crontab"* | *"can't open"*) lines= ;;
	*) return 1 ;;
	esac
	[ -z "$lines" ] || printf '%s\n' "$lines" | grep -vxF "$mark" | grep -vF "$quoted/runner" || true
}

arm() {
	if command -v crontab >/dev/null && kept=$(others) && {
		[ -z "$kept" ] || printf '%s\n' "$kept"
		echo "$mark"
		echo "@reboot sh '$quoted/runner' wake >>'$quoted/log' 2>&1"
		echo "* * * * * sh '$quoted/runner' wake >>'$quoted/log' 2>&1"
	} | crontab - 2>/dev/null; then
		return
	fi
	echo "no crontab for this user: after a restart of the host call resume"
}

disarm() {
	command -v crontab >/dev/null && crontab -l 2>/dev/null | grep -qF "$quoted/runner" || return 0
	kept=$(others) || return 0
	{ [ -z "$kept" ] || printf '%s\n' "$kept"; } | crontab - 2>/dev/null
}

steps() { for file in [0-9]*.do; do [ -f "$file" ] && echo "${file%.do}"; done; }

# forward: the steps that have not succeeded yet, in order.
forward() {
	for step in $(steps); do
		if [ "$(state "$step")" = ok ]; then
			[ "$step" != "$critical" ] || reached=1
			continue
		fi
		failed=$step
		[ -z "$stopping" ] || [ -n "$reached" ] || return 1
		[ "$step" != "$critical" ] || reached=1
		# What can't be written down is not begun.
		journal begin "$step" || return 1
		attempt "$step.do"
		code=$?
		journal end "$step" "$code" || return 1
		[ "$code" = 0 ] || return 1
	done
	failed=
	[ -z "$stopping" ] || [ -n "$reached" ]
}

# backward: undoes every step begun and not undone yet, newest first.
backward() {
	# From here on there is only one way, also for a signal.
	reached=1
	failed_undo=journal
	[ -r journal ] || return 1
	journal undoing
	for step in $(begun); do
		[ -f "$step.undo" ] || continue
		[ "$(state "$step")" != undone ] || continue
		journal undo-begin "$step"
		attempt "$step.undo"
		code=$?
		journal undo-end "$step" "$code"
		if [ "$code" != 0 ]; then
			failed_undo=$step
			return 1
		fi
	done
}

finish() {
	# What Docker ended in a crash during the last step is started again too. A run
	# that is held touches nothing more.
	[ "$1" = held ] || wait_docker >/dev/null || true
	disarm
	journal run-end "$@"
	release
	case $1 in
	done) exit 0 ;;
	undone) exit 3 ;;
	*) exit 4 ;;
	esac
}

undo_all() {
	if backward; then finish undone "${failed:-none}"; else finish held "$failed_undo"; fi
}

refuse() {
	echo "$*" >&2
	exit 10
}

failed=
verb=${1:-status}
case $verb in
start)
	[ ! -f journal ] || refuse "run $id was started already; see: $0 status"
	;;
resume | undo)
	[ -f journal ] || refuse "run $id was never started"
	case $(outcome) in
	done | undone) refuse "run $id has ended: $(outcome)" ;;
	esac
	! under_way || refuse "a step of run $id still runs as process $(field pid child); wait until it has ended"
	;;
wake)
	! working || exit 0
	if [ ! -f journal ] || [ -n "$(outcome)" ]; then
		disarm
		exit 0
	fi
	! under_way || exit 0
	verb=resume
	;;
stop)
	working || refuse "run $id is not under way"
	kill -TERM "$(field pid "$lock")"
	exit 0
	;;
status)
	if working; then
		echo running
	elif [ ! -f journal ]; then
		echo not-started
	elif [ -n "$(outcome)" ]; then
		outcome
	else
		echo interrupted
	fi
	exit 0
	;;
*)
	refuse "usage: $0 start | resume | undo | wake | stop | status"
	;;
esac

acquire "$verb" || exit 10
arm
journal run-begin "$verb" "$$" "$(boot)" || { release; refuse "can't write the journal"; }

case $verb in
undo) undo_all ;;
resume)
	# What was begun is brought to its end.
	if was_undoing; then undo_all; fi
	;;
esac
if forward; then
	finish "done"
fi
undo_all
