package image

import (
	"cmp"
	"errors"
	"regexp"
	"slices"
	"strings"

	"dagger.io/dagger"

	"github.com/desiredeffect/erpnext-pipeline/internal/problem"
)

// manager is the program that installs an app's node modules and runs the scripts of
// its package.json; without a version the one that is among the tools. bench knows one,
// yarn 1, and calls no other: an app that needs another has a lock file of it.
type manager struct{ name, version string }

const npm = "npm"

// The versions that stand for a lock file's where package.json names none, by the
// version of its format: the last that write it, and so take it as it is. They are part
// of what a build reads, like the tools'. Formats that are not here are newer, or nearly
// as old.
var (
	pnpmOf     = map[string]string{"5": "7.33.7", "6": "8.15.9"}
	yarnOf     = map[string]string{"4": "2.4.2", "5": "3.1.1", "6": "3.8.6", "8": "4.13.0", "9": "4.14.1"}
	newestPnpm = "10.34.8"
	newestYarn = "4.18.1"
)

// yarn1 is what installs where nothing is said. It is among the tools, as npm is.
var yarn1 = manager{name: "yarn"}

// classic reports whether it is a version of yarn 1.
func (m manager) classic() bool {
	return m.name == "yarn" && (m.version == "" || strings.HasPrefix(m.version, "1."))
}

// locks are the lock files that managers write, those first that are preferred where
// there are several: bench has yarn take its own.
var locks = []string{"yarn.lock", "pnpm-lock.yaml", "npm-shrinkwrap.json", "package-lock.json"}

var (
	// namedManager matches the field packageManager of package.json, without the
	// checksum.
	namedManager = regexp.MustCompile(`^(npm|pnpm|yarn)@(\d+\.\d+\.\d+(?:-[0-9A-Za-z.-]+)?)`)
	// pnpmLock and yarnLock match the version of a lock file's format; yarn 1 has none.
	pnpmLock = regexp.MustCompile(`(?m)^lockfileVersion:\s*['"]?(\d+)`)
	yarnLock = regexp.MustCompile(`(?m)^__metadata:\s+version:\s*['"]?(\d+)`)
)

// managerOf returns what installs the modules of a package.json: the manager that it
// names, unless another one's lock file lies beside it and that one's does not. lock
// returns the text of a file beside it, and whether it is there.
func managerOf(p nodePackage, lock func(name string) (string, bool)) manager {
	var locked []manager
	for _, name := range locks {
		if text, there := lock(name); there {
			locked = append(locked, lockedBy(name, text))
		}
	}
	found := namedManager.FindStringSubmatch(p.PackageManager)
	if found != nil {
		named := manager{found[1], found[2]}
		at := slices.IndexFunc(locked, func(m manager) bool { return m.name == named.name })
		switch {
		case at < 0 && len(locked) > 0:
			return locked[0]
		case at >= 0 && locked[at].classic() != named.classic():
			// What it names would write another lock.
			return locked[at]
		case named.name == npm || named.classic():
			// The one of the tools reads the same locks.
			named = manager{name: named.name}
		}
		return named
	}
	if len(locked) > 0 {
		return locked[0]
	}
	return yarn1
}

// lockedBy returns the manager that has written a lock file.
func lockedBy(name, text string) manager {
	switch name {
	case "pnpm-lock.yaml":
		return manager{"pnpm", cmp.Or(pnpmOf[formatOf(pnpmLock, text)], newestPnpm)}
	case "yarn.lock":
		format := formatOf(yarnLock, text)
		if format == "" {
			return yarn1
		}
		return manager{"yarn", cmp.Or(yarnOf[format], newestYarn)}
	}
	return manager{name: npm}
}

func formatOf(pattern *regexp.Regexp, text string) string {
	if found := pattern.FindStringSubmatch(text); found != nil {
		return found[1]
	}
	return ""
}

