package deploy

import (
	"path"
	"regexp"
	"strings"
	"time"

	"github.com/desiredeffect/erpnext-pipeline/deploy/compose"
	"github.com/desiredeffect/erpnext-pipeline/internal/problem"
	"github.com/desiredeffect/erpnext-pipeline/internal/release"
	"github.com/desiredeffect/erpnext-pipeline/internal/secret"
)

// Target says where and how a release goes live.
type Target struct {
	// Dir is the folder on the host that holds releases and runs: absolute.
	Dir string `json:"dir"`
	// Project is the name of the compose project. It never changes: volumes
	// belong to it.
	Project string `json:"project"`
	// Sites are sites that have to be on the bench. The first one is made when
	// there is none yet; it is the one that visitors are led to where the compose
	// set says no other. A run covers all sites that the bench has.
	Sites []string `json:"sites"`
	// ComposeFiles are paths on this machine, in the order in which compose
	// reads them. Without any it is the project's own set.
	ComposeFiles []string `json:"compose_files"`
	// Variables and Secrets are what the compose files may refer to; nothing
	// else of them reaches the host. IMAGE, SITE_NAME, INSTALL_APPS and
	// HTTP_PORT are set by the deploy itself.
	Variables map[string]string        `json:"variables,omitempty"`
	Secrets   map[string]secret.Secret `json:"secrets,omitempty"`
	// HTTPPort is the port on the host's loopback that the site answers on.
	HTTPPort int `json:"http_port"`
	// TLS says whether it answers by https, and how.
	TLS compose.TLS `json:"tls,omitzero"`
	// PullAddress is the registry as the host reaches it, "127.0.0.1:5000",
	// where that is not by the image's own name, and no registry is forwarded
	// ([Deployer.Registry]).
	PullAddress string `json:"pull_address,omitempty"`
	// NeedBytes is how much room the image takes on the host; 0 if that is
	// not known.
	NeedBytes int64 `json:"need_bytes,omitempty"`
	// Login is for a registry that asks for one; the zero value for none.
	Login Login `json:"login"`
	// Strategy is how the new release takes the place of the running one:
	// [Cycle] or [Swap]; empty means Cycle.
	Strategy string `json:"strategy,omitempty"`
	// BackupFiles has the backup before a migration take the sites' files too.
	BackupFiles bool `json:"backup_files,omitempty"`
	// DrainLimit is how long jobs have to end before a release gives up; 0
	// means five minutes.
	DrainLimit time.Duration `json:"drain_limit,omitempty"`
	// Migrate has a release migrate though nothing changed that a migration
	// reads or runs.
	Migrate bool `json:"migrate,omitempty"`
	// KeepReleases is how many releases before the live one can be gone back
	// to: their images and backups stay; 0 means 3.
	KeepReleases int `json:"keep_releases,omitempty"`
	// HooksDir is the folder on this machine that Hooks are read from.
	HooksDir string `json:"-"`
	// Hooks are the user's own steps.
	Hooks []Hook `json:"-"`
	// Owner says who deploys, for others to read in the deploy lock.
	Owner string `json:"owner,omitempty"`
}

var (
	// Compose's own rule.
	projectName = regexp.MustCompile(`^[a-z0-9][a-z0-9_-]*$`)
	// A site is a folder and a host name.
	siteName = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]*$`)
	// The grammar of a tag in the distribution specification, less a leading
	// dot or dash, because it is a folder too.
	versionName = regexp.MustCompile(`^[A-Za-z0-9_][A-Za-z0-9._-]{0,127}$`)
)

// validate checks what can be checked without the host.
func (t Target) validate() problem.Report {
	var report problem.Report
	if !path.IsAbs(t.Dir) || path.Clean(t.Dir) == "/" || strings.ContainsAny(t.Dir, "\n\x00") {
		report.Addf("deploy.dir", "folder on the host", "name a folder by its absolute path, for instance /srv/erpnext", "%q is not an absolute path of a folder", t.Dir)
	}
	if !projectName.MatchString(t.Project) {
		report.Addf("deploy.project", "compose project", "use lower case letters, digits, dashes and underscores", "%q is no name of a project", t.Project)
	}
	if len(t.Sites) == 0 {
		report.Addf("deploy.sites", "sites", "name at least one site", "there are none")
	}
	seen := map[string]bool{}
	for _, site := range t.Sites {
		if !siteName.MatchString(site) || site == "assets" || site == "apps" {
			report.Addf("deploy.sites", "sites", "use a host name, for instance erp.example.com", "%q is no name of a site", site)
		}
		if seen[site] {
			report.Addf("deploy.sites", "sites", "name it once", "%s is named twice", site)
		}
		seen[site] = true
	}
	if t.Strategy != "" && t.Strategy != Cycle && t.Strategy != Swap {
		report.Addf("deploy.strategy", "strategy", "use cycle or swap", "%q is none", t.Strategy)
	}
	if t.HTTPPort < 1 || t.HTTPPort > 65535 {
		report.Addf("deploy.http-port", "HTTP port", "use a number from 1 to 65535", "%d is no port", t.HTTPPort)
	}
	return report
}

// pullReference returns the name under which the host pulls an image: always by its
// digest.
func (t Target) pullReference(image release.Image) string {
	if t.PullAddress == "" {
		return image.Pinned()
	}
	image.Repository = t.PullAddress + "/" + repositoryPath(image.Repository)
	return image.Pinned()
}

// from returns the target where the host reaches the registry at another address, if
// it does.
func (t Target) from(registry string) Target {
	if registry != "" {
		t.PullAddress = registry
	}
	return t
}

// repositoryPath returns a repository without its registry. The first part is a
// registry if it could not be a part of a path: the rule of Docker.
func repositoryPath(repository string) string {
	first, rest, ok := strings.Cut(repository, "/")
	if ok && (strings.ContainsAny(first, ".:") || first == "localhost") {
		return rest
	}
	return repository
}

// keep returns how many releases before the live one can be gone back to.
func (t Target) keep() int {
	if t.KeepReleases == 0 {
		return 3
	}
	return t.KeepReleases
}
