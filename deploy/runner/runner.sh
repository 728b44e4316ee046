#!/bin/sh
# Carries out one run on this host, by itself: it needs no connection.
#
# It lies in the folder of its run, runs/ID, among its steps. A step NAME is
# the script NAME.do, and NAME.undo if it can be undone; steps run in the order
# of their names. The first one that fails ends the run: then the .undo of
# every step begun is run, the newest first. A .undo that fails means that the
# run is held: the operator is needed, and nothing more is touched.
#
# The file "settled", if there is one, names the first step of the part in which
# nothing is undone any more. There a step that fails is tried again a few times,
# then the run goes on with the next one, and ends as done.
#
#   runner start     carry out a new run
#   runner resume    carry on with a run that was interrupted, or that is held,
#                    with the steps that did not succeed, or that were undone,
#                    and those after one that was undone; if it was undoing,
#                    carry on undoing
#   runner undo      undo a run that was interrupted, or that is held
#   runner wake      resume a run whose process is gone, and nothing else;
#                    systemd or cron calls it, see wake.sh
#   runner stop      stop a run that is under way, unless it is too late for
#                    that; it undoes what it did
#   runner status    one word: not-started, running, interrupted, done, undone
#                    or held
#
# Beside the steps it keeps
#   journal    what was begun and ended, one line each:
#              UTC time, seconds since boot, event, details
#   child      the process of the step under way, which notes itself before it
#              begins
# and in the folder above runs/ the deploy lock, the file "lock": one run at a
# time. It belongs to a run and names the process that works on it.
#
# The file "planned", if there is one, says what the run was planned for: the
# link "current", and the newest run that had been started. Where that is not
# what is there under the lock, the run is refused.
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

# shellcheck source=/dev/null
. ./processes.sh
# shellcheck source=/dev/null
. ./wake.sh

# flush FILE…: files, and the names in folders, are on the disk. All that others
# have written to it may be gigabytes.
flush() { sync -- "$@" 2>/dev/null || sync; }

