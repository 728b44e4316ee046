package github_test

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/desiredeffect/erpnext-pipeline/internal/sandbox/debian/debiantest"
	"github.com/desiredeffect/erpnext-pipeline/internal/sandbox/github"
	"github.com/desiredeffect/erpnext-pipeline/internal/sandbox/github/githubtest"
)

// get asks for a path of the server and returns status, header and body.
func get(t *testing.T, address, authorization string) (int, http.Header, string) {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, address, nil)
	if err != nil {
		t.Fatal(err)
	}
	if authorization != "" {
		request.Header.Set("Authorization", authorization)
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	return response.StatusCode, response.Header, string(body)
}

// basic is the header that git sends for a user and a password.
func basic(user, password string) string {
	request := &http.Request{Header: http.Header{}}
	request.SetBasicAuth(user, password)
	return request.Header.Get("Authorization")
}

func TestTokens(t *testing.T) {
	root := t.TempDir()
	server := githubtest.Start(t, github.Options{
		Root:    root,
		Private: map[string][]string{"acme/secret": {"good", "late"}, "acme/other": {"elsewhere"}},
		Expires: map[string]time.Time{"late": time.Now().Add(-time.Minute), "public": time.Now().Add(time.Hour)},
	})
	for _, name := range []string{"acme/open", "acme/secret", "acme/other"} {
		githubtest.New(t, root, name).Commit("main", "README.md", name+"\n")
	}
	const git = "/info/refs?service=git-upload-pack"
	for _, test := range []struct {
		name, repo, authorization string
		rest, git                 int
	}{
		{"public without a token", "open", "", 200, 200},
		{"public with a token of another repository", "open", "Bearer elsewhere", 200, 200},
		{"public with a token that opens nothing", "open", "Bearer public", 200, 200},
		{"public with a wrong token", "open", "Bearer wrong", 401, 401},
		{"public with a scheme that GitHub has not", "open", "Digest good", 401, 401},
		{"private without a token", "secret", "", 404, 401},
		{"private with its token", "secret", "Bearer good", 200, 200},
		{"private with its token, older form", "secret", "token good", 200, 200},
		{"private with its token as password", "secret", basic("x-access-token", "good"), 200, 200},
		{"private with its token as user", "secret", basic("good", ""), 200, 200},
		{"private with a token of another repository", "secret", "Bearer elsewhere", 404, 404},
		{"private with an expired token", "secret", "Bearer late", 401, 401},
		{"missing without a token", "none", "", 404, 401},
		{"missing with a token", "none", "Bearer good", 404, 404},
	} {
		t.Run(test.name, func(t *testing.T) {
			if status, _, body := get(t, server.APIURL()+"/repos/acme/"+test.repo, test.authorization); status != test.rest {
				t.Errorf("REST: %d, want %d: %s", status, test.rest, body)
			}
			status, header, body := get(t, server.URL()+"/acme/"+test.repo+".git"+git, test.authorization)
			if status != test.git {
				t.Errorf("git: %d, want %d: %s", status, test.git, body)
			}
			if asked := header.Get("WWW-Authenticate"); (status == 401) != (asked == `Basic realm="GitHub"`) {
				t.Errorf("git: %d with WWW-Authenticate %q", status, asked)
			}
		})
	}
	t.Run("expiry header", func(t *testing.T) {
		_, header, _ := get(t, server.APIURL()+"/repos/acme/open", "Bearer public")
		if end, err := time.Parse("2006-01-02 15:04:05 MST", header.Get("GitHub-Authentication-Token-Expiration")); err != nil || time.Until(end) < 50*time.Minute {
			t.Errorf("expiry %v, %v; want an hour from now", end, err)
		}
	})
	t.Run("requests", func(t *testing.T) {
		get(t, server.APIURL()+"/repos/acme/secret/commits/heads%2Fmain", "Bearer good")
		requests := server.Requests()
		want := github.Request{Method: "GET", Path: "/api/v3/repos/acme/secret/commits/heads%2Fmain", Authorized: true, Status: 200}
		if last := requests[len(requests)-1]; last != want {
			t.Errorf("last request %+v, want %+v", last, want)
		}
	})
}

