package config

import (
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"

	"github.com/desiredeffect/erpnext-pipeline/deploy/compose"
	"github.com/desiredeffect/erpnext-pipeline/internal/problem"
	"github.com/desiredeffect/erpnext-pipeline/internal/secret"
)

// exampleWidth is the width of comments in de-example.env, in characters.
const exampleWidth = 76

// ExampleEnv returns the text of de-example.env: every key with what it is for,
// its default and what needs it, and the company's values. A key that may
// stay without a value is commented out.
func ExampleEnv() string { return exampleEnv(Schema()) }

// valueRules say how values are written in a .env file.
const valueRules = "Values follow compose's rules for this file, because compose reads it as well: in single quotes nothing is replaced; elsewhere write $$ for a dollar sign. An empty value counts as none. Host commands are those that only reach the host, such as status, history, bench and logs."

func exampleEnv(schema []Key) string {
	return envText(schema, "Configuration of the pipeline and of the compose project, with every key there is. Copy it to .env and fill it in. "+valueRules, func(k Key) string {
		if k.Example == "" {
			return ""
		}
		return k.Name + "=" + k.Example + "\n"
	})
}

// plain values mean the same in quotes and without.
var plain = regexp.MustCompile(`^[A-Za-z0-9._/:@,~+-]+$`)

// FilledEnv returns the text of a .env file with every key, as de-example.env has
// them, and these values. Names that are no key of the schema come last: those of
// tokens for apps; they may be without a value. The error names a value that
// compose's quoting can't express, and does not show it.
func FilledEnv(values map[string]secret.Secret) ([]byte, error) {
	schema := Schema()
	lines := map[string]string{}
	for name, value := range values {
		if !value.IsSet() {
			lines[name] = name + "=\n"
			continue
		}
		if plain.MatchString(value.Reveal()) {
			lines[name] = name + "=" + value.Reveal() + "\n"
			continue
		}
		line, err := compose.DotEnv(map[string]secret.Secret{name: value})
		if err != nil {
			return nil, err
		}
		lines[name] = string(line)
	}
	for _, name := range slices.Sorted(maps.Keys(values)) {
		if !slices.ContainsFunc(schema, func(k Key) bool { return k.Name == name }) {
			schema = append(schema, Key{Name: name, Group: "Tokens for apps", Need: Build, Secret: true,
				Doc: "The value of that placeholder in the apps file."})
		}
	}
	return []byte(envText(schema, "Configuration of the pipeline and of the compose project, with every key there is. It has passwords in it: keep it out of git. "+valueRules,
		func(k Key) string { return lines[k.Name] })), nil
}

// envText returns the text of a .env file. line returns the line of a key that has
// a value, and otherwise nothing.
func envText(schema []Key, intro string, line func(Key) string) string {
	var b strings.Builder
	comment := func(text string) {
		line := "#"
		for _, word := range strings.Fields(text) {
			if len(line)+1+len(word) > exampleWidth {
				fmt.Fprintln(&b, line)
				line = "#"
			}
			line += " " + word
		}
		fmt.Fprintln(&b, line)
	}
	comment(intro)
	group := ""
	for _, k := range schema {
		if k.Group != group {
			group = k.Group
			fmt.Fprintf(&b, "\n\n# --- %s ---\n", group)
		}
		fmt.Fprintln(&b)
		comment(k.Doc)
		var facts []string
		if k.Need != 0 {
			facts = append(facts, "Required for: "+k.Need.String()+".")
		} else {
			facts = append(facts, "Optional.")
		}
		if k.Default != "" {
			facts = append(facts, "Default: "+k.Default)
		}
		comment(strings.Join(facts, " "))
		switch text := line(k); {
		case text != "":
			b.WriteString(text)
		case k.Need != 0:
			fmt.Fprintf(&b, "%s=\n", k.Name)
		default:
			fmt.Fprintf(&b, "# %s=%s\n", k.Name, k.Default)
		}
	}
	return b.String()
}

// Check returns the problems of one value of a key, as they are without the others.
// Their subject is the flag that stands for the key, or the name of the key.
func Check(name, value string) problem.Report {
	c := newConfig()
	keys := schema(c)
	l := newLoader(keys, Sources{Flags: map[string]string{name: value}}, 0, nil)
	for _, k := range keys {
		if k.Name == name {
			k.parse(l, name, value)
			return l.report
		}
	}
	var report problem.Report
	report.Addf("config.unknown", name, "de-example.env has every key", "is no key of the configuration")
	return report
}
