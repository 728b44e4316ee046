package image

import (
	"cmp"
	"encoding/json"
	"maps"
	"path"
	"slices"
	"strings"
)

// added returns the managers that are not among the tools, each of their versions once.
func (n nodeApp) added() []manager {
	all := slices.SortedFunc(maps.Values(n.own), func(a, b manager) int {
		return cmp.Or(cmp.Compare(a.name, b.name), cmp.Compare(a.version, b.version))
	})
	return slices.Compact(all)
}

// prefix is the folder that npm installs one of them to.
func (m manager) prefix() string { return "/opt/manager/" + m.name + "-" + m.version }

// program is where npm has installed one of them. Which file of pnpm's that is, and
// whether it is one for Node, differs by the version; npm's link to it does not.
func (m manager) program() string {
	if m.name == "pnpm" {
		return m.prefix() + "/bin/pnpm"
	}
	return m.prefix() + "/lib/node_modules/@yarnpkg/cli-dist/bin/yarn.js"
}

// setUp has a shell find the managers that are not among the tools, and tells them
// where they may write. Which version runs is up to the folder: an app may have front
// ends with locks of several, and one takes the lock of another for outdated, but for
// yarn 1, which reads none of the others' and installs without a word what it likes.
// What yarn 2 to 4 leave beside the modules goes among them, which the next stage gets
// too.
func (a *app) setUp() (text string) {
	if a.node.named {
		text = obeyed
	}
	added := a.node.added()
	for i, m := range added {
		of := m.name
		if m.name == "yarn" {
			of = "@yarnpkg/cli-dist"
		}
		text += `
npm install --loglevel error --global --prefix ` + m.prefix() + " " + of + "@" + m.version + ` >/dev/null || unreached NPM_REGISTRY_URL "${NPM_MIRROR:-not set}"`
		if i+1 < len(added) && added[i+1].name == m.name {
			continue
		}
		if m.name == "pnpm" {
			text += setUpPnpm + a.choice("pnpm", added) + callPnpm
			continue
		}
		text += setUpYarn + a.choice("yarn", added) + callYarn
	}
	return text
}

// obeyed has managers do what they are called for, because a lock of theirs is there:
// yarn 1 and pnpm refuse where package.json, yarn 1 also one above, names another.
const obeyed = `
export SKIP_YARN_COREPACK_CHECK=1 npm_config_package_manager_strict=false
`

// From 11 on pnpm takes settings from variables of its own name alone.
const setUpPnpm = `
export PATH="/opt/manager/bin:$PATH" npm_config_store_dir="$HOME/pnpm" npm_config_package_import_method=copy
for one in $(env | sed -n 's/^npm_config_\([a-z_]*\)=.*/\1/p'); do
	eval "export pnpm_config_$one=\"\$npm_config_$one\""
done
mkdir -p /opt/manager/bin
cat >/opt/manager/bin/pnpm <<'END'
`

const callPnpm = `const done = require("child_process").spawnSync(program, args, { stdio: "inherit" });
if (done.error) throw done.error;
if (done.signal) process.kill(process.pid, done.signal);
process.exitCode = done.status;
END
cat >/opt/manager/bin/pnpx <<'END'
#!/bin/sh
exec /opt/manager/bin/pnpm dlx "$@"
END
chmod 755 /opt/manager/bin/pnpm /opt/manager/bin/pnpx
`

// The choice is made in the file that a yarn has its scripts call, whatever PATH says.
const setUpYarn = `
export PATH="/opt/manager/bin:$PATH"
at=/usr/local/lib/node_modules/yarn/bin
mv $at/yarn.js $at/classic.js
cat >$at/yarn.js <<'END'
`

const callYarn = `// By this the mirror is called for yarn 1, and yarn 2 and 3 take it for a mistake.
if (program !== classic) delete process.env.YARN_REGISTRY;
else if (process.env.NPM_MIRROR) process.env.YARN_REGISTRY = process.env.NPM_MIRROR;
require(program);
END
chmod 755 $at/yarn.js
mkdir -p /opt/manager/bin
ln -sf $at/yarn.js /opt/manager/bin/yarn
export YARN_NODE_LINKER=node-modules YARN_INSTALL_STATE_PATH=node_modules/.yarn-install-state.gz
export YARN_ENABLE_GLOBAL_CACHE=true YARN_GLOBAL_FOLDER="$HOME/berry" YARN_ENABLE_TELEMETRY=false YARN_ENABLE_PROGRESS_BARS=false
[ -z "${NPM_MIRROR:-}" ] || export YARN_NPM_REGISTRY_SERVER="$NPM_MIRROR"
case ${NPM_MIRROR:-} in
http://*) export YARN_UNSAFE_HTTP_WHITELIST="$(printf %s "$NPM_MIRROR" | sed 's#^http://##; s#[:/].*##')" ;;
esac
`

// choice is the part of a script for Node that finds the program for a folder: that of
// the nearest folder above with a lock. A lock that is none of the app's own is in a
// module that is fetched with git.
func (a *app) choice(name string, added []manager) string {
	lock, flags := "pnpm-lock.yaml", "--dir|-C"
	if name == "yarn" {
		lock, flags = "yarn.lock", "--cwd"
	}
	programs := map[string]string{}
	for folder, m := range a.node.own {
		if m.name == name {
			programs[path.Join(a.dir(), folder)] = m.program()
		}
	}
	standard := added[slices.IndexFunc(added, func(m manager) bool { return m.name == name })]
	if root, there := a.node.own["."]; there && root.name == name {
		standard = root
	}
	otherwise := standard.program()
	if name == "yarn" && a.node.manager != standard {
		otherwise = "./classic.js"
	}
	return strings.NewReplacer("$PROGRAMS", literal(programs), "$STANDARD", literal(standard.program()), "$OTHERWISE", literal(otherwise), "$LOCK", literal(lock), "$FLAGS", flags).Replace(
		`#!/usr/bin/env node
const fs = require("fs"), path = require("path");
const own = $PROGRAMS;
const classic = "./classic.js";
const args = process.argv.slice(2), flag = args.findIndex((one) => /^($FLAGS)(=|$)/.test(one));
const folder = flag < 0 ? "." : args[flag].includes("=") ? args[flag].replace(/^[^=]*=/, "") : args[flag + 1] || ".";
let program = $OTHERWISE;
for (let at = path.resolve(folder); ; at = path.dirname(at)) {
	const lock = path.join(at, $LOCK);
	if (own[at]) program = own[at];
	else if (fs.existsSync(lock)) program = path.extname(lock) === ".yaml" || /^__metadata:/m.test(fs.readFileSync(lock, "utf8")) ? $STANDARD : classic;
	else if (at !== path.dirname(at)) continue;
	break;
}
`)
}

// literal returns a value as JavaScript has it.
func literal(value any) string {
	text, err := json.Marshal(value)
	if err != nil {
		panic(err) // It is made of text.
	}
	return string(text)
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
