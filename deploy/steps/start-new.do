# What does one thing and ends. It writes the same configuration again, unless
# that is another one with this release.
for service in $(services "$version" once | grep -vx create-site); do
	compose "$version" run --rm --no-deps -T "$service"
done
start_beside "$version" $(services "$version" web | grep -vx frontend)
await_health "$version"
