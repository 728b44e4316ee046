package config

import (
	"bytes"
	"errors"
	"fmt"
	"regexp"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/compose-spec/compose-go/v2/dotenv"
	"github.com/compose-spec/compose-go/v2/template"

	"github.com/desiredeffect/erpnext-pipeline/internal/problem"
)

// envFile is a .env file as compose reads it, with the line of each key.
type envFile struct {
	values map[string]string
	lines  map[string]int
	// keys are in the order of the file.
	keys []string
}

// parseEnv reads a .env file and reports everything that compose would not
// read, would read otherwise than it looks, or would read twice. Every problem
// names a line; none quotes a value, which may be a secret.
//
// The parsing itself is compose's own, one statement at a time: its parser
// gives no line numbers and ends at the first error.
func parseEnv(name string, data []byte, environ func(string) (string, bool)) (envFile, problem.Report) {
	file := envFile{values: map[string]string{}, lines: map[string]int{}}
	var report problem.Report
	data = bytes.TrimPrefix(data, []byte("\uFEFF"))
	if at := invalidUTF8(data); at >= 0 {
		report.Addf("config.env-line", place(name, 1+bytes.Count(data[:at], []byte("\n"))), "save the file as UTF-8", "this is not UTF-8 text")
		return file, report
	}
	lines := strings.SplitAfter(string(data), "\n")
	// One pasted value of many lines is one problem, not fifty.
	run := false
	for i := 0; i < len(lines); {
		line := i + 1
		s := read(lines[i:], file.values, environ)
		i += s.lines
		if s.problem != notAssignment {
			run = false
		}
		switch {
		case s.problem == notAssignment && run:
			report[len(report)-1].Detail = fmt.Sprintf("from here to line %d the lines are not of the form KEY=value", line)
		case s.problem == notAssignment:
			run = true
			report.Addf("config.env-line", place(name, line),
				"write KEY=value; begin a comment with #; put a value of several lines in double quotes", "this line is not of the form KEY=value")
		case s.problem != "":
			report.Addf("config.env-line", place(name, line), s.remedy, "%s", s.problem)
		}
		if s.key == "" {
			continue
		}
		if first, again := file.lines[s.key]; again {
			report.Addf("config.duplicate", place(name, line), "remove one of the two; compose takes the last", "%s is already set on line %d", showKey(s.key), first)
		} else {
			file.lines[s.key] = line
			file.keys = append(file.keys, s.key)
		}
		file.values[s.key] = s.value
	}
	return file, report
}

// place returns "file:line".
func place(name string, line int) string { return fmt.Sprintf("%s:%d", name, line) }

// invalidUTF8 returns the offset of the first byte that is no text, or -1.
func invalidUTF8(data []byte) int {
	for i := 0; i < len(data); {
		r, size := utf8.DecodeRune(data[i:])
		if r == utf8.RuneError && size == 1 || r == 0 {
			return i
		}
		i += size
	}
	return -1
}

// statement is what stands on one line, or on several within quotes.
type statement struct {
	lines           int
	key, value      string
	problem, remedy string
}

const notAssignment = "not KEY=value"

