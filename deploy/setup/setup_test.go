package setup

import (
	"encoding/base64"
	"fmt"
	"strings"
	"testing"
)

// bookworm are the facts of a bare Debian 12 with memory enough, as root sees it.
const bookworm = "root yes\nsystem Debian GNU/Linux 12 (bookworm)\nid debian\nrelease 12\ncodename bookworm\narchitecture amd64\nsystemd yes\n" +
	"docker-error sh: docker: not found\ncontainers 0\nfolder absent\nstarts ssh.service\nmemory 8000000\nroot-type ext2/ext3\nroot-free 40000000\n"

var wanted = Options{User: "deploy", Dir: "/opt/erpnext", HTTPPort: 80, HTTPSPort: 443, Key: "ssh-ed25519 AAAA pipeline", Fingerprint: "ssh-ed25519 SHA256:x"}

// findingOf returns what a step says about facts.
func findingOf(t *testing.T, name string, f Facts, o Options) (done, missing, does string) {
	t.Helper()
	for _, s := range steps {
		if s.name != name {
			continue
		}
		found := s.find(f, o)
		if (found.does == "") != (found.act == nil) && found.missing == nil {
			t.Errorf("step %s: says it does %q and has an action: %v", name, found.does, found.act != nil)
		}
		if found.missing != nil {
			if found.missing.Remedy == "" || found.missing.Code == "" {
				t.Errorf("step %s: its problem has no remedy or no code: %v", name, found.missing)
			}
			missing = found.missing.Error()
		}
		return found.has, missing, found.does
	}
	t.Fatalf("no step %s", name)
	return "", "", ""
}

