package secret_test

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/url"
	"regexp"
	"strings"
	"sync"
	"testing"

	"github.com/desiredeffect/erpnext-pipeline/internal/secret"
)

const (
	token    = "ghp_4Xk9Qw2LmZ7r"
	password = `p&ss "w<rd>/+%?`
	key      = "-----BEGIN OPENSSH PRIVATE KEY-----\nb3BlbnNzaC1rZXktdjEAAAAABG5vbmUAAAAEbm9uZQ\nQyNTUxOQAAACDmV5yQ1wqz0mJk3v\n-----END OPENSSH PRIVATE KEY-----\n"
)

// redact writes the parts one after the other and returns what came out.
func redact(t testing.TB, secrets []string, parts ...string) string {
	t.Helper()
	var out bytes.Buffer
	r := secret.NewRedactor(&out)
	for _, s := range secrets {
		r.Add(secret.New(s))
	}
	for _, part := range parts {
		if n, err := io.WriteString(r, part); err != nil || n != len(part) {
			t.Fatalf("write %q: %d bytes, %v", part, n, err)
		}
	}
	if err := r.Flush(); err != nil {
		t.Fatalf("flush: %v", err)
	}
	return out.String()
}

func TestRedactorMasks(t *testing.T) {
	asJSON, err := json.Marshal(map[string]string{"error": password})
	if err != nil {
		t.Fatal(err)
	}
	var plainJSON bytes.Buffer
	encoder := json.NewEncoder(&plainJSON)
	encoder.SetEscapeHTML(false)
	if err := encoder.Encode(password); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name    string
		secrets []string
		in      string
		want    string
	}{
		{"a word", []string{"admin"}, "Administrator admin, user:admin@host 'admin' admins badmin admin", "Administrator ***, user:***@host '***' admins badmin ***"},
		{"a word behind an escape", []string{"admin"}, `{"said":"denied:\nadmin"} "\tadmin" "\u0026admin" a%3Dadmin%26 mysql -uroot -padmin` + "\x1b[31madmin\x1b[0m", `{"said":"denied:\n***"} "\t***" "\u0026***" a%3D***%26 mysql -uroot -p***` + "\x1b[31m***\x1b[0m"},
		{"letters by chance", []string{"kQzRtPlWmNxY"}, "xkQzRtPlWmNxYx", "x***x"},
		{"a word and a longer secret", []string{"admin", "admin-Secret1"}, "admin-Secret1 admin-Secret2", "*** ***-Secret2"},
		{"a word that goes on behind a secret", []string{"tok-1-", "admin"}, "tok-1-administrator", "***administrator"},
		{"nothing known", nil, "pushed " + token, "pushed " + token},
		{"no secret in it", []string{token}, "pushed 1.1.5\n", "pushed 1.1.5\n"},
		{"the value", []string{token}, "token=" + token + "\n", "token=***\n"},
		{"twice", []string{token}, token + " and " + token, "*** and ***"},
		{"twice in a row", []string{token}, token + token, "***"},
		{"an unset secret", []string{""}, "pushed\n", "pushed\n"},
		{"a value too short to tell", []string{"on"}, "pull on, push on\n", "pull on, push on\n"},
		{"percent-encoded in a query", []string{password}, "?p=" + url.QueryEscape(password) + "&x=1", "?p=***&x=1"},
		{"percent-encoded in a path", []string{password}, "/" + url.PathEscape(password) + "/x", "/***/x"},
		{"in a URL's user part", []string{password}, "http://" + url.UserPassword("bot", password).String() + "@h/", "http://bot:***@h/"},
		{"in JSON", []string{password}, string(asJSON), `{"error":"***"}`},
		{"in JSON without HTML escapes", []string{password}, plainJSON.String(), "\"***\"\n"},
		{"printed with %q", []string{key}, fmt.Sprintf("key %q", key), `key "***"`},
		{"many lines, whole", []string{key}, "key: " + key + "end", "key: ***end"},
		{"many lines, one of them", []string{key}, "bad line b3BlbnNzaC1rZXktdjEAAAAABG5vbmUAAAAEbm9uZQ here", "bad line *** here"},
		{"the frame of a PEM block is no secret", []string{key}, "want -----BEGIN OPENSSH PRIVATE KEY----- first", "want -----BEGIN OPENSSH PRIVATE KEY----- first"},
		{"white space around the value", []string{token + "\n"}, "Bearer " + token + ";", "Bearer ***;"},
		{"one value within another", []string{"ab-d", "xxab-dyy"}, "xxab-dyy ab-d xxab-d.", "*** *** xx***."},
		{"two values that overlap", []string{"abcde-", "de-ghi"}, "abcde-ghi!", "***!"},
		{"a value of one digit over and over", []string{"1111"}, "1111111111 b 111", "*** b 111"},
		{"a beginning that goes on otherwise", []string{token}, "ghp_4X, not it", "ghp_4X, not it"},
		{"a beginning within a beginning", []string{"a1a1ac"}, "a1a1a1ac", "a1***"},
	} {
		t.Run(c.name, func(t *testing.T) {
			if got := redact(t, c.secrets, c.in); got != c.want {
				t.Errorf("got  %q\nwant %q", got, c.want)
			}
			for i := range c.in {
				if got := redact(t, c.secrets, c.in[:i], c.in[i:]); got != c.want {
					t.Errorf("split after byte %d: got %q, want %q", i, got, c.want)
				}
			}
			bytewise := strings.Split(c.in, "")
			if got := redact(t, c.secrets, bytewise...); got != c.want {
				t.Errorf("byte by byte: got %q, want %q", got, c.want)
			}
		})
	}
}

