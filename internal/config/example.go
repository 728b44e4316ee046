package config

import (
	"fmt"
	"strings"
)

// exampleWidth is the width of comments in de-example.env, in characters.
const exampleWidth = 76

// ExampleEnv returns the text of de-example.env: every key with what it is for,
// its default and what needs it, and the company's values. A key that may
// stay without a value is commented out.
func ExampleEnv() string { return exampleEnv(Schema()) }

func exampleEnv(schema []Key) string {
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
	comment("Configuration of the pipeline and of the compose project, with every key there is. Copy it to .env and fill it in. Values follow compose's rules for this file, because compose reads it as well: in single quotes nothing is replaced; elsewhere write $$ for a dollar sign. An empty value counts as none. Host commands are those that only reach the host, such as status, history, bench and logs.")
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
		switch {
		case k.Example != "":
			fmt.Fprintf(&b, "%s=%s\n", k.Name, k.Example)
		case k.Need != 0:
			fmt.Fprintf(&b, "%s=\n", k.Name)
		default:
			fmt.Fprintf(&b, "# %s=%s\n", k.Name, k.Default)
		}
	}
	return b.String()
}
