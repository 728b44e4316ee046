package progress

import (
	"regexp"
	"strings"
	"unicode"
)

// escapes are the control sequences of terminals: those that end at a letter,
// those that carry a text, and those of a few characters.
var escapes = regexp.MustCompile("(?:\x1b\\[|\u009b)[0-?]*[ -/]*[@-~]" +
	"|\x1b[\\]PX^_][^\x07\x1b]*(?:\x07|\x1b\\\\|$)" +
	"|\x1b[ -/]*[0-~]?")

// clean returns a line of a command's output as it may be shown: without what
// would move the cursor, colour or reorder the text.
func clean(line string) string {
	line = escapes.ReplaceAllString(strings.ToValidUTF8(line, ""), "")
	line = strings.TrimRight(line, "\r\n")
	// What stands before a carriage return was overwritten.
	line = line[strings.LastIndexByte(line, '\r')+1:]
	line = strings.Map(func(r rune) rune {
		switch {
		case r == '\t' || r == '\n':
			return ' '
		case unicode.IsControl(r) || unicode.Is(unicode.Cf, r):
			return -1
		}
		return r
	}, line)
	return strings.TrimSpace(line)
}

// columns is how many columns of a terminal a character takes, or more.
// Symbols may be drawn as wide as letters of the Far East.
func columns(r rune) int {
	if r >= 0x1100 && r < 0x1160 || r >= 0x2300 {
		return 2
	}
	return 1
}

// width is how many columns a text takes, or more.
func width(text string) int {
	sum := 0
	for _, r := range text {
		sum += columns(r)
	}
	return sum
}

// shorten cuts a text to a number of columns.
func shorten(text string, room int) string {
	if width(text) <= room {
		return text
	}
	used := 0
	for i, r := range text {
		// One column is for the dots.
		if used+columns(r) > room-1 {
			if room < 1 {
				return ""
			}
			return strings.TrimRight(text[:i], " ") + "…"
		}
		used += columns(r)
	}
	return text
}
