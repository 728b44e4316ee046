package compose

import (
	"path"
	"regexp"
	"slices"
	"strings"
)

// program is what one command of a service's is.
type program struct {
	// role is what it does; empty for one that is not known.
	role Role
	// bench says that it is a part of a bench, and of no other software.
	bench bool
	// manager says that it starts other programs, of any role.
	manager bool
	// migrates says that it changes the tables of sites.
	migrates bool
	// behind is what stands between it and the signal that ends its container.
	behind parent
}

// parent is a process that stays in front of a program which it has started.
type parent string

// The parents that do not hand over a signal, or not as it is meant.
const (
	// aShell ends and lets its program be killed, or does not even end.
	aShell parent = "a shell"
	// aLogin is su, which kills its program two seconds later.
	aLogin parent = "su"
	// aTimer is timeout with -k, which kills its program as well.
	aTimer parent = "timeout -k"
)

// command is one command that a command line stands for.
type command struct {
	words  []string
	behind parent
}

var (
	assignment = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]*=`)
	shells     = []string{"sh", "bash", "dash", "ash", "zsh"}
	// Words after which another command begins.
	shellWords = []string{"exec", "command", "builtin", "nohup", "time", "setsid", "!", "{", "if", "then", "else", "elif", "while", "until", "do"}
	// Programs that run another one, with how many words of their own they have
	// beside their options, and the options that have a value of their own.
	wrappers = map[string]struct {
		own    int
		valued string
	}{
		"env": {0, "-u -C -S"}, "nice": {0, "-n"}, "ionice": {0, "-c -n -p"}, "timeout": {1, "-k -s"}, "stdbuf": {0, "-i -o -e"}, "sudo": {0, "-u -g"},
		"gosu": {1, ""}, "su-exec": {1, ""}, "setpriv": {0, ""}, "tini": {0, "-p -e"}, "docker-init": {0, "-p -e"}, "dumb-init": {0, ""}, "catatonit": {0, ""},
	}
	managers = []string{"supervisord", "honcho", "foreman", "circusd", "s6-svscan", "runsvdir", "pm2", "pm2-runtime", "monit"}
)

// programsOf returns what the words of a service's entrypoint and command run,
// as far as it is known.
func programsOf(words []string) []program {
	var found []program
	for _, c := range commandsIn(words) {
		if p := programOf(c.words); p != (program{}) {
			p.behind = c.behind
			found = append(found, p)
		}
	}
	return found
}

// commandsIn returns the commands that a command line stands for: one, or those
// of the script that a shell is given. What only runs another program is left
// out.
func commandsIn(words []string) []command {
	before, words := unwrapped(words)
	if len(words) == 0 {
		return nil
	}
	var behind parent
	if i := slices.IndexFunc(before, func(w string) bool { return path.Base(w) == "timeout" }); i >= 0 && slices.ContainsFunc(before[i:], endsByForce) {
		behind = aTimer
	}
	name := path.Base(words[0])
	login := name == "su" || name == "runuser"
	script, ok := scriptOf(words)
	if !ok || !login && !slices.Contains(shells, name) {
		return []command{{words, behind}}
	}
	var all []command
	for _, part := range splitScript(script) {
		before, _ := unwrapped(part.words)
		for _, c := range commandsIn(part.words) {
			switch {
			case c.behind != "":
			case login:
				c.behind = aLogin
			case part.apart || !slices.Contains(before, "exec"):
				c.behind = aShell
			default:
				c.behind = behind
			}
			all = append(all, c)
		}
	}
	return all
}

// endsByForce says whether this is timeout's option for that.
func endsByForce(word string) bool {
	return strings.HasPrefix(word, "-k") || strings.HasPrefix(word, "--kill-after")
}

// scriptOf returns the script that a shell gets with -c.
func scriptOf(words []string) (script string, ok bool) {
	for i := 1; i < len(words); i++ {
		option := words[i]
		switch {
		case strings.HasPrefix(option, "-") && !strings.HasPrefix(option, "--") && strings.Contains(option, "c"):
			rest := words[i+1:]
			if len(rest) > 0 && rest[0] == "--" {
				rest = rest[1:]
			}
			if len(rest) == 0 {
				return "", true
			}
			return rest[0], true
		case option != "" && strings.HasSuffix(option, "o") && (option[0] == '-' || option[0] == '+'):
			i++ // as in -o pipefail
		}
	}
	return "", false
}

// unwrapped returns what stands before the program that a command is about, and
// the program with its arguments.
func unwrapped(command []string) (before, words []string) {
	words = withoutWrappers(command)
	return command[:len(command)-len(words)], words
}

func withoutWrappers(words []string) []string {
	for len(words) > 0 {
		name := path.Base(words[0])
		wrapper, wraps := wrappers[name]
		switch {
		case assignment.MatchString(words[0]), slices.Contains(shellWords, words[0]):
			words = words[1:]
		case wraps:
			words = words[1:]
			for len(words) > 0 && strings.HasPrefix(words[0], "-") {
				valued := slices.Contains(strings.Fields(wrapper.valued), words[0])
				words = words[1:]
				if valued && len(words) > 0 {
					words = words[1:]
				}
			}
			words = words[min(wrapper.own, len(words)):]
		case strings.HasPrefix(name, "wait-for"):
			// It waits, and where there is "--" goes on with what is behind it.
			i := slices.Index(words, "--")
			if i < 0 {
				return nil
			}
			words = words[i+1:]
		case strings.Contains(name, "entrypoint") && name != "nginx-entrypoint.sh":
			words = words[1:]
		case strings.HasPrefix(name, "python") && len(words) > 1 && !strings.HasPrefix(words[1], "-"):
			words = words[1:]
		default:
			return words
		}
	}
	return nil
}

// programOf returns what a command is.
func programOf(words []string) program {
	name, rest := path.Base(words[0]), words[1:]
	if strings.HasPrefix(name, "python") {
		i := slices.Index(rest, "-m")
		if i < 0 || i+1 >= len(rest) {
			return program{}
		}
		name, rest = rest[i+1], rest[i+2:]
	}
	has := func(text string) bool {
		return slices.ContainsFunc(rest, func(word string) bool { return strings.Contains(word, text) })
	}
	switch {
	case name == "bench" || name == "frappe.utils.bench_helper":
		return benchProgram(rest)
	case name == "rq" && has("worker"), name == "rq.cli" && has("worker"), name == "rqworker":
		return program{role: Worker}
	case name == "gunicorn":
		return program{role: Web, bench: has("frappe")}
	case name == "node" && has("socketio"), name == "nginx-entrypoint.sh":
		return program{role: Web, bench: true}
	case name == "nginx":
		return program{role: Web}
	case slices.Contains(managers, name):
		return program{manager: true}
	}
	return program{}
}

// benchProgram returns what a bench command with these arguments is. Most do one
// thing and end: these are left out.
func benchProgram(arguments []string) program {
	for i := 0; i < len(arguments); i++ {
		switch word := arguments[i]; {
		case word == "--site":
			i++
		case strings.HasPrefix(word, "-"), word == "frappe":
		case word == "worker", word == "worker-pool":
			return program{role: Worker, bench: true}
		case word == "schedule":
			return program{role: Scheduler, bench: true}
		case word == "serve":
			return program{role: Web, bench: true}
		case word == "start":
			return program{manager: true, bench: true}
		case word == "migrate":
			return program{migrates: true, bench: true}
		default:
			return program{}
		}
	}
	return program{}
}
