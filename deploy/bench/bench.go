// Package bench speaks for the bench command inside the backend container:
// what it is to be called with, and what its output means.
//
// It runs nothing. Exit codes and texts were read in Frappe v15.17.3.
package bench

import (
	"strconv"

	"github.com/desiredeffect/erpnext-pipeline/deploy/compose"
)

// Service is the service that bench commands run in.
const Service = "backend"

// Bench builds command lines for the bench of a project.
type Bench struct {
	Project compose.Project
}

// Command is any bench command in the running backend.
func (b Bench) Command(arguments ...string) []string {
	return b.Project.Exec(Service, append([]string{"bench"}, arguments...)...)
}

// Detached is any bench command in a container of its own, for when there is
// no running backend.
func (b Bench) Detached(arguments ...string) []string {
	return b.Project.Run(Service, append([]string{"bench"}, arguments...)...)
}

// onSite are the arguments for a verb on one site. "--site all" is never used:
// migrate stops at the first site that fails, and set-maintenance-mode acts on
// the first one only.
func onSite(site string, verb ...string) []string { return append([]string{"--site", site}, verb...) }

// Maintenance are the arguments that switch a site's maintenance mode. While
// it is on, every request is answered with 503, and the scheduler is inactive.
func Maintenance(site string, on bool) []string {
	value := "0"
	if on {
		value = "1"
	}
	return onSite(site, "set-config", "-p", "maintenance_mode", value)
}

// Migrate are the arguments that migrate a site. Exit code 0 means that every
// patch ran; see [FailedPatch] and [LockRefused] for the others.
func Migrate(site string) []string { return onSite(site, "migrate") }

// ClearCache are the arguments that clear a site's caches, and with them the
// list of assets that all sites share: a container of the release before may
// have put its own there at the last moment.
func ClearCache(site string) []string { return onSite(site, "clear-cache") }

// Version are the arguments that list the apps with their versions, for
// [ParseVersion].
func Version() []string { return []string{"version", "-f", "json"} }

// Sites lists the configuration file of every site in the running backend, for
// [ParseSites]. A new bench has none, which is no error.
func (b Bench) Sites() []string {
	return b.Project.Exec(Service, "find", "sites", "-mindepth", "2", "-maxdepth", "2", "-name", "site_config.json")
}

// Ping asks a site for a sign of life through whatever listens on a port of
// the loopback, and prints the status code alone: 200 is a site that serves,
// 503 one in maintenance, 000 no answer at all.
func Ping(port int, site string) []string {
	return []string{"curl", "--silent", "--output", "/dev/null", "--max-time", "5", "--write-out", "%{http_code}",
		"--header", "Host: " + site, "http://127.0.0.1:" + strconv.Itoa(port) + PingPath}
}

// PingPath is the request that every site answers without a login.
const PingPath = "/api/method/ping"
