package cli

import (
	"encoding/json"

	"github.com/spf13/cobra"
)

// jsonFlag is the flag of the commands whose result is for programs too.
type jsonFlag struct{ json bool }

func (f *jsonFlag) register(cmd *cobra.Command) {
	cmd.Flags().BoolVar(&f.json, "json", false, "print JSON")
}

// printJSON prints a result for programs.
func (c *cli) printJSON(value any) error {
	encoder := json.NewEncoder(c.out)
	encoder.SetIndent("", "  ")
	return encoder.Encode(value)
}
