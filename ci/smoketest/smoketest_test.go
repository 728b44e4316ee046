package smoketest

import (
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"dagger.io/dagger"

	"github.com/desiredeffect/erpnext-pipeline/internal/problem"
	"github.com/desiredeffect/erpnext-pipeline/internal/sandbox/debian/debiantest"
	"github.com/desiredeffect/erpnext-pipeline/internal/secret"
)

func TestMarks(t *testing.T) {
	for name, test := range map[string]struct {
		printed string
		want    []Check
	}{
		"two checks": {
			"smoke-test: starts as uid 1000 1700000000.5\nsmoke-test: the site answers 1700000002.0\nsmoke-test: end 1700000002.25\n",
			[]Check{{"starts as uid 1000", 1.5}, {"the site answers", 0.25}},
		},
		"among what programs print": {
			"smoke-test: the site migrates 1700000000.0\nMigrating smoke-test.localhost\n  smoke-test: of nothing\nsmoke-test:\nsmoke-test: end 1700000004.0\n",
			[]Check{{"the site migrates", 4}},
		},
		"the end alone": {"smoke-test: end 1700000002.25\n", []Check{}},
		"nothing":       {"", nil},
	} {
		t.Run(name, func(t *testing.T) {
			if got := marks(test.printed); !reflect.DeepEqual(got, test.want) {
				t.Errorf("got %+v, want %+v", got, test.want)
			}
		})
	}
}

// certificate is one in PEM as far as its lines matter.
func certificate(lines ...string) string {
	return "-----BEGIN CERTIFICATE-----\n" + strings.Join(lines, "\n") + "\n-----END CERTIFICATE-----\n"
}

func TestWords(t *testing.T) {
	for name, test := range map[string]struct {
		options Options
		want    string
	}{
		"secrets that are long enough": {
			Options{Secrets: []secret.Secret{secret.New("ghp_0123456789"), secret.New("administrator"), secret.New("supervisor"), {}, secret.New("eightch8")}},
			"ghp_0123456789\neightch8",
		},
		"a key of many lines can't be a word": {Options{Secrets: []secret.Secret{secret.New("-----BEGIN KEY-----\nabcdefgh\n")}}, ""},
		"the last line but one of each certificate": {
			Options{CAs: certificate("same", "first1", "first2", "f=") + certificate("same", "second1", "second2", "s=")},
			"first2\nsecond2",
		},
		"line ends of Windows": {Options{CAs: strings.ReplaceAll(certificate("a", "b", "c", "d="), "\n", "\r\n")}, "c"},
		"no certificate":       {Options{CAs: "-----BEGIN CERTIFICATE-----\nx\n-----END CERTIFICATE-----\n"}, ""},
		// An empty line would be found in every file.
		"nothing": {Options{}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			if got := words(test.options); got != test.want {
				t.Errorf("got %q, want %q", got, test.want)
			}
		})
	}
}

func TestInstallable(t *testing.T) {
	for name, test := range map[string]struct {
		apps    []App
		install []string
		left    map[string]string
	}{
		"in order": {
			apps:    []App{{Name: "frappe"}, {Name: "erpnext", Requires: []string{"frappe"}}, {Name: "hrms", Requires: []string{"frappe", "erpnext"}}},
			install: []string{"erpnext", "hrms"},
		},
		"one is not there": {
			apps:    []App{{Name: "frappe"}, {Name: "hrms", Requires: []string{"erpnext"}}, {Name: "wiki"}},
			install: []string{"wiki"},
			left:    map[string]string{"hrms": "needs erpnext, which is not in the image before it"},
		},
		"what needs the one that was left is left too": {
			apps: []App{{Name: "frappe"}, {Name: "hrms", Requires: []string{"payments", "erpnext"}}, {Name: "payroll", Requires: []string{"hrms"}}},
			left: map[string]string{
				"hrms":    "needs payments, erpnext, which is not in the image before it",
				"payroll": "needs hrms, which is not in the image before it",
			},
		},
		"it comes later": {
			apps:    []App{{Name: "frappe"}, {Name: "hrms", Requires: []string{"erpnext"}}, {Name: "erpnext"}},
			install: []string{"erpnext"},
			left:    map[string]string{"hrms": "needs erpnext, which is not in the image before it"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			install, left := installable(test.apps)
			if !reflect.DeepEqual(install, test.install) || !reflect.DeepEqual(left, test.left) {
				t.Errorf("got %q, %q\nwant %q, %q", install, left, test.install, test.left)
			}
		})
	}
}

func TestSiteOf(t *testing.T) {
	monday := time.Date(2026, 11, 23, 0, 0, 0, 0, time.UTC)
	apps := []App{{Name: "frappe"}, {Name: "erpnext"}}
	first := SiteOf("ab12", "mariadb@sha256:1", apps, monday)
	for name, test := range map[string]struct {
		other []string
		same  bool
	}{
		"on Sunday":                  {SiteOf("ab12", "mariadb@sha256:1", apps, monday.Add(7*24*time.Hour-time.Second)), true},
		"an app that can't be on it": {SiteOf("ab12", "mariadb@sha256:1", append(apps, App{Name: "hrms", Requires: []string{"other"}}), monday), true},
		"the week after":             {SiteOf("ab12", "mariadb@sha256:1", apps, monday.AddDate(0, 0, 7)), false},
		"another Frappe":             {SiteOf("cd34", "mariadb@sha256:1", apps, monday), false},
		"another database server":    {SiteOf("ab12", "mariadb@sha256:2", apps, monday), false},
		"one app more":               {SiteOf("ab12", "mariadb@sha256:1", append(apps, App{Name: "hrms"}), monday), false},
		"one app fewer":              {SiteOf("ab12", "mariadb@sha256:1", apps[:1], monday), false},
	} {
		t.Run(name, func(t *testing.T) {
			if same := slices.Equal(first, test.other); same != test.same {
				t.Errorf("same is %t: %q", same, test.other[4:])
			}
		})
	}
}