// Whatever stands before and after a value in a base64 text, what comes out
// must not return the value.
func TestRedactorMasksBase64(t *testing.T) {
	for name, encoding := range map[string]*base64.Encoding{
		"standard": base64.StdEncoding, "standard, no padding": base64.RawStdEncoding,
		"URL": base64.URLEncoding, "URL, no padding": base64.RawURLEncoding,
	} {
		for _, value := range []string{token, password, "\xfb\xff\xfe>>>???secret"} {
			for _, before := range []string{"", "a", "ab", "x-access-token:"} {
				for _, after := range []string{"", "b", "bc"} {
					text := encoding.EncodeToString([]byte(before + value + after))
					got := redact(t, []string{value}, "Basic "+text+"\n")
					rest := strings.TrimSuffix(strings.TrimPrefix(got, "Basic "), "\n")
					head, tail, found := strings.Cut(rest, "***")
					if !found {
						t.Errorf("%s: %q of %q came out whole", name, text, before+value+after)
						continue
					}
					// At each end at most one character (and padding)
					// is partly the value's.
					if most := (len(before)*8 + 5) / 6; len(head) > most {
						t.Errorf("%s: %d characters before the mask of %q, want at most %d", name, len(head), text, most)
					}
					if most := (len(after)*8+5)/6 + 4; len(tail) > most {
						t.Errorf("%s: %d characters after the mask of %q, want at most %d", name, len(tail), text, most)
					}
				}
			}
		}
	}
}

func TestRedactorHoldsBackNoMoreThanItMust(t *testing.T) {
	var out bytes.Buffer
	r := secret.NewRedactor(&out, secret.New(token))
	if _, err := io.WriteString(r, "building erpnext\n"); err != nil {
		t.Fatal(err)
	}
	if got, want := out.String(), "building erpnext\n"; got != want {
		t.Errorf("a line without a secret: %q is out, want %q", got, want)
	}
	if _, err := io.WriteString(r, "with ghp_4"); err != nil {
		t.Fatal(err)
	}
	if got, want := out.String(), "building erpnext\nwith "; got != want {
		t.Errorf("before it is decided: %q is out, want %q", got, want)
	}
}

func TestRedactorFlush(t *testing.T) {
	flush := "\x00flush"
	for _, c := range []struct {
		name  string
		parts []string
		want  string
	}{
		{"a short beginning comes out", []string{"go on? gh", flush}, "go on? gh"},
		{"a long beginning is masked", []string{"token ghp_4Xk9", flush}, "token ***"},
		{"its rest is masked with it", []string{"token ghp_4Xk9", flush, "Qw2LmZ7r!\n", flush}, "token ***!\n"},
		{"the rest of a short beginning is masked", []string{"token gh", flush, "p_4Xk9Qw2LmZ7r!", flush}, "token gh***!"},
		{"a beginning that goes on otherwise", []string{"token ghp_4Xk9", flush, "zzz\n", flush}, "token ***zzz\n"},
		{"flushed twice", []string{"ghp_", flush, flush, "4Xk9Qw2LmZ7r", flush, flush, " " + token, flush}, "*** ***"},
		{"flushed between values", []string{token, flush, token, flush}, "***"},
		{"nothing written", []string{flush}, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			var out bytes.Buffer
			r := secret.NewRedactor(&out, secret.New(token))
			for _, part := range c.parts {
				if part == flush {
					if err := r.Flush(); err != nil {
						t.Fatal(err)
					}
					continue
				}
				if _, err := io.WriteString(r, part); err != nil {
					t.Fatal(err)
				}
			}
			if got := out.String(); got != c.want {
				t.Errorf("got %q, want %q", got, c.want)
			}
		})
	}
}

