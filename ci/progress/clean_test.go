package progress

import "testing"

func TestClean(t *testing.T) {
	for name, test := range map[string]struct{ line, want string }{
		"plain":                 {"  text \n", "text"},
		"colours":               {"\x1b[1;38;5;1mred\x1b[m", "red"},
		"moves":                 {"a\x1b[2A\x1b[?25l\u009b2Jb", "ab"},
		"title":                 {"\x1b]0;title\x07a\x1b]8;;https://x\x1b\\b", "ab"},
		"charset":               {"\x1b(Ba\x1b7", "a"},
		"cut sequence":          {"a\x1b[1;3", "a1;3"},
		"cut title":             {"a\x1b]0;tit", "a"},
		"only an escape":        {"a\x1b", "a"},
		"control characters":    {"a\x00\x07\x08\x7f\u0085b", "ab"},
		"tabs":                  {"a\tb", "a b"},
		"overwritten":           {"10%\r20%\r\n", "20%"},
		"right to left":         {"a\u202eb\u2066\u200bc", "abc"},
		"not UTF-8":             {"a\xff\xc3b", "ab"},
		"letters of everywhere": {"é 漢字 ✨", "é 漢字 ✨"},
	} {
		t.Run(name, func(t *testing.T) {
			if got := clean(test.line); got != test.want {
				t.Errorf("got %q, want %q", got, test.want)
			}
		})
	}
}

func TestShorten(t *testing.T) {
	for name, test := range map[string]struct {
		text string
		room int
		want string
	}{
		"fits":            {"text", 4, "text"},
		"one too long":    {"texts", 4, "tex…"},
		"space":           {"a text", 3, "a…"},
		"wide":            {"漢字漢字", 6, "漢字…"},
		"wide, half room": {"漢字漢字", 4, "漢…"},
		"one column":      {"text", 1, "…"},
		"no room":         {"text", 0, ""},
		"less than none":  {"text", -3, ""},
		"nothing":         {"", -3, ""},
	} {
		t.Run(name, func(t *testing.T) {
			got := shorten(test.text, test.room)
			if got != test.want {
				t.Errorf("got %q, want %q", got, test.want)
			}
			if width(got) > max(test.room, 0) {
				t.Errorf("%q takes %d columns, want %d", got, width(got), test.room)
			}
		})
	}
}
