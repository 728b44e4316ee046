package cli

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// However the file with the secrets is named, git does not take it, or it is not written.
func TestInitKeepsSecretsOutOfGit(t *testing.T) {
	for name, test := range map[string]struct {
		envFile, ignored string
		// line is the last one of .gitignore; empty for none of the file's own.
		line, refused string
	}{
		"by its name":             {"prod.env", "", "/prod.env", ""},
		"from the folder":         {"./prod.env", "", "/prod.env", ""},
		"through another":         {"sub/../conf//prod.env", "", "/conf/prod.env", ""},
		"whole":                   {"FOLDER/prod.env", "", "/prod.env", ""},
		"through a link":          {"LINK/prod.env", "", "/prod.env", ""},
		"as a pattern":            {"[p]*.env", "", `/\[p]\*.env`, ""},
		"in the folder above":     {"../prod.env", "", "", "../prod.env: is not ignored by git"},
		"ignored there":           {"../.env.ignored-there", "", "", ""},
		"outside the repository":  {"OUTSIDE/prod.env", "", "", ""},
		"taken out again":         {".env", ".env\n.env.*\n!.env\n", "", ".env: is not ignored by git"},
		"everything taken out":    {"new/prod.env", "/new/prod.env\n!*.env\n", "", "new/prod.env: is not ignored by git"},
		"in git before, and gone": {"gone.env", "", "/gone.env", "gone.env: is in git"},
	} {
		t.Run(name, func(t *testing.T) {
			repository, outside := t.TempDir(), t.TempDir()
			t.Chdir(repository)
			gitIn(t, "init", "--quiet")
			write(t, "gone.env", "")
			write(t, ".gitignore", ".env.ignored-there\n")
			folder, link := filepath.Join(repository, "folder"), filepath.Join(outside, "link")
			for _, err := range []error{os.MkdirAll(filepath.Join(folder, "sub"), 0o755), os.Rename("gone.env", "folder/gone.env"), os.Symlink(folder, link)} {
				if err != nil {
					t.Fatal(err)
				}
			}
			gitIn(t, "add", "folder/gone.env")
			if err := os.Remove("folder/gone.env"); err != nil {
				t.Fatal(err)
			}
			t.Chdir(folder)
			if test.ignored != "" {
				write(t, ".gitignore", test.ignored)
			}
			envFile := strings.NewReplacer("FOLDER", folder, "LINK", link, "OUTSIDE", outside).Replace(test.envFile)
			code, _, errs := initWith(t, nil, append([]string{"--env-file", envFile, "--image", "acme/erp", "--site", "erp.example.com", "--host="}, ownApps...)...)
			_, err := os.Lstat(envFile)
			if written := err == nil; written != (test.refused == "") || (code == 0) != written || !strings.Contains(errs, test.refused) {
				t.Errorf("exit %d, written %v, want %q in\n%s", code, written, test.refused, errs)
			}
			if lines := strings.Split(strings.TrimSpace(read(t, ".gitignore")), "\n"); test.line != "" && lines[len(lines)-1] != test.line {
				t.Errorf(".gitignore ends with %q, want %q", lines[len(lines)-1], test.line)
			}
			gitIn(t, "-C", repository, "add", "--all", ".")
			if out, err := exec.CommandContext(t.Context(), "git", "-C", repository, "ls-files", "--", "*prod.env", "*gone.env", "*.env*").Output(); err != nil || len(out) > 0 {
				t.Errorf("git would take %s %v", out, err)
			}
		})
	}
}