func TestRedactorLearnsOfSecretsLater(t *testing.T) {
	var out bytes.Buffer
	r := secret.NewRedactor(&out)
	for _, part := range []string{"a " + token + "\n", "b " + token + "\n"} {
		if _, err := io.WriteString(r, part); err != nil {
			t.Fatal(err)
		}
		r.Add(secret.New(token))
	}
	if got, want := out.String(), "a "+token+"\nb ***\n"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

type brokenPipe struct{}

func (brokenPipe) Write([]byte) (int, error) { return 0, io.ErrClosedPipe }

func TestRedactorPassesErrorsOn(t *testing.T) {
	r := secret.NewRedactor(brokenPipe{}, secret.New(token))
	if _, err := io.WriteString(r, "ghp_4"); err != nil {
		t.Fatalf("held back, so not written yet: %v", err)
	}
	err := r.Flush()
	if !errors.Is(err, io.ErrClosedPipe) || !strings.Contains(err.Error(), "flush redacted output") {
		t.Errorf("flush: got %v", err)
	}
	_, err = io.WriteString(r, "a line\n")
	if !errors.Is(err, io.ErrClosedPipe) || !strings.Contains(err.Error(), "write redacted output") {
		t.Errorf("write: got %v", err)
	}
}

func TestRedactorTakesManyWritersAtOnce(t *testing.T) {
	var out bytes.Buffer
	r := secret.NewRedactor(&out, secret.New(token))
	var wait sync.WaitGroup
	for range 8 {
		wait.Go(func() {
			for range 100 {
				if _, err := io.WriteString(r, "token "+token+"\n"); err != nil {
					t.Error(err)
				}
				r.Add(secret.New("another-" + token))
			}
		})
	}
	wait.Wait()
	if got, want := out.String(), strings.Repeat("token ***\n", 800); got != want {
		t.Errorf("got %q…, want only %q", got[:min(len(got), 200)], "token ***\n")
	}
}

// FuzzRedactor holds that where a text is split changes nothing, and that no
// value of four bytes or more comes out, nor a guessable one as a word.
func FuzzRedactor(f *testing.F) {
	f.Add("ababac", "bacab", "abababacabac", uint8(3), uint8(5))
	f.Add("a1b1ac", "b1ac1b", "a1b1b1a1ac1b1a1b1ac", uint8(3), uint8(5))
	f.Add("admin", "root", "admin administrator root", uint8(5), uint8(1))
	f.Add(token, password, "x "+token+password, uint8(7), uint8(9))
	f.Add("aaaa", "aaab", "aaaaaaab", uint8(2), uint8(1))
	f.Fuzz(func(t *testing.T, a, b, text string, first, second uint8) {
		if strings.Contains(a+b, "*") {
			t.Skip("a value with the mask in it can come out of masks")
		}
		i := min(int(first), len(text))
		j := min(i+int(second), len(text))
		whole := redact(t, []string{a, b}, text)
		parts := redact(t, []string{a, b}, text[:i], text[i:j], text[j:])
		if whole != parts {
			// The end may be a beginning of a value: then both say
			// so with a mask, wherever it was split.
			t.Errorf("split at %d and %d: %q, whole: %q", i, j, parts, whole)
		}
		for _, value := range []string{a, b} {
			known := strings.Contains(whole, value)
			if secret.New(value).Guessable() {
				// A mask may stand for what was before and behind it.
				known = known && regexp.MustCompile(`(^|[^A-Za-z0-9*])`+regexp.QuoteMeta(value)+`($|[^A-Za-z0-9*])`).MatchString(whole)
			}
			if len(value) >= 4 && known {
				t.Errorf("%q came out in %q", value, whole)
			}
		}
	})
}
