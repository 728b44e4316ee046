package e2e

import (
	"errors"
	"strings"
	"testing"

	"github.com/rs/zerolog"

	"github.com/desiredeffect/erpnext-pipeline/deploy/host"
	"github.com/desiredeffect/erpnext-pipeline/internal/cli"
	"github.com/desiredeffect/erpnext-pipeline/internal/config"
	"github.com/desiredeffect/erpnext-pipeline/internal/sandbox"
	"github.com/desiredeffect/erpnext-pipeline/internal/sandbox/apps"
	sandboxhost "github.com/desiredeffect/erpnext-pipeline/internal/sandbox/host"
)

// TestSetup makes a bare server ready, and releases to it.
func TestSetup(t *testing.T) {
	t.Parallel() // beside TestRelease, which waits more than it works
	u := newUser(t, sandbox.Options{Name: "bare", HTTPPort: 8094, Bare: true})
	list[*user]{
		{"check says what to do first", (*user).notSetUp},
		{"what can be known to go wrong changes nothing", (*user).setupRefused},
		{"a dry run changes nothing", (*user).setupDryRun},
		{"a key that is not the expected one is not taken", (*user).setupForeignKey},
		{"a bare server is made ready", (*user).setUp},
		{"once more changes nothing", (*user).setupTwice},
		// From here on ufw is active.
		{"an active firewall gets rules, and keeps its own", (*user).setupFirewall},
		// From here on the host has been restarted.
		{"all of it holds over a power cut", (*user).setupHolds},
		// From here on 1.0.0 is live.
		{"a release goes live on it", (*user).releaseOnBare},
		{"a server in use is left as it is", (*user).setupInUse},
	}.run(u, t)
}

// setupCommand returns the arguments that set the host up.
func (u *user) setupCommand(flags ...string) []string {
	return append(append([]string{"setup"}, u.world.SetupFlags()...), flags...)
}

// asRoot runs a script on the bare host as root.
func (u *user) asRoot(script string) string {
	u.t.Helper()
	cfg, report := config.Load(config.Sources{Environ: u.environ}, config.HostAccess, nil)
	if err := report.Err(); err != nil {
		u.t.Fatal(err)
	}
	cfg.Host.User, cfg.Host.Log = "root", zerolog.Nop()
	h, err := host.Dial(u.t.Context(), cfg.Host)
	if err != nil {
		u.t.Fatal(err)
	}
	defer h.Close()
	result, err := h.Run(u.t.Context(), []string{"sh", "-euc", script}, host.Options{})
	if err != nil {
		u.t.Fatal(err)
	}
	return result.Stdout
}

// listing returns every file that an operator could miss or find on the host, with what
// it is and when it was changed last, and which Docker runs. sudo leaves a mark of its
// own where a user has called it.
func (u *user) listing() string {
	u.t.Helper()
	return u.asRoot(`find /etc /usr /root /home /opt /srv /var/lib/dpkg /var/lib/systemd/linger /var/spool -xdev \
		! -name .sudo_as_admin_successful ! -path /home/admin -printf '%p %y %m %u %s %T@\n' | sort
		cat /run/docker.pid 2>/dev/null || true
		swapon --show --noheadings`)
}

// unchanged holds that something leaves the host as it was.
func (u *user) unchanged(do func()) {
	u.t.Helper()
	before := strings.Split(u.listing(), "\n")
	do()
	after := strings.Split(u.listing(), "\n")
	for _, pair := range []struct {
		what     string
		in, than []string
	}{{"is new", after, before}, {"is gone", before, after}} {
		there := map[string]bool{}
		for _, line := range pair.than {
			there[line] = true
		}
		for _, line := range pair.in {
			if !there[line] {
				u.t.Errorf("%s: %s", pair.what, line)
			}
		}
	}
}

func (u *user) notSetUp(*testing.T) {
	u.fails(u.command("check", "1.0.0", apps.Version1()), cli.ExitUsage, "login of deploy was refused", "on a new server pipeline setup makes the user with its key")
}

func (u *user) setupRefused(*testing.T) {
	u.unchanged(func() {
		u.fails(u.setupCommand(), cli.ExitUsage, "there is no terminal to ask on: give --yes")
		u.fails(u.setupCommand("--yes", "--docker", "distribution"), cli.ExitUsage, "has no compose plugin of version 2 among its packages", "give --docker docker")
		u.fails(u.setupCommand("--yes", "--docker", "podman"), cli.ExitUsage, `--docker takes distribution or docker, not "podman"`)
		u.fails(u.setupCommand("--yes", "--as", "nobody"), cli.ExitUsage, "login of nobody was refused", "--as NAME logs in as another user")
	})
	u.asRoot(`mv /etc/sudoers.d/admin /root/admin
		echo 'admin ALL=(ALL) ALL' >/etc/sudoers.d/asks
		rm /etc/os-release
		printf 'ID=devuan\nPRETTY_NAME=Devuan\n' >/etc/os-release`)
	u.unchanged(func() {
		u.fails(u.setupCommand("--yes", "--as", sandboxhost.Admin), cli.ExitUsage, "it is not root, and can't become root: sudo: a password is required", "NOPASSWD")
		u.fails(u.setupCommand("--yes"), cli.ExitUsage, "is Devuan; setup knows Debian 12 and 13, Ubuntu 22.04 and 24.04")
	})
	u.asRoot("mv /root/admin /etc/sudoers.d/admin; rm /etc/sudoers.d/asks; ln -sf ../usr/lib/os-release /etc/os-release")
}