// TestFindings: what each step says about hosts as they are.
func TestFindings(t *testing.T) {
	settings := func(text string) string {
		return "settings " + base64.StdEncoding.EncodeToString([]byte(text)) + "\n"
	}
	const runs = "docker 28.0\ncompose 2.40.3\ndockerd /usr/bin/dockerd\n"
	trixie := strings.NewReplacer("release 12", "release 13", "bookworm", "trixie").Replace(bookworm)
	for _, c := range []struct {
		name, step, facts, change string // change is lines beside the facts
		options                   func(*Options)
		has, missing, does        string // what is said contains it; empty for nothing
	}{
		{"nothing is there", "docker", bookworm, "", nil, "", "is not installed", "install docker-ce, docker-ce-cli, containerd.io, docker-compose-plugin from https://download.docker.com/linux/debian"},
		{"a mirror", "docker", bookworm, "", func(o *Options) { o.Repository = "https://mirror.example.com/docker/" }, "", "is not installed", "from https://mirror.example.com/docker"},
		{"Debian 13", "docker", trixie, "", nil, "", "is not installed", "install docker.io, docker-cli, docker-compose of Debian"},
		{"Debian 13 with Docker's", "docker", trixie, "", func(o *Options) { o.Docker = FromDocker }, "", "is not installed", "install docker-ce"},
		{"the plugin is missing", "docker", trixie, "docker 26.1\ndockerd /usr/sbin/dockerd\ndocker-package docker.io\n", nil, "", "docker compose on the host: does not answer", "install docker-compose of Debian"},
		{"the plugin of Docker's own is missing", "docker", trixie, "docker 26.1\ndockerd /usr/bin/dockerd\ndocker-package docker-ce\n", nil, "", "does not answer", "install docker-compose-plugin from https://download.docker.com"},
		{"the plugin is missing where Debian has none", "docker", bookworm, "docker 20.10.24+dfsg1\ndockerd /usr/sbin/dockerd\ndocker-package docker.io\n", nil, "", "does not answer", "install docker-compose-plugin from"},
		{"Docker is stopped", "docker", bookworm, "dockerd /usr/bin/dockerd\ncompose 2.40.3\ndocker-error Cannot connect to the Docker daemon\n", nil, "", "does not answer: Cannot connect", "start Docker"},
		{"a Docker that works stays", "docker", bookworm, "docker 20.10.24+dfsg1\ncompose v2.24.4\n", func(o *Options) { o.Docker = FromDocker }, "Docker 20.10.24+dfsg1, compose 2.24.4", "", ""},
		{"a Docker that is too old stays", "docker", bookworm, "docker 19.03.1\ncompose 2.40.3\ndockerd /usr/bin/dockerd\n", nil, "", "is version 19.03.1; 20.10 or later is needed", ""},

		{"no settings", "log limits", bookworm, "", nil, "", "set no limit", "limit them in /etc/docker/daemon.json (10 MB in each of 5 files)"},
		{"containers run", "log limits", bookworm, strings.Replace(runs, "containers 0\n", "", 1) + "containers 3\n", nil, "", "set no limit", "it counts when Docker is restarted"},
		{"none runs", "log limits", bookworm, runs, nil, "", "set no limit", "restart Docker, which runs no container"},
		{"another driver", "log limits", bookworm, settings(`{"log-driver": "journald"}`), nil, "no log without limit", "", ""},
		{"a flag of Docker's", "log limits", bookworm, "log-flags yes\n", nil, "by its command line", "", ""},
		{"not JSON", "log limits", bookworm, settings(`{"log-driver": `), nil, "", "can't be read", ""},
		{"written, not read", "log limits", bookworm, runs + "settings-unread yes\n" + settings(`{"log-opts": {"max-size": "1m"}}`), nil, "", "are newer than the Docker that runs", ""},
		{"not to be read", "log limits", bookworm, "settings-hidden yes\n", nil, "", "", ""},

		{"no user", "user", bookworm, "", nil, "", "user deploy: is not on the host", "make the user, in the group docker"},
		{"a user", "user", bookworm, "user deploy\ngroups  deploy users \n", nil, "", "is not in the group docker", "add the user to the group"},
		{"a user in the group", "user", bookworm, "user deploy\ngroups  deploy docker \n", nil, "deploy is in the group docker", "", ""},
		{"root", "user", bookworm, "", func(o *Options) { o.User = "root" }, "root deploys", "", ""},
		{"no key", "key", bookworm, "home /srv/deploy\n", nil, "", "can't log in", "add ssh-ed25519 SHA256:x to /srv/deploy/.ssh/authorized_keys"},
		{"a key", "key", bookworm, "key yes\n", nil, "deploy logs in with ssh-ed25519 SHA256:x", "", ""},

		{"no folder", "folder", bookworm, "", nil, "", "/opt/erpnext: is not there", "make it, for deploy"},
		{"an empty folder of another", "folder", bookworm, "folder empty\n", nil, "", "can't be written", "give it to deploy"},
		{"a folder of another with something in it", "folder", bookworm, "folder of root\n", nil, "", "belongs to root, has something in it", ""},
		{"a folder", "folder", bookworm, "folder writable\n", nil, "can be written", "", ""},

		{"SSH by a socket", "start", bookworm, "starts docker.service\nstarts ssh.socket\n", nil, "Docker and SSH start", "", ""},
		{"Docker does not start", "start", bookworm, runs, nil, "", "does not start docker.service", "enable docker.service"},
		{"no systemd", "start", strings.Replace(bookworm, "systemd yes\n", "", 1), "", nil, "", "systemd does not run", ""},

		{"no linger", "resume", bookworm, "logind yes\n", nil, "", "don't go on by themselves", "let the units of deploy run without a login (linger)"},
		{"no logind", "resume", bookworm, "", nil, "", "don't go on by themselves", "install dbus and libpam-systemd"},
		{"root's units", "resume", bookworm, "", func(o *Options) { o.User = "root" }, "systemd wakes", "", ""},
		{"lingers", "resume", bookworm, "lingers yes\n", nil, "systemd wakes", "", ""},
		{"cron", "resume", strings.Replace(bookworm, "systemd yes\n", "", 1), "crontab /usr/bin/crontab\ncron running\n", nil, "cron wakes", "", ""},
		{"neither", "resume", strings.Replace(bookworm, "systemd yes\n", "", 1), "crontab /usr/bin/crontab\n", nil, "", "neither systemd nor cron", "install cron and start it"},

		{"a server of 2 GB", "swap", bookworm, "memory 2015000\n", nil, "", "there are 1.9 GiB", "make /swapfile of 3 GiB"},
		{"a server of 4 GB", "swap", bookworm, "memory 3900000\n", nil, "3.7 GiB of memory and swap", "", ""},
		{"a container", "swap", bookworm, "memory 2015000\ncontainer yes\n", nil, "", "there are 1.9 GiB", ""},
		{"btrfs", "swap", bookworm, "memory 2015000\nroot-type btrfs\n", nil, "", "there are 1.9 GiB", ""},
		{"no room", "swap", bookworm, "memory 2015000\nroot-free 9000000\n", nil, "", "there are 1.9 GiB", ""},
		{"a swap file that is not used", "swap", bookworm, "memory 2015000\nswapfile yes\n", nil, "", "there are 1.9 GiB", ""},

		{"no firewall", "firewall", bookworm, "", nil, "none is active", "", ""},
		{"ufw", "firewall", bookworm, "firewall ufw\nrule 2222\n", nil, "", "firewall ufw: has no rule for TCP port 80, 443", "let TCP port 80, 443 in"},
		{"ufw without a rule for SSH", "firewall", bookworm, "firewall ufw\nrule 80\nrule 443\n", nil, "", "has no rule for TCP port 2222", "let TCP port 2222 in"},
		{"ufw with all", "firewall", bookworm, "firewall ufw\nrule 2222\nrule 80\nrule 443\n", nil, "ufw has rules", "", ""},
		{"nftables", "firewall", bookworm, "firewall nftables\n", nil, "", "what its own rules say", ""},
		{"looked at by another", "firewall", strings.Replace(bookworm, "root yes\n", "", 1), "", nil, "", "", ""},
	} {
		t.Run(c.step+", "+c.name, func(t *testing.T) {
			o := wanted
			if c.options != nil {
				c.options(&o)
			}
			f := parseFacts(c.facts + c.change)
			f.sshPort = 2222
			has, missing, does := findingOf(t, c.step, f, o)
			for _, one := range []struct{ what, got, want string }{{"there is", has, c.has}, {"missing is", missing, c.missing}, {"it does", does, c.does}} {
				if !strings.Contains(one.got, one.want) || one.want == "" && one.got != "" {
					t.Errorf("%s %q, want %q", one.what, one.got, one.want)
				}
			}
		})
	}
}

