package apps_test

import (
	"context"
	"errors"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/desiredeffect/erpnext-pipeline/ci/apps"
	"github.com/desiredeffect/erpnext-pipeline/internal/problem"
	"github.com/desiredeffect/erpnext-pipeline/internal/release"
	"github.com/desiredeffect/erpnext-pipeline/internal/sandbox/githosttest"
	"github.com/desiredeffect/erpnext-pipeline/internal/sandbox/github/githubtest"
	"github.com/desiredeffect/erpnext-pipeline/internal/secret"
)

// onGit makes an app in a repository of a host of git.
func onGit(t *testing.T, root, path string) (repository *githubtest.Repository, first, second string) {
	t.Helper()
	repository = githubtest.New(t, root, path)
	first = repository.CommitEntries("main", everyKind...)
	repository.AnnotatedTag(first, "v1.0.0")
	second = repository.CommitEntries("release/1", append(slices.Clone(everyKind), githubtest.Entry{Path: "more.py", Text: "print(2)\n"})...)
	repository.Tag(second, "release/1")
	return repository, first, second
}

// source returns the source of one app of apps.json.
func gitSource(t *testing.T, url, ref string, values map[string]string) apps.Source {
	t.Helper()
	entries, report := apps.Parse("apps.json", []byte(`[{"url": "`+url+`", "branch": "`+ref+`"}]`))
	if len(report) > 0 {
		t.Fatal(report.Err())
	}
	e := entries[0]
	return apps.Source{Name: e.App(), URL: e.URL(), Host: e.Host, Owner: e.Owner, Repo: e.Repo, User: e.User, Ref: ref,
		TokenName: e.TokenName, Token: secret.New(values[e.TokenName]), Subject: "apps.json:1", RefSubject: "apps.json:1"}
}

// held resolves a ref and reads the commit's files.
func held(t *testing.T, g *apps.Git, s apps.Source, commit string) {
	t.Helper()
	resolution, err := g.ResolveRef(t.Context(), s)
	if err != nil {
		t.Fatalf("%s: %v", s.Ref, err)
	}
	if resolution.Commit != commit || resolution.CommittedAt.Year() != 2024 || resolution.TokenName != s.TokenName {
		t.Errorf("%s is %+v, want %s", s.Ref, resolution, commit)
	}
	files, err := g.Tree(t.Context(), s, commit)
	if err != nil {
		t.Fatal(err)
	}
	listed := shownFiles(files)
	s.Ref = commit
	var wanted []apps.File
	var want []string
	for _, e := range everyKind {
		at := slices.IndexFunc(files, func(f apps.File) bool { return f.Path == e.Path })
		if e.Mode == "160000" {
			if at >= 0 {
				t.Errorf("the submodule %s is listed: %v", e.Path, listed)
			}
			continue
		}
		if at < 0 {
			t.Fatalf("%s is not listed: %v", e.Path, listed)
		}
		wanted, want = append(wanted, files[at]), append(want, e.Text)
	}
	if texts, err := g.Read(t.Context(), s, wanted...); err != nil || !slices.Equal(texts, want) {
		t.Errorf("read %q, want %q; %v", texts, want, err)
	}
}

// partial has a repository answer as hosts do that know partial clones.
func partial(t *testing.T, root, path string) {
	t.Helper()
	if out, err := exec.Command("git", "--git-dir", root+"/"+path+".git", "config", "uploadpack.allowFilter", "true").CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
}

func TestGitOverHTTP(t *testing.T) {
	root := t.TempDir()
	server := githosttest.ServeHTTP(t, root)
	for _, path := range []string{"group/sub/app", "plain"} {
		t.Run(path, func(t *testing.T) {
			_, first, second := onGit(t, root, path)
			if path == "plain" {
				partial(t, root, path)
			}
			server.Logins[path] = [2]string{"x-access-token", "good"}
			url, values := "http://${T}@"+server.Host()+"/"+path, map[string]string{"T": "good"}
			for ref, commit := range map[string]string{"v1.0.0": first, "main": first, "release/1": second, second: second, second[:9]: second} {
				cached := apps.NewGit(apps.GitOptions{CacheDir: t.TempDir()})
				held(t, cached, gitSource(t, url, ref, values), commit)
				server.Fetches()
				held(t, cached, gitSource(t, url, ref, values), commit)
				if asked := server.Fetches(); len(asked) > 0 {
					t.Errorf("%s: what is known was fetched again: %q", ref, asked)
				}
			}
			held(t, apps.NewGit(apps.GitOptions{}), gitSource(t, url, "v1.0.0", values), first)
			server.Logins[path] = [2]string{"deploy-token", "good"}
			held(t, apps.NewGit(apps.GitOptions{}), gitSource(t, "http://deploy-token:${T}@"+server.Host()+"/"+path+".git", "v1.0.0", values), first)
			if kind, _ := apps.NewGit(apps.GitOptions{}).ResolveRef(t.Context(), gitSource(t, "http://deploy-token:${T}@"+server.Host()+"/"+path, "release/1", values)); kind.Kind != release.Tag {
				t.Errorf("release/1 is a %s; git has a tag before a branch of the name", kind.Kind)
			}
		})
	}
}