// read reads the statement that begins on the first of the lines.
func read(lines []string, before map[string]string, environ func(string) (string, bool)) statement {
	s := statement{lines: 1}
	text := lines[0]
	if trimmed := strings.TrimSpace(text); trimmed == "" || trimmed[0] == '#' {
		return s
	}
	unset := map[string]bool{}
	// What is not set counts as set and empty at first: the parser would
	// otherwise warn on standard error by itself.
	lookup := func(name string) (string, bool) {
		if value, ok := environ(name); ok {
			return value, true
		}
		if value, ok := before[name]; ok {
			return value, true
		}
		unset[name] = true
		return "", true
	}
	vars, err := dotenv.UnmarshalWithLookup(text, lookup)
	for end := 1; unterminated(err) && end < len(lines); {
		// Only a line with a quote can end the value.
		for end++; end < len(lines) && !strings.ContainsAny(lines[end-1], `"'`); {
			end++
		}
		text = strings.Join(lines[:end], "")
		if vars, err = dotenv.UnmarshalWithLookup(text, lookup); !unterminated(err) {
			s.lines = end
		}
	}
	if err == nil && len(unset) > 0 {
		if refersPlainly(text, unset) {
			// The name itself may be the rest of a password.
			s.problem = "after a $ the value names a variable that is not set"
			s.remedy = "for a dollar sign write $$, or put the value in single quotes"
		} else {
			// Only with a default or a condition: now as it is.
			vars, err = dotenv.UnmarshalWithLookup(text, func(name string) (string, bool) {
				value, _ := lookup(name)
				return value, !unset[name]
			})
		}
	}
	var (
		invalid *template.InvalidTemplateError
		missing *template.MissingRequiredError
	)
	switch {
	case err == nil:
	case unterminated(err):
		s.problem, s.remedy = "the quote that begins the value is never closed", "close it; within double quotes write \\\" for a quote"
		return s
	case errors.As(err, &invalid):
		s.problem, s.remedy = "compose can't read what follows a $ in the value", "for a dollar sign write $$, or put the value in single quotes"
		return s
	case errors.As(err, &missing):
		s.problem, s.remedy = "the value requires a variable that is not set", "set it further up or in the environment"
		return s
	default:
		s.problem = notAssignment
		return s
	}
	if head, _, _ := strings.Cut(text, "\n"); !strings.ContainsAny(head, "=:") {
		// compose takes a key alone from the environment, which comes
		// before this file in any case: it is a slip.
		s.problem = notAssignment
		return s
	}
	if s.problem == "" && afterQuote(text) {
		s.problem, s.remedy = "something follows the closing quote of the value", "write a quote within the value as \\\", and each key on a line of its own"
	}
	key := keyOf(text)
	value, found := vars[key]
	if key == "" || !found {
		s.problem = notAssignment
		return s
	}
	s.key, s.value = key, value
	return s
}

// unterminated reports whether the parser wants more lines. It has no error of
// its own for that.
func unterminated(err error) bool {
	return err != nil && strings.Contains(err.Error(), "unterminated quoted value")
}

// refersPlainly reports whether a text refers to one of the names as $NAME or
// ${NAME}, with neither default nor condition.
func refersPlainly(text string, names map[string]bool) bool {
	for name := range names {
		if regexp.MustCompile(`(^|[^$\\])(\$\$)*(\$` + regexp.QuoteMeta(name) + `([^A-Za-z0-9_]|$)|\$\{` + regexp.QuoteMeta(name) + `\})`).MatchString(text) {
			return true
		}
	}
	return false
}

// keyOf returns the key of a statement.
func keyOf(text string) string {
	key, _, _ := strings.Cut(text, "=")
	key, _, _ = strings.Cut(key, ":")
	key = strings.TrimSpace(key)
	if rest, found := strings.CutPrefix(key, "export"); found && rest != "" && strings.TrimLeftFunc(rest, unicode.IsSpace) != rest {
		key = strings.TrimSpace(rest)
	}
	return key
}

// afterQuote reports whether something other than a comment follows the quoted
// value of a statement: compose would read it as a statement of its own.
func afterQuote(text string) bool {
	value := strings.TrimLeftFunc(text[strings.IndexAny(text, "=:")+1:], unicode.IsSpace)
	if value == "" || value[0] != '"' && value[0] != '\'' {
		return false
	}
	escaped := false
	for i := 1; i < len(value); i++ {
		switch {
		case escaped:
			escaped = false
		case value[i] == '\\':
			escaped = true
		case value[i] == value[0]:
			rest := strings.TrimSpace(value[i+1:])
			return rest != "" && rest[0] != '#'
		}
	}
	return false
}

// envName is a name that may be shown: what stands before the = of a line in
// disorder may be a part of a secret.
var envName = regexp.MustCompile(`^[A-Z][A-Z0-9_]{0,39}$`)

// showKey returns a key as a problem may show it.
func showKey(key string) string {
	if envName.MatchString(key) {
		return key
	}
	return "a key"
}
