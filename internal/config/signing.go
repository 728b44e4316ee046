package config

import (
	"encoding/pem"
	"strings"

	"github.com/desiredeffect/erpnext-pipeline/internal/problem"
	"github.com/desiredeffect/erpnext-pipeline/internal/secret"
)

// Signing is how images are signed.
type Signing struct {
	// Key is the text of cosign's private key; unset where images are not
	// signed. One in a file is read only where something is pushed.
	Key secret.Secret
	// Password opens an encrypted key.
	Password secret.Secret
}

// signing looks, before a push, at the private key: cosign would find out
// after the push.
func (l *loader) signing(k keys) Signing {
	const key, fileKey, passwordKey = "SIGNING_KEY", "SIGNING_KEY_FILE", "SIGNING_KEY_PASSWORD"
	s := Signing{Key: secret.New(k.SigningKey), Password: l.credential(passwordKey, k.SigningKeyPassword)}
	file := l.expand(fileKey, k.SigningKeyFile)
	switch {
	case s.Key.IsSet() && file != "":
		l.bad(key, "keep one of them", "and %s are both set", fileKey)
	case !s.Key.IsSet() && file == "" && s.Password.IsSet():
		// Images would go out unsigned though somebody meant to sign them.
		l.bad(passwordKey, "set "+key+" or "+fileKey+" as well, or none of them", "is set, but there is no key to sign with")
	}
	if l.need&Push == 0 {
		return s
	}
	switch {
	case s.Key.IsSet():
		l.signingKey(s, key, "")
	case file != "":
		if data, ok := l.contents(fileKey, file, "the private key", ", or make the key with cosign generate-key-pair", true); ok {
			s.Key = secret.New(string(data))
			l.signingKey(s, fileKey, " names "+file+", which")
		}
	}
	return s
}

// signingKey reports a private key that can't be used. which is put between
// the name of the key and what is wrong.
func (l *loader) signingKey(s Signing, key, which string) {
	add := func(remedy, detail string) {
		l.report.Add(problem.Problem{Code: "config.signing-key", Subject: l.where(key), Detail: key + which + " " + detail, Remedy: remedy})
	}
	text := s.Key.Reveal()
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
		if !s.Password.IsSet() {
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
