# Which processes belong to a run. A number alone is not enough: it may be given
# to another process. So each is known by its number, the tick at which it
# started, and the boot during which it did.

# started PID: the tick at which a process started (field 22 of proc(5)'s
# stat, the 20th after the name, which may have blanks in it), or nothing.
started() {
	stat=
	{ read -r stat <"/proc/$1/stat"; } 2>/dev/null || return 1
	# shellcheck disable=SC2086 # to be split
	set -- ${stat##*) }
	# A zombie has ended, and so has one of which nothing could be read any more.
	[ "$#" -ge 20 ] && [ "$1" != Z ] || return 1
	shift 19
	echo "$1"
}

boot() { read -r during </proc/sys/kernel/random/boot_id && echo "$during"; }

# alive PID TICK BOOT: whether it is the same process still.
alive() {
	[ -n "$1" ] && [ "$3" = "$(boot)" ] && tick=$(started "$1") && [ "$tick" = "$2" ]
}

# field NAME FILE: a value out of a file of NAME=VALUE lines. It is asked for all the
# time, so no program is started for it.
field() {
	{
		while IFS= read -r line || [ -n "$line" ]; do
			case $line in "$1="*)
				printf '%s\n' "${line#*=}"
				break
				;;
			esac
		done <"$2"
	} 2>/dev/null
	return 0
}

# named FILE: whether the process that a lock, or a file child, names runs.
named() { alive "$(field pid "$1")" "$(field tick "$1")" "$(field boot "$1")"; }

# note LOCK: notes this process as the step under way of the runner that the lock
# names and that called it. Where that can't be done nothing may begin: no one
# would know of it. The file child is there whole or not at all; the room it takes
# is that of child.part, so that there is some on a disk that is full.
note() {
	# It is asked again after the note: who comes after the runner goes by that.
	if called "$1" &&
		printf 'pid=%s\ntick=%s\nboot=%s\n' "$$" "$(started $$)" "$(boot)" 1<>child.part && named child.part &&
		mv -f child.part child && called "$1"; then
		return
	fi
	echo "not begun: its process can't be noted, or its runner is gone"
	return 1
}

# called LOCK: whether the runner that called this process is there still.
called() { [ "$(field pid "$1")" = "$PPID" ] && named "$1"; }

# reserve: takes the room for that note.
reserve() {
	[ ! -f child ] || mv -f child child.part
	[ -s child.part ] || printf '%150s\n' '' >child.part
}

# family PID: the number and the tick of a process and of all below it, those
# above first.
family() (
	tick=$(started "$1") || exit 0
	echo "$1 $tick"
	for file in /proc/[0-9]*/stat; do
		stat=
		{ read -r stat <"$file"; } 2>/dev/null || continue
		# shellcheck disable=SC2086 # to be split
		set -- "$1" ${stat##*) }
		if [ "$3" = "$1" ]; then
			other=${file#/proc/}
			family "${other%/stat}"
		fi
	done
)

# signal NAME <FAMILY: a signal to each that is the same process still. A shell
# that gets one does not pass it on; those above get it first, or they would see
# their children end and carry on.
signal() {
	while read -r pid tick; do
		if [ "$(started "$pid")" = "$tick" ]; then kill "-$1" "$pid" 2>/dev/null; fi
	done
	return 0
}
