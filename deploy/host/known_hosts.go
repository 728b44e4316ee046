package host

import (
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/crypto/ssh"
	"golang.org/x/crypto/ssh/knownhosts"

	"github.com/desiredeffect/erpnext-pipeline/internal/problem"
)

// knownKeys decides whether a host key is accepted.
type knownKeys struct {
	check   ssh.HostKeyCallback
	sources []string
	// lines are the sources' lines by the name that knownhosts knows them by.
	lines map[string][]string
	// names are the sources' places by the same name.
	names map[string]string
}

// loadKnownHosts reads the sources and reports every bad line in them. It
// returns nil where there was a problem.
func loadKnownHosts(address string, sources []KnownHosts, report *problem.Report) *knownKeys {
	before := len(*report)
	if len(sources) == 0 {
		report.Addf("host.known-hosts", address, "give a known_hosts file that has the host's key", "no known hosts are set, so the host can't be recognised")
		return nil
	}
	// knownhosts reads files only, and what was checked here should be what
	// it reads.
	dir, err := os.MkdirTemp("", "known-hosts-")
	if err != nil {
		report.Add(problem.Problem{Code: "host.known-hosts", Subject: address, Err: err,
			Detail: fmt.Sprintf("no place for temporary files: %v", err), Remedy: "set TMPDIR to a folder that can be written to"})
		return nil
	}
	defer os.RemoveAll(dir)
	k := &knownKeys{lines: map[string][]string{}, names: map[string]string{}}
	var files []string
	for i, source := range sources {
		text := source.Text
		if source.Path != "" {
			data, err := os.ReadFile(source.Path)
			if err != nil {
				report.Add(problem.Problem{Code: "host.known-hosts", Subject: source.place(), Err: err,
					Detail: fmt.Sprintf("can't be read: %v", err), Remedy: "give a known_hosts file that has the host's key"})
				continue
			}
			text = string(data)
		}
		lines := strings.Split(strings.ReplaceAll(text, "\r\n", "\n"), "\n")
		readable := slices.Clone(lines)
		for n, line := range lines {
			if err := checkKnownHostsLine(line); errors.Is(err, errForeignKeyType) {
				// A key that can't be used in a handshake can be left out.
				readable[n] = ""
			} else if err != nil {
				report.Add(problem.Problem{Code: "host.known-hosts", Subject: fmt.Sprintf("%s:%d", source.place(), n+1), Err: err,
					Detail: fmt.Sprintf("is no line of a known_hosts file: %v", err), Remedy: "correct or remove the line"})
			}
		}
		file := filepath.Join(dir, strconv.Itoa(i))
		if err := os.WriteFile(file, []byte(strings.Join(readable, "\n")), 0o600); err != nil {
			report.Add(problem.Problem{Code: "host.known-hosts", Subject: source.place(), Err: err, Detail: err.Error(), Remedy: "make room for temporary files"})
			continue
		}
		files = append(files, file)
		k.lines[file], k.names[file] = lines, source.place()
		k.sources = append(k.sources, source.place())
	}
	if len(*report) > before {
		return nil
	}
	if k.check, err = knownhosts.New(files...); err != nil {
		text := err.Error()
		for file, name := range k.names {
			text = strings.ReplaceAll(text, file+":", name+":")
		}
		report.Add(problem.Problem{Code: "host.known-hosts", Subject: strings.Join(k.sources, ", "), Err: err,
			Detail: text, Remedy: "correct or remove the line"})
		return nil
	}
	return k
}

var errForeignKeyType = errors.New("key type is not supported")

// checkKnownHostsLine says what is wrong with one line.
func checkKnownHostsLine(line string) error {
	line = strings.TrimSpace(line)
	if line == "" || line[0] == '#' {
		return nil
	}
	fields := strings.Fields(line)
	if fields[0] == "@revoked" || fields[0] == "@cert-authority" {
		fields = fields[1:]
	}
	if len(fields) < 3 {
		return errors.New("it needs a host, a key type and a key")
	}
	keyType := fields[1]
	algorithms := append(ssh.SupportedAlgorithms().HostKeys, ssh.InsecureAlgorithms().HostKeys...)
	if !slices.Contains(algorithms, keyType) && keyType != ssh.KeyAlgoRSA {
		return errForeignKeyType
	}
	_, _, _, _, _, err := ssh.ParseKnownHosts([]byte(line))
	return err
}

