package apps

import "strings"

// refFault returns why git would not take a name for a tag or a branch, or ""
// for a good one. The rules are those of git-check-ref-format(1), and one
// more: a name that begins with a dash would be read as an option.
func refFault(ref string) string {
	switch {
	case ref == "":
		return "is empty"
	case strings.TrimSpace(ref) != ref:
		return "has a space around it"
	case strings.HasPrefix(ref, "-"):
		return "begins with a dash"
	case ref == "@":
		return "is a lone @"
	case strings.Contains(ref, "${"):
		return "has a placeholder, which only a url may have"
	case strings.Contains(ref, "@{"):
		return "contains @{"
	case strings.Contains(ref, ".."):
		return "contains two dots in a row"
	case strings.HasPrefix(ref, "/"), strings.HasSuffix(ref, "/"), strings.Contains(ref, "//"):
		return "has a slash with nothing before or behind it"
	case strings.HasSuffix(ref, "."):
		return "ends with a dot"
	}
	for _, r := range ref {
		switch {
		case r < ' ' || r == 0x7f:
			return "contains a control character"
		case r == ' ':
			return "contains a space"
		case strings.ContainsRune(`~^:?*[\`, r):
			return "contains " + string(r)
		}
	}
	for part := range strings.SplitSeq(ref, "/") {
		switch {
		case strings.HasPrefix(part, "."):
			return "has a part that begins with a dot"
		case strings.HasSuffix(part, ".lock"):
			return "has a part that ends with .lock"
		}
	}
	return ""
}

// isHex reports whether a ref can be a commit: at least 7 hex digits, which is
// what git abbreviates to, and at most those of a full SHA.
func isHex(ref string) bool {
	if len(ref) < 7 || len(ref) > 40 {
		return false
	}
	for _, r := range ref {
		if !strings.ContainsRune("0123456789abcdefABCDEF", r) {
			return false
		}
	}
	return true
}

// isFullSHA reports whether a ref is a whole SHA-1. git never takes one for a tag
// or a branch, and GitHub refuses to make such names.
func isFullSHA(ref string) bool { return len(ref) == 40 && isHex(ref) }
