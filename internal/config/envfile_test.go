package config

import (
	"bytes"
	"fmt"
	"maps"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/compose-spec/compose-go/v2/dotenv"

	"github.com/desiredeffect/erpnext-pipeline/internal/problem"
)

// rendered returns the problems as the user reads them.
func rendered(t testing.TB, report problem.Report) string {
	t.Helper()
	var b strings.Builder
	if err := report.Render(&b); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

func environ(pairs ...string) func(string) (string, bool) {
	vars := map[string]string{}
	for _, pair := range pairs {
		name, text, _ := strings.Cut(pair, "=")
		vars[name] = text
	}
	return func(name string) (string, bool) {
		text, ok := vars[name]
		return text, ok
	}
}

func TestParseEnvReadsWhatComposeReads(t *testing.T) {
	for _, c := range []struct {
		name, text string
		want       map[string]string
	}{
		{"nothing", "", map[string]string{}},
		{"comments and blank lines", "# it's \"a\" comment\n\n   # another\n", map[string]string{}},
		{"plain", "A=1\nB=two words\n", map[string]string{"A": "1", "B": "two words"}},
		{"no line break at the end", "A=1", map[string]string{"A": "1"}},
		{"Windows line ends", "A=1\r\nB=\"2\"\r\nC=\r\n# x\r\nD=4\r\n", map[string]string{"A": "1", "B": "2", "C": "", "D": "4"}},
		{"a byte order mark", "\uFEFFA=1\n", map[string]string{"A": "1"}},
		{"export", "export A=1\nexport\tB=2\n", map[string]string{"A": "1", "B": "2"}},
		{"spaces around the key", "  A = 1\n", map[string]string{"A": "1"}},
		{"a colon", "A: 1\n", map[string]string{"A": "1"}},
		{"a comment after a value", "A=1 # one\nB=1#1\nC=\"x\" # y\nD='x'#y\n", map[string]string{"A": "1", "B": "1#1", "C": "x", "D": "x"}},
		{"quotes", `A="a b"` + "\n" + `B='a "b" $C'` + "\n" + `C="a \"b\""` + "\n" + `D="a'b"`, map[string]string{"A": "a b", "B": `a "b" $C`, "C": `a "b"`, "D": "a'b"}},
		{"a quote within a plain value", "A=it's\nB=2\n", map[string]string{"A": "it's", "B": "2"}},
		{"many lines", "A=\"1\n2\n\n3\"\nB='x\ny'\nC=3\n", map[string]string{"A": "1\n2\n\n3", "B": "x\ny", "C": "3"}},
		{"escapes", `A="1\n2\t3"` + "\n" + `B='1\n2'`, map[string]string{"A": "1\n2\t3", "B": `1\n2`}},
		{"dollar signs", "A=p$$w\nB='p$w'\nC=\"p\\$w\"\nD=5$\n", map[string]string{"A": "p$w", "B": "p$w", "C": "p$w", "D": "5$"}},
		{"a value further up", "A=1\nB=${A}2$A\n", map[string]string{"A": "1", "B": "121"}},
		{"the environment before the file", "HOST=file\nB=$HOST\n", map[string]string{"HOST": "file", "B": "outside"}},
		{"defaults and conditions", "A=${X:-d}\nB=${X-d}\nC=${HOST:+yes}\nD=${X:+no}\nE=${X+no}\nF=${HOST:?x}\n",
			map[string]string{"A": "d", "B": "d", "C": "yes", "D": "", "E": "", "F": "outside"}},
		{"empty", "A=\nB=\"\"\nC=''\n", map[string]string{"A": "", "B": "", "C": ""}},
	} {
		t.Run(c.name, func(t *testing.T) {
			lookup := environ("HOST=outside")
			file, report := parseEnv(".env", []byte(c.text), lookup)
			if len(report) > 0 {
				t.Errorf("unexpected problems:\n%s", rendered(t, report))
			}
			if !maps.Equal(file.values, c.want) {
				t.Errorf("got %q, want %q", file.values, c.want)
			}
			compose, err := dotenv.ParseWithLookup(strings.NewReader(c.text), lookup)
			if err != nil || !maps.Equal(compose, c.want) {
				t.Errorf("compose reads %q (%v), the test wants %q", compose, err, c.want)
			}
		})
	}
}

func TestParseEnvReports(t *testing.T) {
	const (
		form   = "  fix: write KEY=value; begin a comment with #; put a value of several lines in double quotes\n"
		dollar = "  fix: for a dollar sign write $$, or put the value in single quotes\n"
	)
	for _, c := range []struct {
		name, text, want string
	}{
		{"a key alone", "A=1\nDE_SITE_VERSION\n", "✗ .env:2: this line is not of the form KEY=value\n" + form},
		{"a key alone at the end", "A=1\nDE_SITE_VERSION", "✗ .env:2: this line is not of the form KEY=value\n" + form},
		{"no key", "=1\n", "✗ .env:1: this line is not of the form KEY=value\n" + form},
		{"a space in the key", "A B=1\n", "✗ .env:1: this line is not of the form KEY=value\n" + form},
		{"a key of other letters", "\n\nA$B=1\n", "✗ .env:3: this line is not of the form KEY=value\n" + form},
		{"a pasted key without quotes", "KEY=-----BEGIN X-----\nAAAA/BBBB\nCCCC/DDDD\n-----END X-----\nB=1\n",
			"✗ .env:2: from here to line 4 the lines are not of the form KEY=value\n" + form},
		{"two places, in order", "a b\nB=1\nB=2\nc d\n",
			"✗ .env:1: this line is not of the form KEY=value\n" + form +
				"✗ .env:3: B is already set on line 2\n  fix: remove one of the two; compose takes the last\n" +
				"✗ .env:4: this line is not of the form KEY=value\n" + form},
		{"twice, after a value of many lines", "A=\"1\n2\n3\"\nB=1\nA=2\n", "✗ .env:5: A is already set on line 1\n  fix: remove one of the two; compose takes the last\n"},
		{"an open quote", "A=1\nB=\"two\nC=3\n", "✗ .env:2: the quote that begins the value is never closed\n  fix: close it; within double quotes write \\\" for a quote\n"},
		{"something after the quote", "A=\"1\"2\nB=\"x\" C=3\n",
			"✗ .env:1: something follows the closing quote of the value\n  fix: write a quote within the value as \\\", and each key on a line of its own\n" +
				"✗ .env:2: something follows the closing quote of the value\n  fix: write a quote within the value as \\\", and each key on a line of its own\n"},
		{"a dollar sign in a password", "A=pa$word\nB=\"x${y}z\"\nC=$a$b\n",
			"✗ .env:1: after a $ the value names a variable that is not set\n" + dollar +
				"✗ .env:2: after a $ the value names a variable that is not set\n" + dollar +
				"✗ .env:3: after a $ the value names a variable that is not set\n" + dollar},
		{"a dollar sign and a brace", "A=pa${word\nB=${}\n",
			"✗ .env:1: compose can't read what follows a $ in the value\n" + dollar +
				"✗ .env:2: compose can't read what follows a $ in the value\n" + dollar},
		{"a required variable", "A=${X:?set it}\nB=${Y?}\n",
			"✗ .env:1: the value requires a variable that is not set\n  fix: set it further up or in the environment\n" +
				"✗ .env:2: the value requires a variable that is not set\n  fix: set it further up or in the environment\n"},
		{"not UTF-8", "A=1\nB=\xfc\n", "✗ .env:2: this is not UTF-8 text\n  fix: save the file as UTF-8\n"},
		{"UTF-16", "\xff\xfeA\x00=\x001\x00", "✗ .env:1: this is not UTF-8 text\n  fix: save the file as UTF-8\n"},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, report := parseEnv(".env", []byte(c.text), environ())
			if got := rendered(t, report); got != c.want {
				t.Errorf("got\n%s\nwant\n%s", got, c.want)
			}
		})
	}
}

