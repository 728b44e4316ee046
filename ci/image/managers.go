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
	// firstYarn4 wrote checksums of the eighth format otherwise than those after it,
	// which take them for outdated.
	firstYarn4 = "4.0.2"
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
	// bareChecksum matches a checksum without the key of the cache before it.
	bareChecksum = regexp.MustCompile(`(?m)^ +checksum: [0-9a-f]+$`)
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
		case named.name == "yarn" && strings.HasPrefix(named.version, "2."):
			if at >= 0 {
				// Most of them are not to be had as a package, and none writes a newer lock.
				return locked[at]
			}
			named.version = yarnOf["4"]
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
		switch {
		case format == "":
			return yarn1
		case format == "8" && bareChecksum.MatchString(text):
			return manager{"yarn", firstYarn4}
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
