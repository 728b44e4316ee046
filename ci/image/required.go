package image

import (
	"path"
	"regexp"
	"strings"
)

var (
	// requiredStatement is the beginning of a statement of hooks.py that makes
	// the list of required apps, or makes it longer.
	requiredStatement = regexp.MustCompile(`(?m)^required_apps[ \t]*(?::[^=\n]+)?(=|\+=|\.append[ \t]*\(|\.extend[ \t]*\()`)
	// plainToken is a part of a list that is written out: space, a line that goes
	// on, a comment, a string, a bracket, a comma, or a plus between lists.
	plainToken = regexp.MustCompile(`^(?:[ \t\r]+|\\\r?\n|#[^\n]*|[rRuU]?(?:"""[^"\\]*"""|'''[^'\\]*'''|"[^"\\\n]*"|'[^'\\\n]*')|[][(),+])`)
)

// requiredApps returns the names of the apps that hooks.py asks for, as far as
// they are written out there: Frappe imports the file, and what is worked out
// while it runs is not known here.
func requiredApps(hooks string) []string {
	var names []string
	for _, at := range requiredStatement.FindAllStringSubmatchIndex(hooks, -1) {
		operator, rest := hooks[at[2]:at[3]], hooks[at[1]:]
		if operator == "=" {
			names = nil
		}
		depth := strings.Count(operator, "(")
		if texts, plain := writtenOut(rest, depth); plain {
			for _, text := range texts {
				names = append(names, appName(text))
			}
		}
	}
	return names
}

// writtenOut returns the strings of a Python expression that begins with so many
// brackets open, and whether there is nothing else in it.
func writtenOut(text string, depth int) (texts []string, plain bool) {
	for text != "" {
		if text[0] == '\n' {
			if depth == 0 {
				return texts, true
			}
			text = text[1:]
			continue
		}
		token := plainToken.FindString(text)
		if token == "" {
			return nil, false
		}
		text = text[len(token):]
		switch token[0] {
		case '[', '(':
			depth++
		case ']', ')':
			depth--
		case ' ', '\t', '\r', '\\', '#', ',', '+':
		default:
			texts = append(texts, strings.Trim(strings.TrimLeft(token, "rRuU"), `"'`))
		}
	}
	return texts, true
}

// appName returns the app that a required one names: with its owner, with a
// branch or a tag behind an @, or as an address of its repository
// (parse_app_name in frappe/installer.py).
func appName(text string) string {
	name := path.Base(strings.TrimRight(text, "/"))
	if at := strings.LastIndexByte(name, ':'); at >= 0 {
		name = name[at+1:]
	}
	name, _, _ = strings.Cut(name, "@")
	name, _, _ = strings.Cut(name, ".")
	return strings.ReplaceAll(name, "-", "_")
}
