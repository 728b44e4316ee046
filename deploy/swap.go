package deploy

import (
	"strings"

	"github.com/desiredeffect/erpnext-pipeline/internal/problem"
	"github.com/desiredeffect/erpnext-pipeline/internal/release"
)

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
		compare,
		awaitSmokeTest,
		beforeDeploy,
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
		putCertificate,
		verify,
		awaitCertificate,
		setURL,
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

// notBeside returns why no other release can run beside one that is or was live,
// where the strategy would have one do so.
func (t Target) notBeside(r release.Record) (report problem.Report) {
	if t.Strategy == Swap && len(r.NotBeside) > 0 {
		report.Addf("deploy.not-beside", "release "+r.Version, "use the strategy "+Cycle,
			"no other release can run beside it: %s", strings.Join(r.NotBeside, "; "))
	}
	return report
}
