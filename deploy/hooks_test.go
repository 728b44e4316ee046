package deploy_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/desiredeffect/erpnext-pipeline/deploy"
)

func TestReadHooks(t *testing.T) {
	const names = "hooks are before-deploy, before-migrate, after-migrate, after-deploy, before-rollback, after-rollback"
	type file struct {
		name, text string
		mode       os.FileMode
	}
	for _, c := range []struct {
		name  string
		files []file
		hooks string // NAME=TEXT of each
		want  string // DIR stands for the folder
	}{
		{"none", nil, "", ""},
		{"all six, and what may lie beside them", []file{
			{"before-deploy", "a", 0o755}, {"after-deploy", "b", 0o700}, {"before-migrate", "c", 0o755}, {"after-migrate", "d", 0o755},
			{"before-rollback", "e", 0o755}, {"after-rollback", "f", 0o755}, {"README.md", "x", 0o644}, {".gitkeep", "", 0o644},
		}, "after-deploy=b after-migrate=d after-rollback=f before-deploy=a before-migrate=c before-rollback=e", ""},
		{"a mistyped name", []file{{"before_deploy", "", 0o755}, {"after-deploy", "b", 0o755}}, "after-deploy=b",
			"✗ DIR/before_deploy: is not the name of a hook, so it would never run\n  fix: call it before-deploy; " + names + "\n"},
		{"a name like none", []file{{"notify.sh", "", 0o755}}, "",
			"✗ DIR/notify.sh: is not the name of a hook, so it would never run\n  fix: " + names + "\n"},
		{"not executable", []file{{"after-deploy", "", 0o644}}, "",
			"✗ DIR/after-deploy: is not executable\n  fix: chmod +x DIR/after-deploy\n"},
		{"as big as may be", []file{{"after-deploy", strings.Repeat("x", 1<<20), 0o755}}, "after-deploy=" + strings.Repeat("x", 1<<20), ""},
		{"too big, and not executable", []file{{"after-deploy", strings.Repeat("x", 1<<20+1), 0o644}}, "",
			"✗ DIR/after-deploy: is not executable\n  fix: chmod +x DIR/after-deploy\n" +
				"✗ DIR/after-deploy: has 1048577 bytes, more than the 1048576 that a hook may have\n  fix: keep what it needs on the host or in the image, and call that\n"},
		{"a folder", []file{{"after-deploy/script", "", 0o755}}, "",
			"✗ DIR/after-deploy: is not a file\n  fix: put the program itself there\n"},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir := t.TempDir()
			for _, f := range c.files {
				name := filepath.Join(dir, f.name)
				if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
					t.Fatal(err)
				}
				if err := os.WriteFile(name, []byte(f.text), f.mode); err != nil {
					t.Fatal(err)
				}
			}
			hooks, report := deploy.ReadHooks(dir, true)
			var got []string
			for _, h := range hooks {
				got = append(got, h.Name+"="+string(h.Data))
			}
			if strings.Join(got, " ") != c.hooks {
				t.Errorf("the hooks are %.200q, want %.200q", got, c.hooks)
			}
			var b strings.Builder
			if err := report.Render(&b); err != nil {
				t.Fatal(err)
			}
			if got := strings.ReplaceAll(b.String(), dir, "DIR"); got != c.want {
				t.Errorf("got\n%s\nwant\n%s", got, c.want)
			}
		})
	}
}

func TestReadHooksWithoutFolder(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "hooks")
	if hooks, report := deploy.ReadHooks(dir, false); len(hooks)+len(report) > 0 {
		t.Errorf("not required: got %v, %v", hooks, report)
	}
	_, report := deploy.ReadHooks(dir, true)
	if len(report) != 1 || report[0].Error() != dir+": can't be read: no such file or directory" || report[0].Remedy == "" {
		t.Errorf("required: got %v", report)
	}
}

// A link is as good as the script that it leads to.
func TestReadHooksFollowsLinks(t *testing.T) {
	dir, script := t.TempDir(), filepath.Join(t.TempDir(), "notify")
	if err := os.WriteFile(script, []byte("x"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(script, filepath.Join(dir, "after-deploy")); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(script+"-gone", filepath.Join(dir, "before-deploy")); err != nil {
		t.Fatal(err)
	}
	hooks, report := deploy.ReadHooks(dir, false)
	if len(hooks) != 1 || hooks[0].Name != "after-deploy" || string(hooks[0].Data) != "x" {
		t.Errorf("got %v", hooks)
	}
	if len(report) != 1 || !strings.Contains(report[0].Error(), "before-deploy: can't be read") {
		t.Errorf("got %v", report)
	}
}
