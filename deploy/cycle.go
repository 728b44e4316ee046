package deploy

// cycle takes the old release down and then brings the new one up: there is one
// at a time. Services that hold data, and the proxy, stay up where both releases
// have them the same (check finds out which). Whether databases have to be
// migrated is found out on the way (compare); the sites are closed in any case.
var cycle = strategy{
	stoppable: []step{
		stage,
		pull,
		check,
		compare,
		awaitSmokeTest,
		beforeDeploy,
		measureDowntime,
		keepAssets,
		// From here on the site does less than usual.
		drain,
		maintenance,
		drainRest,
		backup,
	},
	critical: []step{
		down,
		up,
		putCertificate,
		beforeMigrate,
		migrate,
		afterMigrate,
		verify,
		awaitCertificate,
		setURL,
		open,
		record,
	},
	settled: []step{
		workers,
		awaitWorkers,
		endMeasuring,
		afterDeploy,
		prune,
	},
}
