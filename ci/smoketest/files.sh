# What may not be in the image, which lies in /image, looked for as root, who
# can read everything.
cd /image
# Of a long output only an end arrives with an error: what a site prints while it is made
# goes to one stream, so the check is named on both.
mark() {
	set -- "smoke-test: $1 $(date +%s.%N)"
	echo "$1"
	echo "$1" >&2
}

mark "no setuid or setgid file"
found=$(find . -type f -perm /6000)
if [ -n "$found" ]; then
	echo "these run with another user's rights: $found"
	exit 1
fi

mark "no secret and no foreign certificate"
if [ -s /run/words ]; then
	# Names only: what was found must not be printed.
	found=$(grep -rlaF -f /run/words . || true)
	if [ -n "$found" ]; then
		echo "a secret, or a certificate that was trusted only for the build, is in: $found"
		exit 1
	fi
fi

mark "no build tools, caches or archives"
found=$(find ./usr/bin ./usr/local/bin ./bin \( -name gcc -o -name make -o -name yarn -o -name npm -o -name pip3 \) -print)
if [ -n "$found" ]; then
	echo "build tools are in the image: $found"
	exit 1
fi
found=$(find . \( -name '*.deb' -o -name '.git' -o -path '*/.cache/*' \) -print | head -n 5)
if [ -n "$found" ]; then
	echo "left over from the build: $found"
	exit 1
fi

mark end
