quiet || exit 0
# A site that has just been made has nobody to keep out.
[ ! -e fresh ] || exit 0
if [ ! -e maintenance-before ]; then
	site "$first" maintenance get $sites >maintenance-before.part
	mv maintenance-before.part maintenance-before
fi
site "$first" close $sites >jobs-left
