touch opening
to_disk .
# What an administrator had closed stays closed.
if [ -s maintenance-before ]; then
	site "$version" put_back "$(cat maintenance-before)"
	renew_servers
else
	site "$version" forget_assets
fi
await_open "$version"
