package compose_test

import (
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/compose-spec/compose-go/v2/dotenv"

	"github.com/desiredeffect/erpnext-pipeline/deploy/compose"
	"github.com/desiredeffect/erpnext-pipeline/internal/secret"
)

func itoa(n int) string { return strconv.Itoa(n) }

func plus(number string, n int) string {
	i, err := strconv.Atoi(number)
	if err != nil {
		panic(err)
	}
	return itoa(i + n)
}

func TestCommands(t *testing.T) {
	p := compose.Project{Name: "erp", Dir: "/srv/erp/releases/1.1.5", Files: []string{"compose-main.yaml", "site.yaml"}}
	const front = "docker compose -p erp -f /srv/erp/releases/1.1.5/compose-main.yaml -f /srv/erp/releases/1.1.5/site.yaml --env-file /srv/erp/releases/1.1.5/.env "
	if got := strings.Join(p.Command("ps", "--all"), " "); got != front+"ps --all" {
		t.Errorf("got %s", got)
	}
	if got := strings.Join(compose.Project{Name: "erp"}.Command("logs"), " "); got != "docker compose -p erp logs" {
		t.Errorf("by its name alone: %s", got)
	}
}

// TestContainerIsAsItShouldBe: a container that is to run and has ended is not
// well, whatever its exit code says.
func TestContainerIsAsItShouldBe(t *testing.T) {
	all := []compose.Container{
		{Service: "create-site", State: "exited"},
		{Service: "configurator", State: "exited", Exit: 1},
		{Service: "queue-short", State: "exited"},
		{Service: "queue-long", State: "exited", Exit: 137},
		{Service: "scheduler", State: "running"},
		{Service: "backend", State: "running", Health: "unhealthy"},
		{Service: "db", State: "exited"},
		{Service: "websocket", State: "restarting"},
		{Service: "not-on-record", State: "exited"},
	}
	compose.Know(all, "once create-site\nonce configurator\nworker queue-short\nworker queue-long\nscheduler scheduler\nweb backend\nweb websocket\ndata db\n")
	var well []string
	for _, c := range all {
		if c.OK() {
			well = append(well, c.Service)
		}
	}
	if got, want := strings.Join(well, " "), "create-site scheduler not-on-record"; got != want {
		t.Errorf("well are %s, want %s", got, want)
	}
}

func TestParsePS(t *testing.T) {
	lines := `{"Name":"erp-db-1","Service":"db","Image":"mariadb:10.11","State":"running","Health":"healthy","ExitCode":0}
{"Name":"erp-backend-1","Service":"backend","Image":"erp","State":"running","Health":"unhealthy","ExitCode":0}
{"Name":"erp-create-site-1","Service":"create-site","Image":"erp","State":"exited","Health":"","ExitCode":1}
`
	list := "[" + strings.Join(strings.Split(strings.TrimSpace(lines), "\n"), ",") + "]"
	want := []compose.Container{
		{Name: "erp-backend-1", Service: "backend", Image: "erp", State: "running", Health: "unhealthy"},
		{Name: "erp-create-site-1", Service: "create-site", Image: "erp", State: "exited", Exit: 1},
		{Name: "erp-db-1", Service: "db", Image: "mariadb:10.11", State: "running", Health: "healthy"},
	}
	for name, text := range map[string]string{"lines": lines, "list": list} {
		got, err := compose.ParsePS(text)
		if err != nil || !slices.Equal(got, want) {
			t.Errorf("%s: %v, %+v", name, err, got)
		}
	}
	for i, ok := range []bool{false, false, true} {
		if want[i].OK() != ok {
			t.Errorf("%s: OK is %v", want[i].Name, !ok)
		}
	}
	if got, err := compose.ParsePS("\n"); err != nil || len(got) != 0 {
		t.Errorf("nothing: %v, %v", err, got)
	}
	if _, err := compose.ParsePS("no configuration file provided"); err == nil || !strings.HasPrefix(err.Error(), "read list of containers: ") {
		t.Errorf("not JSON: %v", err)
	}
}

func TestDotEnv(t *testing.T) {
	values := map[string]string{
		"PLAIN": "erp.example.com", "EMPTY": "", "SPACE": " a # b ", "DOLLAR": "a$b${c}$$", "SINGLE": "it's",
		"DOUBLE": `say "x"`, "BACKSLASH": `a\nb\`, "BOTH": `'"`, "LINES": "a\nb", "EQUALS": "a=b", "UMLAUT": "schöner",
	}
	secrets := map[string]secret.Secret{}
	for k, v := range values {
		secrets[k] = secret.New(v)
	}
	file, err := compose.DotEnv(secrets)
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), ".env")
	if err := os.WriteFile(path, file, 0o600); err != nil {
		t.Fatal(err)
	}
	got, err := dotenv.Read(path)
	if err != nil {
		t.Fatalf("%v in\n%s", err, file)
	}
	for k, v := range values {
		if got[k] != v {
			t.Errorf("%s: %q came back as %q", k, v, got[k])
		}
	}
	if !strings.Contains(string(file), "PLAIN='erp.example.com'\n") {
		t.Errorf("a plain value is not easy to read:\n%s", file)
	}
}
