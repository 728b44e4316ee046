package host

import "strings"

// Quote renders an argument vector as one command line for a POSIX shell,
// which parses it back into exactly these arguments. SSH carries a command as
// one string that the user's login shell parses, so this is the only place
// where arguments become text. The result can be pasted into a terminal.
//
// An argument can hold every byte but NUL, which no shell can pass on;
// [Host.Run] refuses it.
func Quote(argv []string) string {
	words := make([]string, len(argv))
	for i, arg := range argv {
		words[i] = quoteWord(arg, i == 0)
	}
	return strings.Join(words, " ")
}

// quoteWord leaves plain words as they are, because most are, and people read
// them. In single quotes nothing is special but the single quote itself.
func quoteWord(arg string, first bool) string {
	if plain(arg) && !(first && reserved[arg]) {
		return arg
	}
	return "'" + strings.ReplaceAll(arg, "'", `'\''`) + "'"
}

func plain(arg string) bool {
	if arg == "" {
		return false
	}
	for i := range len(arg) {
		c := arg[i]
		switch {
		case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c >= '0' && c <= '9':
		case strings.IndexByte("_@+:,./-", c) >= 0:
		// name=value is an assignment where a command is expected; an option
		// never is.
		case c == '=' && arg[0] == '-':
		default:
			return false
		}
	}
	return true
}

// reserved words have a meaning of their own in the place of a command:
// POSIX.1-2017, Shell Command Language, 2.4, and those of bash.
var reserved = map[string]bool{
	"case": true, "coproc": true, "do": true, "done": true, "elif": true, "else": true,
	"esac": true, "fi": true, "for": true, "function": true, "if": true, "in": true,
	"select": true, "then": true, "time": true, "until": true, "while": true,
}
