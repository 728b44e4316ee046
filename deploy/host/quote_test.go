package host

import (
	"os/exec"
	"slices"
	"strings"
	"testing"
)

func TestQuote(t *testing.T) {
	for _, test := range []struct {
		name string
		argv []string
		want string
	}{
		{"plain words stay readable", []string{"docker", "compose", "--project-name=erp", "up", "-d"}, "docker compose --project-name=erp up -d"},
		{"paths and digests", []string{"cat", "/opt/erp/.env", "name:v1@sha256:ab"}, "cat /opt/erp/.env name:v1@sha256:ab"},
		{"empty argument", []string{"echo", ""}, "echo ''"},
		{"space", []string{"echo", "a b"}, "echo 'a b'"},
		{"single quote", []string{"echo", "it's"}, `echo 'it'\''s'`},
		{"expansion", []string{"echo", "$HOME", "`id`", "$(id)"}, "echo '$HOME' '`id`' '$(id)'"},
		{"tilde and glob", []string{"ls", "~", "*.sql"}, "ls '~' '*.sql'"},
		{"assignment in the place of a command", []string{"A=b", "c=d"}, "'A=b' 'c=d'"},
		{"reserved word in the place of a command", []string{"if", "then"}, "'if' then"},
		{"line break", []string{"printf", "a\nb"}, "printf 'a\nb'"},
	} {
		t.Run(test.name, func(t *testing.T) {
			if got := Quote(test.argv); got != test.want {
				t.Errorf("Quote(%q) = %s, want %s", test.argv, got, test.want)
			}
		})
	}
}

// FuzzQuote holds Quote against the shells that hosts have.
func FuzzQuote(f *testing.F) {
	for _, seed := range []string{
		"", "a", "a b", "it's", `\`, `'\''`, "$HOME", "`id`", "!!", "~", "*", "a\nb", "\t", "#", "-n", "--", "{a,b}", "é☃",
		"\x81\x82\x88", "\xff\xfe", "\r", ">x", "&", "|", ";", "=", "%1", "^", "if", "\x01\x7f",
	} {
		f.Add(seed, "second")
		f.Add("first", seed)
	}
	var shells []string
	for _, name := range []string{"sh", "dash", "bash"} {
		if path, err := exec.LookPath(name); err == nil {
			shells = append(shells, path)
		}
	}
	f.Fuzz(func(t *testing.T, a, b string) {
		if strings.Contains(a+b, "\x00") {
			t.Skip("no shell can pass on a NUL")
		}
		argv := []string{"printf", `%s\0`, a, b}
		for _, shell := range shells {
			out, err := exec.Command(shell, "-c", Quote(argv)).Output()
			if err != nil {
				t.Fatalf("%s -c %s: %v", shell, Quote(argv), err)
			}
			if got := strings.Split(string(out), "\x00"); !slices.Equal(got, []string{a, b, ""}) {
				t.Errorf("%s: %q came back as %q", shell, argv[2:], got)
			}
		}
	})
}
