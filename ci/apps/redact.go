package apps

import (
	"regexp"
	"strconv"
	"strings"

	"github.com/desiredeffect/erpnext-pipeline/internal/secret"
)

// tokenShape matches tokens by their prefixes: GitHub's, as its page "About
// authentication to GitHub" lists them, those of GitLab's "Token overview", and
// Bitbucket's. Classic tokens of GitHub from before 2021 are 40 hex digits and look
// like a commit; they, and those without a prefix, are caught by their place in a
// URL instead.
var tokenShape = regexp.MustCompile(`(gh[pousr]_|github_pat_|gl(pat|dt|rt|cbt|ptt|ft|soat)-|ATBB|ATCTT3)[A-Za-z0-9_=-]{10,}`)

// quote renders what a file says for a problem: in quotes, short, and without
// anything that may be a credential. Of something that looks like a URL,
// wherever in the file it was found, it masks what stands before an @ and what
// follows a question mark or a hash.
func quote(s string) string {
	at := strings.LastIndexByte(s, '@')
	if at > 0 && strings.ContainsAny(s[:at], ":/") || strings.Contains(s, "://") {
		return quoteURL(s)
	}
	return shorten(s)
}

// quoteURL is quote for what is meant to be a URL: there a token may stand
// before an @ without anything that looks like one.
func quoteURL(s string) string {
	if at := strings.LastIndexByte(s, '@'); at >= 0 {
		s = secret.Mask + s[at:]
	}
	if query := strings.IndexAny(s, "?#"); query >= 0 {
		s = s[:query+1] + secret.Mask
	}
	return shorten(s)
}

func shorten(s string) string {
	const most = 80
	s = tokenShape.ReplaceAllString(s, secret.Mask)
	if runes := []rune(s); len(runes) > most {
		s = string(runes[:most]) + "…"
	}
	return strconv.Quote(s)
}