// setUp has a shell find the managers that are not among the tools, and tells them
// where they may write. Which yarn runs is up to the lock: yarn 1 reads none of the
// others', and installs without a word what it likes. The choice is made in the file
// that a yarn has its scripts call, whatever PATH says. What yarn 2 to 4 leave beside the
// modules goes among them, which the next stage gets too.
func (n nodeApp) setUp() (text string) {
	otherwise := "classic"
	if n.manager.name == "yarn" && !n.manager.classic() {
		otherwise = "berry"
	}
	for _, m := range n.added {
		if m.name == "pnpm" {
			text += installManager("pnpm", m.version) + `
export npm_config_store_dir="$HOME/pnpm" npm_config_package_import_method=copy
`
			continue
		}
		text += installManager("@yarnpkg/cli-dist", m.version) + `
at=/usr/local/lib/node_modules/yarn/bin
mv $at/yarn.js $at/classic.js
cat >$at/yarn.js <<'END'
#!/usr/bin/env node
const fs = require("fs"), path = require("path");
const programs = { classic: "./classic.js", berry: "/opt/manager/lib/node_modules/@yarnpkg/cli-dist/bin/yarn.js" };
const args = process.argv.slice(2), cwd = args.findIndex((one) => one === "--cwd" || one.startsWith("--cwd="));
const folder = cwd < 0 ? "." : args[cwd] === "--cwd" ? args[cwd + 1] || "." : args[cwd].slice(6);
let which = "` + otherwise + `";
for (let at = path.resolve(folder); ; at = path.dirname(at)) {
	const lock = path.join(at, "yarn.lock");
	if (fs.existsSync(lock)) which = /^__metadata:/m.test(fs.readFileSync(lock, "utf8")) ? "berry" : "classic";
	if (fs.existsSync(lock) || at === path.dirname(at)) break;
}
// By this the mirror is called for yarn 1, and yarn 2 and 3 take it for a mistake.
if (which === "berry") delete process.env.YARN_REGISTRY;
else if (process.env.NPM_MIRROR) process.env.YARN_REGISTRY = process.env.NPM_MIRROR;
require(programs[which]);
END
chmod 755 $at/yarn.js
ln -sf $at/yarn.js /opt/manager/bin/yarn
export YARN_NODE_LINKER=node-modules YARN_INSTALL_STATE_PATH=node_modules/.yarn-install-state.gz
export YARN_ENABLE_GLOBAL_CACHE=true YARN_GLOBAL_FOLDER="$HOME/berry" YARN_ENABLE_TELEMETRY=false YARN_ENABLE_PROGRESS_BARS=false
[ -z "${NPM_MIRROR:-}" ] || export YARN_NPM_REGISTRY_SERVER="$NPM_MIRROR"
case ${NPM_MIRROR:-} in
http://*) export YARN_UNSAFE_HTTP_WHITELIST="$(printf %s "$NPM_MIRROR" | sed 's#^http://##; s#[:/].*##')" ;;
esac
`
	}
	return text
}

func installManager(of, version string) string {
	return `
npm install --loglevel error --global --prefix /opt/manager ` + of + "@" + version + ` >/dev/null || unreached NPM_REGISTRY_URL "${NPM_MIRROR:-not set}"
export PATH="/opt/manager/bin:$PATH"`
}

// berryLogin gives yarn 2 to 4 the login at the mirror, for that host alone: above the
// app, where they look for it, on a file system that goes with the step. They would
// send it wherever a lock says that an archive is, so such a lock is refused.
const berryLogin = `
if [ -e ` + npmrc + ` ] && [ -n "${YARN_NODE_LINKER:-}" ]; then
	at=$(sed -n 's#^\(//.*\)/:_auth=.*#\1#p' ` + npmrc + `)
	find . -name yarn.lock -exec grep -ho '__archiveUrl=[^"#&]*' {} + | sed 's/%3A/:/gI; s#%2F#/#gI; s#^[^:]*:##' | while read -r archive; do
		case $archive in
		"$at"/*) ;;
		*)
			echo "yarn.lock has an archive at $archive, where yarn would send the login of NPM_REGISTRY_URL" >&2
			exit 1
			;;
		esac
	done
	printf 'npmRegistries:\n  "%s":\n    npmAuthIdent: "%s"\n    npmAlwaysAuth: true\n' "$at" "$(sed -n 's/.*:_auth=//p' ` + npmrc + `)" >/run/trust/yarnrc.yml
	ln -s /run/trust/yarnrc.yml ../../.yarnrc.yml
fi
`

