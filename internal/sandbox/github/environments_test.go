package github_test

import (
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"

	"golang.org/x/crypto/nacl/box"

	"github.com/desiredeffect/erpnext-pipeline/internal/sandbox/github"
	"github.com/desiredeffect/erpnext-pipeline/internal/sandbox/github/githubtest"
)

// An environment is made, limited and filled as GitHub describes it.
func TestEnvironmentsAsGitHubDescribes(t *testing.T) {
	root := t.TempDir()
	server := githubtest.Start(t, github.Options{Root: root, Admins: map[string][]string{"acme/app": {"admin"}}, Private: map[string][]string{"acme/other": {"reader"}}})
	githubtest.New(t, root, "acme/app").Commit("main", "README.md", "one\n")
	described := description(t)
	const path = "/repos/acme/app/environments/production"
	call := func(method, part, token, body string, want int) []byte {
		t.Helper()
		template := describedEnvironment + strings.NewReplacer("/variables/SITE_NAME", "/variables/{name}", "/secrets/PASSWORD", "/secrets/{secret_name}").Replace(strings.Split(part, "?")[0])
		status, answer, _ := sent(t, described, server, method, template, path+part, token, body)
		if status != want {
			t.Errorf("%s %s: status %d, want %d: %s", method, part, status, want, answer)
		}
		return answer
	}
	const custom = `{"wait_timer": 5, "deployment_branch_policy": {"protected_branches": false, "custom_branch_policies": true}}`
	call(http.MethodPut, "", "admin", `{}`, http.StatusOK)
	call(http.MethodGet, "", "admin", "", http.StatusOK)
	if e, _ := server.Environment("acme/app", "production"); !e.All {
		t.Error("an environment without limits has some")
	}
	call(http.MethodPut, "", "admin", custom, http.StatusOK)
	call(http.MethodGet, "", "", "", http.StatusOK)
	call(http.MethodPut, "", "admin", `{"deployment_branch_policy": {"protected_branches": true, "custom_branch_policies": true}}`, http.StatusUnprocessableEntity)
	call(http.MethodPost, "/deployment-branch-policies", "admin", `{"name": "site-v*", "type": "tag"}`, http.StatusOK)
	call(http.MethodGet, "/deployment-branch-policies", "admin", "", http.StatusOK)
	call(http.MethodPost, "/variables", "admin", `{"name": "SITE_NAME", "value": "one"}`, http.StatusCreated)
	call(http.MethodPatch, "/variables/SITE_NAME", "admin", `{"value": "two"}`, http.StatusNoContent)
	call(http.MethodGet, "/variables?per_page=30", "admin", "", http.StatusOK)
	var key struct {
		ID  string `json:"key_id"`
		Key string `json:"key"`
	}
	if err := json.Unmarshal(call(http.MethodGet, "/secrets/public-key", "admin", "", http.StatusOK), &key); err != nil {
		t.Fatal(err)
	}
	public, err := base64.StdEncoding.DecodeString(key.Key)
	if err != nil || len(public) != 32 {
		t.Fatalf("the key is %q", key.Key)
	}
	sealed := func(text string) string {
		data, err := box.SealAnonymous(nil, []byte(text), (*[32]byte)(public), rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		return fmt.Sprintf(`{"key_id": %q, "encrypted_value": %q}`, key.ID, base64.StdEncoding.EncodeToString(data))
	}
	call(http.MethodPut, "/secrets/PASSWORD", "admin", sealed("first"), http.StatusCreated)
	call(http.MethodPut, "/secrets/PASSWORD", "admin", sealed("second"), http.StatusNoContent)
	call(http.MethodGet, "/secrets", "admin", "", http.StatusOK)

	got, found := server.Environment("acme/app", "production")
	if !found || got.All || got.WaitTimer != 5 || !slices.Equal(got.Policies, []string{"tag site-v*"}) || got.Variables["SITE_NAME"] != "two" || got.Secrets["PASSWORD"] != "second" {
		t.Errorf("the environment is %+v", got)
	}
	// Statuses that GitHub's description leaves out.
	for _, test := range []struct {
		method, part, token, body string
		want                      int
	}{
		{http.MethodPut, "", "reader", custom, http.StatusForbidden},
		{http.MethodGet, "/variables", "reader", "", http.StatusForbidden},
		{http.MethodGet, "/secrets", "wrong", "", http.StatusUnauthorized},
		{http.MethodPost, "/variables", "admin", `{"name": "SITE_NAME", "value": "one"}`, http.StatusConflict},
		{http.MethodPost, "/variables", "admin", `{"name": "GITHUB_X", "value": "one"}`, http.StatusUnprocessableEntity},
		{http.MethodPatch, "/variables/NONE", "admin", `{"value": "two"}`, http.StatusNotFound},
		{http.MethodPut, "/secrets/PASSWORD", "admin", `{"key_id": "other", "encrypted_value": "AAAA"}`, http.StatusUnprocessableEntity},
		{http.MethodPut, "/secrets/PASSWORD", "admin", fmt.Sprintf(`{"key_id": %q, "encrypted_value": "AAAA"}`, key.ID), http.StatusUnprocessableEntity},
	} {
		request, err := http.NewRequestWithContext(t.Context(), test.method, server.APIURL()+path+test.part, strings.NewReader(test.body))
		if err != nil {
			t.Fatal(err)
		}
		request.Header.Set("Authorization", "Bearer "+test.token)
		response, err := http.DefaultClient.Do(request)
		if err != nil {
			t.Fatal(err)
		}
		_ = response.Body.Close()
		if response.StatusCode != test.want {
			t.Errorf("%s %s with %s %s: %s, want %d", test.method, test.part, test.token, test.body, response.Status, test.want)
		}
	}
}