func TestOlder(t *testing.T) {
	made := strings.Split(Options{Digest: "sha256:ab", Apps: []App{{Name: "frappe", Version: "15.74.1"}, {Name: "erpnext", Version: "15.70.2"}, {Name: "own", Version: "soon"}}}.madeBy(), "\n")
	if made[0] != "sha256:ab" {
		t.Errorf("made by %q", made)
	}
	for want, list := range map[string][]App{
		"":                                   {{Name: "frappe", Version: "15.74.1"}, {Name: "erpnext", Version: "15.71.0"}, {Name: "own", Version: "1.0.0"}, {Name: "new", Version: "0.0.1"}},
		"erpnext is 15.9.0, and was 15.70.2": {{Name: "frappe", Version: "16.0.0"}, {Name: "erpnext", Version: "15.9.0"}},
	} {
		if got := older(list, made[1:]); got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
}

func TestFailedNamesTheCheck(t *testing.T) {
	var lines strings.Builder
	for i := range 30 {
		fmt.Fprintf(&lines, "line %d\n", i)
	}
	for name, test := range map[string]struct {
		stdout, stderr, subject, detail string
	}{
		"before the first": {"", "no such file\n", "image, start", "does not work: exit 7\nno such file"},
		"a name with a number": {
			"smoke-test: starts as uid 1000 1700000000.5\nruns as root\n", "",
			"image, starts as uid 1000", "does not work: exit 7\nruns as root",
		},
		"the last of several": {
			"smoke-test: every app imports 1700000000.5\nsmoke-test: the site migrates 2700000000.5\n", "Traceback\n",
			"image, the site migrates", "does not work: exit 7\n\nTraceback",
		},
		"an output of which the beginning is lost": {
			"Updating DocTypes\n", "smoke-test: the site migrates 1700000000.5\nTraceback\n",
			"image, the site migrates", "does not work: exit 7\nUpdating DocTypes\n\nTraceback",
		},
		"a mark without a time": {"smoke-test: oddly\n", "", "image, start", "does not work: exit 7\nsmoke-test: oddly"},
		"the last lines alone": {
			"smoke-test: the site migrates 1700000000.5\n", lines.String(),
			"image, the site migrates", "does not work: exit 7\n" + strings.TrimSpace(lines.String()[strings.Index(lines.String(), "line 10\n"):]),
		},
	} {
		t.Run(name, func(t *testing.T) {
			ended := &dagger.ExecError{ExitCode: 7, Stdout: test.stdout, Stderr: test.stderr}
			err := failed(fmt.Errorf("run: %w", ended), "")
			var report *problem.Error
			if !errors.As(err, &report) || len(report.Report) != 1 {
				t.Fatalf("got %v", err)
			}
			p := report.Report[0]
			if p.Code != "smoke-test.failed" || p.Subject != test.subject || p.Detail != test.detail || !strings.Contains(p.Remedy, "--skip-smoke-test") {
				t.Errorf("got %s, %q, %q, fix %q\nwant %q, %q", p.Code, p.Subject, p.Detail, p.Remedy, test.subject, test.detail)
			}
			if !errors.Is(err, ended) {
				t.Error("the command's own error is lost")
			}
		})
	}
	kept := failed(&dagger.ExecError{ExitCode: 1, Stdout: "smoke-test: the site of an earlier image migrates 1700000000.5\n"}, "sha256:ab")
	var found *problem.Error
	if !errors.As(kept, &found) || !strings.Contains(found.Report[0].Detail, "on the site that sha256:ab made") || !strings.Contains(found.Report[0].Remedy, "--new-site") {
		t.Errorf("got %+v", kept)
	}
	other := errors.New("the engine is gone")
	if got := failed(other, ""); !errors.Is(got, other) {
		t.Errorf("got %v, want %v", got, other)
	}
	if got := failed(nil, ""); got != nil {
		t.Errorf("got %v of nothing", got)
	}
}

func TestWord(t *testing.T) {
	at := time.Date(2024, 3, 12, 17, 25, 32, 0, time.UTC)
	if got := (Report{At: at}).Word(); got != "smoke-tested 2024-03-12T17:25:32Z" {
		t.Errorf("got %q", got)
	}
	if got := (Report{At: at, Skipped: true}).Word(); got != "not smoke-tested" {
		t.Errorf("got %q of one that was skipped", got)
	}
}

func TestScriptsPassShellcheck(t *testing.T) {
	for name, test := range map[string]struct {
		text string
		args []string
	}{
		"files": {filesScript, []string{"--shell=sh"}},
		"load":  {loadScript, []string{"--shell=bash"}},
		// Of apps and arguments it has lists, which are words.
		"site": {siteScript, []string{"--shell=bash", "--exclude=SC2086"}},
	} {
		t.Run(name, func(t *testing.T) {
			// All run with these options.
			debiantest.Shellcheck(t, "set -eu\n"+test.text, test.args...)
		})
	}
}
