package config

import (
	"path"
	"strconv"
	"strings"
	"time"

	"github.com/desiredeffect/erpnext-pipeline/internal/secret"
)

// parser reads the value of a key, and puts what it says into the field that
// the parser was made for. The value is empty where there is neither one nor
// a default.
type parser func(l *loader, key, value string)

// where has a rule hold for the value, unless that is empty. A value that
// breaks it is reported, and read all the same: there may be more to find.
func (p parser) where(holds rule) parser {
	return func(l *loader, key, value string) {
		if value != "" {
			if wrong, remedy := holds(value); wrong != "" {
				l.bad(key, remedy, "%s", wrong)
			}
		}
		p(l, key, value)
	}
}

// into returns a parser that stores what a function makes of the value.
func into[T any](field *T, read func(value string) T) parser {
	return func(_ *loader, _, value string) { *field = read(value) }
}

// text takes the value as it is.
func text(field *string) parser {
	return into(field, func(value string) string { return value })
}

// trimmed takes a URL or path without slashes at its end.
func trimmed(field *string) parser {
	return into(field, func(value string) string { return strings.TrimRight(value, "/") })
}

// cleaned takes a path on the host in its shortest form.
func cleaned(field *string) parser { return into(field, path.Clean) }

// only takes the value as the one element of a list.
func only(field *[]string) parser {
	return func(_ *loader, _, value string) {
		if value != "" {
			*field = []string{value}
		}
	}
}

// named leaves the value where it is: [Config.Secret] finds it by its name.
func named() parser { return func(*loader, string, string) {} }

// secretText takes a secret as it is: a key, whose text has line breaks.
func secretText(field *secret.Secret) parser { return into(field, secret.New) }

// credential takes a password or token.
func credential(field *secret.Secret) parser { return secretText(field).where(wellCopied) }

// variable takes the value of a variable that compose files refer to.
func variable(variables map[string]string) parser {
	return func(_ *loader, key, value string) {
		if value != "" {
			variables[key] = value
		}
	}
}

// hiddenVariable is [variable] for a value that may have a password in it.
func hiddenVariable(secrets map[string]secret.Secret) parser {
	return func(_ *loader, key, value string) {
		if value != "" {
			secrets[key] = secret.New(value)
		}
	}
}

// secretVariable takes a password or token that compose files refer to.
func secretVariable(secrets map[string]secret.Secret) parser {
	return hiddenVariable(secrets).where(wellCopied)
}

// whole reads a whole number from 1 up to most, and stores no other.
func whole(most int, store func(n int)) parser {
	return parser(func(_ *loader, _, value string) {
		if n, err := strconv.Atoi(value); err == nil && n >= 1 && n <= most {
			store(n)
		}
	}).where(upTo(most))
}

// number reads a whole number from 1 up to most.
func number(field *int, most int) parser {
	return whole(most, func(n int) { *field = n })
}

// seconds reads a number of seconds from 1 up to most.
func seconds(field *time.Duration, most int) parser {
	return whole(most, func(n int) { *field = time.Duration(n) * time.Second })
}

// truth reads true or false, and nothing else: what yes or 1 stand for differs
// between the programs that read .env.
func truth(field *bool) parser {
	return into(field, func(value string) bool { return value == "true" }).where(trueOrFalse)
}

// moment reads a day or a time; a day means its beginning in UTC.
func moment(field *time.Time) parser {
	return func(l *loader, key, value string) {
		if value == "" {
			return
		}
		for _, layout := range []string{time.RFC3339, time.DateOnly} {
			if t, err := time.Parse(layout, value); err == nil {
				*field = t.UTC()
				return
			}
		}
		l.bad(key, "write 2024-03-20 or 2024-03-20T12:00:00Z", "is %s, which is neither a day nor a time", quote(value))
	}
}
