closes_sites || exit 0
# A site that has just been made has no visitors to keep out.
[ ! -e fresh ] || exit 0
if [ ! -e maintenance-before ]; then
	site "$active" maintenance get $sites >maintenance-before.part
	mv maintenance-before.part maintenance-before
fi
site "$active" close $sites >jobs-left
