package apps

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"unicode/utf8"

	"github.com/desiredeffect/erpnext-pipeline/internal/problem"
)

// Entry is one app as apps.json lists it.
type Entry struct {
	Repository
	// Ref is the value of branch: a tag, a branch or a commit.
	Ref string
	// Line and RefLine are where url and branch stand, from 1.
	Line, RefLine int
}

const (
	codeJSON = "apps.json-invalid"
	formList = `write it as [{"url": "https://github.com/frappe/frappe", "branch": "v15.17.3"}]`
)

// Parse reads the text of apps.json; name is what problems call the file. An
// element of the list is either among the entries or has a problem of its own
// in the report, so an empty report means that nothing was left out.
func Parse(name string, data []byte) ([]Entry, problem.Report) {
	list, report := parseList(name, data)
	return list.entries, report
}

// list is what parseList makes of the file.
type list struct {
	entries []Entry
	// names are the apps whose url is good, with or without another problem,
	// and lines where they stand, by the name in lower case.
	names []string
	lines map[string]int
	// whole says that every element's url is good, so that an app that is
	// not among the names is certainly not in the file.
	whole bool
}

// file is what a parser walks through: the tokens, and where it is.
type file struct {
	name   string
	data   []byte
	tokens *json.Decoder
	report problem.Report
}

func parseList(name string, data []byte) (list, problem.Report) {
	f := &file{name: name}
	if rest, found := bytes.CutPrefix(data, []byte("\xef\xbb\xbf")); found {
		f.report.Addf(codeJSON, f.at(1), "save the file as UTF-8 without one", "begins with a byte order mark")
		data = rest
	}
	if bytes.HasPrefix(data, []byte("\xff\xfe")) || bytes.HasPrefix(data, []byte("\xfe\xff")) {
		f.report.Addf(codeJSON, f.at(1), "save the file as UTF-8", "is UTF-16")
		return list{}, f.report
	}
	f.data = data
	if !f.valid() {
		return list{}, f.report
	}
	f.tokens = json.NewDecoder(bytes.NewReader(data))
	opening, err := f.tokens.Token()
	if opening != json.Delim('[') || err != nil {
		f.report.Addf(codeJSON, f.at(f.line()), formList, "is not a list of apps")
		return list{}, f.report
	}
	if !f.tokens.More() {
		f.report.Addf("apps.empty", f.at(f.line()), formList, "lists no app")
		return list{}, f.report
	}
	found := list{lines: map[string]int{}, whole: true}
	for f.tokens.More() {
		f.element(&found)
	}
	return found, f.report
}

// valid reports whether the text is one JSON value in UTF-8, and adds a problem
// where it is not. After it the tokens can be walked without an error.
func (f *file) valid() bool {
	var syntax *json.SyntaxError
	var value json.RawMessage
	if err := json.Unmarshal(f.data, &value); errors.As(err, &syntax) {
		bad := min(max(int(syntax.Offset)-1, 0), len(f.data))
		if len(bytes.TrimSpace(f.data)) == 0 {
			f.report.Addf(codeJSON, f.at(1), formList, "is empty")
			return false
		}
		if json.Valid(f.data[:bad]) {
			f.report.Addf(codeJSON, f.at(f.lineOf(bad)), "remove what follows the list's ]", "goes on after the list ends, column %d", f.columnOf(bad))
			return false
		}
		f.report.Addf(codeJSON, f.at(f.lineOf(bad)), f.syntaxRemedy(bad, syntax), "is not JSON, column %d: %s", f.columnOf(bad), syntax)
		return false
	} else if err != nil {
		f.report.Addf(codeJSON, f.at(1), formList, "is not JSON: %s", err)
		return false
	}
	if !utf8.Valid(f.data) {
		bad := 0
		for bad < len(f.data) {
			r, size := utf8.DecodeRune(f.data[bad:])
			if r == utf8.RuneError && size == 1 {
				break
			}
			bad += size
		}
		f.report.Addf(codeJSON, f.at(f.lineOf(bad)), "save the file as UTF-8", "is not UTF-8, column %d", f.columnOf(bad))
		return false
	}
	return true
}

// syntaxRemedy knows the usual mistakes in JSON.
func (f *file) syntaxRemedy(bad int, syntax error) string {
	if strings.Contains(syntax.Error(), "unexpected end") {
		return "the file ends too early: close what is open, the list with ]"
	}
	before := bytes.TrimSpace(f.data[:bad])
	switch c := f.data[bad]; {
	case (c == ']' || c == '}') && bytes.HasSuffix(before, []byte(",")):
		return "remove the comma before it: JSON has none after the last element"
	case c == '/' || c == '#':
		return "remove the comment: JSON has none"
	case c == '\'':
		return `use double quotes: "url"`
	case c == '\n' || c == '\r':
		return "close the string on the line where it begins"
	case c == '{' && bytes.HasSuffix(before, []byte("}")), c == '"' && len(before) > 0 && bytes.ContainsAny(before[len(before)-1:], `"}`):
		return "put a comma between the two"
	}
	return formList
}