// A problem goes to a log: whatever is wrong with a line, its value must not.
func TestParseEnvQuotesNoValue(t *testing.T) {
	const value = "hunter2secret"
	for _, text := range []string{
		"A=\"%s\n", "A='%s\n", "%s\n", "%s=\n=x\n%s=1\n", "A B=%s\n", "A=%s${\n", "A=\"${%s\"\n", "=%s\n", "a %s b\n", "A=\"x\" %s\n", "A='x'%s\n",
		"A=${X:?%s}\n", "A=${%s:?x}\n", "A=pa$%s\n", "A=\"pa${%s}\"\n", "A=1\nA=%s\n", "%s: x\n%s: y\n", "\xff%s\n", "export %s\n",
	} {
		text = strings.ReplaceAll(text, "%s", value)
		_, report := parseEnv(".env", []byte(text), environ())
		if len(report) == 0 {
			t.Errorf("%q: no problem", text)
		}
		if got := rendered(t, report); strings.Contains(got, value) {
			t.Errorf("%q: the value is in the problem:\n%s", text, got)
		}
	}
}

var envPlace = regexp.MustCompile(`^\.env:(\d+)$`)

// FuzzEnv holds that a file without a problem means what compose takes it to
// mean, and that every problem names a line that the file has.
func FuzzEnv(f *testing.F) {
	for _, seed := range []string{
		"A=1\r\nB='x y' # z\r\n", "\uFEFFexport A=\"1\n2\"\nB=${A:-x}$$", "A=\"1\" B=2", "A\nB", "A=$B${C", "A='\\'x'\n", "export\nA=1", "A:b=c\n#'\nD=\"\\\"", "A=\"x\"\x85#y\n",
	} {
		f.Add([]byte(seed))
	}
	lookup := environ("HOST=outside", "EMPTY=")
	f.Fuzz(func(t *testing.T, data []byte) {
		file, report := parseEnv(".env", data, lookup)
		for _, p := range report {
			match := envPlace.FindStringSubmatch(p.Subject)
			if match == nil {
				t.Fatalf("%q is no place in the file", p.Subject)
			}
			if line, _ := strconv.Atoi(match[1]); line < 1 || line > 1+bytes.Count(data, []byte("\n")) {
				t.Errorf("%s: the file has no such line", p.Subject)
			}
			if p.Remedy == "" {
				t.Errorf("%s: %s: no remedy", p.Subject, p.Detail)
			}
		}
		if len(report) > 0 {
			return
		}
		want, err := dotenv.ParseWithLookup(bytes.NewReader(data), lookup)
		if err != nil {
			t.Fatalf("no problem, but compose says: %v", err)
		}
		if fmt.Sprint(file.values) != fmt.Sprint(want) {
			t.Errorf("got %q, compose has %q", file.values, want)
		}
	})
}
