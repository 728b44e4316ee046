package github_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/getkin/kin-openapi/openapi3filter"
	"github.com/getkin/kin-openapi/routers"

	"github.com/desiredeffect/erpnext-pipeline/internal/sandbox/github"
	"github.com/desiredeffect/erpnext-pipeline/internal/sandbox/github/githubtest"
)

// strictly holds what the description says of formats as well. The library
// knows uri and date-time by name only if it is told what they mean.
var strictly = &openapi3filter.Options{
	IncludeResponseStatus: true,
	MultiError:            true,
	SchemaValidationOptions: []openapi3.SchemaValidationOption{
		openapi3.EnableFormatValidation(),
		openapi3.WithStringFormatValidator("uri", openapi3.NewCallbackValidator(func(s string) error {
			if u, err := url.Parse(s); err != nil || !u.IsAbs() || u.Host == "" {
				return fmt.Errorf("%q is no absolute URL", s)
			}
			return nil
		})),
		openapi3.WithStringFormatValidator("date-time", openapi3.NewCallbackValidator(func(s string) error {
			_, err := time.Parse(time.RFC3339, s)
			return err
		})),
	},
}

// held asks the server one call and holds the answer against the description.
func held(t *testing.T, described *openapi3.T, server *github.Server, template, path, token string) (status int, body []byte, header http.Header) {
	t.Helper()
	return sent(t, described, server, http.MethodGet, template, path, token, "")
}

// sent sends one call with a body, and holds both it and the answer against the
// description.
func sent(t *testing.T, described *openapi3.T, server *github.Server, method, template, path, token, content string) (status int, body []byte, header http.Header) {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), method, server.APIURL()+path, strings.NewReader(content))
	if err != nil {
		t.Fatal(err)
	}
	if token != "" {
		request.Header.Set("Authorization", "Bearer "+token)
	}
	if content != "" {
		request.Header.Set("Content-Type", "application/json")
		if err := openapi3filter.ValidateRequestBody(t.Context(), validation(t, described, template, request), validation(t, described, template, request).Route.Operation.RequestBody.Value); err != nil {
			t.Errorf("%s %s: what is sent is not as GitHub describes it: %v", method, path, err)
		}
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	if body, err = io.ReadAll(response.Body); err != nil {
		t.Fatal(err)
	}
	if err := against(t, described, template, request, response.StatusCode, response.Header, body); err != nil {
		t.Errorf("%s %s: %d is not as GitHub describes it: %v", method, path, response.StatusCode, err)
	}
	return response.StatusCode, body, response.Header
}

// validation returns what the library compares a call with.
func validation(t *testing.T, described *openapi3.T, template string, request *http.Request) *openapi3filter.RequestValidationInput {
	t.Helper()
	item := described.Paths.Value(template)
	if item == nil || item.GetOperation(request.Method) == nil {
		t.Fatalf("GitHub describes no %s %s", request.Method, template)
	}
	return &openapi3filter.RequestValidationInput{
		Request: request, Options: strictly,
		Route: &routers.Route{Spec: described, Path: template, PathItem: item, Method: request.Method, Operation: item.GetOperation(request.Method)},
	}
}

func against(t *testing.T, described *openapi3.T, template string, request *http.Request, status int, header http.Header, body []byte) error {
	t.Helper()
	input := &openapi3filter.ResponseValidationInput{RequestValidationInput: validation(t, described, template, request), Status: status, Header: header, Options: strictly}
	input.SetBodyBytes(body)
	return openapi3filter.ValidateResponse(t.Context(), input)
}

