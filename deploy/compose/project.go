// Package compose speaks for a compose project: what "docker compose" is to
// be called with, what its files say, what its containers are doing.
//
// It starts nothing. The builders give argument vectors that somebody else
// runs on the host, and the files are read here, before anything reaches it.
//
// The files of the constellation, compose-main.yaml and compose-bench.yaml on
// top of it, lie beside this package. A company can bring its own.
package compose

import (
	"path"
	"strconv"
	"time"
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
	// compose reads them.
	Files []string
}

// Command gives "docker compose" for this project with some more arguments.
func (p Project) Command(arguments ...string) []string {
	argv := []string{"docker", "compose", "-p", p.Name}
	for _, name := range p.Files {
		argv = append(argv, "-f", path.Join(p.Dir, name))
	}
	argv = append(argv, "--env-file", path.Join(p.Dir, EnvFile))
	return append(argv, arguments...)
}

// Config checks the set without a word: exit code 0 if it is sound.
func (p Project) Config() []string { return p.Command("config", "--quiet") }

// Images lists the images of the set, one on a line.
func (p Project) Images() []string { return p.Command("config", "--images") }

// Pull fetches what is missing. Images whose policy is never are left alone,
// and with policy missing those that are there.
func (p Project) Pull() []string { return p.Command("pull", "--quiet") }

// Up starts the project and waits until all of it is healthy, or fails. It
// never pulls and never builds: what is not on the host is an error. Containers
// of services that the set no longer has are removed.
func (p Project) Up(limit time.Duration) []string {
	return p.Command("up", "--detach", "--no-build", "--pull", "never", "--remove-orphans",
		"--wait", "--wait-timeout", strconv.Itoa(int(limit.Seconds())))
}

// Down stops and removes the containers, those of profiles too. Volumes stay.
func (p Project) Down() []string {
	return append(p.withProfiles(), "down", "--remove-orphans")
}

// withProfiles makes compose see the services of all profiles.
func (p Project) withProfiles() []string { return p.Command("--profile", "*") }

// Exec runs a command in a service's running container, without a terminal.
// It reads standard input: give it none, or it eats the caller's.
func (p Project) Exec(service string, command ...string) []string {
	return append(p.Command("exec", "-T", service), command...)
}

// Run runs a command in a new container of a service, which is gone after, and
// starts no other service for it.
func (p Project) Run(service string, command ...string) []string {
	return append(p.Command("run", "--rm", "--no-deps", "-T", service), command...)
}

// Logs prints the last lines of some services.
func (p Project) Logs(lines int, services ...string) []string {
	return append(p.Command("logs", "--no-color", "--tail", strconv.Itoa(lines)), services...)
}

// PS lists the containers of the project, running or not, for [ParsePS].
func (p Project) PS() []string { return p.Command("ps", "--all", "--format", "json") }

// PSOf is PS for a project of which only the name is known.
func PSOf(name string) []string {
	return []string{"docker", "compose", "-p", name, "ps", "--all", "--format", "json"}
}
