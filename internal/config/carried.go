package config

import (
	"io/fs"
	"maps"
	"slices"

	"github.com/sethvargo/go-envconfig"

	"github.com/desiredeffect/erpnext-pipeline/internal/problem"
	"github.com/desiredeffect/erpnext-pipeline/internal/secret"
)

// Carried returns what the .env file of the sources says that holds wherever a
// release goes: how the image is built, and the names in wanted, which are those of
// apps and compose files. What belongs to a place is left out ([Key.PlaceOnly]);
// where the environment has such a value it is a problem, because that comes before
// any file. left are the other names of the file, in order: what they lead to is not
// known. The values are by the keys' names and not their aliases.
func Carried(sources Sources, wanted []string) (values map[string]secret.Secret, left []string, report problem.Report) {
	sources.Flags = nil
	// Which names may be in it is for the command that uses them.
	l := newLoader(Schema(), sources, HostAccess, nil)
	if l.fileMissing && sources.EnvFile != ".env" {
		l.report.Add(problem.Problem{Code: "config.env-file", Subject: sources.EnvFile, Err: fs.ErrNotExist,
			Detail: "there is no such file", Remedy: "correct --env-file"})
	}
	values = map[string]secret.Secret{}
	file := maps.Clone(l.file.values)
	environment := envconfig.MapLookuper(l.environ)
	for _, k := range l.schema {
		for _, name := range []string{k.Alias, k.Name} {
			text := file[name]
			delete(file, name)
			if set, _ := environment.Lookup(name); k.PlaceOnly && set != "" {
				l.report.Addf("sandbox.environment", name, "unset "+name,
					"is set in the environment, which comes before the file of the sandbox: commands would not go there")
			}
			if text != "" && !k.PlaceOnly {
				values[k.Name] = secret.New(text)
			}
		}
	}
	for _, name := range slices.Sorted(maps.Keys(file)) {
		switch {
		case file[name] == "":
		case slices.Contains(wanted, name):
			values[name] = secret.New(file[name])
		default:
			left = append(left, name)
		}
	}
	return values, left, l.report
}
