package config

import (
	"bytes"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"io/fs"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// caFolder is where Debian keeps a machine's own CAs.
const caFolder = "/usr/local/share/ca-certificates"

// certificates reads a file with CAs or, where none is named, the machine's
// own. Only a build needs them.
func certificates(field *string) parser {
	return func(l *loader, key, file string) {
		file = l.expand(key, file)
		switch {
		case l.need&Build == 0:
		case file == "":
			*field = l.machineCAs(key)
		default:
			*field = l.fileCAs(key, file)
		}
	}
}

// fileCAs returns the certificates of a file in PEM, and reports whatever else
// is in it.
func (l *loader) fileCAs(key, file string) string {
	data, ok := l.contents(key, file, "the file", "", false)
	if !ok {
		return ""
	}
	all, broken := parseCertificates(data)
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

// machineCAs returns the CAs that the machine trusts besides the public ones.
// They were not chosen for this: what is of no use among them is left out, but
// one that can't be read would be missed by the first download.
func (l *loader) machineCAs(key string) string {
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
			l.bad(key, "make that file readable, or set "+key, "is not set, and of the machine's own CAs %s can't be read: %s", file, reason(err))
			continue
		}
		some, _ := parseCertificates(data)
		for _, c := range some {
			if !l.sources.Now().After(c.NotAfter) && !slices.ContainsFunc(all, c.Equal) {
				all = append(all, c)
			}
		}
	}
	return encode(all)
}

// parseCertificates returns the certificates of a PEM text, and how many more
// there are that can't be parsed: the parser itself passes those over.
func parseCertificates(text []byte) (all []*x509.Certificate, broken int) {
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

// encode returns certificates in PEM, without what stood between them.
func encode(all []*x509.Certificate) string {
	var text strings.Builder
	for _, c := range all {
		text.Write(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: c.Raw}))
	}
	return text.String()
}
