# look: a line for each domain, with what its certificate is; it fails while one has
# none. Nothing but the image has the tools for it.
given=$dir/releases/$version/certificate.yaml
[ -e "$given" ] || given=/dev/null
look_at() {
	docker run --rm --init --interactive --network host --pull never --entrypoint "$bench/env/bin/python" "$image" \
		-c "$(cat certificate.py)" $(address_of "$version" | cut -d ' ' -f 1) "$https_port" $domains <"$given"
}
# refused: what the proxy said last about its certificates, without what addresses have
# in them of a login or a token.
refused() {
	for one in $(of_service traefik); do
		docker logs --tail 2000 "$one" 2>&1 | sed 's/\x1b\[[0-9;]*m//g' | grep -E 'ERR|level=error' | grep -iE 'acme' |
			sed -e 's|://[^/@ ]*@|://…@|g' -e 's/?[^" ]*/?…/g' | tail -n 3
	done
}
limit=$certificate_limit
began=$(cut -d . -f 1 /proc/uptime)
has=
until look_at >certificates.part 2>&1 && has=yes; do
	said=$(refused)
	# It does not try again by itself for a day.
	case $said in *"btain ACME certificate"* | *"ACME client"*) break ;; esac
	[ $(($(cut -d . -f 1 /proc/uptime) - began)) -lt "$limit" ] || break
	sleep 1
done
cat certificates.part
[ -z "$has" ] || exit 0
if ! grep -q '^missing ' certificates.part; then
	echo "warning: whether there is a certificate could not be found out: $(tail -n 1 certificates.part)"
	exit 0
fi
missing=$(sed -n 's/^missing //p' certificates.part | paste -sd ';' - | sed 's/;/; /g')
[ -z "${said-}" ] || printf '%s\n' "$said"
again="when the cause is gone, docker restart $project-traefik-1 on the host has it tried again; not often: ACME servers count what fails"
if [ -z "$previous" ]; then
	# What is there otherwise is sound, and there is nothing to go back to.
	echo "warning: no certificate: $missing. ${said:+The proxy says: $(printf '%s' "$said" | tail -n 1). }Browsers warn of the site; $again"
elif [ -n "$swap" ] || grep -qx traefik kept; then
	# The proxy is as it was before: this release has not brought it about.
	echo "warning: no certificate, and the proxy stayed as it was: $missing. ${said:+The proxy says: $(printf '%s' "$said" | tail -n 1). }$again"
else
	fail "the site would answer with a certificate that no browser takes: $missing"
fi
