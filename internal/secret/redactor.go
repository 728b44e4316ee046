package secret

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"sync"
)

const (
	// shortest is the length in bytes below which a value is left alone: it
	// would be found in every other word of the output.
	shortest = 4
	// shortestEncoded is the same for base64, where the ends of a value mix
	// with what stands beside it and only its middle can be looked for.
	shortestEncoded = 6
	// shortestLine is the same for one line of a value of many lines.
	shortestLine = 16
)

// Redactor is a writer that puts [Mask] in place of the values of secrets and
// hands everything else on to the writer behind it. It finds a value that is
// split over several writes, and a value in its usual disguises: base64 (at
// any offset, so also within "user:password"), percent-encoding, a JSON
// string, and each long line of a value of many lines. A value that can be guessed
// ([Secret.Guessable]) is masked where it stands for itself, also behind an escape or
// -p, and not within a longer word: for the password admin, administrator stays as it
// is.
//
// Bytes at the end of a write that could be the beginning of a value are held
// back until the next write or [Redactor.Flush] tells. Values shorter than
// four bytes are not looked for. A Redactor may be used by several goroutines.
type Redactor struct {
	mu       sync.Mutex
	out      io.Writer
	patterns [][]byte
	// words are those of them that are found as whole words only.
	words map[string]bool
	// before is the end of what stood in front of pending.
	before []byte
	// longest is the length of the longest pattern.
	longest int
	// firsts says for each byte whether a pattern begins with it.
	firsts [256]bool
	// pending is the text that may still take part in a match.
	pending []byte
	// given counts the bytes at the start of pending that were handed on
	// already, as they are or as a mask.
	given int
	// masked says that the last thing handed on was a mask.
	masked bool
}

// NewRedactor makes a redactor in front of a writer.
func NewRedactor(out io.Writer, secrets ...Secret) *Redactor {
	r := &Redactor{out: out, words: map[string]bool{}}
	r.Add(secrets...)
	return r
}

// Add makes more secrets known. What was written before stays as it is.
func (r *Redactor) Add(secrets ...Secret) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, s := range secrets {
		r.patterns = append(r.patterns, disguises(s.Reveal())...)
		if s.IsSet() && s.Guessable() {
			r.words[s.Reveal()] = true
		}
	}
	slices.SortFunc(r.patterns, bytes.Compare)
	r.patterns = slices.CompactFunc(r.patterns, bytes.Equal)
	for _, p := range r.patterns {
		r.firsts[p[0]] = true
		r.longest = max(r.longest, len(p))
	}
}

// Redact returns a text with the secrets masked, for what is changed on its way
// to the writer: shortened or escaped, a value would not be found there.
func (r *Redactor) Redact(text string) string {
	var out strings.Builder
	r.mu.Lock()
	one := &Redactor{out: &out, patterns: slices.Clone(r.patterns), words: maps.Clone(r.words), longest: r.longest, firsts: r.firsts}
	r.mu.Unlock()
	_, _ = one.Write([]byte(text))
	_ = one.Flush()
	return out.String()
}

// disguises returns every text by which a value is known.
func disguises(value string) [][]byte {
	var all [][]byte
	add := func(text string, least int) {
		if len(text) >= least {
			all = append(all, []byte(text))
		}
	}
	for _, plain := range []string{value, strings.TrimSpace(value)} {
		add(plain, shortest)
		if len(plain) < shortest {
			continue
		}
		add(url.QueryEscape(plain), shortest)
		add(url.PathEscape(plain), shortest)
		add(url.UserPassword("", plain).String()[1:], shortest)
		// Encoders of JSON differ in whether they escape <, > and &.
		for _, html := range []bool{true, false} {
			add(quoted(plain, html), shortest)
		}
		for offset := range 3 {
			for _, encoding := range []*base64.Encoding{base64.RawStdEncoding, base64.RawURLEncoding} {
				add(middle(encoding, plain, offset), shortestEncoded)
			}
		}
	}
	if strings.Contains(value, "\n") {
		for line := range strings.Lines(value) {
			// The first and last line of a PEM block are no secret.
			if line = strings.TrimSpace(line); !strings.HasPrefix(line, "-----") {
				add(line, shortestLine)
			}
		}
	}
	return all
}

// quoted returns a value as it stands between the quotes of a JSON string.
func quoted(value string, html bool) string {
	var text bytes.Buffer
	encoder := json.NewEncoder(&text)
	encoder.SetEscapeHTML(html)
	if err := encoder.Encode(value); err != nil {
		return ""
	}
	return strings.TrimSuffix(strings.TrimPrefix(text.String(), `"`), "\"\n")
}

// middle returns the characters of a base64 text that depend on nothing but the
// value, when the value stands offset bytes (of three) into a group.
func middle(encoding *base64.Encoding, value string, offset int) string {
	text := encoding.EncodeToString(append(make([]byte, offset), value...))
	// A character is six bits: drop those that share bits with a neighbour.
	first := (offset*8 + 5) / 6
	last := (offset + len(value)) * 8 / 6
	return text[min(first, last):last]
}

// span is a part of pending that is to be masked: from start up to end.
type span struct{ start, end int }

