package apps_test

import (
	"errors"
	"path/filepath"
	"testing"

	"github.com/desiredeffect/erpnext-pipeline/ci/apps"
	"github.com/desiredeffect/erpnext-pipeline/internal/problem"
	"github.com/desiredeffect/erpnext-pipeline/internal/sandbox/github"
	"github.com/desiredeffect/erpnext-pipeline/internal/sandbox/github/githubtest"
	"github.com/desiredeffect/erpnext-pipeline/internal/secret"
)

func TestNewest(t *testing.T) {
	root := t.TempDir()
	server := githubtest.Start(t, github.Options{Root: root, Private: map[string][]string{"acme/own": {"own-token"}}})
	for _, name := range []string{"frappe/frappe", "acme/own"} {
		repository := githubtest.New(t, root, name)
		commit := repository.Commit("main", "version", "1")
		// Names in the order of the alphabet are not that of versions.
		for _, tag := range []string{"v14.99.0", "v15.9.0", "v15.10.0", "v15.11.0-beta.1", "v150.0.0", "v16.0.0-rc.1", "other"} {
			repository.Tag(commit, tag)
		}
	}
	resolver, err := apps.NewGitHub(server.APIURL(), apps.GitHubOptions{})
	if err != nil {
		t.Fatal(err)
	}
	// The same server, once asked by its API and once with git.
	servers := apps.Servers{GitHub: resolver, Git: apps.NewGit(apps.GitOptions{})}
	elsewhere, err := apps.NewGitHub("", apps.GitHubOptions{})
	if err != nil {
		t.Fatal(err)
	}
	byGit := apps.Servers{GitHub: elsewhere, Git: apps.NewGit(apps.GitOptions{CacheDir: filepath.Join(t.TempDir(), "cache")})}
	tokens := func(name string) (secret.Secret, bool) {
		return secret.New(map[string]string{"ACME_PAT": "own-token"}[name]), name == "ACME_PAT"
	}
	private := "http://${ACME_PAT}@" + server.URL()[len("http://"):] + "/acme/own"
	for _, test := range []struct {
		name, url string
		servers   apps.Servers
		major     uint64
		want      string
	}{
		{"by the API", server.URL() + "/frappe/frappe", servers, 15, "v15.10.0"},
		{"with git", server.URL() + "/frappe/frappe", byGit, 15, "v15.10.0"},
		{"nothing but a pre-release", server.URL() + "/frappe/frappe", servers, 16, "v16.0.0-rc.1"},
		{"none", server.URL() + "/frappe/frappe", servers, 13, ""},
		{"private", private, servers, 14, "v14.99.0"},
	} {
		t.Run(test.name, func(t *testing.T) {
			got, err := test.servers.Newest(t.Context(), test.url, test.major, tokens)
			if err != nil || got != test.want {
				t.Errorf("got %q %v, want %q", got, err, test.want)
			}
		})
	}
	for url, code := range map[string]string{
		server.URL() + "/acme/own":  "apps.repo-missing",
		server.URL() + "/acme/none": "apps.repo-missing",
		"acme/own":                  "apps.url-invalid",
	} {
		var p problem.Problem
		if got, err := servers.Newest(t.Context(), url, 15, tokens); !errors.As(err, &p) || got != "" {
			t.Errorf("%s: got %q %v, want a problem", url, got, err)
		} else if p.Code != code {
			t.Errorf("%s: %s, want %s", url, p.Code, code)
		}
	}
}
