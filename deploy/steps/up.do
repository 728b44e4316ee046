# The site is there: it need not be made, and nothing has to wait for the
# database to be up before it starts; what needs it, tries until it is.
bring_up_data "$version"
[ "$kind" != rollback ] || empty_cache "$version"
bring_up_only "$version" $(services "$version" once | grep -vx create-site || true)
bring_up_only "$version" $(services "$version" web)
look_up_again
codes=$(containers_of "$version" once | with_ids docker wait)
for code in $codes; do
	[ "$code" = 0 ] || {
		show_unhealthy "$version"
		fail "a container that does one thing has failed at it"
	}
done