func TestOnlyNamesOfRepositoriesAreServed(t *testing.T) {
	parent := t.TempDir()
	root := filepath.Join(parent, "root")
	server := githubtest.Start(t, github.Options{Root: root})
	githubtest.New(t, root, "acme/app").Commit("main", "README.md", "one\n")
	githubtest.New(t, parent, "outside/app").Commit("main", "README.md", "one\n")
	if status, _, _ := get(t, server.APIURL()+"/repos/acme/app", ""); status != 200 {
		t.Fatalf("acme/app: %d, want 200", status)
	}
	for _, path := range []string{
		"/api/v3/repos/..%2Foutside/app", "/api/v3/repos/acme/..%2F..%2Foutside%2Fapp", "/api/v3/repos/%2E%2E/app",
		"/..%2Foutside/app.git/info/refs?service=git-upload-pack", "/acme/app.git/HEAD", "/acme/app.git/objects/info/packs",
		"/api/v3/user", "/",
	} {
		if status, _, body := get(t, server.URL()+path, "Bearer"); status == 200 {
			t.Errorf("GET %s: 200 %s", path, body)
		}
		if status, _, body := get(t, server.URL()+path, ""); status == 200 {
			t.Errorf("GET %s: 200 %s", path, body)
		}
	}
}

func TestCommits(t *testing.T) {
	root := t.TempDir()
	server := githubtest.Start(t, github.Options{Root: root})
	app := githubtest.New(t, root, "acme/app")
	first := app.Commit("main", "README.md", "one\n")
	second := app.Commit("main", "README.md", "two\n")
	date := app.CommittedAt()
	slashed := app.Commit("feature/x", "README.md", "three\n")
	app.Tag(first, "v1", "both", "odd#name%41")
	app.Tag(slashed, "feature/y/status")
	annotated := app.AnnotatedTag(second, "v2")
	both := app.Commit("both", "README.md", "four\n")
	for _, test := range []struct{ ref, sha string }{
		{"tags%2Fv1", first},
		{"tags/v1", first},
		{"tags%2Fv2", second},
		{"heads%2Fmain", second},
		{"heads%2Ffeature%2Fx", slashed},
		{"tags%2Ffeature%2Fy%2Fstatus", slashed},
		{"tags%2Fodd%23name%2541", first},
		{"tags%2Fboth", first},
		{"heads%2Fboth", both},
		{"main", second},
		{"HEAD", second},
		{first, first},
		{first[:7], first},
		{"refs%2Ftags%2Fv1", ""},
		{annotated, second},
		{"heads%2Fv1", ""},
		{"main~1", ""},
		{"main%5E", ""},
		{"main@%7B0%7D", ""},
		{"main..both", ""},
		{"--all", ""},
		{strings.Repeat("0", 40), ""},
	} {
		status, _, body := get(t, server.APIURL()+"/repos/acme/app/commits/"+test.ref, "")
		var answer struct {
			SHA, Message string
			Commit       struct{ Committer struct{ Date time.Time } }
		}
		if err := json.Unmarshal([]byte(body), &answer); err != nil {
			t.Fatalf("%s: %v", test.ref, err)
		}
		if test.sha == "" {
			if status != 422 || !strings.HasPrefix(answer.Message, "No commit found for SHA: ") {
				t.Errorf("%s: %d %s, want 422", test.ref, status, answer.Message)
			}
			continue
		}
		if status != 200 || answer.SHA != test.sha {
			t.Errorf("%s: %d %s, want %s", test.ref, status, answer.SHA, test.sha)
		}
		if test.sha == second && !answer.Commit.Committer.Date.Equal(date) {
			t.Errorf("%s: committed at %s, want %s", test.ref, answer.Commit.Committer.Date, date)
		}
	}
}