// GitHub's repositories are asked for by its API, and all else with git.
func TestServers(t *testing.T) {
	for _, test := range []struct {
		api, url string
		git      bool
	}{
		{"", "https://github.com/acme/app", false},
		{"", "ssh://${T}@github.com/acme/app", true},
		{"", "https://ghe.acme.example/acme/app", true},
		{"https://ghe.acme.example/api/v3", "https://ghe.acme.example/acme/app", false},
		{"https://ghe.acme.example/api/v3", "https://ghe.acme.example/acme/sub/app", true},
		{"https://ghe.acme.example/api/v3", "https://github.com/acme/app", false},
		{"https://ghe.acme.example/api/v3", "https://gitlab.com/acme/app", true},
	} {
		// Without git nothing else is asked.
		t.Setenv("PATH", t.TempDir())
		var asked []string
		github, err := apps.NewGitHub(test.api, apps.GitHubOptions{Transport: asking(func(r *http.Request) { asked = append(asked, r.URL.Host) })})
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
		_, err = apps.Servers{GitHub: github, Git: apps.NewGit(apps.GitOptions{})}.ResolveRef(ctx, gitSource(t, test.url, "v1", nil))
		cancel()
		if err == nil || (len(asked) == 0) != test.git {
			t.Errorf("%s with the API %q: asked %q by HTTP, %v", test.url, test.api, asked, err)
		}
	}
}

// asking is told of requests, and answers none.
type asking func(*http.Request)

func (a asking) RoundTrip(r *http.Request) (*http.Response, error) {
	a(r)
	return nil, errors.New("no network here")
}

// Of a big file nothing arrives, and what is read arrives in one request.
func TestGitFetchesLittle(t *testing.T) {
	root := t.TempDir()
	server := githosttest.ServeHTTP(t, root)
	repository := githubtest.New(t, root, "acme/app")
	partial(t, root, "acme/app")
	commit := repository.CommitEntries("main", githubtest.Entry{Path: "big", Text: strings.Repeat("big", 1<<20)},
		githubtest.Entry{Path: "a", Text: "a\n"}, githubtest.Entry{Path: "b", Text: "b\n"}, githubtest.Entry{Path: "c", Text: "c\n"})
	g := apps.NewGit(apps.GitOptions{CacheDir: t.TempDir()})
	s := gitSource(t, server.URL+"/acme/app", "main", nil)
	if _, err := g.ResolveRef(t.Context(), s); err != nil {
		t.Fatal(err)
	}
	files, err := g.Tree(t.Context(), s, commit)
	if err != nil {
		t.Fatal(err)
	}
	if asked := server.Fetches(); len(asked) != 1 || !strings.Contains(asked[0], "filter blob:none") || !strings.Contains(asked[0], "deepen 1") {
		t.Errorf("asked %q, want one fetch without contents and without the past", asked)
	}
	if texts, err := g.Read(t.Context(), s, files[0], files[1], files[3]); err != nil || !slices.Equal(texts, []string{"a\n", "b\n", "c\n"}) {
		t.Errorf("read %.60q, %v", texts, err)
	}
	if asked := server.Fetches(); len(asked) != 1 || strings.Count(asked[0], "want ") != 3 {
		t.Errorf("asked %q, want one fetch of three contents", asked)
	}
}

// A company's own CA is trusted beside those of the machine.
func TestGitTrusts(t *testing.T) {
	root := t.TempDir()
	server := githosttest.ServeHTTPS(t, root)
	_, first, _ := onGit(t, root, "acme/app")
	server.Logins["acme/app"] = [2]string{"x-access-token", "good"}
	s := gitSource(t, "https://${T}@"+server.Host()+"/acme/app", "v1.0.0", map[string]string{"T": "good"})
	held(t, apps.NewGit(apps.GitOptions{CAs: server.CA()}), s, first)
	_, err := apps.NewGit(apps.GitOptions{}).ResolveRef(t.Context(), s)
	wantProblem(t, err, "apps.json:1: app: the certificate of "+server.Host()+" is not trusted: ")
}

