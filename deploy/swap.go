package deploy

// swap brings new containers up beside the old ones, which they replace while
// the services that hold data, and the proxy, go on running: check refuses it
// where the new release has other ones. Whether databases have to be migrated is
// found out on the way (compare); where they need not, no site is closed, and
// drain, maintenance, drain-rest, backup and migrate do nothing.
var swap = strategy{
	stoppable: []step{
		stage,
		pull,
		check,
		beforeDeploy,
		compare,
		measureDowntime,
		keepAssets,
		startNew,
		// From here on the site does less than usual, where it is closed.
		drain,
		maintenance,
		switchProxy,
		drainRest,
		backup,
		stopOld,
	},
	critical: []step{
		beforeMigrate,
		migrate,
		afterMigrate,
		verify,
		open,
		record,
	},
	settled: []step{
		swapWorkers,
		awaitWorkers,
		retire,
		endMeasuring,
		afterDeploy,
		prune,
	},
}