func TestTreesAndBlobs(t *testing.T) {
	root := t.TempDir()
	server := githubtest.Start(t, github.Options{Root: root, Private: map[string][]string{"acme/secret": {"good"}}, TreeLimit: 7})
	app := githubtest.New(t, root, "acme/app")
	inner := app.Commit("inner", "README.md", "inner\n")
	// The bytes are of no text, and more than a line of base64.
	content := strings.Repeat("\x00\xff\r\n", 20)
	commit := app.CommitEntries("main",
		githubtest.Entry{Path: "a/b/deep", Text: content}, githubtest.Entry{Path: "a.txt", Text: ""}, githubtest.Entry{Path: "é \"x\"", Text: "odd\n"},
		githubtest.Entry{Path: "link", Mode: "120000", Text: "a.txt"}, githubtest.Entry{Path: "module", Mode: "160000", Text: inner}, githubtest.Entry{Path: "run", Mode: "100755", Text: "#!/bin/sh\n"})
	secret := githubtest.New(t, root, "acme/secret").Commit("main", "README.md", "hidden\n")
	api := server.APIURL() + "/repos/acme/app/git"

	// The SHAs are git's own.
	gitOf := func(name string) string {
		out, err := runGit(t, "--git-dir", filepath.Join(root, "acme/app.git"), "rev-parse", name)
		if err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
		return strings.TrimSpace(out)
	}
	tree := func(name string) (shown []string, sha string, truncated bool) {
		t.Helper()
		status, _, body := get(t, api+"/trees/"+name, "")
		var answer struct {
			SHA  string
			Tree []struct {
				Path, Mode, Type, SHA, URL string
				Size                       *int
			}
			Truncated bool
		}
		if err := json.Unmarshal([]byte(body), &answer); err != nil || status != 200 {
			t.Fatalf("%s: %d, %v", name, status, err)
		}
		for _, e := range answer.Tree {
			size := "-"
			if e.Size != nil {
				size = fmt.Sprint(*e.Size)
			}
			shown = append(shown, strings.Join([]string{e.Path, e.Mode, e.Type, e.SHA, size, strings.TrimPrefix(e.URL, api)}, " "))
		}
		return shown, answer.SHA, answer.Truncated
	}
	entry := func(path, mode, kind, size string) string {
		sha, url := gitOf(commit+":"+path), ""
		if kind != "commit" {
			url = "/" + kind + "s/" + sha
		}
		return strings.Join([]string{path, mode, kind, sha, size, url}, " ")
	}
	deep := entry("a/b/deep", "100644", "blob", "80")
	top := []string{entry("a.txt", "100644", "blob", "0"), entry("a", "040000", "tree", "-"), entry("link", "120000", "blob", "5"), entry("module", "160000", "commit", "-"),
		entry("run", "100755", "blob", "10"), entry("é \"x\"", "100644", "blob", "4")}
	all := slices.Insert(slices.Clone(top), 2, entry("a/b", "040000", "tree", "-"), deep)
	for _, test := range []struct {
		name, sha string
		want      []string
		truncated bool
	}{
		{commit, commit, top, false},
		{"main", commit, top, false},
		{gitOf(commit + "^{tree}"), gitOf(commit + "^{tree}"), top, false},
		{gitOf(commit + ":a/b"), gitOf(commit + ":a/b"), []string{strings.TrimPrefix(deep, "a/b/")}, false},
		{gitOf(commit+":a") + "?recursive=0", gitOf(commit + ":a"), []string{strings.TrimPrefix(all[2], "a/"), strings.TrimPrefix(deep, "a/")}, false},
		{commit + "?recursive=1", commit, all[:7], true},
	} {
		shown, sha, truncated := tree(test.name)
		if !slices.Equal(shown, test.want) || sha != test.sha || truncated != test.truncated {
			t.Errorf("%s: got %s, truncated %v,\n%s\nwant %s, truncated %v,\n%s", test.name, sha, truncated, strings.Join(shown, "\n"), test.sha, test.truncated, strings.Join(test.want, "\n"))
		}
	}

	address := api + "/blobs/" + gitOf(commit+":a/b/deep")
	for accept, mediaType := range map[string]string{
		"":                                "application/json; charset=utf-8",
		"application/vnd.github+json":     "application/json; charset=utf-8",
		"application/vnd.github.raw":      "application/vnd.github.raw; charset=utf-8",
		"application/vnd.github.v3.raw":   "application/vnd.github.v3.raw; charset=utf-8",
		"application/vnd.github.raw+json": "application/vnd.github.raw+json; charset=utf-8",
	} {
		request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, address, nil)
		if err != nil {
			t.Fatal(err)
		}
		request.Header.Set("Accept", accept)
		response, err := http.DefaultClient.Do(request)
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(response.Body)
		response.Body.Close()
		if err != nil {
			t.Fatal(err)
		}
		if strings.Contains(mediaType, "/json") {
			var answer struct {
				Content, Encoding, SHA string
				Size                   int
			}
			if err := json.Unmarshal(body, &answer); err != nil {
				t.Fatal(err)
			}
			if answer.Encoding != "base64" || answer.Size != 80 || !strings.HasSuffix(address, answer.SHA) || strings.IndexByte(answer.Content, '\n') != 60 {
				t.Errorf("Accept %q: got %+v", accept, answer)
			}
			if body, err = base64.StdEncoding.DecodeString(answer.Content); err != nil {
				t.Errorf("Accept %q: %v", accept, err)
			}
		}
		if got := response.Header.Get("Content-Type"); string(body) != content || got != mediaType {
			t.Errorf("Accept %q: got %s %q, want %s %q", accept, got, body, mediaType, content)
		}
	}

	for _, authorization := range []string{"", "Bearer good"} {
		want := 404
		if authorization != "" {
			want = 200
		}
		hidden := server.APIURL() + "/repos/acme/secret/git/"
		for _, path := range []string{"trees/" + secret, "blobs/136c05e0d0290e2dc7eb89bceaa27b5f011e780a"} {
			if status, _, body := get(t, hidden+path, authorization); status != want {
				t.Errorf("%s with %q: %d, want %d: %s", path, authorization, status, want, body)
			}
		}
	}
}