func TestGitOverSSH(t *testing.T) {
	root := t.TempDir()
	server := githosttest.ServeSSH(t, root)
	_, first, second := onGit(t, root, "acme/app")
	partial(t, root, "acme/app")
	onGit(t, root, "acme/other")
	keys := map[string]string{"APP": server.DeployKey("acme/app"), "WINDOWS": strings.TrimSpace(strings.ReplaceAll(server.DeployKey("acme/app"), "\n", "\r\n")), "OTHER": server.DeployKey("acme/other"), "NO_KEY": "none"}
	url := func(key string) string {
		return "ssh://" + server.User + ":${" + key + "}@" + server.Host + "/acme/app"
	}
	g := apps.NewGit(apps.GitOptions{KnownHosts: server.KnownHosts})
	held(t, g, gitSource(t, url("APP"), "v1.0.0", keys), first)
	held(t, g, gitSource(t, url("WINDOWS"), "release/1", keys), second)
	t.Run("a folder with a space", func(t *testing.T) {
		odd := filepath.Join(t.TempDir(), "First Last 100%b")
		if err := os.Mkdir(odd, 0o700); err != nil {
			t.Fatal(err)
		}
		t.Setenv("TMPDIR", odd)
		held(t, apps.NewGit(apps.GitOptions{KnownHosts: server.KnownHosts}), gitSource(t, url("APP"), "v1.0.0", keys), first)
		if left, err := os.ReadDir(odd); err != nil || len(left) > 0 {
			t.Errorf("%d folders are left, %v", len(left), err)
		}
	})
	stranger := apps.NewGit(apps.GitOptions{KnownHosts: strings.Replace(server.KnownHosts, "127.0.0.1", "127.0.0.9", 1)})
	for _, test := range []struct {
		g         *apps.Git
		key, want string
	}{
		{g, "OTHER", "apps.json:1: app: acme/app does not exist, or the key OTHER may not read it; check the path; add the key's public half to the repository's deploy keys"},
		{g, "NO_KEY", "apps.json:1: app: " + server.Host + " does not take the key NO_KEY; add its public half to the repository's deploy keys, with read access; the login there is " + server.User},
		{stranger, "APP", "apps.json:1: app: the host key of " + server.Host + " is not among those that are accepted; add it to DEPLOY_KNOWN_HOSTS or DEPLOY_KNOWN_HOSTS_FILE; ssh-keyscan prints it, compare it with what the host publishes"},
	} {
		_, err := test.g.ResolveRef(t.Context(), gitSource(t, url(test.key), "v1.0.0", keys))
		wantProblem(t, err, test.want)
	}
}

