# Compares what Frappe says of its apps with the manifest. An image without a
# manifest was not made by this pipeline.
[ -f manifest.json ] || exit 0
cd sites || exit
../env/bin/python -m frappe.utils.bench_helper frappe version -f json | jq --raw-output --slurpfile manifest ../manifest.json '
	(map({(.app): .version}) | add) as $have
	| $manifest[0].apps[] | select((.version // "") != "" and $have[.name] != .version)
	| "\(.name) is \($have[.name] // "not there"), the manifest says \(.version)"' | {
	if grep .; then exit 1; fi
}