func TestAnswersAsGitHubDescribes(t *testing.T) {
	root := t.TempDir()
	server := githubtest.Start(t, github.Options{Root: root, Private: map[string][]string{"acme/secret": {"good"}}, TreeLimit: 4})
	described := description(t)

	app := githubtest.New(t, root, "acme/app")
	first := app.Commit("main", "README.md", "one\n")
	second := app.Commit("main", "README.md", "two\n")
	app.Commit("feature/x", "README.md", "three\n")
	app.Tag(first, "v1.0.0")
	app.AnnotatedTag(second, "v1.1.0")
	folders := app.CommitEntries("folders", githubtest.Entry{Path: "run", Mode: "100755", Text: "#!/bin/sh\n"}, githubtest.Entry{Path: "link", Mode: "120000", Text: "run"},
		githubtest.Entry{Path: "sub/module", Mode: "160000", Text: first})
	many := app.CommitEntries("folders", githubtest.Entry{Path: "a/b/c/d", Text: "deep\n"})
	// The content "two\n", as git hash-object has it, and nothing.
	const two, unknown = "f719efd430d52bcfc8566a43b2eb655688d38871", "0123456789012345678901234567890123456789"
	githubtest.New(t, root, "acme/secret").Commit("main", "README.md", "hidden\n")
	githubtest.New(t, root, "acme/empty")

	const repo = "/repos/{owner}/{repo}"
	for _, test := range []struct {
		name, template, path, token string
		status                      int
	}{
		{"repository", repo, "/repos/acme/app", "", 200},
		{"private repository with its token", repo, "/repos/acme/secret", "good", 200},
		{"private repository without a token", repo, "/repos/acme/secret", "", 404},
		{"missing repository", repo, "/repos/acme/none", "", 404},
		{"commit of a tag", repo + "/commits/{ref}", "/repos/acme/app/commits/tags/v1.0.0", "", 200},
		{"commit of an annotated tag", repo + "/commits/{ref}", "/repos/acme/app/commits/tags%2Fv1.1.0", "", 200},
		{"commit of a branch with a slash", repo + "/commits/{ref}", "/repos/acme/app/commits/heads/feature/x", "", 200},
		{"commit by SHA", repo + "/commits/{ref}", "/repos/acme/app/commits/" + first, "", 200},
		{"commit that is not there", repo + "/commits/{ref}", "/repos/acme/app/commits/tags/v9", "", 422},
		{"commit of an empty repository", repo + "/commits/{ref}", "/repos/acme/empty/commits/main", "", 409},
		{"commit of a missing repository", repo + "/commits/{ref}", "/repos/acme/none/commits/main", "", 404},
		{"tags", repo + "/tags", "/repos/acme/app/tags", "", 200},
		{"tags of an empty repository", repo + "/tags", "/repos/acme/empty/tags", "", 200},
		{"branches", repo + "/branches", "/repos/acme/app/branches", "", 200},
		{"branches of a missing repository", repo + "/branches", "/repos/acme/none/branches", "", 404},
		{"ref of a tag", repo + "/git/ref/{ref}", "/repos/acme/app/git/ref/tags/v1.1.0", "", 200},
		{"ref of a branch", repo + "/git/ref/{ref}", "/repos/acme/app/git/ref/heads/feature/x", "", 200},
		{"ref that is not there", repo + "/git/ref/{ref}", "/repos/acme/app/git/ref/heads/none", "", 404},
		{"ref of an empty repository", repo + "/git/ref/{ref}", "/repos/acme/empty/git/ref/heads/main", "", 409},
		{"matching refs", repo + "/git/matching-refs/{ref}", "/repos/acme/app/git/matching-refs/tags/v1", "", 200},
		{"tree of a commit", repo + "/git/trees/{tree_sha}", "/repos/acme/app/git/trees/" + folders, "", 200},
		{"recursive tree", repo + "/git/trees/{tree_sha}", "/repos/acme/app/git/trees/" + folders + "?recursive=1", "", 200},
		{"truncated tree", repo + "/git/trees/{tree_sha}", "/repos/acme/app/git/trees/" + many + "?recursive=1", "", 200},
		{"tree of a branch with a slash", repo + "/git/trees/{tree_sha}", "/repos/acme/app/git/trees/feature/x", "", 200},
		{"tree that is not there", repo + "/git/trees/{tree_sha}", "/repos/acme/app/git/trees/" + unknown, "", 404},
		{"recursive tree that is not there", repo + "/git/trees/{tree_sha}", "/repos/acme/app/git/trees/" + unknown + "?recursive=1", "", 422},
		{"tree of a content", repo + "/git/trees/{tree_sha}", "/repos/acme/app/git/trees/" + two, "", 422},
		{"tree of an empty repository", repo + "/git/trees/{tree_sha}", "/repos/acme/empty/git/trees/" + unknown, "", 409},
		{"tree of a missing repository", repo + "/git/trees/{tree_sha}", "/repos/acme/none/git/trees/main", "", 404},
		{"tree of a private repository without a token", repo + "/git/trees/{tree_sha}", "/repos/acme/secret/git/trees/main", "", 404},
		{"tree of a private repository with its token", repo + "/git/trees/{tree_sha}", "/repos/acme/secret/git/trees/main", "good", 200},
		{"blob", repo + "/git/blobs/{file_sha}", "/repos/acme/app/git/blobs/" + two, "", 200},
		{"blob that is not there", repo + "/git/blobs/{file_sha}", "/repos/acme/app/git/blobs/" + unknown, "", 404},
		{"blob by no SHA", repo + "/git/blobs/{file_sha}", "/repos/acme/app/git/blobs/main", "", 422},
		{"blob of an empty repository", repo + "/git/blobs/{file_sha}", "/repos/acme/empty/git/blobs/" + unknown, "", 409},
		{"blob of a private repository without a token", repo + "/git/blobs/{file_sha}", "/repos/acme/secret/git/blobs/" + two, "", 404},
		{"no matching refs", repo + "/git/matching-refs/{ref}", "/repos/acme/app/git/matching-refs/tags/x", "", 200},
	} {
		t.Run(test.name, func(t *testing.T) {
			status, body, header := held(t, described, server, test.template, test.path, test.token)
			if status != test.status {
				t.Errorf("GET %s: status %d, want %d: %s", test.path, status, test.status, body)
			}
			if got := header.Get("Content-Type"); got != "application/json; charset=utf-8" {
				t.Errorf("Content-Type %q", got)
			}
		})
	}
}

