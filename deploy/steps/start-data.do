rm -f fresh
# Nothing of the new code runs before sites that are there are closed and dumped.
bring_up_only "$version" $(services "$version" data)
# A bench that ran before may have been configured for other names.
for service in $(services "$version" once | grep -vx create-site); do
	compose "$version" run --rm --no-deps -T "$service"
done
check_data
case " $sites " in
"  ") touch fresh ;;
*" $first_site "*) echo "the bench was there before" ;;
*) fail "the bench has the sites $sites, and not $first_site: name one of them, or take them away" ;;
esac