func TestGitProblems(t *testing.T) {
	root := t.TempDir()
	server := githosttest.ServeHTTP(t, root)
	onGit(t, root, "acme/app")
	server.Logins["acme/app"] = [2]string{"x-access-token", "good"}
	githubtest.New(t, root, "acme/empty")
	closed, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	closed.Close()
	at := server.Host()
	values := map[string]string{"T": "good", "BAD": "wrong-token"}
	status, times := 0, 0
	server.Fail = func(*http.Request) int {
		if times == 0 {
			return 0
		}
		times--
		return status
	}
	const path = "/acme/app"
	for _, test := range []struct {
		name, url, ref string
		status, times  int
		want           string
	}{
		{"no such tag", "http://${T}@" + at + path, "v1.0.1", 0, 0, "apps.json:1: app v1.0.1: no such tag, branch or commit in acme/app; newest is v1.0.0"},
		{"no such commit", "http://${T}@" + at + path, strings.Repeat("ab", 20), 0, 0, "apps.json:1: app " + strings.Repeat("ab", 20) + ": no such tag, branch or commit in acme/app; newest tag is v1.0.0; branches are main, release/1"},
		{"no token", "http://" + at + path, "v1.0.0", 0, 0, "apps.json:1: app: acme/app is private or does not exist; check the path; if it is private, put a token placeholder into the url: https://${NAME}@" + at + "/acme/app"},
		{"wrong token", "http://${BAD}@" + at + path, "v1.0.0", 0, 0, "apps.json:1: app: acme/app does not exist, or the token BAD may not read it; check the path, and that BAD is valid and may read the repository; if the token belongs to a user name, put that in front: https://USER:${BAD}@" + at + "/acme/app"},
		{"no repository", "http://${T}@" + at + "/acme/none", "v1.0.0", 0, 0, "apps.json:1: none: acme/none does not exist, or the token T may not read it; check the path, and that T is valid and may read the repository; if the token belongs to a user name, put that in front: https://USER:${T}@" + at + "/acme/none"},
		{"empty", "http://" + at + "/acme/empty", "v1.0.0", 0, 0, "apps.json:1: empty v1.0.0: no such tag, branch or commit in acme/empty; push the tag or branch, or name one that exists"},
		{"forbidden", "http://${T}@" + at + path, "v1.0.0", 403, 1000, "apps.json:1: app: acme/app does not exist, or the token T may not read it"},
		{"no server", "http://" + closed.Addr().String() + path, "v1.0.0", 0, 0, closed.Addr().String() + ": can't be reached: dial tcp"},
		{"a server that fails", "http://" + at + path, "v1.0.0", 502, 1000, at + ": can't be reached: The test wants it so."},
		{"a server that failed", "http://${T}@" + at + path, "v1.0.0", 502, 2, ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			status, times = test.status, test.times
			g := apps.NewGit(apps.GitOptions{})
			apps.SetFirstWait(g, time.Millisecond)
			_, err := g.ResolveRef(t.Context(), gitSource(t, test.url, test.ref, values))
			if test.want == "" && err == nil {
				return
			}
			wantProblem(t, err, test.want)
			if strings.Contains(err.Error(), "good") || strings.Contains(err.Error(), "wrong-token") {
				t.Errorf("the problem has a token in it: %v", err)
			}
		})
	}
	server.Fail = nil
	t.Run("an annotated tag's own SHA", func(t *testing.T) {
		out, err := exec.Command("git", "--git-dir", root+"/acme/app.git", "rev-parse", "v1.0.0^{tag}").Output()
		if err != nil {
			t.Fatal(err)
		}
		of := strings.TrimSpace(string(out))
		_, err = apps.NewGit(apps.GitOptions{}).ResolveRef(t.Context(), gitSource(t, "http://${T}@"+at+path, of, values))
		wantProblem(t, err, "apps.json:1: app "+of+": no such tag, branch or commit in acme/app")
	})
	// The build has no such file: what it opens is no help.
	t.Run("a netrc of the user's", func(t *testing.T) {
		home := t.TempDir()
		host, _, _ := net.SplitHostPort(at)
		if err := os.WriteFile(filepath.Join(home, ".netrc"), []byte("machine "+host+" login x-access-token password good\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		_, err := apps.NewGit(apps.GitOptions{Environ: []string{"HOME=" + home}}).ResolveRef(t.Context(), gitSource(t, "http://"+at+path, "v1.0.0", nil))
		wantProblem(t, err, "apps.json:1: app: acme/app is private or does not exist")
	})
	t.Run("an old git", func(t *testing.T) {
		dir := t.TempDir()
		if err := os.WriteFile(filepath.Join(dir, "git"), []byte("#!/bin/sh\necho git version 2.30.2\n"), 0o755); err != nil {
			t.Fatal(err)
		}
		t.Setenv("PATH", dir)
		_, err := apps.NewGit(apps.GitOptions{}).ResolveRef(t.Context(), gitSource(t, "http://"+at+path, "v1.0.0", nil))
		wantProblem(t, err, "git: is 2.30.2 on this machine, too old to ask "+at+" with; install git 2.32 or newer")
	})
	t.Run("no git", func(t *testing.T) {
		t.Setenv("PATH", t.TempDir())
		_, err := apps.NewGit(apps.GitOptions{}).ResolveRef(t.Context(), gitSource(t, "http://"+at+path, "v1.0.0", nil))
		wantProblem(t, err, at+": is no GitHub whose API could be asked, and there is no git on this machine to ask it with; install git; with a GitHub Enterprise Server, set GITHUB_API_URL to https://"+at+"/api/v3 instead")
	})
}

func wantProblem(t *testing.T, err error, want string) {
	t.Helper()
	shown := ""
	var found problem.Problem
	if errors.As(err, &found) {
		shown = found.Error() + "; " + found.Remedy
	}
	if !strings.HasPrefix(shown, want) || want == "" {
		t.Errorf("got %v (%s), want %s", err, shown, want)
	}
}
