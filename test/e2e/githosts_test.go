package e2e

import (
	"encoding/json"
	"fmt"
	"path/filepath"
	"strings"

	"github.com/desiredeffect/erpnext-pipeline/internal/cli"
	"github.com/desiredeffect/erpnext-pipeline/internal/sandbox/githosttest"
	"github.com/desiredeffect/erpnext-pipeline/internal/sandbox/github/githubtest"
)

// otherHosts builds and smoke-tests apps that are at no GitHub: in a subgroup of a forge,
// with a package that only the app's token opens, and behind SSH, with a node module
// that only the app's deploy key opens.
func otherHosts(u *user) {
	t := u.t
	root := filepath.Join(u.world.Dir, "other-hosts")
	forge, server := githosttest.ServeHTTP(t, root), githosttest.ServeSSH(t, root)
	const token = "glpat-of-the-forge"
	for _, name := range []string{"acme/erp/by_forge", "acme/erp/library"} {
		forge.Logins[name] = [2]string{"deploy-token", token}
	}
	githubtest.New(t, root, "acme/erp/library").CommitEntries("main", githubtest.Entry{Path: "library.py", Text: "\"\"\"Of the forge.\"\"\"\n__version__ = \"1\"\nsaid = \"of the library\"\n"},
		githubtest.Entry{Path: "pyproject.toml", Text: "[project]\nname = \"library\"\ndynamic = [\"version\", \"description\"]\n\n[build-system]\nrequires = [\"flit_core >=3.4,<4\"]\nbuild-backend = \"flit_core.buildapi\"\n"})
	byForge := githubtest.New(t, root, "acme/erp/by_forge")
	byForge.AnnotatedTag(byForge.CommitEntries("main", common("by_forge",
		githubtest.Entry{Path: "by_forge/hooks.py", Text: "from library import said\n\napp_name = app_title = app_description = \"by_forge\"\nassert said == \"of the library\"\n"},
		githubtest.Entry{Path: "pyproject.toml", Text: strings.Replace(fmt.Sprintf(byFlit, "by_forge"), "\n[build", fmt.Sprintf("dependencies = [\"library @ git+%s/acme/erp/library@main\"]\n\n[build", forge.URL), 1)})...), "v1.0.0")

	bySSH := githubtest.New(t, root, "acme/by_ssh")
	module := bySSH.CommitEntries("module", githubtest.Entry{Path: "package.json", Text: `{"name": "module", "version": "1.0.0", "main": "index.js"}`},
		githubtest.Entry{Path: "index.js", Text: "module.exports = \"of the module\";\n"})
	address := "git+ssh://" + server.User + "@" + server.Host + "/acme/by_ssh#" + module
	s := front("by_ssh", "of the module", ".", `require("module-of-ours")`, map[string]string{
		"package.json": fmt.Sprintf(`{"name": "by_ssh", "private": true, "scripts": {"build": "node build.js"}, "dependencies": {"module-of-ours": %q}}`, address),
		"yarn.lock":    fmt.Sprintf("# yarn lockfile v1\n\n\n\"module-of-ours@%[1]s\":\n  version \"1.0.0\"\n  resolved \"%[1]s\"\n", address),
		"build.js":     builds,
	})
	entries := common(s.name)
	for name, text := range s.files {
		entries = append(entries, githubtest.Entry{Path: name, Text: text})
	}
	bySSH.CommitEntries("release/15", entries...)

	u.environ = append(u.environ, "FORGE_TOKEN="+token, "BY_SSH_KEY="+server.DeployKey("acme/by_ssh"), "DEPLOY_KNOWN_HOSTS="+server.KnownHosts)
	list := func(forgeRef string) string {
		text, err := json.Marshal([]map[string]string{
			{"url": u.world.GitHub.URL() + "/frappe/frappe", "branch": "v15.1.0"},
			{"url": "http://deploy-token:${FORGE_TOKEN}@" + forge.Host() + "/acme/erp/by_forge.git", "branch": forgeRef},
			{"url": "ssh://" + server.User + ":${BY_SSH_KEY}@" + server.Host + "/acme/by_ssh", "branch": "release/15"},
		})
		if err != nil {
			t.Fatal(err)
		}
		return u.write("apps-other-hosts.json", text)
	}
	u.fails([]string{"check", "--version", "2.0.0", "--apps", list("v1.0.1")}, cli.ExitUsage, "by_forge v1.0.1: no such tag, branch or commit in acme/erp/by_forge", "newest is v1.0.0")
	u.must("push", "--version", "2.0.0", "--apps", list("v1.0.0"))
	// What was locked is built again, from the commits alone.
	u.must("push", "--version", "2.0.1", "--apps", list("v1.0.0"), "--no-cache=by_ssh")
	if printed := u.printed.String(); strings.Contains(printed, token) || strings.Contains(printed, "PRIVATE KEY") {
		t.Error("a credential was printed")
	}
}