// Write hands p on with the secrets masked. It counts all of p as written,
// also what is held back.
func (r *Redactor) Write(p []byte) (int, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.pending = append(r.pending, p...)
	if err := r.hand(r.undecided(), r.spans(false)); err != nil {
		return 0, fmt.Errorf("write redacted output: %w", err)
	}
	return len(p), nil
}

// Flush hands on what is held back: call it before the program ends and
// before it asks the user something. If what is held back is the beginning of
// a secret, four bytes long or more, a mask stands for it; the rest of that
// secret is still recognised when it comes.
func (r *Redactor) Flush() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	hold := r.undecided()
	spans := r.spans(true)
	if len(r.pending)-hold >= shortest {
		spans = merge(append(spans, span{hold, len(r.pending)}))
	}
	if err := r.give(len(r.pending), spans); err != nil {
		return fmt.Errorf("flush redacted output: %w", err)
	}
	r.drop(hold)
	return nil
}

// undecided returns the offset from which on pending could be the beginning of
// a value that is not all there yet, or a word that goes on; the length of pending if there is none.
func (r *Redactor) undecided() int {
	for i := max(0, len(r.pending)-r.longest); i < len(r.pending); i++ {
		if !r.firsts[r.pending[i]] {
			continue
		}
		tail := r.pending[i:]
		for _, p := range r.patterns {
			// Behind a word, the next byte tells whether it ends there.
			if (len(tail) < len(p) || len(tail) == len(p) && r.words[string(p)]) && bytes.HasPrefix(p, tail) {
				return i
			}
		}
	}
	return len(r.pending)
}

// spans returns where in pending values stand, overlapping ones as one. all says that
// nothing comes behind it.
func (r *Redactor) spans(all bool) []span {
	var found []span
	for _, p := range r.patterns {
		for from := 0; ; {
			i := bytes.Index(r.pending[from:], p)
			if i < 0 {
				break
			}
			if at := (span{from + i, from + i + len(p)}); !r.words[string(p)] || r.isWord(at, all) {
				found = append(found, at)
			}
			from += i + 1
		}
	}
	return merge(found)
}

// behind matches the end of a text behind which a word begins: anything but a letter or
// a digit, an escape of JSON, Go or a URL, the sequence that colours a terminal, or the
// option with which clients of databases take a password.
var behind = regexp.MustCompile(`(^|[^A-Za-z0-9]|\\[a-z]|\\u[0-9A-Fa-f]{4}|\\x[0-9A-Fa-f]{2}|%[0-9A-Fa-f]{2}|\x1b\[[0-9;]*[A-Za-z]|-p)$`)

// mostBefore is how many bytes of what is in front of a word tell whether it is one.
const mostBefore = 16

// isWord reports whether a part of pending is no part of a longer word. What ends with
// pending may go on, unless that is all that comes.
func (r *Redactor) isWord(s span, all bool) bool {
	before := slices.Concat(r.before, r.pending[:s.start])
	if !behind.Match(before[max(0, len(before)-mostBefore):]) {
		return false
	}
	if s.end == len(r.pending) {
		return all
	}
	next := r.pending[s.end]
	return !('0' <= next && next <= '9' || 'A' <= next && next <= 'Z' || 'a' <= next && next <= 'z')
}

// merge sorts spans and makes one of those that overlap or touch.
func merge(spans []span) []span {
	slices.SortFunc(spans, func(a, b span) int { return a.start - b.start })
	var merged []span
	for _, s := range spans {
		if n := len(merged); n > 0 && s.start <= merged[n-1].end {
			merged[n-1].end = max(merged[n-1].end, s.end)
			continue
		}
		merged = append(merged, s)
	}
	return merged
}

// hand passes pending on up to hold and forgets it. A span across hold is
// masked as a whole, and its bytes beyond hold count as given.
func (r *Redactor) hand(hold int, spans []span) error {
	upTo := hold
	for _, s := range spans {
		if s.start < hold && hold < s.end {
			upTo = s.end
		}
	}
	if err := r.give(upTo, spans); err != nil {
		return err
	}
	r.drop(hold)
	return nil
}

// give writes pending from what was given already up to an offset, with a
// mask for every span.
func (r *Redactor) give(upTo int, spans []span) error {
	var text []byte
	at := r.given
	masked := r.masked
	for _, s := range spans {
		if s.end <= at || s.start >= upTo {
			continue
		}
		if s.start > at {
			text = append(text, r.pending[at:s.start]...)
			masked = false
		}
		// A mask may already stand for the beginning of this span, or for
		// the one right before it: the two are one.
		if !masked {
			text = append(text, Mask...)
		}
		masked = true
		at = min(s.end, upTo)
	}
	if at < upTo {
		text = append(text, r.pending[at:upTo]...)
		masked = false
		at = upTo
	}
	r.given, r.masked = max(r.given, at), masked
	if len(text) == 0 {
		return nil
	}
	if _, err := r.out.Write(text); err != nil {
		return err
	}
	return nil
}

// drop forgets pending up to an offset.
func (r *Redactor) drop(hold int) {
	if hold > 0 {
		r.before = slices.Concat(r.before, r.pending[:hold])
		r.before = r.before[max(0, len(r.before)-mostBefore):]
	}
	r.pending = append(r.pending[:0], r.pending[hold:]...)
	r.given = max(0, r.given-hold)
}