// element reads one element of the list.
func (f *file) element(found *list) {
	before := len(f.report)
	opening, _ := f.tokens.Token()
	start := f.line()
	if opening != json.Delim('{') {
		f.skip(opening)
		found.whole = false
		f.report.Addf(codeJSON, f.at(start), formList, "has %s where an app should be", kind(opening))
		return
	}
	entry, missing := f.fields()
	f.skip(json.Delim('{'))
	for _, key := range []string{"url", "branch"} {
		if missing[key] {
			f.report.Addf("apps.key-missing", f.at(start), formOf(key), "%s is missing", key)
		}
	}
	if entry.Repo == "" {
		found.whole = false
		return
	}
	// GitHub takes a name in any case: another case is the same app.
	app := strings.ToLower(entry.App())
	if first, listed := found.lines[app]; listed {
		f.report.Addf("apps.duplicate", f.at(entry.Line), "keep one of them", "%s is listed twice, first in line %d", entry.App(), first)
		return
	}
	found.lines[app] = entry.Line
	found.names = append(found.names, entry.App())
	if len(f.report) == before {
		found.entries = append(found.entries, entry)
	}
}

// fields reads the keys of an object up to its end. An entry whose url is not
// good has no repository. Missing are the keys for which there is nothing in
// the object, not even a misspelt key.
func (f *file) fields() (entry Entry, missing map[string]bool) {
	missing = map[string]bool{"url": true, "branch": true}
	seen := map[string]bool{}
	for f.tokens.More() {
		key, _ := f.tokens.Token()
		name, _ := key.(string)
		line := f.line()
		value, _ := f.tokens.Token()
		valueLine := f.line()
		f.skip(value)
		if name != "url" && name != "branch" {
			remedy := `an app has the keys "url" and "branch"`
			if meant := meantKey(name); meant != "" {
				delete(missing, meant)
				remedy = fmt.Sprintf("write %q", meant)
			}
			f.report.Addf("apps.key-unknown", f.at(line), remedy, "unknown key %s", quote(name))
			continue
		}
		delete(missing, name)
		if seen[name] {
			f.report.Addf("apps.key-duplicate", f.at(line), "keep one of them", "%s is given twice for one app", name)
			continue
		}
		seen[name] = true
		f.field(&entry, name, value, valueLine)
	}
	return entry, missing
}

// field takes the value of url or branch, which ends in a line.
func (f *file) field(entry *Entry, name string, value json.Token, line int) {
	text, isText := value.(string)
	switch {
	case !isText:
		f.report.Addf("apps.value-invalid", f.at(line), "write a text in double quotes", "%s is %s", name, kind(value))
	case strings.TrimSpace(text) == "":
		f.report.Addf("apps.value-invalid", f.at(line), formOf(name), "%s is empty", name)
	case name == "url":
		entry.Line = line
		repository, fault := parseRepository(text)
		if fault != nil {
			f.report.Addf(fault.code, f.at(line), fault.remedy, "%s", fault.detail)
			return
		}
		entry.Repository = repository
	case name == "branch":
		entry.Ref, entry.RefLine = text, line
		if fault := refFault(text); fault != "" {
			f.report.Addf("apps.ref-invalid", f.at(line), formOf(name), "branch %s %s", quote(text), fault)
		}
	}
}

// skip reads to the end of the value that a token opened. A plain value is at
// its end already.
func (f *file) skip(opening json.Token) {
	if opening != json.Delim('{') && opening != json.Delim('[') {
		return
	}
	for depth := 1; depth > 0; {
		token, err := f.tokens.Token()
		if err != nil {
			return
		}
		switch token {
		case json.Delim('{'), json.Delim('['):
			depth++
		case json.Delim('}'), json.Delim(']'):
			depth--
		}
	}
}

func (f *file) at(line int) string { return fmt.Sprintf("%s:%d", f.name, line) }

// line is where the last token ends; no token of JSON spans two lines.
func (f *file) line() int { return f.lineOf(int(f.tokens.InputOffset()) - 1) }

func (f *file) lineOf(offset int) int {
	return 1 + bytes.Count(f.data[:min(max(offset, 0), len(f.data))], []byte("\n"))
}

// columnOf counts characters, not bytes, from 1.
func (f *file) columnOf(offset int) int {
	start := bytes.LastIndexByte(f.data[:offset], '\n') + 1
	return 1 + utf8.RuneCount(f.data[start:offset])
}

// meantKey returns the key that an unknown one was probably meant to be.
func meantKey(name string) string {
	switch lower := strings.ToLower(strings.TrimSpace(name)); lower {
	case "url", "repo", "repository", "remote":
		return "url"
	case "branch", "tag", "ref", "version", "commit", "revision":
		return "branch"
	default:
		return problem.Nearest(lower, []string{"url", "branch"})
	}
}

func formOf(key string) string {
	if key == "url" {
		return formURL
	}
	return `name a tag, a branch or a commit: "branch": "v15.17.3"`
}

func kind(token json.Token) string {
	switch token {
	case json.Delim('['):
		return "a list"
	case json.Delim('{'):
		return "an object"
	case nil:
		return "null"
	}
	switch token.(type) {
	case string:
		return "a text"
	case bool:
		return "true or false"
	}
	return "a number"
}
