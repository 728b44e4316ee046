package deploy

import (
	"encoding/json"
	"fmt"
	"io/fs"
	"path"
	"strconv"
	"strings"
	"time"

	"github.com/desiredeffect/erpnext-pipeline/deploy/compose"
	"github.com/desiredeffect/erpnext-pipeline/deploy/host"
	"github.com/desiredeffect/erpnext-pipeline/deploy/runner"
	"github.com/desiredeffect/erpnext-pipeline/internal/release"
)

// runSpec is what a run is made from.
type runSpec struct {
	layout
	id     string
	number int
	kind   Kind
	// strategy is the one that was asked for.
	strategy string
	version  string
	// image is the image by its digest, as the host names it; tagged is its
	// name with a tag.
	image, tagged string
	project       string
	// previous is the version that is live; empty for a first release.
	previous string
	// sites are those that are known of, knownSites those that were live before.
	sites, knownSites []string
	// firstSite is the one that a first release makes.
	firstSite  string
	port       int
	drainLimit int // seconds
	files      bool
	// restoreFrom is the folder of the backup that a rollback brings back.
	restoreFrom string
	// migrate says that a migration was asked for, and migratesDown why one
	// would lead to older apps.
	migrate      bool
	migratesDown string
	// untested says that the image is still smoke-tested.
	untested bool
	// tls is how the site is reached by https, urls are its addresses then, and
	// hadURLs says that the release before had some.
	tls      compose.TLS
	urls     []string
	hadURLs  bool
	hooks    []Hook
	unneeded Unneeded
}

// swaps reports whether new containers come up beside running ones.
func (r runSpec) swaps() bool {
	return r.kind != Prune && r.previous != "" && r.strategy == Swap
}

// runSpec returns what the plan's run is made from, with the name of the run and
// of the image as the host has it.
func (p Plan) runSpec(id, image string) runSpec {
	t := p.Target
	r := runSpec{
		layout: layout{t.Dir}, id: id, number: p.nextRun, kind: p.Kind, strategy: t.Strategy, version: p.Version, image: image,
		project: t.Project, previous: p.Previous, sites: p.Sites, knownSites: p.knownSites, port: t.HTTPPort, files: t.BackupFiles, hooks: t.Hooks,
		unneeded: p.Unneeded, migrate: p.Migrate, migratesDown: p.migratesDown, drainLimit: int(t.DrainLimit.Seconds()),
		untested: p.untested, tls: t.TLS, urls: t.TLS.URLs(), hadURLs: len(p.urlsBefore) > 0,
	}
	if p.Kind != Release {
		r.urls = p.back.URLs
	}
	if r.strategy == "" {
		r.strategy = Cycle
	}
	if r.drainLimit == 0 {
		r.drainLimit = 300
	}
	if len(t.Sites) > 0 {
		r.firstSite = t.Sites[0]
	}
	if p.RestoreFrom != "" {
		r.restoreFrom = r.backup(p.RestoreFrom)
	}
	return r
}

// record returns what is known of a release before it goes live.
func (p Plan) record(id string, image release.Image) release.Record {
	strategy := p.runSpec("", "").strategy
	if p.Kind != Release {
		record := p.back
		record.Rollback, record.RestoredFrom, record.Previous, record.Migrate = true, p.RestoreFrom, p.Previous, false
		record.Strategy, record.StartedAt, record.Run = strategy, time.Now().UTC(), id
		record.FinishedAt, record.Downtime, record.Steps = time.Time{}, 0, nil
		record.BackupAt, record.Warnings, record.Notes = time.Time{}, nil, nil
		return record
	}
	record := release.Record{
		Version: p.Version, Image: image, Lock: p.lock, Project: p.Target.Project, Sites: p.Sites,
		Previous: p.Previous, Strategy: strategy, StartedAt: time.Now().UTC(), Run: id, Migrate: p.Migrate,
	}
	if t := p.Target.TLS; t.On() {
		record.TLS, record.URLs = t.Mode, t.URLs()
	}
	if p.set != nil {
		for _, f := range p.set.Files {
			record.ComposeFiles = append(record.ComposeFiles, f.Name)
		}
		for _, found := range p.set.NotBeside {
			record.NotBeside = append(record.NotBeside, found.Error())
		}
	}
	return record
}

