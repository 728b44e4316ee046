package config

import (
	"bytes"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"io/fs"
	"net/netip"
	"net/url"
	"path/filepath"
	"slices"
	"strings"
	"time"
	"unicode"

	"github.com/distribution/reference"

	"github.com/desiredeffect/erpnext-pipeline/internal/secret"
)

// Mirrors are the servers that the build takes things from in place of the
// public ones, and whom it trusts besides the public authorities.
type Mirrors struct {
	// PyPI is a simple index, NPM a registry, Apt a server with debian and
	// debian-security below it. They are URLs without a slash at their end,
	// may have credentials in them, and are unset for the public servers.
	PyPI, NPM, Apt secret.Secret
	// Images is the registry for Docker Hub's images, as "host[:port][/path]";
	// empty for Docker Hub itself. It stands before "/library/python".
	Images string
	// CAs are certificates in PEM, one after the other and nothing else. They
	// are read only where something is built.
	CAs string
}

// caFolder is where Debian keeps a machine's own CAs.
const caFolder = "/usr/local/share/ca-certificates"

// mirror reports what is no URL of a server. The value is a secret: none of
// it gets into a problem.
func (l *loader) mirror(key, text string) secret.Secret {
	if text == "" {
		return secret.Secret{}
	}
	text = strings.TrimRight(text, "/")
	u, err := url.Parse(text)
	switch {
	case strings.ContainsFunc(text, spaceOrControl):
		l.bad(key, "set it again without that", "has white space or a control character in it")
	case err != nil || u.Scheme != "https" && u.Scheme != "http" || !hostPort(u.Host):
		l.bad(key, "write it as https://host/path; in a password write special characters as %40 for @", "is not the URL of a server")
	case strings.ContainsAny(text, "?#"):
		l.bad(key, "end it with the path", "has a ? or # in it")
	case u.Scheme == "http" && u.User != nil && !near(u.Hostname()):
		l.bad(key, "write https:// in front, or leave the credentials out", "has credentials in it, which http:// would send unencrypted")
	}
	return secret.New(text)
}

func spaceOrControl(r rune) bool { return unicode.IsSpace(r) || unicode.IsControl(r) }

// near says whether a host is this machine or in a private network. Names are
// not looked up: but for localhost they count as far away.
func near(host string) bool {
	host = strings.ToLower(host)
	address, err := netip.ParseAddr(host)
	if err != nil {
		return host == "localhost" || strings.HasSuffix(host, ".localhost")
	}
	address = address.Unmap()
	return address.IsLoopback() || address.IsPrivate()
}

// credentials gives what of a URL is nobody's business: its password or, as
// some servers take a token for a user name, the name alone. Tools take URLs
// apart, so that hiding the whole one is not enough.
func credentials(mirror secret.Secret) secret.Secret {
	u, err := url.Parse(mirror.Reveal())
	if err != nil {
		return secret.Secret{}
	}
	if password, _ := u.User.Password(); password != "" {
		return secret.New(password)
	}
	return secret.New(u.User.Username())
}

func (l *loader) imageMirror(text string) string {
	const key, image = "IMAGE_MIRROR", "/library/python"
	if text == "" {
		return ""
	}
	text = strings.TrimSuffix(text, "/")
	named, err := reference.ParseNormalizedNamed(text + image)
	switch {
	case strings.Contains(text, "://"):
		l.bad(key, "leave out what stands before the host", "has a scheme in front")
	case strings.Contains(text, "@"):
		// It may be a password.
		l.bad(key, "write host or host:port, and a path if there is one; docker login keeps credentials", "has an @ in it")
	case err != nil || !hostPort(reference.Domain(named)):
		l.bad(key, "write host or host:port, and a path in small letters if there is one, for instance mirror.example.com/hub", "is %s, which is not the name of a registry", quote(text))
	case named.Name() != text+image:
		l.bad(key, "write the host's whole name, or its port as well, for instance mirror.example.com/hub", "is %s, which would be taken for a name on Docker Hub", quote(text))
	}
	return text
}

// cas gives the certificates of EXTRA_CA_FILE or, without it, the machine's.
func (l *loader) cas(file string) string {
	const key = "EXTRA_CA_FILE"
	file = l.expand(key, file)
	if l.need&Build == 0 {
		return ""
	}
	if file == "" {
		return l.machineCAs()
	}
	data, ok := l.contents(key, file, "the file", "", false)
	if !ok {
		return ""
	}
	all, broken := certificates(data)
	bad := func(remedy, format string, args ...any) {
		l.bad(key, remedy, "names %s, which "+format, append([]any{file}, args...)...)
	}
	if bytes.Contains(data, []byte("PRIVATE KEY-----")) {
		bad("give a file with certificates alone; a private key has no business in a build", "has a private key in it")
	}
	switch {
	case broken > 0:
		bad("give each in PEM, with its first and last line and its line breaks", "has certificates in it that can't be parsed: %d of %d", broken, len(all)+broken)
	case len(all) == 0:
		bad("give it in PEM, beginning with -----BEGIN CERTIFICATE-----; openssl x509 -inform der makes that of a binary one", "has no certificate in it")
	}
	for _, c := range all {
		if l.sources.Now().After(c.NotAfter) {
			bad("put its successor in its place, or remove it", "has the certificate of %s in it, which expired on %s", quote(c.Subject.String()), c.NotAfter.UTC().Format(time.DateOnly))
		}
	}
	return encode(all)
}

// machineCAs gives the CAs that the machine trusts besides the public ones.
// Nobody chose them for this: what is of no use among them is left out, but
// one that can't be read would be missed by the first download.
func (l *loader) machineCAs() string {
	folder := l.sources.CAFolder
	files, err := filepath.Glob(filepath.Join(folder, "*.crt"))
	if err != nil {
		return ""
	}
	var all []*x509.Certificate
	for _, file := range files {
		data, err := l.sources.ReadFile(file)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			l.bad("EXTRA_CA_FILE", "make that file readable, or set EXTRA_CA_FILE", "is not set, and of the machine's own CAs %s can't be read: %s", file, reason(err))
			continue
		}
		some, _ := certificates(data)
		for _, c := range some {
			if !l.sources.Now().After(c.NotAfter) && !slices.ContainsFunc(all, c.Equal) {
				all = append(all, c)
			}
		}
	}
	return encode(all)
}

// certificates gives the certificates of a PEM text, and how many more there
// are that can't be parsed: the parser itself passes those over.
func certificates(text []byte) (all []*x509.Certificate, broken int) {
	begun := bytes.Count(text, []byte("-----BEGIN CERTIFICATE-----"))
	for block, rest := pem.Decode(text); block != nil; block, rest = pem.Decode(rest) {
		if block.Type != "CERTIFICATE" {
			continue
		}
		if c, err := x509.ParseCertificate(block.Bytes); err == nil {
			all = append(all, c)
		}
	}
	return all, begun - len(all)
}

// encode gives certificates in PEM, without what stood between them.
func encode(all []*x509.Certificate) string {
	var text strings.Builder
	for _, c := range all {
		text.Write(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: c.Raw}))
	}
	return text.String()
}
