package config

import "slices"

// WorkflowEnv returns the env of a step of GitHub Actions that releases, a line
// for each key and alias: secrets come from secrets of the repository or its
// environment, everything else from their variables. One that is not set counts
// as empty, and so as unset.
func WorkflowEnv() []string { return workflowEnv(Schema()) }

// RollbackEnv returns the lines of it that a step needs that goes back.
func RollbackEnv() []string { return workflowEnv(forRollback(Schema())) }

// forRollback returns the keys that a rollback reads.
func forRollback(schema []Key) []Key {
	return slices.DeleteFunc(schema, func(k Key) bool { return k.ReleaseOnly })
}

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
