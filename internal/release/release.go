// Package release holds the values that flow through the pipeline: what goes
// in ([App]), what is fixed before a build ([Lock]), what a build yields
// ([Image]), what the image says of itself ([Manifest]) and what went live
// ([Record]). Each is a plain value that prints as JSON and holds no secret.
package release

import (
	"reflect"
	"slices"
	"time"
)

// App is one Frappe app at one commit.
type App struct {
	// Name is the app's Python package and its folder under apps/ in the
	// bench, for instance "erpnext".
	Name string `json:"name"`
	// URL is the repository, without credentials.
	URL string `json:"url"`
	// Ref is what apps.json asked for: a tag, a branch or a commit.
	Ref string `json:"ref"`
	// Kind says which of them Ref turned out to be.
	Kind RefKind `json:"kind"`
	// Commit is the full SHA that Ref resolved to.
	Commit string `json:"commit"`
	// CommittedAt is the committer's date of that commit, in UTC.
	CommittedAt time.Time `json:"committed_at"`
	// Version is __version__ of the app's package. It is empty until the
	// source was read.
	Version string `json:"version,omitempty"`
}

// RefKind is what a ref names in its repository.
type RefKind string

// The three kinds of ref.
const (
	Tag    RefKind = "tag"
	Branch RefKind = "branch"
	Commit RefKind = "commit"
)

// Lock is everything that decides what an image holds: the same lock makes
// the same image. frappe is the first of its apps; the others are in install
// order.
type Lock struct {
	// SiteVersion is DE_SITE_VERSION: the tag of the image.
	SiteVersion string `json:"site_version"`
	// Python and Node are the runtimes' versions, for instance "3.11.6".
	Python string `json:"python"`
	Node   string `json:"node"`
	Apps   []App  `json:"apps"`
	// Bases are the digests of the public images that everything stands on,
	// by their names, for instance "python:3.11.6-slim-bookworm".
	Bases map[string]string `json:"bases,omitempty"`
	// Wkhtmltopdf is a Debian package in place of Debian's own.
	Wkhtmltopdf *Download `json:"wkhtmltopdf,omitempty"`
	// Chromium is an archive with chrome-headless-shell, and DebianChromium
	// says that Debian's is wanted. Without either the image has none.
	Chromium       *Download `json:"chromium,omitempty"`
	DebianChromium bool      `json:"debian_chromium,omitempty"`
	// AptPackages are Debian packages that the image has beside those that its
	// apps ask for, and with a dash in front those of them that it leaves out.
	AptPackages []string `json:"apt_packages,omitempty"`
	// Requirements is the resolution of all apps' Python requirements and
	// build requirements, in pip's requirements format with hashes. It is
	// empty until the packages were resolved.
	Requirements string `json:"requirements,omitempty"`
}

// SameSource reports whether another lock is made from the same commits, runtimes
// and downloads. Versions, names and Python packages follow from these.
func (l Lock) SameSource(other Lock) bool {
	return l.Python == other.Python && l.Node == other.Node && l.DebianChromium == other.DebianChromium &&
		reflect.DeepEqual(l.Wkhtmltopdf, other.Wkhtmltopdf) && reflect.DeepEqual(l.Chromium, other.Chromium) &&
		slices.Equal(l.AptPackages, other.AptPackages) &&
		slices.EqualFunc(l.Apps, other.Apps, func(a, b App) bool { return a.URL == b.URL && a.Commit == b.Commit })
}

// HasDebianWkhtmltopdf reports whether the image has Debian's wkhtmltopdf: unless the
// lock has another, or leaves it out.
func (l Lock) HasDebianWkhtmltopdf() bool {
	return l.Wkhtmltopdf == nil && !slices.Contains(l.AptPackages, "-wkhtmltopdf")
}

// Download is a file from the network that is known by its checksum.
type Download struct {
	// URL may have "{arch}" in it, which stands for amd64 or arm64.
	URL string `json:"url"`
	// SHA256 are the checksums in hexadecimal by architecture; the key ""
	// stands for all.
	SHA256 map[string]string `json:"sha256"`
}

// Image is a pushed image.
type Image struct {
	// Repository is the image's name as the host pulls it, with the
	// registry in front where it is not Docker Hub.
	Repository string `json:"repository"`
	// Tag is the site version.
	Tag string `json:"tag"`
	// Digest is the manifest's, for instance "sha256:8d9…".
	Digest string `json:"digest"`
	// SmokeTest tells whether a site was made from the image before it got its
	// tag: "smoke-tested" with the time, or "not smoke-tested". Its JSON key
	// stays: records on hosts have it.
	SmokeTest string `json:"proof,omitempty"`
}

