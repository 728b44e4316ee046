# Prints the file $1 from byte $2 on as it grows, and ends when the job with the
# log $3 has ended and everything of the file was printed. It looks five times a
# second and ends by itself after $4 looks, or when standard input is closed,
# because sshd leaves commands running when a connection is lost. Exit code 75
# means that there may be more. The functions of job-state.sh stand before it.
file=$1 at=$2 log=$3 left=$4
exec 3<&0
cat <&3 >/dev/null 2>&1 &
watch=$!
while [ "$left" -gt 0 ]; do
	last=
	case $(state "$log") in running) ;; *) last=1 ;; esac
	size=$at
	[ ! -f "$file" ] || size=$(wc -c <"$file")
	if [ "$size" -gt "$at" ]; then
		tail -c "+$((at + 1))" -- "$file" | head -c "$((size - at))" || exit 1
		at=$size
	fi
	[ -z "$last" ] || exit 0
	kill -0 "$watch" 2>/dev/null || exit 75
	sleep 0.2 2>/dev/null || sleep 1
	left=$((left - 1))
done
exit 75
