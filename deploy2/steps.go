package deploy

import (
	"fmt"
	"path"
	"strings"

	"github.com/desiredeffect/erpnext-pipeline/deploy/bench"
	"github.com/desiredeffect/erpnext-pipeline/deploy/host"
)

// step is one step of the part that the host carries out by itself.
type step struct {
	// name is what people and the journal call it.
	name string
	// does says what it does, for the plan.
	does string
	// do and undo are POSIX shell scripts. A step without undo needs none:
	// what it did goes with the undo of the steps before it.
	do, undo string
	// critical marks the step from which on a run is not stopped any more.
	critical bool
}

// steps is the sequence of a deploy on the host, in order. On a failure the
// undo of every step begun runs, newest first.
//
// Until migrate begins, undoing leads back to the release before, whole. From
// there on the database may have changed, and code alone must not go back: the
// site is held in maintenance mode for a person.
func (p Plan) steps() []step {
	next := p.Target.project(p.Version, p.files())
	var all []step
	add := func(s step) { all = append(all, s) }

	if p.State.Current != nil {
		before := p.Target.project(p.State.Current.Version, p.State.Current.ComposeFiles)
		sites := p.State.Current.Sites

		// Visitors get a page that says so; the scheduler starts nothing new.
		add(step{
			name: "maintenance", does: "put the site into maintenance mode",
			do:   each(sites, func(site string) []string { return bench.Bench{Project: before}.Command(bench.Maintenance(site, true)...) }),
			undo: each(sites, func(site string) []string { return bench.Bench{Project: before}.Command(bench.Maintenance(site, false)...) }),
		})

		// The set that is running, from the host's own record and not from
		// today's checkout: nothing of it is left behind.
		add(step{
			name: "down", does: "take " + p.State.Current.Version + " down with the compose set it came up with", critical: true,
			do:   command(before.Down()),
			undo: command(before.Up(healthLimit)),
		})
	}

	// The new set, by digest. Waits until every container is healthy; makes the
	// site where there is none.
	add(step{
		name: "up", does: "bring " + p.Version + " up and wait until all of it is healthy", critical: p.State.Current == nil,
		do: "if ! " + host.Quote(next.Up(healthLimit)) + " </dev/null; then\n" +
			"\t" + host.Quote(next.PS()) + " </dev/null\n" +
			"\t" + host.Quote(next.Logs(15)) + " </dev/null\n" +
			"\texit 1\nfi\n",
		undo: command(next.Down()),
	})

	for _, site := range p.Target.Sites {
		in := bench.Bench{Project: next}
		add(step{
			name: "migrate-" + site, does: "migrate " + site,
			do: command(in.Command(bench.Migrate(site)...)),
			undo: host.Quote(in.Command(bench.Maintenance(site, true)...)) + " </dev/null\n" +
				"echo " + host.Quote([]string{"the migration of " + site + " was begun: its database may have changed, so the code is not put back"}) + "\nexit 1\n",
		})
	}

	add(step{
		name: "open", does: "end maintenance mode",
		do: each(p.Target.Sites, func(site string) []string {
			return bench.Bench{Project: next}.Command(bench.Maintenance(site, false)...)
		}),
	})

	// From inside: through the proxy, as a visitor would.
	add(step{
		name: "verify", does: "ask the site for a ping and an asset through the proxy",
		do: each(p.Target.Sites, func(site string) []string {
			return next.Exec(frontendService, "bash", "-euc", verifyScript, "verify", site, p.proxy(), fmt.Sprint(int(verifyLimit.Seconds())))
		}),
	})

	// The release is live from the moment that the link is there.
	dir := p.Target.release(p.Version)
	link := p.Target.current()
	add(step{
		name: "record", does: "record the release",
		do: lines(
			[]string{"echo", p.Run, ">" + path.Join(dir, liveFile)},
			[]string{"ln", "-sfn", path.Join("releases", p.Version), link + ".new"},
			[]string{"mv", "-T", link + ".new", link},
		),
	})
	return all
}

// frontendService is the service that serves assets.
const frontendService = "frontend"

// proxy is where visitors' requests arrive in the compose network: the proxy
// where the set has one, else the frontend itself.
func (p Plan) proxy() string {
	for _, service := range p.Services {
		if service == "traefik" {
			return "http://traefik"
		}
	}
	return "http://" + frontendService + ":8080"
}

// verifyScript asks the site $1 at the address $2 for a ping, and for one of
// the assets that its own list names, for up to $3 seconds: the proxy needs a
// moment to find a container that became healthy.
const verifyScript = `
site=$1 address=$2 left=$3
ask() { curl --silent --output /dev/null --max-time 5 --write-out '%{http_code}' --header "Host: $site" "$address$1" || true; }
asset=$(sed -n 's|.*: *"\(/assets/[^"]*\)".*|\1|p' sites/assets/assets.json | head -n 1)
[ -n "$asset" ] || { echo "no asset in sites/assets/assets.json"; exit 1; }
while :; do
	ping=$(ask /api/method/ping)
	file=$(ask "$asset")
	if [ "$ping $file" = "200 200" ]; then
		echo "ping 200, $asset 200"
		exit 0
	fi
	[ "$left" -gt 0 ] || break
	left=$((left - 1))
	sleep 1
done
echo "ping answered $ping, $asset answered $file"
exit 1
`

// command is a script that runs one command. It gets no input, which "docker
// compose exec" would read.
func command(argv []string) string { return host.Quote(argv) + " </dev/null\n" }

// each is a script that runs a command for each site and stops at the first
// that fails.
func each(sites []string, build func(site string) []string) string {
	script := "set -e\n"
	for _, site := range sites {
		script += command(build(site))
	}
	return script
}

// lines is a script of several commands that stops at the first that fails. A
// word that begins with > redirects into the file after it.
func lines(commands ...[]string) string {
	script := "set -e\n"
	for _, argv := range commands {
		last := argv[len(argv)-1]
		if file, redirected := strings.CutPrefix(last, ">"); redirected {
			script += host.Quote(argv[:len(argv)-1]) + " >" + host.Quote([]string{file}) + "\n"
			continue
		}
		script += host.Quote(argv) + "\n"
	}
	return script
}