func TestPages(t *testing.T) {
	root := t.TempDir()
	server := githubtest.Start(t, github.Options{Root: root})
	app := githubtest.New(t, root, "acme/app")
	var names []string
	for i := range 45 {
		names = append(names, fmt.Sprintf("v1.%d.0", i))
	}
	app.Tag(app.Commit("main", "README.md", "one\n"), names...)
	slices.Reverse(names)
	list := server.APIURL() + "/repos/acme/app/tags"
	for _, test := range []struct {
		query string
		want  []string
		link  string
	}{
		{"", names[:30], `<URL?page=2>; rel="next", <URL?page=2>; rel="last"`},
		{"?page=2", names[30:], `<URL?page=1>; rel="prev", <URL?page=1>; rel="first"`},
		{"?per_page=20&page=2", names[20:40], `<URL?page=1&per_page=20>; rel="prev", <URL?page=3&per_page=20>; rel="next", <URL?page=3&per_page=20>; rel="last", <URL?page=1&per_page=20>; rel="first"`},
		{"?per_page=500", names, ""},
		{"?per_page=-1&page=x", names[:30], `<URL?page=2&per_page=-1>; rel="next", <URL?page=2&per_page=-1>; rel="last"`},
		{"?page=9", nil, `<URL?page=2>; rel="prev", <URL?page=1>; rel="first"`},
	} {
		_, header, body := get(t, list+test.query, "")
		var tags []struct{ Name string }
		if err := json.Unmarshal([]byte(body), &tags); err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, tag := range tags {
			got = append(got, tag.Name)
		}
		if !slices.Equal(got, test.want) {
			t.Errorf("%s: got %v, want %v", test.query, got, test.want)
		}
		if link := strings.ReplaceAll(header.Get("Link"), list, "URL"); link != test.link {
			t.Errorf("%s: Link %s\nwant %s", test.query, link, test.link)
		}
	}
}

// runGit runs git as a client without any configuration of the machine.
func runGit(t *testing.T, args ...string) (string, error) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "git", args...)
	cmd.Env = append(os.Environ(), "GIT_CONFIG_NOSYSTEM=1", "GIT_CONFIG_GLOBAL="+os.DevNull, "GIT_TERMINAL_PROMPT=0")
	out, err := cmd.CombinedOutput()
	return string(out), err
}