// known returns the keys that known_hosts has for an address.
func (k *knownKeys) known(address string) []KnownKey {
	// A key that no host has: the answer names those that would be accepted.
	var keyErr *knownhosts.KeyError
	if !errors.As(k.check(address, placeholderAddr{address}, noHostsKey{}), &keyErr) {
		return nil
	}
	return k.describe(keyErr.Want)
}

func (k *knownKeys) describe(keys []knownhosts.KnownKey) []KnownKey {
	known := make([]KnownKey, len(keys))
	for i, key := range keys {
		known[i] = KnownKey{Type: key.Key.Type(), Fingerprint: ssh.FingerprintSHA256(key.Key),
			Place: fmt.Sprintf("%s:%d", k.names[key.Filename], key.Line)}
		line := strings.TrimSpace(k.lines[key.Filename][key.Line-1])
		if line[0] == '@' {
			known[i].Marker = strings.Fields(line)[0]
		}
	}
	return known
}

// algorithms orders the host key algorithms so that the host shows a key of a
// type that is known. The other types come after them: a host that has none
// of the known types should show what it has, to be refused with both
// fingerprints.
func (k *knownKeys) algorithms(address string) []string {
	known := k.known(address)
	authority := slices.ContainsFunc(known, func(key KnownKey) bool { return key.Marker == "@cert-authority" })
	var certificates, pinned, others []string
	for _, algorithm := range ssh.SupportedAlgorithms().HostKeys {
		switch {
		case strings.Contains(algorithm, "-cert-v01@"):
			certificates = append(certificates, algorithm)
		case slices.ContainsFunc(known, func(key KnownKey) bool {
			return key.Marker == "" && key.Type == keyTypeOf(algorithm)
		}):
			pinned = append(pinned, algorithm)
		default:
			others = append(others, algorithm)
		}
	}
	if !authority {
		// Who knows no authority can't judge a certificate.
		certificates = nil
	}
	return slices.Concat(certificates, pinned, others)
}

// keyTypeOf returns the type of the keys that sign with an algorithm: RSA keys
// sign with several (RFC 8332).
func keyTypeOf(algorithm string) string {
	if algorithm == ssh.KeyAlgoRSASHA256 || algorithm == ssh.KeyAlgoRSASHA512 {
		return ssh.KeyAlgoRSA
	}
	return algorithm
}

// verify judges the key that a host showed. The error is one of this
// package's host key errors.
func (k *knownKeys) verify(address string, remote net.Addr, key ssh.PublicKey) error {
	err := k.check(address, remote, key)
	if err == nil {
		return nil
	}
	mismatch := &KeyMismatchError{Address: address, Type: key.Type(), Fingerprint: ssh.FingerprintSHA256(key)}
	var (
		keyErr  *knownhosts.KeyError
		revoked *knownhosts.RevokedError
	)
	switch {
	case errors.As(err, &revoked):
		mismatch.Known = k.describe([]knownhosts.KnownKey{revoked.Revoked})
		mismatch.Reason = "the key was revoked"
	case !errors.As(err, &keyErr):
		mismatch.Known = k.known(address)
		mismatch.Reason = err.Error()
	case len(keyErr.Want) == 0:
		return &UnknownHostKeyError{Address: address, Type: key.Type(), Fingerprint: ssh.FingerprintSHA256(key), Sources: k.sources}
	default:
		mismatch.Known = k.describe(keyErr.Want)
	}
	return mismatch
}

// noHostsKey is a public key that equals no other.
type noHostsKey struct{}

func (noHostsKey) Type() string    { return "none" }
func (noHostsKey) Marshal() []byte { return []byte("none") }
func (noHostsKey) Verify([]byte, *ssh.Signature) error {
	return errors.New("this key signs nothing")
}

// placeholderAddr stands for the network address where only a name is known.
type placeholderAddr struct{ address string }

func (placeholderAddr) Network() string  { return "tcp" }
func (a placeholderAddr) String() string { return a.address }
