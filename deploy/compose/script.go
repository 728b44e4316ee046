package compose

import (
	"strconv"
	"strings"
)

// scripted is one command of a shell's script.
type scripted struct {
	words []string
	// apart says that the shell has a process of its own for it, whatever it is:
	// in the background, in a pipe, or between parentheses.
	apart bool
}

// splitScript returns the commands of a shell's script. It knows quotes, comments
// and what stands between commands, and leaves redirections out; that is what
// tells programs apart.
func splitScript(text string) []scripted {
	s := scriptReader{rest: []rune(text)}
	for len(s.rest) > 0 {
		s.read()
	}
	s.endCommand(false)
	return s.all
}

// scriptReader is what splitScript has read so far.
type scriptReader struct {
	rest  []rune
	all   []scripted
	words []string
	word  strings.Builder
	// begun says that there is a word, if only an empty one; target that the
	// next one is that of a redirection.
	begun, target bool
	// piped says that a pipe leads to this command, depth between how many
	// parentheses it is.
	piped bool
	depth int
}

// next takes a rune; 0 at the end.
func (s *scriptReader) next() rune {
	c := s.peek()
	s.rest = s.rest[min(1, len(s.rest)):]
	return c
}

func (s *scriptReader) peek() rune {
	if len(s.rest) == 0 {
		return 0
	}
	return s.rest[0]
}

func (s *scriptReader) add(c rune) {
	s.word.WriteRune(c)
	s.begun = true
}

// read takes in what comes next.
func (s *scriptReader) read() {
	switch c := s.next(); {
	case c == '\\' && len(s.rest) > 0:
		if c := s.next(); c != '\n' {
			s.add(c)
		}
	case c == '\'' || c == '"':
		s.quoted(c)
	case c == '#' && !s.begun:
		for len(s.rest) > 0 && s.peek() != '\n' {
			s.next()
		}
	case c == '>' || c == '<' || c == '&' && s.peek() == '>':
		s.redirected()
	case strings.ContainsRune(";&|()`\n", c):
		s.separated(c)
	case c == ' ' || c == '\t' || c == '\r':
		s.endWord()
	default:
		s.add(c)
	}
}

func (s *scriptReader) quoted(mark rune) {
	s.begun = true
	for len(s.rest) > 0 {
		c := s.next()
		if c == mark {
			return
		}
		if mark == '"' && c == '\\' && len(s.rest) > 0 {
			c = s.next()
		}
		s.add(c)
	}
}

func (s *scriptReader) redirected() {
	if _, err := strconv.Atoi(s.word.String()); err == nil {
		s.begun = false // the number of a stream
		s.word.Reset()
	}
	s.endWord()
	for len(s.rest) > 0 && strings.ContainsRune("<>&|-", s.peek()) {
		s.next()
	}
	s.target = true
}

// separated takes in what stands between two commands.
func (s *scriptReader) separated(c rune) {
	both := (c == '&' || c == '|') && s.peek() == c
	if both {
		s.next()
	}
	pipe := c == '|' && !both
	s.endCommand(pipe || c == '&' && !both)
	s.piped = pipe
	switch c {
	case '(':
		s.depth++
	case ')':
		s.depth = max(0, s.depth-1) // one of a case has none that opens
	}
}

func (s *scriptReader) endWord() {
	if s.begun && !s.target {
		s.words = append(s.words, s.word.String())
	}
	s.target = s.target && !s.begun
	s.begun = false
	s.word.Reset()
}

func (s *scriptReader) endCommand(apart bool) {
	s.endWord()
	if len(s.words) > 0 {
		s.all = append(s.all, scripted{s.words, apart || s.piped || s.depth > 0})
	}
	s.words, s.target, s.piped = nil, false, false
}
