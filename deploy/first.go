package deploy

// first puts the first release of a host live. There is nothing to take down
// and no site to close, unless the volumes of a site are there already: only
// when the release is up it is known whether it made the site (the file fresh
// in the run's folder) or found one.
var first = strategy{
	stoppable: []step{
		stage,
		pull,
		check,
		beforeDeploy,
	},
	critical: []step{
		upFirst,
		maintenanceFirst,
		backupFirst,
		beforeMigrate,
		migrate,
		afterMigrate,
		verify,
		open,
		record,
	},
	settled: []step{
		workers,
		awaitWorkers,
		afterDeploy,
		prune,
	},
}
