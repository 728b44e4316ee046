# Workers take seconds to start, and most of that is work: only then is it worth
# looking at the rest.
site "$version" workers $(containers_of "$version" worker) || {
	show_unhealthy "$version"
	exit 1
}
await_health "$version"
