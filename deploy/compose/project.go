// Package compose is about a compose project: what "docker compose" is to
// be called with, what its files say, what its containers are doing.
//
// It starts nothing. The builders return argument vectors that other
// packages run on the host, and the files are read here, before anything reaches it.
//
// The files of the constellation, compose-main.yaml and compose-bench.yaml on
// top of it, lie beside this package. A company can bring its own.
package compose

import (
	"path"
)

// EnvFile is the name of the file with the variables' values, beside the
// compose files.
const EnvFile = ".env"

// Project is a compose project with its set of files, as they lie on the host.
type Project struct {
	// Name is the project's name. It is always given to compose: the default
	// is the name of the folder, and from a new folder compose would make new,
	// empty volumes.
	Name string
	// Dir is the absolute path of the folder with the set.
	Dir string
	// Files are the names of the compose files in Dir, in the order in which
	// compose reads them. A project of which only the name is known has none;
	// then compose goes by the labels of its containers.
	Files []string
}

// Command returns "docker compose" for this project with some more arguments.
func (p Project) Command(arguments ...string) []string {
	argv := []string{"docker", "compose", "-p", p.Name}
	for _, name := range p.Files {
		argv = append(argv, "-f", path.Join(p.Dir, name))
	}
	if len(p.Files) > 0 {
		argv = append(argv, "--env-file", path.Join(p.Dir, EnvFile))
	}
	return append(argv, arguments...)
}
