# state LOG: prints the phase of the job with this log, and its exit code. The
# exit code is looked for again last: the job may have ended in between. A zombie
# has ended.
ended() { [ -f "$1.exit" ] && read -r code <"$1.exit" && echo "exited $code"; }
alive() {
	set -f
	read -r pid tick <"$1.pid" && read -r stat 2>/dev/null <"/proc/$pid/stat" || return 1
	want=$tick
	set -- $stat
	[ "$3" != Z ] && [ "${22}" = "$want" ]
}
state() {
	ended "$1" && return
	[ -f "$1.pid" ] || { echo none; return; }
	if (alive "$1") 2>/dev/null; then echo running; else ended "$1" || echo gone; fi
}
