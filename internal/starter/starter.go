// Package starter makes the files that a repository needs to release a site with this
// program. It writes none: what is there already is for the caller to leave alone.
package starter

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io/fs"
	"regexp"
	"strings"

	erpnextpipeline "github.com/desiredeffect/erpnext-pipeline"
	"github.com/desiredeffect/erpnext-pipeline/deploy/compose"
	"github.com/desiredeffect/erpnext-pipeline/internal/config"
	"github.com/desiredeffect/erpnext-pipeline/internal/secret"
)

// File is one file of a repository.
type File struct {
	// Path is relative to the repository, with slashes.
	Path string
	// Mode is 0600 where the file has secrets in it.
	Mode fs.FileMode
	Text []byte
	// What says in a few words what it is for.
	What string
}

// App is an entry of apps.json.
type App struct {
	// URL may have a placeholder for a token in it.
	URL string `json:"url"`
	// Ref is a tag, a branch or a commit.
	Ref string `json:"branch"`
}

// AppsJSON returns apps.json with an app in each line.
func AppsJSON(list []App) (File, error) {
	lines := make([]string, len(list))
	for i, app := range list {
		var b bytes.Buffer
		text := json.NewEncoder(&b)
		// A placeholder or an address stays as it is written.
		text.SetEscapeHTML(false)
		if err := text.Encode(app); err != nil {
			return File{}, fmt.Errorf("render apps.json: %w", err)
		}
		line := strings.ReplaceAll(strings.TrimSpace(b.String()), `":"`, `": "`)
		lines[i] = "  " + strings.ReplaceAll(line, `","`, `", "`)
	}
	return File{"apps.json", 0o644, []byte("[\n" + strings.Join(lines, ",\n") + "\n]\n"), "apps of the image and their refs"}, nil
}

// Env returns the .env file under a name, with these values and every other key.
func Env(name string, values map[string]secret.Secret) (File, error) {
	text, err := config.FilledEnv(values)
	if err != nil {
		return File{}, err
	}
	return File{name, 0o600, text, "configuration, with its passwords: for you alone"}, nil
}

// ComposeFile returns the program's own compose file, for a repository that wants to
// change it. Without it the one in the program is used, and goes with its version.
func ComposeFile() (File, error) {
	text, err := compose.Own.ReadFile("compose-main.yaml")
	if err != nil {
		return File{}, fmt.Errorf("read compose file: %w", err)
	}
	return File{"deploy/compose/compose-main.yaml", 0o644, text, "compose file, yours from here on"}, nil
}

// home is where this program is from.
const home = "https://github.com/desiredeffect/erpnext-pipeline"

// HooksReadme returns what the folder of hooks says of itself.
func HooksReadme() (File, error) {
	const name = "deploy/hooks/README.md"
	text, err := erpnextpipeline.Files.ReadFile(name)
	if err != nil {
		return File{}, fmt.Errorf("read %s: %w", name, err)
	}
	return File{name, 0o644, bytes.ReplaceAll(text, []byte("](../../docs/"), []byte("]("+home+"/blob/main/docs/")), "where your own steps go"}, nil
}

// KnownHostsFile is the path of the file with the keys of the host.
const KnownHostsFile = "known_hosts"

// KnownHosts returns the file with the host keys that a person has compared.
func KnownHosts(lines []string) File {
	return File{KnownHostsFile, 0o644, []byte(strings.Join(lines, "\n") + "\n"), "keys of the host, which you have compared"}
}

// Ignored returns the lines that .gitignore needs and does not have: without them the
// file with the secrets could be committed. envFile is its path from the folder of
// .gitignore, with slashes and clean; empty where it is elsewhere.
func Ignored(gitignore []byte, envFile string) []string {
	wanted := []string{".env", ".env.*"}
	if envFile != "" && envFile != ".env" && (!strings.HasPrefix(envFile, ".env.") || strings.Contains(envFile, "/")) {
		wanted = append(wanted, "/"+special.ReplaceAllString(envFile, `\$0`))
	}
	has := map[string]bool{}
	for line := range bytes.Lines(gitignore) {
		has[strings.TrimPrefix(strings.TrimSpace(string(line)), "/")] = true
	}
	var missing []string
	for _, line := range wanted {
		// .env* is the usual shorter form of both.
		if !has[strings.TrimPrefix(line, "/")] && !(has[".env*"] && strings.HasPrefix(line, ".env")) {
			missing = append(missing, line)
		}
	}
	return missing
}

// special is what stands for something else in .gitignore, or is cut off.
var special = regexp.MustCompile(`[\\*?[]| +$`)
