# Starts "$2…" with the log $1, away from this session: a session of its own, no
# terminal, nothing inherited that would keep the connection waiting, hangups
# ignored. It prints the process number when the job has its log and its mark;
# the mark is a hard link, because making one fails where there is one already.
# setsid forks rather than the shell, which would have the job ignore interrupts
# (POSIX: asynchronous lists). Exit code 45 means that the log has a job.
#
# The mark has the process number and the tick at which the process started, so
# that another process with the same number is not taken for it. A process is
# /proc/PID/stat; proc_pid_stat(5) counts its fields from 1.
#
# It takes off the mark by which a cancelled Run ends what it started (runMark in
# run.go): from here on only the host ends the job, also when its number is never
# read.
unset DEPLOY_RUN
command -v "$2" >/dev/null || { echo "$2: not found" >&2; exit 127; }
job='
	log=$1; shift
	mask=$(umask); umask 077
	: >>"$log" || exit
	read -r stat </proc/$$/stat
	tick=$(echo "$stat" | cut -d" " -f22)
	mark=$log.pid.$$
	echo "$$ $tick" >"$mark" || exit
	ln "$mark" "$log.pid" 2>/dev/null || { rm -f "$mark"; [ -e "$log.pid" ] && echo exists; exit; }
	rm -f "$mark"
	exec 3>&1 </dev/null >>"$log" 2>&1
	trap "" HUP
	(trap "" PIPE; echo "$$" >&3) 2>/dev/null
	exec 3>&-
	umask "$mask"
	"$@"
	code=$?
	umask 077
	echo "$code" >"$log.exit.part" && mv -f "$log.exit.part" "$log.exit"
'
if setsid --fork true 2>/dev/null; then
	said=$(setsid --fork sh -c "$job" sh "$@")
else
	said=$(sh -c "$job" sh "$@" &)
fi
case $said in
exists) exit 45 ;;
"") exit 1 ;;
esac
echo "$said"
