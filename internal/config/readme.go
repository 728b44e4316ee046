package config

import (
	"fmt"
	"strings"
)

// MarkdownTable returns the table of all keys for README.md.
func MarkdownTable() string { return markdownTable(Schema()) }

func markdownTable(schema []Key) string {
	var b strings.Builder
	b.WriteString("| key | for | default | required for |\n|---|---|---|---|\n")
	for _, k := range schema {
		name, fallback := "`"+k.Name+"`", ""
		if k.Flag != "" {
			name += "<br>`--" + k.Flag + "`"
		}
		if k.Default != "" {
			fallback = "`" + k.Default + "`"
		}
		fmt.Fprintf(&b, "| %s | %s | %s | %s |\n", name, k.Doc, fallback, k.Need)
	}
	return b.String()
}
