package cli

import (
	"io"
	"strings"
	"testing"
)

// The flags of every command are what scripts and workflows rely on.
func TestHelp(t *testing.T) {
	commands := []string{""}
	for _, cmd := range newRoot(newCLI(nil, strings.NewReader(""), io.Discard, io.Discard)).Commands() {
		commands = append(commands, cmd.Name())
	}
	const global = "\nGlobal Flags:\n"
	var all strings.Builder
	everywhere := ""
	for _, name := range commands {
		code, out, errs := quietly(t, nil, append(strings.Fields(name), "--help")...)
		if code != ExitDone || errs != "" {
			t.Fatalf("%s --help: exit %d\n%s", name, code, errs)
		}
		all.WriteString("$ " + strings.TrimSpace("pipeline "+name) + " --help\n")
		own, shared, found := strings.Cut(out, global)
		all.WriteString(own + "\n")
		switch {
		case name == "":
			// The root shows all flags as its own.
		case !found:
			t.Errorf("%s has no global flags", name)
		case everywhere == "":
			everywhere = shared
		case shared != everywhere:
			t.Errorf("the global flags of %s are\n%s\nand elsewhere\n%s", name, shared, everywhere)
		}
	}
	all.WriteString(global[1:] + everywhere)
	golden(t, "help.txt", all.String())
}