// TestUnsupported: what is not set up is said before anything else.
func TestUnsupported(t *testing.T) {
	for _, c := range []struct{ facts, docker, want string }{
		{bookworm, "", ""},
		{bookworm, FromDocker, ""},
		{bookworm, FromDistribution, "has no compose plugin of version 2"},
		{bookworm + "docker 28.0\ncompose 2.40.3\n", FromDistribution, ""},
		{strings.Replace(bookworm, "amd64", "riscv64", 1), "", "has the architecture riscv64"},
		{"system Fedora Linux 42\nid fedora\nrelease 42\narchitecture amd64\n", "", "is Fedora Linux 42; setup knows Debian 12 and 13, Ubuntu 22.04 and 24.04"},
		{"", "", "is unknown"},
	} {
		report := unsupported(parseFacts(c.facts), Options{Docker: c.docker})
		text := fmt.Sprint(report)
		if (c.want == "") != (len(report) == 0) || !strings.Contains(text, c.want) {
			t.Errorf("%q with --docker %q: %s, want %q", c.facts, c.docker, text, c.want)
		}
	}
}

// TestLimitLogs: a limit is added, and whatever else is written stays as it is.
func TestLimitLogs(t *testing.T) {
	const driver, opts = "\"log-driver\": \"json-file\"", "\"max-size\": \"10m\", \"max-file\": \"5\""
	for _, c := range []struct{ name, before, after, err string }{
		{"no file", "", "{\n  " + driver + ",\n  \"log-opts\": { " + opts + " }\n}\n", ""},
		{"an empty object", "{ }\n", "{\n  " + driver + ",\n  \"log-opts\": { " + opts + " }\n}\n", ""},
		{"other keys", "{\n  \"debug\": true\n}\n", "{\n  " + driver + ",\n  \"log-opts\": { " + opts + " },\n  \"debug\": true\n}\n", ""},
		{"a driver", "{\n  \"log-driver\": \"json-file\"\n}\n", "{\n  \"log-opts\": { " + opts + " },\n  \"log-driver\": \"json-file\"\n}\n", ""},
		{"options", "{\"a\": {\"log-opts\": {}}, \"log-opts\": {\"labels\": \"x\"}}", "{\"a\": {\"log-opts\": {}}, \"log-opts\": {\n  " + opts + ",\"labels\": \"x\"}}", ""},
		{"empty options", "{\"log-opts\": {}}", "{\"log-opts\": {\n  " + opts + "\n}}", ""},
		{"a number of files", "{\"log-opts\": {\"max-file\": \"3\"}}", "{\"log-opts\": {\n  \"max-size\": \"10m\",\"max-file\": \"3\"}}", ""},
		{"a value like the key", "{\"x\": \"log-opts\", \"y\": {\"z\": 1}, \"log-opts\": {}}", "{\"x\": \"log-opts\", \"y\": {\"z\": 1}, \"log-opts\": {\n  " + opts + "\n}}", ""},
		{"a limit", "{\"log-opts\": {\"max-size\": \"1g\"}}", "", ""},
		{"another driver", "{\"log-driver\": \"local\"}", "", ""},
		{"no object", "[]", "", "cannot unmarshal array"},
		{"options that are none", "{\"log-opts\": 3}", "", "log-opts is no object"},
		{"torn", "{\"debug\": true", "", "unexpected end"},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, changed, err := limitLogs([]byte(c.before))
			if c.err != "" {
				if err == nil || !strings.Contains(err.Error(), c.err) {
					t.Fatalf("%v, want %q", err, c.err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if want := c.after; changed != (want != "") || changed && string(got) != want {
				t.Fatalf("changed %v:\n%s\nwant\n%s", changed, got, want)
			}
			if again, changed, err := limitLogs(got); err != nil || changed {
				t.Errorf("done once more: %v %v\n%s", changed, err, again)
			}
		})
	}
}
