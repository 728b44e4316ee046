// Package secret keeps credentials out of whatever is printed.
//
// A [Secret] prints as *** in every format, and [Secret.Reveal] is called
// only where the value leaves the program: a header, a handshake, a secret
// mount. As a second line, a [Redactor] in front of every sink removes the
// values all the same, because errors of libraries quote what they were given.
package secret

import (
	"fmt"
	"io"
	"log/slog"
	"regexp"
)

// Mask is what stands in place of a secret's value.
const Mask = "***"

// Secret is a credential. The zero value is an unset one.
type Secret struct {
	// value is a pointer because fmt calls no methods on unexported fields:
	// of a secret in one it prints what it finds, so let that be an address.
	value *string
}

// New makes a secret of a value. An empty value is an unset secret, because
// GitHub Actions renders a missing secret as an empty string.
func New(value string) Secret {
	if value == "" {
		return Secret{}
	}
	return Secret{&value}
}

// Reveal returns the value itself, for the edge where it leaves the program.
func (s Secret) Reveal() string {
	if s.value == nil {
		return ""
	}
	return *s.value
}

// IsSet reports whether there is a value.
func (s Secret) IsSet() bool { return s.value != nil }

// Guessable reports whether the value may be a word of everyday text, such as admin or
// Administrator: letters of one case, but for the first, and at most 13 of them.
func (s Secret) Guessable() bool { return word.MatchString(s.Reveal()) }

var word = regexp.MustCompile(`^([A-Z]?[a-z]{1,12}|[a-z]{13}|[A-Z]{2,13})$`)

// String returns the mask, or nothing for an unset secret.
func (s Secret) String() string {
	if s.value == nil {
		return ""
	}
	return Mask
}

// Format prints the mask whatever the verb: %v, %+v, %#v, %s, %q, %x and %d
// would otherwise reach the value by reflection.
func (s Secret) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, s.String()) }

// MarshalText returns the mask, so that JSON and YAML carry no value.
func (s Secret) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// LogValue returns the mask to structured logs.
func (s Secret) LogValue() slog.Value { return slog.StringValue(s.String()) }
