package apps

import (
	"errors"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/desiredeffect/erpnext-pipeline/internal/problem"
	"github.com/desiredeffect/erpnext-pipeline/internal/secret"
)

// listed is an answer with some entries of a tree.
func listed(truncated string, entries ...string) http.HandlerFunc {
	return answer(200, `{"sha": "`+someSHA+`", "truncated": `+truncated+`, "tree": [`+strings.Join(entries, ",")+`]}`)
}

func TestStrangeFiles(t *testing.T) {
	const good = `{"path": "setup.py", "mode": "100644", "type": "blob", "size": 8, "sha": "` + someSHA + `"}`
	const elsewhere = "check GITHUB_API_URL, and whether a proxy answers in GitHub's place"
	tree := func(g *GitHub, s Source) (string, error) {
		files, err := g.Tree(t.Context(), s, someSHA)
		if len(files) > 0 {
			return files[0].Path, err
		}
		return "", err
	}
	readSized := func(size int64) func(*GitHub, Source) (string, error) {
		return func(g *GitHub, s Source) (string, error) {
			// The SHA-1 of "print()\n", which git hash-object gives.
			return g.read(t.Context(), s, File{Path: "setup.py", Mode: "100644", Blob: "aec92917403fe09d962fb43a3bcef0ae21f4c217", Size: size})
		}
	}
	for _, test := range []struct {
		name         string
		ask          func(*GitHub, Source) (string, error)
		answer       http.HandlerFunc
		want, remedy string
		requests     int
	}{
		{"a list", tree, listed("false", good), "", "", 1},
		{"a page in place of a list", tree, answer(200, "<html>log in to the guest network</html>"), "API: its answer is not GitHub's", elsewhere, 1},
		{"an answer without files", tree, answer(200, `{"message": "hello"}`), "API: its answer has no files in it", elsewhere, 1},
		{"a folder that is cut off even by itself", tree, listed("true", good), "API: its answer leaves out files of a single folder", elsewhere, 2},
		{"a file outside of the repository", tree, listed("false", good, strings.Replace(good, "setup.py", "../setup.py", 1)), "API: its answer has a file without a path or a SHA in it", elsewhere, 1},
		{"a file at the root", tree, listed("false", strings.Replace(good, "setup.py", "/etc/passwd", 1)), "API: its answer has a file without a path or a SHA in it", elsewhere, 1},
		{"a file without a path", tree, listed("false", strings.Replace(good, "setup.py", ".", 1)), "API: its answer has a file without a path or a SHA in it", elsewhere, 1},
		{"a file without a SHA", tree, listed("false", strings.Replace(good, someSHA, "short", 1)), "API: its answer has a file without a path or a SHA in it", elsewhere, 1},
		{"the rate limit", tree, answer(403, `{"message": "API rate limit exceeded"}`, "X-RateLimit-Remaining: 0"), "API: the rate limit is used up, for requests without a token", "set GITHUB_TOKEN to any GitHub token, or wait a few minutes and try again", 1},
		{"another content", readSized(8), answer(200, "exec()\n"), `API: its answer is not the content aec92917403fe09d962fb43a3bcef0ae21f4c217 of "setup.py" in acme/app`, elsewhere, 1},
		{"a content cut off", readSized(8), cutOff, "API: can't be reached: read answer: unexpected EOF", "check the network, the proxy and GITHUB_API_URL, then try again", 4},
		{"a content that is too large", readSized(largestAnswer + 1), answer(200, ""), `apps.json:2: app: "setup.py" in acme/app has 16777217 bytes, and the most that is read is 16777216`, "take the file out of the repository", 0},
	} {
		t.Run(test.name, func(t *testing.T) {
			server := newAnswering(t, test.answer)
			g := resolverAt(t, server.URL, GitHubOptions{CacheDir: t.TempDir()})
			// What was refused must not be kept.
			for range 2 {
				asked := len(server.requests())
				got, err := test.ask(g, sourceAt(server.URL, "app", "v1"))
				if test.want == "" {
					if err != nil || got != "setup.py" {
						t.Errorf("got %q, %v", got, err)
					}
					return
				}
				var found problem.Problem
				if !errors.As(err, &found) || got != "" {
					t.Fatalf("got %q, %v; want a problem", got, err)
				}
				if said := strings.ReplaceAll(found.Error(), server.URL, "API"); said != test.want || found.Remedy != test.remedy {
					t.Errorf("got  %s\n     %s\nwant %s\n     %s", said, found.Remedy, test.want, test.remedy)
				}
				if n := len(server.requests()) - asked; n != test.requests {
					t.Errorf("%d requests, want %d", n, test.requests)
				}
			}
		})
	}
}

// TestListIsFlatWhateverWasAskedFor: a redirect may lose what was asked for,
// and no file may be lost with it.
func TestListIsFlatWhateverWasAskedFor(t *testing.T) {
	server := newAnswering(t,
		listed("false", `{"path": "app", "mode": "040000", "type": "tree", "sha": "`+someSHA+`"}`),
		listed("false", `{"path": "hooks.py", "mode": "100644", "type": "blob", "size": 8, "sha": "`+strings.ToUpper(someSHA)+`"}`))
	files, err := resolverAt(t, server.URL, GitHubOptions{}).Tree(t.Context(), sourceAt(server.URL, "app", "v1"), someSHA)
	if want := (File{"app/hooks.py", "100644", someSHA, 8}); err != nil || len(files) != 1 || files[0] != want {
		t.Errorf("got %v, %v; want %v", files, err, want)
	}
}

func TestFilesAreAskedForWithTheTokenAndRaw(t *testing.T) {
	server := newAnswering(t, answer(200, "print()\n"))
	source := sourceAt(server.URL, "app", "v1")
	source.Token, source.TokenName = secret.New("s3cret"), "PAT"
	const blob = "aec92917403fe09d962fb43a3bcef0ae21f4c217"
	if text, err := resolverAt(t, server.URL, GitHubOptions{}).Read(t.Context(), source, File{Path: "setup.py", Blob: blob}); err != nil || !slices.Equal(text, []string{"print()\n"}) {
		t.Errorf("got %q, %v", text, err)
	}
	request := server.requests()[0]
	if got := request.URL.Path + " " + request.Header.Get("Accept") + " " + request.Header.Get("Authorization"); got != "/repos/acme/app/git/blobs/"+blob+" application/vnd.github.v3.raw Bearer s3cret" {
		t.Errorf("asked for %s", got)
	}
}
