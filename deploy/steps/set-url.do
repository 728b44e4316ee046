# url_of SITE: the address under which a site is to be linked to; nothing where that is
# not known.
url_of() (
	if [ "$1" = "$first_site" ]; then
		echo "${urls%% *}"
		exit
	fi
	for one in $urls; do
		case $one in "https://$1" | "https://$1:"*) echo "$one" ;; esac
	done
)
# What releases have written there so far, and what is there now, as they were when this
# step began for the first time.
if [ ! -e urls-before ]; then
	cp "$dir/urls" urls-ours 2>/dev/null || : >urls-ours
	site "$version" get_url $sites >urls-before.part
	mv urls-before.part urls-before
fi
: >urls-now
while read -r one was where; do
	url=$(url_of "$one") own=$(awk -v site="$one" '$1 == site { print $2 }' urls-ours)
	if [ -n "$was" ] && [ "$was" != "$own" ] && [ "$was" != "$url" ]; then
		# An operator has set it, for this site or in the configuration of all.
		[ -z "$url" ] || echo "note: links to $one begin with $was, its host_name, which stays: bench --site $one set-config host_name $url has them lead to $url"
		continue
	fi
	[ "$was" = "$url" ] || site "$version" set_url "$one" "$url" </dev/null
	[ -z "$url" ] || echo "$one $url" >>urls-now
done <urls-before
cp urls-now "$dir/.urls-$id"
mv "$dir/.urls-$id" "$dir/urls"