# journal EVENT DETAILS…: to the journal, and for the client that follows to the
# output.
journal() {
	# After a power cut a step that has ended is not done again: all that it wrote
	# has to be there before that is.
	case $1 in end | undo-end) flush ./* . ;; esac
	read -r seconds _ </proc/uptime
	entry="$(date -u +%Y-%m-%dT%H:%M:%SZ) $seconds $*"
	# What was cut off, by a full disk or with the power, is a line of its own.
	torn=
	[ ! -s journal ] || [ "$(tail -c 1 journal | wc -l)" -eq 1 ] || torn='\n'
	printf '%b%s\n' "$torn" "$entry" >>journal
	written=$?
	# It has to be there after a power cut.
	sync journal 2>/dev/null || sync
	printf '@journal %s\n' "$entry"
	return "$written"
}

# owned: whether this very process has the lock.
owned() { [ "$(field run "$lock")" = "$id" ] && [ "$(field pid "$lock")" = "$$" ]; }

# acquire VERB: takes the deploy lock. Making a hard link is one step and fails
# where there is a lock. One that can be taken over is put away first.
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
	# A lock is whole or not there, but for a power cut.
	sync "$mine" 2>/dev/null || sync
	if ! ln "$mine" "$lock" 2>/dev/null; then
		holder=$(field run "$lock")
		pid=$(field pid "$lock")
		if ! abandoned "$1" "$holder"; then
			rm -f "$mine"
			echo "the deploy lock is held by run ${holder:-unknown}, process ${pid:-unknown}" >&2
			return 1
		fi
		put_away "$pid"
		if ! ln "$mine" "$lock" 2>/dev/null; then
			rm -f "$mine"
			echo "another runner was quicker" >&2
			return 1
		fi
	fi
	rm -f "$mine"
}

# abandoned VERB RUN: whether the lock, which RUN has, is no one's any more: its
# process has ended, and the run is this one, or has ended or never begun. That of
# another run that was interrupted is not taken, whatever became of it. One that
# can't be read has lost its process with the power, and a new run leaves it to
# the operator.
abandoned() {
	! named "$lock" || return 1
	case $2 in
	"") [ "$1" != start ] ;;
	*) { [ "$2" = "$id" ] && [ "$1" != start ]; } || over "$2" ;;
	esac
}

# over RUN: whether a run has ended or never begun.
over() {
	case $(sh "$base/runs/$1/runner" status 2>/dev/null </dev/null) in
	done | undone | not-started) return 0 ;;
	esac
	return 1
}

# put_away PID: removes the lock of a process that has ended. Of two that see the
# same stale lock, one moves it away; the one that moved away something newer puts
# it back.
put_away() {
	mv "$lock" "$run/stale.$$" 2>/dev/null || return 0
	[ "$(field pid "$run/stale.$$")" = "$1" ] || ln "$run/stale.$$" "$lock"
	rm -f "$run/stale.$$"
}

# A lock must not come back with a power cut.
release() {
	if owned; then
		rm -f "$lock"
		flush "$base"
	fi
}

# What the journal says. The client reads some of it too (journal.go), out of a
# log that it follows and out of those of old runs; a test holds that both read
# the same.

# entries: the whole lines of the journal. A power cut may leave others: they say
# nothing, wherever they stand.
entries() {
	[ -f journal ] || return 0
	awk '$1 !~ /^[0-9][0-9][0-9][0-9]-[0-9][0-9]-[0-9][0-9]T[0-9][0-9]:[0-9][0-9]:[0-9][0-9]Z$/ || $2 !~ /^[0-9]+([.][0-9]+)?$/ { next }
		$3 ~ /^(undo-)?begin$/ && $4 != "" || $3 ~ /^(undo-)?end$/ && $5 ~ /^[0-9]+$/ { print }
		$3 == "run-end" && $4 ~ /^(done|undone|held)$/ || $3 ~ /^(run-begin|undoing)$/ { print }' journal
}

# state STEP: what became of a step: begun, ok, failed or undone, or nothing.
# What came after a step that is undone, or half undone, is done again with it,
# also where it has nothing to undo: a backup is older than what was written
# since, and what was verified is another release.
state() {
	entries | awk -v step="$1" '
		$3 == "undo-begin" && $4 < step && state == "ok" { state = "failed" }
		$4 != step { next }
		$3 == "begin" { state = "begun" }
		$3 == "end" { state = $5 == "0" ? "ok" : "failed" }
		# What is half undone is not done.
		$3 == "undo-begin" { state = "failed" }
		$3 == "undo-end" && $5 == "0" { state = "undone" }
		END { print state }'
}

# begun: the steps that were begun, the newest first.
begun() {
	entries | awk '$3 == "begin" { name[NR] = $4; last[$4] = NR }
		END { for (n = NR; n > 0; n--) if (n in name && last[name[n]] == n) print name[n] }'
}

# outcome: how the run ended last: done, undone, held, or nothing.
outcome() { entries | awk '$3 == "run-begin" { last = "" } $3 == "run-end" { last = $4 } END { print last }'; }

# was_undoing: whether the run was undoing when it was interrupted. One that is
# held was asked to try again.
was_undoing() {
	entries | awk '$3 == "run-end" { undoing = 0 } $3 == "undoing" { undoing = 1 } END { exit !undoing }'
}

# past_undoing: whether the run has come to the part in which nothing is undone:
# all steps before it have succeeded.
past_undoing() {
	[ -n "$settled" ] || return 1
	for one in $(steps); do
		[ "$one" != "$settled" ] || return 0
		[ "$(state "$one")" = ok ] || return 1
	done
	return 1
}

# working: whether a runner works on this run.
working() { [ "$(field run "$lock")" = "$id" ] && named "$lock"; }

# under_way: whether a step that an earlier runner began runs still.
under_way() { [ -f child ] && named child; }

# terminate PID: SIGTERM to a process and all below it.
# shellcheck disable=SC2317 # called by the trap
terminate() (
	# All are known before the first ends.
	all=$(family "$1")
	printf '%s\n' "$all" | signal TERM
)

child=
stopping=
critical=$(cat critical 2>/dev/null)
reached=
# settled is the first step of that part; certain says that the run is in it.
settled=$(cat settled 2>/dev/null)
certain=

# Neither a terminal nor a lost connection ends a run.
trap '' HUP INT
trap 'on_term' TERM
# shellcheck disable=SC2317 # called by the trap
on_term() {
	# With a session, or its unit, the run is told to end as everything else is. It
	# is neither stopped nor undone for that: it goes on after the restart.
	if host_stops; then exit 1; fi
	# It may be asked again and again.
	[ -z "$stopping" ] || return 0
	stopping=1
	if [ -n "$reached" ]; then
		echo "not stopped: the run is past the point where it can be"
	elif [ -n "$child" ]; then
		terminate "$child"
	fi
}

# execute FILE: runs a script and returns its exit code. It runs beside, so that
# a signal is heard while it does; and without input, which it could wait for.
execute() {
	sh -c '. ./processes.sh && note "$2" && exec sh "$1"' sh "$run/$1" "$lock" </dev/null &
	child=$!
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
	reserve
	return "$code"
}

# attempt FILE: execute, and again where Docker was restarted meanwhile.
attempt() {
	tries=1
	while :; do
		before=$(wait_docker) || {
			unanswered=1
			[ -z "$before" ] || printf '%s\n' "$before"
			return 1
		}
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

# persist FILE: attempt, and where nothing is undone again a few times. Where
# Docker does not come back, there has been waiting enough.
persist() {
	again=1
	while :; do
		unanswered=
		attempt "$1"
		code=$?
		[ "$code" != 0 ] && [ -n "$certain" ] && [ "$again" -lt 3 ] && [ -z "$unanswered" ] || return "$code"
		pause=$((again * again * 5))
		echo "${1%.*} failed with exit code $code; it is tried again in $pause s"
		again=$((again + 1))
		sleep "$pause"
	done
}

steps() { for file in [0-9]*.do; do [ -f "$file" ] && echo "${file%.do}"; done; }

# forward: the steps that have not succeeded yet, in order.
forward() {
	last='' before=''
	for step in $(steps); do
		[ "$step" != "$settled" ] || last=$before
		before=$step
	done
	for step in $(steps); do
		if [ "$step" = "$settled" ]; then
			reached=1 certain=1
		fi
		if [ "$(state "$step")" = ok ]; then
			[ "$step" != "$critical" ] || reached=1
			continue
		fi
		failed=$step
		[ -z "$stopping" ] || [ -n "$reached" ] || return 1
		[ "$step" != "$critical" ] || reached=1
		# What can't be written down is not begun.
		journal begin "$step" || return 1
		persist "$step.do"
		code=$?
		# From here on nothing is undone, whether that can be written down or not.
		[ "$step" != "$last" ] || [ "$code" != 0 ] || certain=1
		journal end "$step" "$code" || return 1
		[ "$code" = 0 ] || [ -n "$certain" ] || return 1
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
	# Killed after any of these, the run has ended: what is left of the lock and of
	# the waker refuses no other run. The lock goes last, as it keeps two runs from
	# changing the crontab at the same time.
	journal run-end "$@"
	disarm
	release
	case $1 in
	done) exit 0 ;;
	undone) exit 3 ;;
	*) exit 4 ;;
	esac
}

undo_all() {
	if [ -n "$certain" ] || past_undoing; then
		# The lock stays, and so does what wakes the run.
		echo "the journal can't be written: make room on the host; the run carries on by itself, or with: $0 resume" >&2
		exit 1
	fi
	if backward; then finish undone "${failed:-none}"; else finish held "$failed_undo"; fi
}

refuse() {
	echo "$*" >&2
	exit 10
}

# newer RUN: the newest run beside this one that was started after RUN. A run
# that was never started has no journal. Names put runs in order.
newer() {
	for file in "$base"/runs/*/journal; do
		[ -f "$file" ] || continue
		file=${file%/journal}
		echo "${file##*/}"
	done | awk -v id="$id" -v after="$1" '$0 "" > after "" && $0 != id { last = $0 } END { print last }'
}

