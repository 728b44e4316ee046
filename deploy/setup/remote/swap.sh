# Makes the swap file $1 of $2 MiB, uses it, and has the file $3 (fstab) name it once. A
# file that is there already is left alone.
set -eu
file=$1 size=$2 table=$3
if [ -e "$file" ] || [ -L "$file" ]; then
	echo "$file is there already" >&2
	exit 1
fi
trap 'rm -f -- "$file.part"' EXIT
trap 'exit 143' TERM HUP INT
(umask 077 && dd if=/dev/zero of="$file.part" bs=1M count="$size" conv=fsync 2>/dev/null)
mkswap "$file.part" >/dev/null
mv "$file.part" "$file"
# Before it is used: what is in use looks as if all had been done.
if ! awk -v file="$file" '$1 == file { found = 1 } END { exit !found }' "$table" 2>/dev/null; then
	[ ! -s "$table" ] || [ -z "$(tail -c 1 "$table")" ] || echo >>"$table"
	echo "$file none swap sw 0 0" >>"$table"
fi
if ! swapon "$file"; then
	rm -f -- "$file"
	sed -i "\\|^$file none swap sw 0 0\$|d" "$table"
	exit 1
fi
