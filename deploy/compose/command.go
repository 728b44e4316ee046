package compose

import (
	"path"
	"regexp"
	"slices"
	"strconv"
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
	for _, words := range commandsIn(words) {
		if p := programOf(words); p != (program{}) {
			found = append(found, p)
		}
	}
	return found
}

// commandsIn returns the commands that a command line stands for: one, or those
// of the script that a shell is given. What only runs another program is left
// out.
func commandsIn(words []string) [][]string {
	words = unwrapped(words)
	if len(words) == 0 {
		return nil
	}
	name := path.Base(words[0])
	if !slices.Contains(shells, name) && name != "su" && name != "runuser" {
		return [][]string{words}
	}
	for i := 1; i < len(words); i++ {
		option := words[i]
		switch {
		case strings.HasPrefix(option, "-") && !strings.HasPrefix(option, "--") && strings.Contains(option, "c"):
			rest := words[i+1:]
			if len(rest) > 0 && rest[0] == "--" {
				rest = rest[1:]
			}
			if len(rest) == 0 {
				return nil
			}
			var all [][]string
			for _, one := range splitScript(rest[0]) {
				all = append(all, commandsIn(one)...)
			}
			return all
		case strings.HasSuffix(option, "o") && (option[0] == '-' || option[0] == '+'):
			i++ // as in -o pipefail
		}
	}
	return [][]string{words}
}

// unwrapped returns a command without what stands before the program that it is
// about.
func unwrapped(words []string) []string {
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
		default:
			return program{}
		}
	}
	return program{}
}

// splitScript returns the commands of a shell's script, each as its words. It
// knows quotes, comments and what stands between commands, and leaves
// redirections out; that is what tells programs apart.
func splitScript(text string) [][]string {
	var all [][]string
	var words []string
	var word strings.Builder
	begun, target := false, false // a word; the target of a redirection
	endWord := func() {
		if begun && !target {
			words = append(words, word.String())
		}
		target = target && !begun
		begun = false
		word.Reset()
	}
	endCommand := func() {
		endWord()
		if len(words) > 0 {
			all = append(all, words)
		}
		words, target = nil, false
	}
	runes := []rune(text)
	for i := 0; i < len(runes); i++ {
		c := runes[i]
		switch {
		case c == '\\' && i+1 < len(runes):
			i++
			if runes[i] != '\n' {
				word.WriteRune(runes[i])
				begun = true
			}
		case c == '\'' || c == '"':
			begun = true
			for i++; i < len(runes) && runes[i] != c; i++ {
				if c == '"' && runes[i] == '\\' && i+1 < len(runes) {
					i++
				}
				word.WriteRune(runes[i])
			}
		case c == '#' && !begun:
			for i+1 < len(runes) && runes[i+1] != '\n' {
				i++
			}
		case c == '>' || c == '<':
			if _, err := strconv.Atoi(word.String()); err == nil {
				begun = false // the number of a stream
				word.Reset()
			}
			endWord()
			for i+1 < len(runes) && strings.ContainsRune("<>&|-", runes[i+1]) {
				i++
			}
			target = true
		case strings.ContainsRune(";&|()`\n", c):
			endCommand()
		case c == ' ' || c == '\t' || c == '\r':
			endWord()
		default:
			word.WriteRune(c)
			begun = true
		}
	}
	endCommand()
	return all
}
