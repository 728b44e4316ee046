package deploy

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/desiredeffect/erpnext-pipeline/deploy/bench"
	"github.com/desiredeffect/erpnext-pipeline/deploy/compose"
	"github.com/desiredeffect/erpnext-pipeline/deploy/host"
)

// step is one step of the sequence.
type step struct {
	// name is a verb.
	name string
	// doc says what it does, and undoDoc what undoing it does; empty where
	// there is nothing to undo.
	doc, undoDoc string
	// do and undo give the lines of a shell script. They may run twice: a run
	// that was interrupted begins again with the step it was at.
	do, undo func(launch) []string
	// when says whether a run has the step at all; nil means always.
	when func(launch) bool
	// critical steps take the site down or come after that. From the first
	// one on a run can't be stopped by request.
	critical bool
}

// sequence is what a release does on the host, in this order, under the deploy
// lock. When a step fails, it and all before it are undone, the newest first.
// Where undoing fails, or is not possible, a person is needed and the rest is
// left as it is.
var sequence = []step{
	{
		name:    "stage",
		doc:     "put the compose set, its .env and the record into releases/",
		undoDoc: "remove them",
		do:      stage, undo: unstage,
	},
	{
		name: "pull",
		doc:  "pull the image by its digest, and the other images that are missing",
		// Images that nothing uses do no harm.
		do: pull,
	},
	{
		name: "check",
		doc:  "check the compose set, and that all images of the new and the running release are there",
		do:   check,
	},
	{
		name:    "watch",
		doc:     "begin to measure whether the site answers",
		undoDoc: "end measuring",
		do:      beginWatch, undo: endWatch,
		when: hasPrevious,
	},

	// From here on the site is not available.

	{
		name:    "down",
		doc:     "take the running release down, with the compose set it was brought up with",
		undoDoc: "bring it up again, and wait until it answers",
		do:      down, undo: upAgain,
		when:     hasPrevious,
		critical: true,
	},
	{
		name:    "up",
		doc:     "bring the new release up and wait until all of it is healthy; the site is made if there is none",
		undoDoc: "take it down",
		do:      up, undo: downAgain,
		critical: true,
	},
	{
		name:    "migrate",
		doc:     "migrate each site",
		undoDoc: "hold the sites in maintenance mode: without a backup a migration can't be undone",
		do:      migrate, undo: hold,
		critical: true,
	},
	{
		name:     "clear-cache",
		doc:      "clear the caches, which may hold what the release before put there",
		do:       clearCache,
		critical: true,
	},
	{
		name:     "verify",
		doc:      "ask each site for a sign of life and for an asset through the proxy, and compare the apps' versions with the manifest",
		do:       verify,
		critical: true,
	},
	{
		name:     "record",
		doc:      "make the release the current one, and end measuring",
		do:       record,
		critical: true,
	},
}

// launch is what the scripts of one run are made from.
type launch struct {
	layout
	id      string
	version string
	// image is the image by its digest, as the host names it; tagged is its
	// name for people.
	image, tagged string
	next          compose.Project
	// previous is the version that is live, and before its project; both are
	// empty for a first release.
	previous string
	before   compose.Project
	sites    []string
	port     int
}

func hasPrevious(l launch) bool { return l.previous != "" }

func stage(l launch) []string {
	return []string{
		"# What the plan was made for has to be what is there.",
		fmt.Sprintf(`[ "$(readlink %s || true)" = %s ] || { echo "another release went live since this one was planned"; exit 1; }`,
			word(l.current()), word(linkTo(l.previous))),
		"# A run that was interrupted here has moved it already.",
		fmt.Sprintf("if [ -e %s ]; then", word(l.staged())),
		fmt.Sprintf(`	[ ! -e %s ] || { echo "version %s is on the host already"; exit 1; }`, word(l.release(l.version)), l.version),
		"	" + call("mkdir", "-p", l.dir+"/releases", l.dir+"/backups"),
		"	" + call("mv", l.staged(), l.release(l.version)),
		"fi",
	}
}

// staged is where the client has put what belongs into releases/.
func (l launch) staged() string { return l.run(l.id) + "/release" }

// linkTo is what the link current says of a version.
func linkTo(version string) string {
	if version == "" {
		return ""
	}
	return "releases/" + version
}

