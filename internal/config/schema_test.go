package config

import (
	"flag"
	"os"
	"regexp"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "write de-example.env and the table in README.md anew")

const (
	exampleFile = "../../de-example.env"
	readmeFile  = "../../README.md"
	tableBegin  = "<!-- config:begin -->\n"
	tableEnd    = "<!-- config:end -->"
)

func TestExampleEnvIsUpToDate(t *testing.T) {
	if *update {
		if err := os.WriteFile(exampleFile, []byte(ExampleEnv()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	got, err := os.ReadFile(exampleFile)
	if err != nil {
		t.Fatal(err)
	}
	if string(got) != ExampleEnv() {
		t.Error("de-example.env is not what the schema in internal/config/schema.go says; run: go test ./internal/config -update")
	}
}

func TestReadmeIsUpToDate(t *testing.T) {
	got, err := os.ReadFile(readmeFile)
	if err != nil {
		t.Fatal(err)
	}
	before, rest, begins := strings.Cut(string(got), tableBegin)
	_, after, ends := strings.Cut(rest, tableEnd)
	if !begins || !ends {
		t.Fatalf("README.md has not the lines %q and %q, between which the table of all keys stands", strings.TrimSpace(tableBegin), tableEnd)
	}
	want := before + tableBegin + MarkdownTable() + tableEnd + after
	if string(got) == want {
		return
	}
	if !*update {
		t.Fatal("the table of README.md is not what the schema in internal/config/schema.go says; run: go test ./internal/config -update")
	}
	if err := os.WriteFile(readmeFile, []byte(want), 0o644); err != nil {
		t.Fatal(err)
	}
}

// de-example.env is what a user starts from: filled in, it must load.
func TestExampleEnvLoadsOnceFilledIn(t *testing.T) {
	text := regexp.MustCompile(`(?m)^([A-Z_]+)=$`).ReplaceAllString(ExampleEnv(), "$1=filled-in.example")
	w := newWorld(t)
	w.write(".env", text)
	w.environ = append(w.environ, "DEPLOY_SSH_KEY_FILE="+w.path("id"))
	config, report := w.load(Build | Push | Deploy)
	if len(report) > 0 {
		t.Fatalf("problems:\n%s", rendered(t, report))
	}
	if got, want := config.Registry.Name, "desiredeffect/erpnext-custom"; got != want {
		t.Errorf("IMAGE_NAME is %q, want the company's %q", got, want)
	}
}

func TestExampleEnvHasEveryKeyOnce(t *testing.T) {
	text := ExampleEnv()
	for _, k := range Schema() {
		if n := len(regexp.MustCompile(`(?m)^(# )?`+k.Name+`=`).FindAllString(text, -1)); n != 1 {
			t.Errorf("%s stands in de-example.env %d times, want once", k.Name, n)
		}
	}
	for _, line := range strings.Split(text, "\n") {
		if len(line) > 80 && strings.HasPrefix(line, "#") && strings.Contains(line, " ") && !strings.Contains(line, "=") {
			t.Errorf("comment of %d characters: %s", len(line), line)
		}
	}
}

func TestSchemaIsWhole(t *testing.T) {
	seen := map[string]bool{}
	for _, k := range Schema() {
		for _, name := range []string{k.Name, k.Alias, "--" + k.Flag} {
			if name != "" && name != "--" && seen[name] {
				t.Errorf("%s is there twice", name)
			}
			seen[name] = true
		}
		if k.Doc == "" || !strings.HasSuffix(strings.TrimSuffix(k.Doc, ")"), ".") || strings.Contains(k.Doc, "|") {
			t.Errorf("%s: doc %q is not a sentence that fits a Markdown table", k.Name, k.Doc)
		}
		if k.parse == nil {
			t.Errorf("%s is not parsed", k.Name)
		}
		if k.Elsewhere != "" && k.Expression != "" {
			t.Errorf("%s: a workflow has it from elsewhere, yet from %s", k.Name, k.Expression)
		}
		if k.Group == "" {
			t.Errorf("%s stands under no heading", k.Name)
		}
		if k.Secret && (k.Default != "" || k.Example != "") {
			t.Errorf("%s is a secret with a value in the schema", k.Name)
		}
		if k.Need != 0 && k.Default != "" {
			t.Errorf("%s is required, yet has a default", k.Name)
		}
		if strings.Contains(k.Default, "desiredeffect") {
			t.Errorf("%s: the default %q is one company's", k.Name, k.Default)
		}
	}
}

func TestNeedPrints(t *testing.T) {
	for need, want := range map[Need]string{0: "", Build: "build", Build | Push: "build, push", Deploy: "deploy", Build | Push | Deploy: "build, push, deploy", Deploy | HostAccess: "deploy, host commands", Push | RegistryAccess: "push, prune --stages"} {
		if got := need.String(); got != want {
			t.Errorf("need %d prints as %q, want %q", int(need), got, want)
		}
	}
}