// install is the command that installs what the lock file says.
func (m manager) install() string {
	switch {
	case m.name == npm:
		// Beside yarn 1, which bench has install whatever there is, locks of npm's are
		// left behind. npm then keeps to what they have.
		return "npm ci --no-audit --no-fund --loglevel error || npm install --no-audit --no-fund --loglevel error"
	case m.name == "pnpm":
		return "pnpm install --frozen-lockfile"
	case m.classic():
		return "yarn install --frozen-lockfile --non-interactive --no-progress"
	}
	return "yarn install --immutable"
}

// run is the command that runs a script of package.json.
func (m manager) run(script string) string {
	silent := ""
	if m.name == npm || m.classic() {
		silent = "--silent "
	}
	return m.name + " run " + silent + script
}

var (
	// refusedNode matches what yarn 1 and pnpm say of a module that wants another Node.
	refusedNode = regexp.MustCompile(`(?:error )?(\S+): The engine "node" is incompatible with this module\. Expected version "([^"]*)"|Your Node version is incompatible with "([^"]*)"\.\s+Expected version: ([^\n]*)`)
	// refusedLock matches what managers say of a lock file that package.json has left
	// behind: yarn 1, yarn 2 to 4, pnpm.
	refusedLock = regexp.MustCompile(`Your lockfile needs to be updated|YN0028:.*The lockfile would have been modified|ERR_PNPM_OUTDATED_LOCKFILE|ERR_PNPM_LOCKFILE_CONFIG_MISMATCH`)
	// refusedLogin matches what they and npm say of a registry that did not let them in.
	refusedLogin = regexp.MustCompile(`\bE401\b|"401 Unauthorized"|ERR_PNPM_FETCH_401|YN0041:`)
)

// uninstalled says what to do about node modules that a manager refuses to install.
func (b *Builder) uninstalled(s *stage, err error) error {
	var exec *dagger.ExecError
	at := slices.IndexFunc(b.apps, func(a app) bool { return a.Name == s.of })
	if s.name != "modules" || at < 0 || !errors.As(err, &exec) {
		return err
	}
	printed := exec.Stdout + "\n" + exec.Stderr
	if found := refusedNode.FindStringSubmatch(printed); found != nil {
		return problem.Report{{
			Code: "image.node", Subject: b.apps[at].subject(), Err: err,
			Detail: "its node module " + found[1] + found[3] + " wants Node " + found[2] + found[4] + ", and the image has " + b.lock.Node,
			Remedy: "set NODE_VERSION to one that fits, or choose another ref",
		}}.Err()
	}
	if refusedLock.MatchString(printed) {
		return problem.Report{{
			Code: "image.node-lock", Subject: b.apps[at].subject(), Err: err,
			Detail: "the lock file of its node modules does not go with its package.json:\n" + withOutput(exec).Error(),
			Remedy: "choose a ref at which they go together, or fork the app and commit the lock file that its manager writes",
		}}.Err()
	}
	if refusedLogin.MatchString(printed) {
		return problem.Report{{
			Code: "image.node-registry", Subject: b.apps[at].subject(), Err: err,
			Detail: "a registry of its node modules wants another login:\n" + withOutput(exec).Error(),
			Remedy: "add that registry to NPM_REGISTRIES, as @scope=https://user:password@host/path or with a token as @scope=https://_authToken:TOKEN@host/path, or renew the login there; that of a mirror is in NPM_REGISTRY_URL",
		}}.Err()
	}
	return err
}
