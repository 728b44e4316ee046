package setup

import (
	"bytes"
	"context"
	"embed"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"

	"github.com/desiredeffect/erpnext-pipeline/deploy/host"
	"github.com/desiredeffect/erpnext-pipeline/internal/problem"
)

// remote are the scripts that run on the host, each with a comment at its head that
// says what it does and what its arguments are.
//
//go:embed remote
var remote embed.FS

func script(name string) string {
	text, err := remote.ReadFile("remote/" + name + ".sh")
	if err != nil {
		panic(err) // embedded
	}
	return string(text)
}

// root is a connection whose commands run with all rights, once connected says how,
// and else with those of the login.
type root struct {
	Host
	prefix []string
	output io.Writer
}

// do runs a script of this package. The functions of packages.sh stand before it.
func (r root) do(ctx context.Context, name, stdin string, arguments ...string) (string, error) {
	argv := append(slices.Clone(r.prefix), "sh", "-c", script("packages")+script(name), "sh")
	options := host.Options{Stdin: strings.NewReader(stdin)}
	var said bytes.Buffer
	if r.output != nil {
		both := io.MultiWriter(r.output, &said)
		options.Stdout, options.Stderr = both, both
	}
	result, err := r.Run(ctx, append(argv, arguments...), options)
	var ended *host.RunError
	if errors.As(err, &ended) && ended.Signal == "" {
		// The whole script would be in the error. What apt has to say is on its
		// standard output as well.
		err = fmt.Errorf("exit code %d: %s", ended.Exit, lastLines(said.String()+result.Stderr))
	}
	return result.Stdout, err
}

// lastLines returns the end of what a program said, indented where it is more than a
// line.
func lastLines(text string) string {
	const enough = 8
	lines := strings.Split(strings.TrimSpace(text), "\n")
	if len(lines) == 1 {
		return lines[0]
	}
	return "\n    " + strings.Join(lines[max(0, len(lines)-enough):], "\n    ")
}

// Facts are what a look at a host found. What the login can't know is not among them.
type Facts struct {
	values map[string]string
	starts []string // units that start with the host
	rules  []string // ports that the firewall has a rule for
	// sshPort is the port of the SSH server that was connected to; 0 if not known.
	sshPort int
}

func (f Facts) get(name string) string { return f.values[name] }
func (f Facts) is(name string) bool    { return f.values[name] != "" }

// System returns the host's system and its architecture, as its maker calls them.
func (f Facts) System() string { return f.get("system") + ", " + f.get("architecture") }

// settings returns the text of Docker's settings; empty where there is none.
func (f Facts) settings() ([]byte, error) {
	return base64.StdEncoding.DecodeString(f.get("settings"))
}

// number returns a fact as a number; 0 if it is not known.
func (f Facts) number(name string) int64 {
	n, _ := strconv.ParseInt(f.get(name), 10, 64)
	return n
}

// parseFacts reads what a script printed: lines "NAME VALUE".
func parseFacts(text string) Facts {
	f := Facts{values: map[string]string{}}
	for line := range strings.Lines(text) {
		name, value, _ := strings.Cut(strings.TrimSuffix(line, "\n"), " ")
		switch name {
		case "starts":
			f.starts = append(f.starts, value)
		case "rule":
			f.rules = append(f.rules, value)
		default:
			f.values[name] = value
		}
	}
	return f
}

// connected returns what makes a command root on a connection, and the port of the
// SSH server.
func connected(ctx context.Context, h Host) (prefix []string, port int, report problem.Report, err error) {
	out, err := root{Host: h}.do(ctx, "connect", "")
	if err != nil {
		return nil, 0, nil, fmt.Errorf("look at the login: %w", err)
	}
	f := parseFacts(out)
	if f.get("uid") == "" {
		return nil, 0, nil, fmt.Errorf("look at the login: it answers %q", out)
	}
	if f.get("uid") != "0" {
		prefix = []string{"sudo", "-n", "--"}
	}
	if why := f.get("sudo"); why != "" {
		report.Addf("setup.no-root", "login on the host",
			"log in as root (--as root), or let the user become root without a password: in /etc/sudoers.d/, NAME ALL=(ALL) NOPASSWD: ALL, until the host is set up",
			"it is not root, and can't become root: %s", why)
	}
	return prefix, int(f.number("ssh-port")), report, nil
}

// look returns what is on a host.
func look(ctx context.Context, r root, o Options, sshPort int) (Facts, error) {
	ports := o.ports(sshPort)
	arguments := []string{o.User, o.Dir, keyBlob(o.Key), o.repositoryName()}
	for _, port := range ports {
		arguments = append(arguments, strconv.Itoa(port))
	}
	out, err := r.do(ctx, "look", "", arguments...)
	if err != nil {
		return Facts{}, fmt.Errorf("look at the host: %w", err)
	}
	f := parseFacts(out)
	f.sshPort = sshPort
	return f, nil
}

// ports are those that have to be reached from outside; SSH's is left out where it is
// not known.
func (o Options) ports(ssh int) (ports []int) {
	for _, port := range []int{ssh, o.HTTPPort, o.HTTPSPort} {
		if port != 0 && !slices.Contains(ports, port) {
			ports = append(ports, port)
		}
	}
	return ports
}

// keyBlob returns the part of a line of authorized_keys that is the key itself.
func keyBlob(line string) string {
	fields := strings.Fields(line)
	if len(fields) < 2 {
		return "no key"
	}
	return fields[1]
}