func unstage(l launch) []string {
	return []string{
		"# Where it was not staged, a release that is there is not ours.",
		fmt.Sprintf("[ -e %s ] || %s", word(l.staged()), call("rm", "-rf", l.release(l.version))),
	}
}

func pull(l launch) []string {
	return []string{
		"# A registry may be busy, or the way to it short of breath.",
		"patiently() {",
		"	attempt=1",
		`	until "$@"; do`,
		`		[ "$attempt" -lt 4 ] || return 1`,
		`		pause=$((attempt * attempt * 3))`,
		`		echo "attempt $attempt failed, the next one in $pause s"`,
		`		sleep "$pause"`,
		`		attempt=$((attempt + 1))`,
		"	done",
		"}",
		call("docker", "image", "inspect", "--format", "{{.Id}}", l.image) + " 2>/dev/null ||",
		"	patiently " + call("docker", "pull", "--quiet", l.image),
		"# For people: docker images shows the version.",
		call("docker", "tag", l.image, l.tagged),
		"patiently " + call(l.next.Pull()...),
	}
}

func check(l launch) []string {
	lines := []string{
		"# Images are listed first: in a pipe their failure would go unnoticed.",
		"all_there() {",
		`	images=$("$@")`,
		"	for image in $images; do",
		`		docker image inspect "$image" >/dev/null || { echo "image $image is not on this host"; exit 1; }`,
		"	done",
		"}",
		call(l.next.Config()...),
		"all_there " + call(l.next.Images()...),
	}
	if hasPrevious(l) {
		lines = append(lines,
			"# What can't come up again must not be taken down.",
			call(l.before.Config()...),
			"all_there "+call(l.before.Images()...))
	}
	return lines
}

// watcher is the name of the container that measures. It does not belong to
// the project, so "down" leaves it alone.
func (l launch) watcher() string { return l.next.Name + "-watch-" + strings.ToLower(l.id) }

func beginWatch(l launch) []string {
	return []string{
		"# An image is on every host that gets here; curl is not.",
		call("docker", "rm", "--force", l.watcher()) + " >/dev/null 2>&1 || true",
		call("docker", "run", "--detach", "--init", "--name", l.watcher(), "--network", "host", "--pull", "never",
			"--entrypoint", "bash", l.image, "-c", watch, "watch", strconv.Itoa(l.port), l.sites[0]),
	}
}

// endWatch keeps what was measured. That it could not be is no reason for
// anything to fail.
func endWatch(l launch) []string {
	return []string{
		call("docker", "logs", l.watcher()) + " >watch 2>/dev/null || true",
		call("docker", "rm", "--force", l.watcher()) + " >/dev/null 2>&1 || true",
	}
}

func down(l launch) []string { return []string{call(l.before.Down()...)} }

// upLimit bounds the wait for health, not the making of a new site.
const upLimit = 10 * time.Minute

func upAgain(l launch) []string {
	// The release before has assets of its own.
	return append(bringUp(l.before), answers(l, false)...)
}

func up(l launch) []string { return bringUp(l.next) }

func downAgain(l launch) []string { return []string{call(l.next.Down()...)} }

// bringUp brings a project up. If that fails, it shows the logs of the
// containers that are not well.
func bringUp(p compose.Project) []string {
	return []string{
		call(p.Up(upLimit)...) + " || {",
		"	code=$?",
		"	" + call(p.Command("ps", "--all")...) + " || true",
		"	# Lines of service|state|health|exit code.",
		"	unwell=$(" + call(p.Command("ps", "--all", "--format", "{{.Service}}|{{.State}}|{{.Health}}|{{.ExitCode}}")...) + " |",
		`		awk -F'|' '$2 == "running" && ($3 == "" || $3 == "healthy") || $2 == "exited" && $4 == 0 || $2 == "created" { next } { print $1 }' | sort -u) || true`,
		"	# shellcheck disable=SC2086 # a list",
		`	[ -z "$unwell" ] || ` + call(p.Logs(40)...) + " $unwell || true",
		`	exit "$code"`,
		"}",
	}
}

func migrate(l launch) []string {
	var lines []string
	for _, site := range l.sites {
		lines = append(lines, call(benchOf(l).Command(bench.Migrate(site)...)...))
	}
	return lines
}

func benchOf(l launch) bench.Bench { return bench.Bench{Project: l.next} }

// held is the file in the run's folder that says that the sites were put into
// maintenance mode to wait for a person.
const held = "held"

