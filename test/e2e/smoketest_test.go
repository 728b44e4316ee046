package e2e

import (
	"strings"
	"testing"

	"github.com/desiredeffect/erpnext-pipeline/internal/cli"
	"github.com/desiredeffect/erpnext-pipeline/internal/sandbox"
	"github.com/desiredeffect/erpnext-pipeline/internal/sandbox/apps"
	"github.com/desiredeffect/erpnext-pipeline/internal/sandbox/localengine/enginetest"
)

func (u *user) brokenImage(t *testing.T) {
	u.changeApp("frappe", "payments", "version-15", "broken", "payments/hooks.py", "import nowhere_to_be_found")
	// The host has pulled it meanwhile, and has nothing of it in the end.
	images := u.onHost("docker", "images", "--digests", "--no-trunc", "--format", "{{.Repository}} {{.Tag}} {{.Digest}} {{.ID}}")
	code, out, errs := u.run(u.command("release", "1.0.5", apps.Version1().With("payments", "broken"), "--yes")...)
	if left := u.onHost("docker", "images", "--digests", "--no-trunc", "--format", "{{.Repository}} {{.Tag}} {{.Digest}} {{.ID}}"); left != images {
		t.Errorf("the host has\n%s\nand had\n%s", left, images)
	}
	if code != cli.ExitFailed || out != "" || !strings.Contains(errs, "every app imports") || !strings.Contains(errs, "nowhere_to_be_found") {
		t.Errorf("exit %d, printed %q\n%s", code, out, errs)
	}
	u.fails([]string{"deploy", "1.0.5", "--yes"}, cli.ExitUsage, "there is no")
}

// TestKeptSite: a smoke test begins with the site that an earlier one has kept, and so
// finds the patch that would fail on the host.
func TestKeptSite(t *testing.T) {
	if testing.Short() {
		t.Skip("builds images")
	}
	enginetest.Shared(t)
	u := &user{t: t, printed: &syncedBuffer{}, world: newWorld(t, sandbox.Options{Name: "kept", NoHost: true, Log: enginetest.Log(t)})}
	var err error
	if u.environ, err = u.world.Environment(); err != nil {
		t.Fatal(err)
	}
	const made, migrated = "smoke test: a site is made, with every app installed", "smoke test: the site of an earlier image migrates"
	first := apps.Version1()
	for _, step := range []struct {
		version, erpnext string
		flags            []string
		code             int
		says             []string
	}{
		{"1.0.0", "v15.1.0", nil, 0, []string{made, "smoke test: the site is kept"}},
		{"1.0.1", "v15.1.1", nil, 0, []string{migrated}},
		{"1.0.2", "v15.1.2", nil, cli.ExitFailed, []string{"no_such_column", "does not work on the site that sha256:", "--new-site"}},
		{"1.0.2", "v15.1.2", []string{"--new-site"}, 0, []string{made}},
		{"1.0.3", "v15.1.1", nil, 0, []string{"erpnext is 15.1.1, and was 15.1.2", made}},
	} {
		code, _, errs := u.run(u.command("push", step.version, first.With("erpnext", step.erpnext), step.flags...)...)
		if code != step.code {
			t.Fatalf("%s: exit %d\n%s", step.version, code, errs)
		}
		u.has(errs, step.says...)
	}
}
