package deploy

// first puts the first release of a host live. There is nothing to take down.
// Sites of a bench that ran before, whose volumes are there, are closed and
// backed up before new code serves them; where there is none (the file fresh in the
// run's folder says so) the release makes one.
var first = strategy{
	stoppable: []step{
		stage,
		pull,
		check,
		awaitSmokeTest,
		beforeDeploy,
		startData,
		maintenanceFirst,
		backupFirst,
	},
	critical: []step{
		upFirst,
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
		afterDeploy,
		prune,
	},
}
