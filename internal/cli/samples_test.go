package cli

import (
	"strings"
	"time"

	"github.com/desiredeffect/erpnext-pipeline/deploy"
	"github.com/desiredeffect/erpnext-pipeline/deploy/compose"
	"github.com/desiredeffect/erpnext-pipeline/internal/release"
)

// Values as a release makes them, for what renders them.

func sampleApp(name, ref, version, commit string) release.App {
	return release.App{Name: name, Ref: ref, Version: version, Commit: strings.Repeat(commit, 40)}
}

func sampleLock() release.Lock {
	return release.Lock{
		SiteVersion: "1.1.5", Python: "3.11.6", Node: "18.18.2",
		Requirements: "click==8.1.8\nredis==4.5.5\nrq==1.15.1\n",
		Apps: []release.App{
			sampleApp("frappe", "v15.15.0", "15.15.0", "a"),
			sampleApp("erpnext", "version-15", "15.14.2", "b"),
			sampleApp("hrms", "v15.13.2", "15.13.2", "c"),
		},
	}
}

const samplePackages = "click==8.1.7\nredis==4.5.5\nsix==1.16.0\n"

func samplePlan() deploy.Plan {
	lock := sampleLock()
	before := sampleApp("erpnext", "version-15", "15.14.1", "d")
	removed := sampleApp("payments", "v15.0.1", "", "e")
	return deploy.Plan{
		Version: "1.1.5", Previous: "1.1.4", Target: deploy.Target{Project: "de-erpnext"},
		Apps: []deploy.AppChange{
			{Name: "frappe", Old: &lock.Apps[0], New: &lock.Apps[0]},
			{Name: "erpnext", Old: &before, New: &lock.Apps[1]},
			{Name: "hrms", New: &lock.Apps[2]},
			{Name: "payments", Old: &removed},
		},
		Steps: []deploy.PlannedStep{{Name: "pull", Does: "pull the image"}, {Name: "migrate", Does: "migrate the site"}},
	}
}

func sampleRecord() release.Record {
	return release.Record{
		Version: "1.1.5", Previous: "1.1.4", Lock: sampleLock(), Sites: []string{"erp.example.com", "test.example.com"},
		Image:      release.Image{Repository: "ghcr.io/acme/site", Tag: "1.1.5", Digest: "sha256:" + strings.Repeat("0f", 32)},
		Notes:      []string{"job 7 of the queue long was put back"},
		FinishedAt: time.Date(2024, 3, 20, 13, 0, 0, 0, time.FixedZone("", 3600)), Downtime: 12.34,
		Steps:    []release.Step{{Name: "pull", Seconds: 3.21}, {Name: "migrate", Seconds: 101.26}},
		Warnings: []release.Warning{{Step: "await-workers", Exit: 1, Remedy: "pipeline logs queue-short says why"}},
	}
}

// sampleStates are hosts by what there is to see on them.
func sampleStates() map[string]deploy.State {
	record := sampleRecord()
	first := record
	first.Previous, first.FinishedAt = "", time.Time{}
	held := &deploy.Lock{Run: "7-1.1.6", Status: deploy.RunHeld, Since: record.FinishedAt}
	return map[string]deploy.State{
		"no-docker": {DockerError: "permission denied"},
		"empty":     {Docker: "24.0", NoWaker: true},
		"live": {Docker: "24.0", Current: &first, LastRun: &deploy.RunState{ID: "1-1.1.5", Status: "done"}, Containers: []compose.Container{
			{Service: "backend", State: "running", Health: "healthy"},
			{Service: "db", State: "running", Health: "starting"},
			{Service: "configurator", State: "exited", Role: compose.Once},
			{Service: "queue-long", State: "exited", Role: compose.Worker},
			{Service: "queue-short", State: "exited", Exit: 1},
		}},
		"settled": {Docker: "24.0", Current: &record, LastRun: &deploy.RunState{ID: "7-1.1.6", Status: deploy.RunInterrupted, Step: "workers", Settled: true},
			Unreadable: []string{"releases/1.1.3/release.json"}},
		"interrupted": {Docker: "24.0", Current: &record, Lock: held, LastRun: &deploy.RunState{ID: "7-1.1.6", Status: deploy.RunInterrupted, Step: "migrate"}},
		"only-copies": {Docker: "24.0", Current: &record, OnlyCopies: []string{"000007-1.1.6-abcd", "000009-1.1.4-efgh"}},
		"held":        {Docker: "24.0", Current: &record, Lock: held, LastRun: &deploy.RunState{ID: "7-1.1.6", Status: deploy.RunHeld, Step: "migrate", Undoing: true}},
	}
}

func sampleDemo() []demoRelease {
	first, second := sampleRecord(), sampleRecord()
	first.Version, first.Previous, first.Steps = "1.1.4", "", first.Steps[:1]
	second.Lock.Apps = second.Lock.Apps[:2]
	return []demoRelease{
		{record: first, took: 61 * time.Second, stages: []stageRow{{"erpnext", 12.34, false}, {"frappe", 30, false}}},
		{record: second, took: 12 * time.Second, stages: []stageRow{{"erpnext", 1.25, false}, {"frappe", 0.5, true}, {"hrms", 2, false}}},
	}
}
