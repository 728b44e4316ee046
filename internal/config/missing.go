package config

import "strings"

// requireAll reports the keys without a value that is needed.
func (l *loader) requireAll() {
	var missing []Key
	for _, k := range l.schema {
		if !l.isSet(k.Name) && k.Default == "" && k.Need&l.need != 0 {
			missing = append(missing, k)
		}
	}
	if len(missing) == 0 {
		return
	}
	actions := l.environ["GITHUB_ACTIONS"] == "true"
	if l.fileMissing && !actions {
		l.report.Addf("config.env-file", l.sources.EnvFile, "copy de-example.env to "+l.sources.EnvFile+" and fill it in", "there is no such file, and not everything that is needed is set without it")
	}
	for _, k := range missing {
		subject, what := "environment", "is not set"
		if line, ok := l.file.lines[k.Name]; ok {
			subject, what = place(l.sources.EnvFile, line), "is empty"
		} else if _, ok := l.environ[k.Name]; ok {
			what = "is empty"
		} else if l.sources.EnvFile != "" && !l.fileMissing {
			subject = l.sources.EnvFile
		}
		where := "set it in " + l.sources.EnvFile
		switch {
		case actions && k.Secret:
			where = "set it from a secret of the repository or its environment"
		case actions:
			where = "set it from a variable of the repository or its environment"
		case l.sources.EnvFile == "":
			where = "set it in the environment"
		}
		if k.Flag != "" {
			where += " or with --" + k.Flag
		}
		purpose, _, _ := strings.Cut(k.Doc, ". ")
		l.report.Addf("config.missing", subject, where, "%s %s, but needed for %s (%s)", k.Name, what, k.Need&l.need, strings.TrimSuffix(purpose, "."))
	}
}
