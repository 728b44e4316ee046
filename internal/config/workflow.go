package config

// WorkflowEnv returns the env of a step of GitHub Actions that runs the
// pipeline, a line for each key and alias: secrets come from secrets of the
// repository or its environment, everything else from their variables. One
// that is not set counts as empty, and so as unset.
func WorkflowEnv() []string { return workflowEnv(Schema()) }

func workflowEnv(schema []Key) []string {
	var lines []string
	for _, k := range schema {
		if k.Elsewhere != "" {
			continue
		}
		for _, name := range []string{k.Name, k.Alias} {
			expression := "vars." + name
			switch {
			case name == "":
				continue
			case k.Expression != "":
				expression = k.Expression
			case k.Secret:
				expression = "secrets." + name
			}
			lines = append(lines, name+": ${{ "+expression+" }}")
		}
	}
	return lines
}
