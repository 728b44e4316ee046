package githubenv_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"

	"github.com/desiredeffect/erpnext-pipeline/internal/githubenv"
	"github.com/desiredeffect/erpnext-pipeline/internal/problem"
	"github.com/desiredeffect/erpnext-pipeline/internal/sandbox/github"
	"github.com/desiredeffect/erpnext-pipeline/internal/sandbox/github/githubtest"
	"github.com/desiredeffect/erpnext-pipeline/internal/secret"
)

// start serves acme/erp, with an environment as the body says.
func start(t *testing.T, body string) (*github.Server, githubenv.Server) {
	t.Helper()
	root := t.TempDir()
	server := githubtest.Start(t, github.Options{Root: root, Admins: map[string][]string{"acme/erp": {"admin"}}})
	githubtest.New(t, root, "acme/erp").Commit("main", "README.md", "one\n")
	if body != "" {
		request, err := http.NewRequestWithContext(t.Context(), http.MethodPut, server.APIURL()+"/repos/acme/erp/environments/production", strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		request.Header.Set("Authorization", "Bearer admin")
		response, err := http.DefaultClient.Do(request)
		if err != nil || response.StatusCode != http.StatusOK {
			t.Fatalf("%v %v", response, err)
		}
		_ = response.Body.Close()
	}
	return server, githubenv.Server{APIURL: server.APIURL(), Token: secret.New("admin")}
}

var wanted = githubenv.Wanted{Repository: "acme/erp", Name: "production", Tags: "site-v*"}

// apply looks and does what is found, and returns that.
func apply(t *testing.T, server githubenv.Server, wanted githubenv.Wanted) []string {
	t.Helper()
	plan, err := githubenv.Look(t.Context(), server, wanted)
	if err != nil {
		t.Fatal(err)
	}
	var what []string
	for _, change := range plan.Changes() {
		what = append(what, strings.TrimSpace(change.What+" "+strings.Join(change.Names, " ")))
	}
	if err := plan.Apply(t.Context()); err != nil {
		t.Fatal(err)
	}
	return what
}

func TestLimits(t *testing.T) {
	const custom = `"deployment_branch_policy": {"protected_branches": false, "custom_branch_policies": true}`
	both := []string{"let tags site-v* reach it", "let the branch main reach it"}
	for name, test := range map[string]struct {
		body     string
		want     []string
		policies []string
		all      bool
	}{
		"none yet":    {"", append([]string{"make the environment, for chosen tags and branches alone"}, both...), []string{"tag site-v*", "branch main"}, false},
		"open to all": {`{"wait_timer": 7}`, append([]string{"limit the environment, which every branch and tag may reach now"}, both...), []string{"tag site-v*", "branch main"}, false},
		"closed to administrators": {`{"wait_timer": 7, "can_admins_bypass": false}`, append([]string{"limit the environment, which every branch and tag may reach now",
			"which may let administrators pass over its rules, as they may not now: see to it in its settings afterwards"}, both...), []string{"tag site-v*", "branch main"}, false},
		"with patterns":           {`{"wait_timer": 7, ` + custom + `}`, both, []string{"tag site-v*", "branch main"}, false},
		"protected branches only": {`{"wait_timer": 7, "deployment_branch_policy": {"protected_branches": true, "custom_branch_policies": false}}`, nil, nil, false},
	} {
		t.Run(name, func(t *testing.T) {
			server, access := start(t, test.body)
			if got := apply(t, access, wanted); !slices.Equal(got, test.want) {
				t.Errorf("done is %q, want %q", got, test.want)
			}
			got, found := server.Environment("acme/erp", "production")
			if !found || got.All != test.all || !slices.Equal(got.Policies, test.policies) {
				t.Errorf("it is %+v, want %q", got, test.policies)
			}
			if test.body != "" && got.WaitTimer != 7 {
				t.Errorf("what it had is reset: it waits %d minutes", got.WaitTimer)
			}
			if again := apply(t, access, wanted); len(again) > 0 {
				t.Errorf("done once more is %q", again)
			}
		})
	}
}

// GitHub lists in pages: what is on a later one is there as well.
func TestManyVariables(t *testing.T) {
	server, access := start(t, "")
	many := wanted
	many.Variables, many.Secrets = map[string]string{}, map[string]secret.Secret{"PASSWORD": secret.New("one\ntwo")}
	for i := range 65 {
		many.Variables[fmt.Sprintf("KEY_%02d", i)] = "value"
	}
	apply(t, access, many)
	many.Variables["KEY_64"] = "other"
	if got, want := apply(t, access, many), []string{"replace variables that have another value there KEY_64", "set secrets again, which can't be compared PASSWORD"}; !slices.Equal(got, want) {
		t.Errorf("done is %q, want %q", got, want)
	}
	got, _ := server.Environment("acme/erp", "production")
	if len(got.Variables) != 65 || got.Variables["KEY_64"] != "other" || got.Secrets["PASSWORD"] != "one\ntwo" {
		t.Errorf("it is %+v", got)
	}
}

func TestLookFails(t *testing.T) {
	var elsewhere []string
	other := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		elsewhere = append(elsewhere, r.Header.Get("Authorization"))
	}))
	defer other.Close()
	redirecting := httptest.NewServer(http.RedirectHandler(other.URL, http.StatusMovedPermanently))
	defer redirecting.Close()
	broken := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusBadGateway) }))
	defer broken.Close()
	for name, test := range map[string]struct{ url, code, detail string }{
		"nothing answers": {"http://127.0.0.1:1", "github.network", "refused"},
		"elsewhere":       {redirecting.URL, "github.network", "it redirects to"},
		"broken":          {broken.URL, "github.failed", "502"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := githubenv.Look(t.Context(), githubenv.Server{APIURL: test.url, Token: secret.New("admin")}, wanted)
			var p problem.Problem
			if !errors.As(err, &p) || p.Code != test.code || !strings.Contains(p.Detail, test.detail) || p.Remedy == "" {
				t.Errorf("got %v, want %s with %q", err, test.code, test.detail)
			}
		})
	}
	if len(elsewhere) > 0 {
		t.Error("the token went to another host")
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := githubenv.Look(ctx, githubenv.Server{APIURL: broken.URL}, wanted); !errors.Is(err, context.Canceled) {
		t.Errorf("a cancelled context: %v", err)
	}
}