func hold(l launch) []string {
	lines := []string{call("touch", held)}
	for _, site := range l.sites {
		on := bench.Maintenance(site, true)
		lines = append(lines,
			call(benchOf(l).Command(on...)...)+" ||",
			"	"+call(benchOf(l).Detached(on...)...)+" ||",
			"	"+call("echo", "maintenance mode of "+site+" could not be switched on"))
	}
	return append(lines, "# Not undone: a person is needed.", "exit 4")
}

func clearCache(l launch) []string {
	var lines []string
	for _, site := range l.sites {
		lines = append(lines, call(benchOf(l).Command(bench.ClearCache(site)...)...))
	}
	return lines
}

func verify(l launch) []string {
	lines := []string{
		"# A run that was held has a person's word that it may go on.",
		"if [ -e " + held + " ]; then",
	}
	for _, site := range l.sites {
		lines = append(lines, "	"+call(benchOf(l).Command(bench.Maintenance(site, false)...)...))
	}
	lines = append(lines, "	"+call("rm", held), "fi")
	lines = append(lines, answers(l, true)...)
	return append(lines,
		"# .git is not in the image: its manifest knows what belongs there.",
		call(l.next.Exec(bench.Service, "bash", "-euo", "pipefail", "-c", compareVersions)...))
}

// answers waits until each site answers through the proxy, and with assets
// compares one that it serves with the image's own. The tools for it are in
// the new image, not on the host.
func answers(l launch, assets bool) []string {
	own := ""
	if assets {
		own = "assets"
	}
	argv := []string{"docker", "run", "--rm", "--init", "--network", "host", "--pull", "never",
		"--entrypoint", "bash", l.image, "-euo", "pipefail", "-c", askSites, "ask", strconv.Itoa(l.port), own}
	return []string{call(append(argv, l.sites...)...)}
}

// askSites asks the sites $3… on the port $1 of the loopback for a sign of
// life, for up to a minute: the proxy learns of new containers a moment after
// they are healthy. With "assets" in $2 it then asks for a file whose name has
// its hash in it.
const askSites = `port=$1 assets=$2
shift 2
for site; do
	code=
	for _ in {1..120}; do
		code=$(curl --silent --output /dev/null --max-time 5 --write-out '%{http_code}' \
			--header "Host: $site" "http://127.0.0.1:$port/api/method/ping") || true
		[ "$code" != 200 ] || break
		sleep 0.5
	done
	echo "$site answers with $code"
	[ "$code" = 200 ]
	[ "$assets" ] || continue
	# Images made by others may have them in the place of the link.
	cd /home/frappe/frappe-bench || exit
	[ -e assets/assets.json ] || cd sites || exit
	asset=$(jq --raw-output '[.[] | strings | select(test("[.-][A-Z0-9]{8}[.](js|css)$"))] | first // ""' assets/assets.json)
	[ "$asset" ] || { echo "assets.json names no hashed asset"; exit 1; }
	curl --fail --silent --show-error --max-time 20 --header "Host: $site" "http://127.0.0.1:$port$asset" | cmp - ".$asset"
	echo "$site serves $asset"
done`

// compareVersions compares what bench says of the apps with the manifest. An
// image without a manifest was not made by this pipeline.
const compareVersions = `[ -f manifest.json ] || exit 0
bench version -f json | jq --raw-output --slurpfile manifest manifest.json '
	(map({(.app): .version}) | add) as $have
	| $manifest[0].apps[] | select((.version // "") != "" and $have[.name] != .version)
	| "\(.name) is \($have[.name] // "not there"), the manifest says \(.version)"' | {
	if grep .; then exit 1; fi
}`

func record(l launch) []string {
	link := l.dir + "/.current-" + l.id
	return append(slices.Concat(
		[]string{
			"# A link is replaced in one step by a rename, and by nothing else.",
			call("ln", "-sfn", linkTo(l.version), link),
			call("mv", "-fT", link, l.current()),
		}), endWatchIf(l)...)
}

func endWatchIf(l launch) []string {
	if !hasPrevious(l) {
		return nil
	}
	return endWatch(l)
}

// call is a command with its arguments as a line of a shell script.
func call(argv ...string) string { return host.Quote(argv) }

// word is one quoted word.
func word(s string) string { return host.Quote([]string{"-", s})[2:] }