func TestGitClients(t *testing.T) {
	root := t.TempDir()
	server := githubtest.Start(t, github.Options{Root: root, Private: map[string][]string{"acme/secret": {"good"}}})
	app := githubtest.New(t, root, "acme/secret")
	old := app.Commit("main", "README.md", "old\n")
	app.Commit("main", "README.md", "new\n")
	app.AnnotatedTag(old, "v1")
	plain := server.URL() + "/acme/secret"
	withToken := strings.Replace(plain, "http://", "http://x-access-token:good@", 1)

	t.Run("clone of a tag with the token", func(t *testing.T) {
		into := filepath.Join(t.TempDir(), "clone")
		if out, err := runGit(t, "clone", "--quiet", "--depth=1", "--branch=v1", withToken+".git", into); err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
		if text, err := os.ReadFile(filepath.Join(into, "README.md")); string(text) != "old\n" {
			t.Errorf("README.md is %q, %v", text, err)
		}
	})
	for _, protocol := range []string{"0", "2"} {
		t.Run("fetch of a commit, protocol "+protocol, func(t *testing.T) {
			into := t.TempDir()
			if out, err := runGit(t, "init", "--quiet", into); err != nil {
				t.Fatalf("%v\n%s", err, out)
			}
			if out, err := runGit(t, "-C", into, "-c", "protocol.version="+protocol, "fetch", "--quiet", "--depth=1", withToken, old); err != nil {
				t.Fatalf("%v\n%s", err, out)
			}
			if head, _ := runGit(t, "-C", into, "rev-parse", "FETCH_HEAD"); strings.TrimSpace(head) != old {
				t.Errorf("fetched %s, want %s", head, old)
			}
		})
	}
	t.Run("a request in chunks", func(t *testing.T) {
		// git sends what is longer than http.postBuffer without its length.
		question := io.MultiReader(strings.NewReader("0014command=ls-refs\n0000"))
		request, err := http.NewRequestWithContext(t.Context(), http.MethodPost, plain+".git/git-upload-pack", question)
		if err != nil {
			t.Fatal(err)
		}
		request.SetBasicAuth("x-access-token", "good")
		request.Header.Set("Git-Protocol", "version=2")
		request.Header.Set("Content-Type", "application/x-git-upload-pack-request")
		response, err := http.DefaultClient.Do(request)
		if err != nil {
			t.Fatal(err)
		}
		defer response.Body.Close()
		body, err := io.ReadAll(response.Body)
		if err != nil || !strings.Contains(string(body), " refs/tags/v1\n") {
			t.Errorf("got %d %q, %v; want the refs", response.StatusCode, body, err)
		}
	})
	t.Run("partial clone", func(t *testing.T) {
		if out, err := runGit(t, "clone", "--quiet", "--bare", "--filter=blob:none", withToken, filepath.Join(t.TempDir(), "clone")); err != nil || strings.Contains(out, "filter") {
			t.Fatalf("%v\n%s", err, out)
		}
	})
	t.Run("no token", func(t *testing.T) {
		if out, err := runGit(t, "ls-remote", plain); err == nil || !strings.Contains(out, "could not read Username") {
			t.Errorf("got %v, %s; want a question for credentials", err, out)
		}
	})
	t.Run("wrong token", func(t *testing.T) {
		if out, err := runGit(t, "ls-remote", strings.Replace(plain, "http://", "http://x-access-token:wrong@", 1)); err == nil || !strings.Contains(out, "Authentication failed") {
			t.Errorf("got %v, %s; want a refusal", err, out)
		}
	})
	t.Run("push", func(t *testing.T) {
		into := filepath.Join(t.TempDir(), "clone")
		if out, err := runGit(t, "clone", "--quiet", withToken, into); err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
		if out, err := runGit(t, "-C", into, "push", "origin", "HEAD:refs/heads/mine"); err == nil || !strings.Contains(out, "403") {
			t.Errorf("got %v, %s; want a refusal", err, out)
		}
	})
}

func TestServerEnds(t *testing.T) {
	for name, end := range map[string]func(*github.Server, context.CancelFunc){
		"by Close":       func(s *github.Server, _ context.CancelFunc) { _ = s.Close() },
		"by its context": func(_ *github.Server, cancel context.CancelFunc) { cancel() },
	} {
		t.Run(name, func(t *testing.T) {
			if testing.Short() {
				t.Skip("needs git")
			}
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			server, err := github.Start(ctx, github.Options{Root: t.TempDir()})
			debiantest.Require(t, err)
			address := strings.TrimPrefix(server.URL(), "http://")
			end(server, cancel)
			if err := server.Close(); err != nil {
				t.Errorf("second end: %v", err)
			}
			if _, err := net.DialTimeout("tcp", address, time.Second); !errors.Is(err, syscall.ECONNREFUSED) {
				t.Errorf("dial after the end: %v, want connection refused", err)
			}
		})
	}
	t.Run("a taken address", func(t *testing.T) {
		server := githubtest.Start(t, github.Options{Root: t.TempDir()})
		_, err := github.Start(t.Context(), github.Options{Root: t.TempDir(), Addr: strings.TrimPrefix(server.URL(), "http://")})
		if !errors.Is(err, syscall.EADDRINUSE) {
			t.Errorf("got %v, want address in use", err)
		}
	})
}
