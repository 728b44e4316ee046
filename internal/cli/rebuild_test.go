package cli

import (
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/desiredeffect/erpnext-pipeline/internal/problem"
	"github.com/desiredeffect/erpnext-pipeline/internal/release"
)

func TestReadLock(t *testing.T) {
	good := release.Lock{
		SiteVersion: "1.0.0", Python: "3.11.6", Node: "18.18.2", Requirements: "click==8.1.7\n",
		Apps: []release.App{{Name: "frappe", Ref: "v15.1.0", Commit: strings.Repeat("a", 40)}},
		// What came from elsewhere is part of a lock as much as the apps.
		Wkhtmltopdf: &release.Download{URL: "https://example.com/w.deb", SHA256: map[string]string{"": "00ff"}},
	}
	bare, early := good, good
	bare.Apps = nil
	early.Requirements = ""
	encoded := func(v any) string {
		text, err := json.Marshal(v)
		if err != nil {
			t.Fatal(err)
		}
		return string(text)
	}
	const either = "name the file that build --lock wrote, or what show --json printed"
	for name, test := range map[string]struct {
		text, detail, remedy string
	}{
		"a lock":             {text: encoded(good)},
		"a record":           {text: encoded(release.Record{Version: "1.0.0", Lock: good})},
		"cut off":            {encoded(good)[:40], "is no JSON: unexpected end of JSON input", either},
		"without apps":       {encoded(bare), "has no apps in it", either},
		"something else":     {`{"name": "package"}`, "has no apps in it", either},
		"without packages":   {encoded(early), "has no Python packages in it: it is of a release from before they were locked", "release those refs anew, under a new version"},
		"a record of before": {encoded(release.Record{Lock: early}), "has no Python packages in it: it is of a release from before they were locked", "release those refs anew, under a new version"},
	} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "lock.json")
			if err := os.WriteFile(path, []byte(test.text), 0o600); err != nil {
				t.Fatal(err)
			}
			got, err := readLock(path)
			if test.detail == "" {
				if err != nil || !reflect.DeepEqual(got, good) {
					t.Errorf("got %+v, %v\nwant %+v", got, err, good)
				}
				return
			}
			isProblem(t, err, problem.Problem{Code: "lock.unreadable", Subject: path, Detail: test.detail, Remedy: test.remedy})
		})
	}
	_, err := readLock("/nowhere/lock.json")
	isProblem(t, err, problem.Problem{
		Code: "lock.unreadable", Subject: "/nowhere/lock.json", Detail: "can't be read: open /nowhere/lock.json: no such file or directory",
		Remedy: "name the file that build --lock wrote",
	})
}

func isProblem(t *testing.T, err error, want problem.Problem) {
	t.Helper()
	var report *problem.Error
	if !errors.As(err, &report) || len(report.Report) != 1 {
		t.Fatalf("got %v, want a problem", err)
	}
	got := report.Report[0]
	got.Err = nil
	if got != want {
		t.Errorf("got %+v\nwant %+v", got, want)
	}
}

func TestRebuildUsage(t *testing.T) {
	t.Chdir(t.TempDir())
	const want = "name a version, or a file with --lock"
	for name, test := range map[string]struct {
		args []string
		want string
	}{
		"neither":          {[]string{"rebuild"}, want},
		"both":             {[]string{"rebuild", "1.0.0", "--lock", "lock.json"}, want},
		"two versions":     {[]string{"rebuild", "1.0.0", "1.0.1"}, "accepts at most 1 arg(s), received 2"},
		"a file not there": {[]string{"rebuild", "--lock", "lock.json"}, "✗ lock.json: can't be read"},
		// A value of these flags needs its =; without it, it is an argument.
		"an app apart": {[]string{"build", "--no-cache", "hrms"}, `"hrms"`},
	} {
		t.Run(name, func(t *testing.T) {
			code, out, errs := quietly(t, []string{"HOME=" + t.TempDir()}, test.args...)
			if code != ExitUsage || out != "" || !strings.Contains(errs, test.want) {
				t.Errorf("exit %d, printed %q, want %d with %q in\n%s", code, out, ExitUsage, test.want, errs)
			}
		})
	}
}
