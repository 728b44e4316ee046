# A registry may be busy, and the way to it slow.
with_retries() {
	attempt=1
	until "$@"; do
		[ "$attempt" -lt 4 ] || return 1
		pause=$((attempt * attempt * 3))
		echo "attempt $attempt failed, the next one in $pause s"
		sleep "$pause"
		attempt=$((attempt + 1))
	done
}
docker image inspect --format '{{.Id}}' "$image" 2>/dev/null || with_retries docker pull --quiet "$image"
# So that docker images shows the version.
docker tag "$image" "$tagged"
with_retries compose "$version" pull --quiet
