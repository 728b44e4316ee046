closes_sites || exit 0
# A site that is yet to be made has no visitors to keep out.
[ ! -e fresh ] || exit 0
close_sites "$active"
