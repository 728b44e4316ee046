# What check reads of a set, which it has as compose prints it in full, and of the
# services that hold data.

# entry SECTION NAME <SET: one entry of one of its top-level sections.
entry() {
	awk -v section="$1:" -v name="  $2:" '
		/^[^ ]/ { inside = $1 == section; on = 0 }
		/^  [^ ]/ { on = inside && $0 == name }
		on'
}

# lent VERSION SET SERVICE: what configs and secrets hold that a service has, and
# how they are called. It is for a checksum and no file.
lent() (
	for part in configs secrets; do
		printf '%s\n' "$2" | entry services "$3" |
			awk -v part="    $part:" '/^    [^ ]/ { on = $0 == part } on && sub(/^ *-? *source: */, "")' | while read -r one; do
			definition=$(printf '%s\n' "$2" | entry "$part" "$one")
			printf '%s\n' "$definition"
			variable=$(printf '%s\n' "$definition" | sed -n 's/^    environment: *//p')
			# A value may have several lines.
			[ -z "$variable" ] || awk -v name="$variable=" '/^[A-Za-z_][A-Za-z0-9_]*=/ { on = index($0, name) == 1 } on' "$dir/releases/$1/.env"
		done
	done
)

# mounted SET SERVICE: the sources of what it mounts, as the set calls them.
mounted() { printf '%s\n' "$1" | entry services "$2" | awk '/^    [^ ]/ { on = $1 == "volumes:" } on && sub(/^ *-? *source: */, "")' | sort -u; }

# checksums VERSION SET: a line with name and checksum of each service that holds
# data, and of the networks.
checksums() {
	for service in $(services "$1" data); do
		echo "$service $({
			printf '%s\n' "$2" | entry services "$service"
			lent "$1" "$2" "$service"
			mounted "$2" "$service" | while read -r one; do printf '%s\n' "$2" | entry volumes "$one"; done
		} | sha256sum)"
	done
	echo "networks: $(printf '%s\n' "$2" | awk '/^[^ ]/ { on = $1 == "networks:" } on' | sha256sum)"
}

# image_of SERVICE <SET: the image that it names.
image_of() { entry services "$1" | sed -n 's/^    image: *//p' | tr -d "\"'"; }

# sources SET SERVICE: the volumes and folders that it keeps data in. A volume is
# what Docker calls it: two sets may have others under one name.
sources() {
	mounted "$1" "$2" | while read -r one; do
		called=$(printf '%s\n' "$1" | entry volumes "$one" | sed -n 's/^    name: *//p')
		echo "${called:-$one}"
	done | sort -u
}

# shares SERVICE <SET: the services whose network, processes or memory it lives in.
shares() { entry services "$1" | sed -n -E 's/^    (network_mode|pid|ipc): *"?service:([^"]*)"?$/\2/p'; }

# published PORT <SET: the address at which a port is published, as it is reached
# from this host.
published() {
	awk -v port="$1" '
		/^      - / { host = "" }
		$1 == "host_ip:" { host = $2 }
		$1 == "published:" {
			gsub(/"/, "", $2)
			if ($2 != port) next
			if (host == "" || host == "0.0.0.0" || host == "::") host = "127.0.0.1"
			if (host ~ /:/) host = "[" host "]"
			if (found == "" || host == "127.0.0.1") found = host
		}
		END { print found == "" ? "127.0.0.1" : found }'
}

# server IMAGE: kind and version of the database server or queue that is in an
# image; nothing for others.
server() {
	docker run --rm --network none --pull never --entrypoint sh "$1" -c '
		for one in mariadbd mysqld valkey-server redis-server; do
			if command -v "$one" >/dev/null; then
				echo "$one $("$one" --version)"
				exit
			fi
		done' 2>/dev/null | awk '
		match($0, /(Ver |v=)[0-9]+[.][0-9]+[.0-9]*/) {
			version = substr($0, RSTART, RLENGTH)
			sub(/^(Ver |v=)/, "", version)
			print /MariaDB/ ? "MariaDB" : $1 == "mysqld" ? "MySQL" : $1 == "redis-server" ? "Redis" : "Valkey", version
			exit
		}'
}

# series VERSION: its first two numbers.
series() { echo "$1" | cut -d . -f 1,2; }

# older A B: whether version A comes before version B.
older() {
	awk -v a="$1" -v b="$2" 'BEGIN {
		split(a, x, "."); split(b, y, ".")
		for (i = 1; i <= 3; i++) if (x[i] + 0 != y[i] + 0) exit x[i] + 0 >= y[i] + 0
		exit 1
	}'
}

# compare_server SERVICE OLD NEW: looks at a service that holds data, in the sets of
# the running release and of this one. What there would be no way back from is
# refused. A database that is another one now is added to the file
# databases.part.
compare_server() {
	was=$(of_service "$1" | head -n 1)
	if [ -n "$was" ]; then
		was=$(docker inspect --format '{{.Image}}' "$was")
	else
		was=$(docker image inspect --format '{{.Id}}' "$(printf '%s\n' "$2" | image_of "$1")" 2>/dev/null) || was=
	fi
	now=$(printf '%s\n' "$3" | image_of "$1")
	[ -z "$now" ] || now=$(docker image inspect --format '{{.Id}}' "$now" 2>/dev/null) || now=
	if [ -z "$was" ] || grep -qxF "$1" same && [ "$was" = "$now" ]; then return 0; fi
	before=$(server "$was")
	[ -n "$before" ] || return 0
	case $before in M*) echo "$1" >>databases.part ;; esac
	after=$([ -z "$now" ] || server "$now")
	shared=$({
		sources "$2" "$1"
		sources "$3" "$1"
	} | sort | uniq -d)
	if [ -z "$shared" ]; then
		case "$kind $before" in "rollback M"*)
			fail "service $1 keeps its data elsewhere in $version than now, so what was written since would be missing there: put that release's compose set right, or move the data by hand" ;;
		esac
		return 0
	fi
	if [ "${before% *}" = "${after% *}" ] && [ "$(series "${before#* }")" = "$(series "${after#* }")" ]; then
		# Going back within a series is what an undo does as well.
		[ "$kind" = rollback ] || ! older "${after#* }" "${before#* }" ||
			fail "service $1 is $before now and would be $after: data are not given to an older server; name an image with $before or a newer one of that series"
		return 0
	fi
	case $before in
	M*) by_hand="close the sites (bench set-maintenance-mode on), dump the databases with the server that runs, load them into the new one on a volume with another name, and name that volume in the compose set; the old volume stays, as the way back" ;;
	*) by_hand="name another volume for it in the compose set: jobs that wait are done before, and the old volume stays, as the way back" ;;
	esac
	fail "service $1 is $before now and would be ${after:-something else} on the same data ($(echo "$shared" | paste -sd ' ')), which $before can't read any more then, so there would be no way back. By hand: $by_hand"
}