// folder returns the files of the folder of a run. registry is where the host
// reaches the registry, if that is forwarded to it. What belongs into releases/
// lies in the folder until the run has the lock.
func (p Plan) folder(id string, record release.Record, registry string) ([]host.File, error) {
	image := p.image
	if p.Kind == Release {
		image = p.Target.from(registry).pullReference(record.Image)
	}
	r := p.runSpec(id, image)
	r.tagged = repositoryPath(record.Image.Repository) + ":" + p.Version
	recorded, err := recordText(record)
	if err != nil {
		return nil, err
	}
	files := append(r.stepFiles(),
		plainFile("owner", "by="+oneLine(p.Target.Owner)+"\n"),
		plainFile("planned", p.seen.facts()))
	switch p.Kind {
	case Prune:
		return files, nil
	case Rollback:
		return append(files, plainFile(recordFile, recorded)), nil
	}
	dotEnv, err := p.dotEnv(image)
	if err != nil {
		return nil, err
	}
	var services strings.Builder
	for _, name := range p.set.Services {
		fmt.Fprintf(&services, "%s %s\n", p.set.Roles[name], name)
	}
	files = append(files,
		plainFile("release/.env", string(dotEnv)),
		plainFile("release/"+recordFile, recorded),
		plainFile("release/services", services.String()),
		plainFile("release/compose-files", strings.Join(record.ComposeFiles, "\n")+"\n"))
	for _, f := range p.set.Files {
		files = append(files, plainFile("release/"+f.Name, string(f.Data)))
	}
	if t := p.Target.TLS; t.Mode == compose.TLSFiles {
		given, err := t.Dynamic()
		if err != nil {
			return nil, err
		}
		files = append(files, plainFile("release/"+compose.CertificateFile, string(given)))
	}
	return files, nil
}

// recordText returns a record as it lies on the host.
func recordText(record release.Record) (string, error) {
	text, err := json.MarshalIndent(record, "", "  ")
	if err != nil {
		return "", fmt.Errorf("write %s: %w", recordFile, err)
	}
	return string(text) + "\n", nil
}

// stepFiles returns the files that the steps are made of, the facts that they
// read, the runner, and those that name the first step of its parts.
func (r runSpec) stepFiles() []host.File {
	var files []host.File
	for _, name := range sharedFiles() {
		files = append(files, plainFile(name, stepFile(name)))
	}
	for _, hook := range r.hooks {
		files = append(files, host.File{Name: "hooks/" + hook.Name, Mode: 0o700, Data: hook.Data})
	}
	steps := r.steps()
	for _, s := range steps {
		do, undo := s.scripts()
		files = append(files, plainFile(s.file+".do", stepScript(s.does, do)))
		if undo != "" {
			files = append(files, plainFile(s.file+".undo", stepScript(s.undo, undo)))
		}
	}
	for name, text := range runner.Files() {
		files = append(files, plainFile(name, text))
	}
	return append(files, plainFile("settings", r.settings()),
		plainFile("critical", firstOf(steps, criticalPart)+"\n"), plainFile("settled", firstOf(steps, settledPart)+"\n"))
}

// sharedFiles returns the names of the files in steps/ that steps read beside
// their own.
func sharedFiles() []string {
	entries, err := stepFiles.ReadDir("steps")
	if err != nil {
		return nil // they are part of the program
	}
	var names []string
	for _, entry := range entries {
		if ext := path.Ext(entry.Name()); ext == ".sh" || ext == ".py" {
			names = append(names, entry.Name())
		}
	}
	return names
}

// settings returns the facts that lib.sh reads.
func (r runSpec) settings() string {
	yes := func(b bool) string {
		if b {
			return "yes"
		}
		return ""
	}
	var text strings.Builder
	for _, pair := range [][2]string{
		{"dir", r.dir}, {"project", r.project}, {"id", r.id}, {"kind", string(r.kind)}, {"strategy", r.strategy}, {"swap", yes(r.swaps())},
		{"version", r.version}, {"previous", r.previous}, {"number", strconv.Itoa(r.number)},
		{"image", r.image}, {"tagged", r.tagged}, {"sites", strings.Join(r.sites, " ")}, {"first_site", r.firstSite},
		{"known_sites", strings.Join(r.knownSites, " ")}, {"port", strconv.Itoa(r.port)},
		{"drain_limit", strconv.Itoa(r.drainLimit)}, {"backup_files", yes(r.files)}, {"restore_from", r.restoreFrom},
		{"migrate", yes(r.migrate)}, {"migrates_down", oneLine(r.migratesDown)}, {"only_copies", yes(r.unneeded.onlyCopies)}, {"untested", yes(r.untested)}, {"quiet_limit", strconv.Itoa(int(quietLimit.Seconds()))},
		{"urls", strings.Join(r.urls, " ")}, {"domains", strings.Join(r.tls.Domains, " ")}, {"https_port", strconv.Itoa(r.tls.Port)}, {"certificate_limit", strconv.Itoa(r.certificateLimit())},
		{"unneeded_versions", strings.Join(r.unneeded.Versions, " ")}, {"unneeded_backups", strings.Join(r.unneeded.Backups, " ")},
	} {
		text.WriteString(pair[0] + "=" + word(pair[1]) + "\n")
	}
	return text.String()
}

// stepScript returns a step's script as it lies in the folder of a run.
func stepScript(doc, text string) string {
	return "#!/bin/sh\n# This step: " + doc + ".\n. ./lib.sh\n\n" + text
}

// plainFile is a file that is read and not run.
func plainFile(name, text string) host.File {
	return host.File{Name: name, Mode: fs.FileMode(0o600), Data: []byte(text)}
}

// word returns a text as one quoted word.
func word(s string) string { return host.Quote([]string{"-", s})[2:] }

func oneLine(s string) string { return strings.Join(strings.Fields(s), " ") }