// TestBadCredentialsBody holds the one answer that is not described per call:
// GitHub's page on authentication has its status and message.
func TestBadCredentialsBody(t *testing.T) {
	server := githubtest.Start(t, github.Options{Root: t.TempDir()})
	described := description(t)
	request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, server.APIURL()+"/repos/acme/app", nil)
	if err != nil {
		t.Fatal(err)
	}
	request.Header.Set("Authorization", "Bearer wrong")
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	var body map[string]any
	if err := json.NewDecoder(response.Body).Decode(&body); err != nil {
		t.Fatal(err)
	}
	if response.StatusCode != http.StatusUnauthorized || body["message"] != "Bad credentials" {
		t.Errorf("got %d %v, want 401 Bad credentials", response.StatusCode, body)
	}
	if err := described.Components.Schemas["basic-error"].Value.VisitJSON(body); err != nil {
		t.Error(err)
	}
}

// TestDescriptionFindsFaults makes sure that the contract can be broken: an
// answer that lacks a field, has a wrong type or a wrong format is noticed.
func TestDescriptionFindsFaults(t *testing.T) {
	root := t.TempDir()
	server := githubtest.Start(t, github.Options{Root: root})
	described := description(t)
	githubtest.New(t, root, "acme/app").Commit("main", "README.md", "one\n")
	const template, path = "/repos/{owner}/{repo}/commits/{ref}", "/repos/acme/app/commits/heads/main"
	status, good, header := held(t, described, server, template, path, "")
	request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, server.APIURL()+path, nil)
	if err != nil {
		t.Fatal(err)
	}
	for name, fault := range map[string]struct {
		status   int
		old, new string
		says     string
	}{
		"field missing":     {status, `"comments_url"`, `"other_url"`, "comments_url"},
		"wrong type":        {status, `"comment_count":0`, `"comment_count":"none"`, "comment_count"},
		"wrong format":      {status, `"url":"http:`, `"url":"no address:`, "uri"},
		"status unheard of": {418, "", "", "status"},
	} {
		t.Run(name, func(t *testing.T) {
			bad := bytes.ReplaceAll(good, []byte(fault.old), []byte(fault.new))
			if fault.old == "" {
				bad = good
			} else if bytes.Equal(bad, good) {
				t.Fatalf("answer has no %s", fault.old)
			}
			err := against(t, described, template, request, fault.status, header, bad)
			if err == nil || !strings.Contains(err.Error(), fault.says) {
				t.Errorf("got %v, want an error about %s", err, fault.says)
			}
		})
	}
}
