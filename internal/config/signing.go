package config

import (
	"encoding/pem"
	"strings"

	"github.com/desiredeffect/erpnext-pipeline/ci/attest"
	"github.com/desiredeffect/erpnext-pipeline/internal/problem"
	"github.com/desiredeffect/erpnext-pipeline/internal/secret"
)

// signingKeyFile reads the private key from a file. Only a push needs it, and
// none where the key itself is given.
func signingKeyFile(field *secret.Secret) parser {
	return func(l *loader, key, file string) {
		file = l.expand(key, file)
		if file == "" || l.need&Push == 0 || l.isSet("SIGNING_KEY") {
			return
		}
		if data, ok := l.contents(key, file, "the private key", ", or make the key with cosign generate-key-pair", true); ok {
			*field = secret.New(string(data))
		}
	}
}

// signing looks, before a push, at the private key: cosign would find out
// after the push.
func (l *loader) signing(c *Config) {
	const key, fileKey, passwordKey = "SIGNING_KEY", "SIGNING_KEY_FILE", "SIGNING_KEY_PASSWORD"
	l.notBoth(key, fileKey)
	if !l.isSet(key) && !l.isSet(fileKey) && l.isSet(passwordKey) {
		// Images would go out unsigned though they are meant to be signed.
		l.bad(passwordKey, "set "+key+" or "+fileKey+" as well, or none of them", "is set, but there is no key to sign with")
	}
	switch {
	case l.need&Push == 0 || !c.SigningKey.PEM.IsSet():
	case l.isSet(key):
		l.signingKey(c.SigningKey, key, "")
	default:
		l.signingKey(c.SigningKey, fileKey, " names "+l.expand(fileKey, l.values[fileKey].text)+", which")
	}
}

// signingKey reports a private key that can't be used. which is put between
// the name of the setting and what is wrong.
func (l *loader) signingKey(private attest.Key, key, which string) {
	add := func(remedy, detail string) {
		l.report.Add(problem.Problem{Code: "config.signing-key", Subject: l.where(key), Detail: key + which + " " + detail, Remedy: remedy})
	}
	text := private.PEM.Reveal()
	block, _ := pem.Decode([]byte(text))
	switch {
	case !strings.Contains(text, "PRIVATE KEY"):
		add("give the private key, cosign.key; cosign generate-key-pair makes one", "is not a private key")
		return
	case block == nil:
		add("give the whole text of the key, with its first and last line and its line breaks", "can't be parsed as a private key")
		return
	}
	switch block.Type {
	case "ENCRYPTED SIGSTORE PRIVATE KEY", "ENCRYPTED COSIGN PRIVATE KEY":
		if !private.Password.IsSet() {
			add("set SIGNING_KEY_PASSWORD", "is encrypted, and SIGNING_KEY_PASSWORD is not set")
		}
		return
	case "PRIVATE KEY", "EC PRIVATE KEY":
		// OpenSSL's older encryption is in the headers; cosign can't undo it.
		if len(block.Headers) == 0 {
			return
		}
	}
	add("make a key with cosign generate-key-pair", "is neither a key of cosign's nor an open one in PKCS #8 or SEC 1")
}
