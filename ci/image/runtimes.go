package image

import (
	"strconv"
	"strings"

	"github.com/desiredeffect/erpnext-pipeline/internal/release"
)

// runtimes are versions of Python and Node that a major version of Frappe runs on, the
// newest last: those of the public images (frappe_docker) of its first years.
var runtimes = []struct {
	frappe       int
	python, node string
}{
	{14, "3.10.14", "16.20.2"},
	{15, "3.11.6", "18.18.2"},
	{16, "3.14.2", "24.13.0"},
}

// BasesOf returns the public images of Python and of Node for a text of
// frappe/__init__.py, where nothing else is said.
func BasesOf(frappeInit string) (python, node string) {
	return bases(WithRuntimes(release.Lock{Apps: []release.App{{Name: "frappe", Version: versionOf(frappeInit)}}}))
}

// WithRuntimes completes a lock whose apps have their versions: where it says nothing
// of Python or of Node, it gets those that its Frappe runs on. One that is older than
// all that are known gets those of the oldest, a newer one those of the newest.
func WithRuntimes(lock release.Lock) release.Lock {
	if len(lock.Apps) == 0 || lock.Apps[0].Version == "" {
		return lock
	}
	// A branch may call itself 16.x.x-develop.
	major, _, _ := strings.Cut(lock.Apps[0].Version, ".")
	frappe, err := strconv.Atoi(major)
	if err != nil {
		return lock
	}
	fit := runtimes[0]
	for _, r := range runtimes {
		if r.frappe <= frappe {
			fit = r
		}
	}
	if lock.Python == "" {
		lock.Python = fit.python
	}
	if lock.Node == "" {
		lock.Node = fit.node
	}
	return lock
}
