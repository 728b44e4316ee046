# Pages that were loaded before the switch ask for the assets of their release
# after it. Those have their hash in their names; nginx looks for them here.
within "$previous" backend bash -euo pipefail -c '
	cd /home/frappe/frappe-bench
	rm -rf sites/.bridge
	mkdir -p sites/.bridge/assets
	baked=assets
	[ -e "$baked" ] || baked=sites/assets
	find -L "$baked/" -name node_modules -prune -o -type f -regextype posix-extended \
		-regex ".*[.-][A-Za-z0-9_]{8}[.](js|css|woff2?|ttf|svg|png|webp)" -printf "%P\\0" |
		tar --create --dereference --directory="$baked" --null --files-from=- --file=- |
		tar --extract --directory=sites/.bridge/assets --file=-
	rm -rf sites/.bridge-before
	[ ! -e sites/bridge ] || mv sites/bridge sites/.bridge-before
	mv sites/.bridge sites/bridge
	rm -rf sites/.bridge-before'