// String returns name:version@sha256:…, what push prints.
func (i Image) String() string { return i.Repository + ":" + i.Tag + "@" + i.Digest }

// Pinned returns name@sha256:…, what the compose set on a host refers to.
func (i Image) Pinned() string { return i.Repository + "@" + i.Digest }

// Package is one Python package of an image.
type Package struct {
	Name    string   `json:"name"`
	Version string   `json:"version"`
	Hashes  []string `json:"hashes"`
	// Machine is the processor, by Python's name (platform.machine), whose image alone
	// has it; empty where all have.
	Machine string `json:"machine,omitempty"`
}

// Manifest is what an image says of itself, in the file
// /home/frappe/frappe-bench/manifest.json and, without the packages, in its
// labels: .git is not in the image, so nothing else there knows the commits.
type Manifest struct {
	SiteVersion string    `json:"site_version"`
	Python      string    `json:"python"`
	Node        string    `json:"node"`
	Apps        []App     `json:"apps"`
	Packages    []Package `json:"packages,omitempty"`
	// Bases are the digests of the public images that it stands on.
	Bases map[string]string `json:"bases,omitempty"`
	// Wkhtmltopdf, Chromium and DebianChromium are those of the lock.
	Wkhtmltopdf    *Download `json:"wkhtmltopdf,omitempty"`
	Chromium       *Download `json:"chromium,omitempty"`
	DebianChromium bool      `json:"debian_chromium,omitempty"`
	// AptPackages are those of the lock.
	AptPackages []string `json:"apt_packages,omitempty"`
	// PackagesDigest is the SHA-256 of the lock's requirements, with its
	// algorithm in front, for instance "sha256:1f0…".
	PackagesDigest string `json:"packages_digest"`
	// Builder names the program that made the image, with its version.
	Builder string `json:"builder"`
}

// Step is one finished step of a deploy.
type Step struct {
	Name string `json:"name"`
	// Seconds is how long it took by the host's own clock.
	Seconds float64 `json:"seconds"`
}

// Warning is a step that failed after the release was live, and undid nothing.
type Warning struct {
	Step string `json:"step"`
	// Exit is its exit code.
	Exit int `json:"exit"`
	// Remedy is what to do about it.
	Remedy string `json:"remedy"`
}

// Record is one release that went live: what release.json on the host holds.
type Record struct {
	Version string `json:"version"`
	Image   Image  `json:"image"`
	// Lock is what the image was made from.
	Lock Lock `json:"lock"`
	// Project is the compose project.
	Project string `json:"project"`
	// ComposeFiles are the names of the compose set in the release's
	// folder, in the order in which compose reads them.
	ComposeFiles []string `json:"compose_files"`
	// NotBeside is what of the compose set keeps another release from running
	// beside this one, as it was found when the release was made.
	NotBeside []string `json:"not_beside,omitempty"`
	// TLS is how the proxy of the release has its certificates, empty for http alone;
	// URLs are the addresses of the site then, the one for links first.
	TLS  string   `json:"tls,omitempty"`
	URLs []string `json:"urls,omitempty"`
	// Sites are the sites that were migrated.
	Sites []string `json:"sites"`
	// Previous is the version that this release replaced; empty for the
	// first.
	Previous string `json:"previous,omitempty"`
	// Rollback says that it was live before, and went live again by a rollback.
	Rollback bool `json:"rollback,omitempty"`
	// RestoredFrom is the run whose backup a rollback brought back; empty
	// where the data stayed.
	RestoredFrom string `json:"restored_from,omitempty"`
	// Migrate says that a migration was asked for, whatever had changed.
	Migrate bool `json:"migrate,omitempty"`
	// BackupAt is when the backup of what was replaced was taken, or would have
	// been, in UTC by the host's clock; zero where that is not known.
	BackupAt time.Time `json:"backup_at,omitzero"`
	// Notes are what steps of the run had to say to the operator.
	Notes []string `json:"notes,omitempty"`
	// Strategy is how the switch was made: "cycle" or "swap".
	Strategy string `json:"strategy"`
	// StartedAt and FinishedAt are in UTC by the client's clock.
	StartedAt  time.Time `json:"started_at"`
	FinishedAt time.Time `json:"finished_at"`
	// Downtime is how long the site did not answer, in seconds, from the
	// first refused request to the first good one, seen through the proxy.
	// It is zero for a first release.
	Downtime float64 `json:"downtime_seconds"`
	Steps    []Step  `json:"steps"`
	// Warnings are the steps that failed while the release was live already.
	Warnings []Warning `json:"warnings,omitempty"`
	// Run is the folder under runs/ with the journal of the deploy.
	Run string `json:"run"`
}