# described RUN: a run with who started it.
described() { echo "run $1$(by=$(field by "$base/runs/$1/owner") && [ -z "$by" ] || echo " of $by")"; }

# as_planned: whether what the run was planned for is what is there; else it
# prints what came between.
as_planned() {
	if [ -f planned ]; then
		other=$(newer "$(field newest planned)")
		if [ -n "$other" ]; then
			echo "$(described "$other") came between: plan again"
			return 1
		fi
		link=$(readlink "$base/current")
		if [ "$link" != "$(field current planned)" ]; then
			echo "${link:-no release} is current, and the plan was made for $(field current planned | sed 's/^$/no release/'): plan again"
			return 1
		fi
	fi
	other=$(newer "")
	[ -n "$other" ] || return 0
	word=$(sh "$base/runs/$other/runner" status 2>/dev/null </dev/null)
	case $word in
	held | interrupted)
		echo "$(described "$other") has not come to an end, it is $word: pipeline unlock finishes it; then plan again"
		return 1
		;;
	esac
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
	other=$(newer "$id")
	[ -z "$other" ] || refuse "$(described "$other") was started after run $id, which can't be carried on with any more"
	[ "$verb" = resume ] || ! past_undoing ||
		refuse "run $id is past the point where it can be undone: its release is live; $0 resume finishes it"
	;;
wake)
	! working || exit 0
	use_environment
	if [ ! -f journal ] || [ -n "$(outcome)" ] || [ -n "$(newer "$id")" ]; then
		pid=$(field pid "$lock")
		[ "$(field run "$lock")" != "$id" ] || ! over "$id" || put_away "$pid"
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

# One that was in its critical part can't be stopped any more, however early in
# its new process it is told to.
if [ "$verb" != start ]; then
	case $(state "$critical") in begun | ok | failed) reached=1 ;; esac
fi
acquire "$verb" || exit 10
if [ "$verb" = start ]; then
	as_planned >&2 || {
		release
		exit 10
	}
	keep_environment
	# What a power cut can take away is no run.
	find . -type f -exec sync {} + 2>/dev/null || sync
fi
arm
{ reserve && journal run-begin "$verb" "$$" "$(boot)"; } || {
	# A new run leaves nothing by which it would seem to have begun; one that was
	# begun is woken again.
	if [ "$verb" = start ]; then
		disarm
		rm -f journal
	fi
	release
	refuse "can't write the journal"
}

# By this a crash of Docker is told that happens as soon as the first step begins.
[ "$verb" != start ] || wait_docker >/dev/null

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