func (u *user) setupDryRun(t *testing.T) {
	u.unchanged(func() {
		root := u.must(u.setupCommand("--dry-run")...)
		u.has(root, "Debian GNU/Linux 12 (bookworm), amd64), as root:", "docker on the host: is not installed", "install docker-ce, docker-ce-cli, containerd.io, docker-compose-plugin from http://packages:",
			"user deploy: is not on the host", "add ssh-ed25519 SHA256:", "/srv/demo: is not there", "(linger)", "none is active", "To do: log limits, docker, user, key, folder, start, resume.")
		admin := u.must(u.setupCommand("--dry-run", "--as", sandboxhost.Admin)...)
		if strings.ReplaceAll(admin, "as admin:", "as root:") != root {
			t.Errorf("another login sees something else:\n%s\nand root\n%s", admin, root)
		}
	})
}

func (u *user) setupForeignKey(*testing.T) {
	flags := u.world.SetupFlags()
	u.fails([]string{"setup", "--yes", flags[0], flags[1]}, cli.ExitNeedsPerson, "step docker failed", "its fingerprint is "+u.world.Packages.Fingerprint+", and 9DC858229FC7DD38854AE2D88D81803C0EBFCD88 is expected")
	if text := u.asRoot("find /etc/apt /usr/bin -name 'docker*'"); text != "" {
		u.t.Errorf("something of it is there: %s", text)
	}
}

func (u *user) setUp(*testing.T) {
	code, _, errs := u.run(u.setupCommand("--yes", "--as", sandboxhost.Admin)...)
	if code != 0 {
		u.t.Fatalf("exit %d\n%s", code, errs)
	}
	u.has(errs, "docker done", "resume done", "deploy can release there; next: pipeline check")
	u.has(u.onHost("sh", "-c", "id; docker compose version; docker run --rm debian:bookworm-slim echo in a container; systemctl --user is-system-running"),
		"(docker)", "Docker Compose version", "in a container", "running")
	// What the server's owner had set is there still.
	u.has(u.asRoot("cat /etc/docker/daemon.json"), `"http://mirror:`, `"storage-driver": "overlay2"`, `"max-size": "10m"`)
	u.has(u.asRoot("getent shadow deploy"), "deploy:*:")
	_, _, said := u.run(u.command("check", "1.0.0", apps.Version1())...)
	u.has(said, "no problem found")
	if strings.Contains(said, "pipeline setup") {
		u.t.Errorf("check finds something to set up:\n%s", said)
	}
}

func (u *user) setupTwice(*testing.T) {
	u.unchanged(func() {
		for _, as := range []string{"root", sandboxhost.Admin} {
			code, _, errs := u.run(u.setupCommand("--as", as)...)
			if code != 0 {
				u.t.Fatalf("exit %d\n%s", code, errs)
			}
			u.has(errs, "There is nothing to do.", "deploy can release there")
		}
	})
}

func (u *user) setupFirewall(*testing.T) {
	u.asRoot("apt-get install -qq --yes ufw >/dev/null 2>&1; ufw allow from 10.0.0.0/8 to any port 22 proto tcp >/dev/null; ufw allow 53/udp >/dev/null; ufw --force enable >/dev/null; ufw status")
	u.has(u.must(u.setupCommand("--dry-run")...), "firewall ufw: has no rule for TCP port 8094, 443", "let TCP port 8094, 443 in", "To do: firewall.")
	u.must(u.setupCommand("--yes")...)
	rules := u.asRoot("ufw status")
	u.has(rules, "8094/tcp", "443/tcp", "53/udp")
	for line := range strings.Lines(rules) {
		if strings.HasPrefix(line, "22/tcp") && !strings.Contains(line, "10.0.0.0/8") {
			u.t.Errorf("SSH was opened wider: %s", line)
		}
	}
	u.has(u.must(u.setupCommand("--dry-run")...), "ufw has rules for SSH and the site", "There is nothing to do.")
	u.asRoot("ufw --force disable >/dev/null")
}

func (u *user) setupHolds(t *testing.T) {
	if err := u.world.Host.Cut(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := u.world.Host.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	u.eventually("setup finds nothing to do", func() error {
		_, out, errs := u.run(u.setupCommand("--dry-run")...)
		if !strings.Contains(out, "There is nothing to do.") {
			return errors.New(out + errs)
		}
		return nil
	})
	u.has(u.onHost("sh", "-c", "docker ps; systemctl --user is-system-running"), "CONTAINER ID", "running")
}

func (u *user) releaseOnBare(*testing.T) {
	u.must(u.command("release", "1.0.0", apps.Version1(), "--skip-smoke-test", "--yes")...)
	if code, body := u.get("/api/method/ping"); code != 200 || !strings.Contains(body, "pong") {
		u.t.Errorf("ping: %d %s", code, body)
	}
}

func (u *user) setupInUse(*testing.T) {
	// A limit that was taken away again: Docker is not restarted under a site.
	before := u.asRoot(`sed -i '/log-/d' /etc/docker/daemon.json; cat /run/docker.pid`)
	u.has(u.must(u.setupCommand("--dry-run")...), "it counts when Docker is restarted", "To do: log limits.")
	u.must(u.setupCommand("--yes")...)
	if after := u.asRoot("cat /run/docker.pid"); after != before {
		u.t.Errorf("Docker was restarted: %s, before %s", after, before)
	}
	u.has(u.must(u.setupCommand("--dry-run")...), "are newer than the Docker that runs", "restart Docker on the host when its containers may stop", "There is nothing to do.")
	if code, _ := u.get("/api/method/ping"); code != 200 {
		u.t.Errorf("ping: %d", code)
	}
}
