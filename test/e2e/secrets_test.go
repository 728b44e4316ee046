package e2e

import (
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/desiredeffect/erpnext-pipeline/internal/sandbox"
)

// secretsAreNowhere looks for the token and the passwords wherever they could
// have been left.
func (u *user) secretsAreNowhere(t *testing.T) {
	places, token := u.places(), u.world.Token.Reveal()
	if always := places["process arguments of the host, all the time"]; !strings.Contains(always, "runner") {
		t.Errorf("nobody has watched the host: %q", always)
	}
	for place, text := range places {
		if strings.Contains(text, token) {
			t.Errorf("the token is in %s", place)
		}
	}
	for _, place := range []string{"/home/deploy", "/var/log"} {
		if found := u.onHostWith(token, "sh", "-c", "grep -rlF -f - "+place+" 2>/dev/null | head -n 3; true"); found != "" {
			t.Errorf("the token is on the host in %s", found)
		}
	}
	if found := u.onHostWith(token, "docker", "exec", "--interactive", "--user", "root", u.container("backend"), "sh", "-c",
		"grep -rlF -f - /home /etc /usr/local /opt /tmp /var 2>/dev/null | head -n 3; true"); found != "" {
		t.Errorf("the token is in the image: %s", found)
	}
	for _, name := range []string{"ADMIN_PASSWORD", "DB_ROOT_PASSWORD"} {
		value := u.env(name)
		for place, text := range places {
			if strings.Contains(text, value) {
				t.Errorf("%s is in %s", name, place)
			}
		}
		// It belongs into the .env of a release, which only its owner can read,
		// and into no other file.
		found := u.onHostWith(value, "sh", "-c", "grep -rlF -f - /home/deploy /var/log 2>/dev/null | grep -v '/releases/[^/]*/[.]env$' | head -n 3; true")
		if found != "" {
			t.Errorf("%s is on the host in %s", name, found)
		}
	}
	if open := u.onHost("find", sandbox.Project, "-type", "f", "-perm", "/077"); open != "" {
		t.Errorf("others can read on the host: %s", open)
	}
}

// places are texts in which a secret could be, by what they are.
func (u *user) places() map[string]string {
	u.t.Helper()
	log, err := os.ReadFile(u.world.Engine.LogFile())
	if err != nil {
		u.t.Fatal(err)
	}
	processes, err := exec.CommandContext(u.t.Context(), "ps", "-eo", "args").Output()
	if err != nil {
		u.t.Fatal(err)
	}
	u.onHost("touch", "stop-watching")
	return map[string]string{
		"what the program printed":                    u.printed.String(),
		"the engine's log":                            string(log),
		"process arguments":                           string(processes),
		"process arguments of the host":               u.onHost("ps", "-eo", "args"),
		"process arguments of the host, all the time": u.onHost("cat", "arguments"),
		"image history":                               u.onHost("sh", "-c", `for i in $(docker images -q | sort -u); do docker history --no-trunc "$i"; docker image inspect "$i"; done`),
	}
}

// watchArguments has the host write down the arguments of every process from
// now on, each once. It starts none itself, so that it takes little.
func (u *user) watchArguments() {
	u.t.Helper()
	u.onHost("sh", "-c", `setsid perl -e '$| = 1; until (-e "stop-watching") {
		for my $file (</proc/[0-9]*/cmdline>) {
			open(my $in, "<", $file) or next;
			local $/;
			my $arguments = <$in>;
			print join("\n", split(/\0/, $arguments)), "\n" if defined $arguments and !$seen{$arguments}++;
		}
		select(undef, undef, undef, 0.1);
	}' >arguments 2>/dev/null </dev/null &`)
}
