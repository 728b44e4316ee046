# A registry may be busy, or the way to it short of breath.
patiently() {
	attempt=1
	until "$@"; do
		[ "$attempt" -lt 4 ] || return 1
		pause=$((attempt * attempt * 3))
		echo "attempt $attempt failed, the next one in $pause s"
		sleep "$pause"
		attempt=$((attempt + 1))
	done
}
docker image inspect --format '{{.Id}}' "$image" 2>/dev/null || patiently docker pull --quiet "$image"
# For people: docker images shows the version.
docker tag "$image" "$tagged"
patiently compose "$version" pull --quiet
