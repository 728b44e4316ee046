package apps

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"github.com/desiredeffect/erpnext-pipeline/internal/problem"
	"github.com/desiredeffect/erpnext-pipeline/internal/secret"
)

const (
	someSHA    = "6dcb09b5b57875f334f61aebed695e2e4193db5e"
	someCommit = `{"sha": "` + someSHA + `", "commit": {"committer": {"date": "2024-03-12T10:00:00Z"}}}`
)

// answering is a server that sends its answers in turn, and the last one from
// then on.
type answering struct {
	*httptest.Server
	mutex   sync.Mutex
	asked   []*http.Request
	answers []http.HandlerFunc
}

func newAnswering(t testing.TB, answers ...http.HandlerFunc) *answering {
	a := &answering{answers: answers}
	a.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		a.mutex.Lock()
		answer := a.answers[min(len(a.asked), len(a.answers)-1)]
		a.asked = append(a.asked, r)
		a.mutex.Unlock()
		answer(w, r)
	}))
	t.Cleanup(a.Close)
	return a
}

func (a *answering) requests() []*http.Request {
	a.mutex.Lock()
	defer a.mutex.Unlock()
	return slices.Clone(a.asked)
}

// answer is one answer: a status, a body, and headers as "Name: value".
func answer(status int, body string, headers ...string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		for _, h := range headers {
			name, value, _ := strings.Cut(h, ": ")
			w.Header().Set(name, value)
		}
		w.WriteHeader(status)
		_, _ = io.WriteString(w, body)
	}
}

// cutOff breaks the connection in the middle of an answer.
func cutOff(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Length", "1000")
	_, _ = io.WriteString(w, someCommit[:20])
	w.(http.Flusher).Flush()
	panic(http.ErrAbortHandler)
}

// resolverAt is a resolver that waits a moment where GitHub would be given
// half a second.
func resolverAt(t testing.TB, apiURL string, opts GitHubOptions) *GitHub {
	t.Helper()
	g, err := NewGitHub(apiURL, opts)
	if err != nil {
		t.Fatal(err)
	}
	g.firstWait = 5 * time.Millisecond
	return g
}

// sourceAt is an app on a server.
func sourceAt(serverURL, name, ref string) Source {
	host := serverURL[strings.Index(serverURL, "://")+3:]
	return Source{Name: name, URL: serverURL + "/acme/" + name, Host: host, Owner: "acme", Repo: name, Ref: ref, Subject: "apps.json:2", RefSubject: "apps.json:3"}
}

func TestPassingFaults(t *testing.T) {
	for _, test := range []struct {
		name     string
		answers  []http.HandlerFunc
		requests int
	}{
		{"server errors", []http.HandlerFunc{answer(500, ""), answer(502, "<html>"), answer(503, "{}"), answer(200, someCommit)}, 4},
		{"a broken connection", []http.HandlerFunc{cutOff, answer(200, someCommit)}, 2},
		{"a server that wants a pause", []http.HandlerFunc{answer(503, "", "Retry-After: 0"), answer(200, someCommit)}, 2},
		{"a secondary rate limit", []http.HandlerFunc{answer(403, `{"message": "You have exceeded a secondary rate limit"}`, "Retry-After: 1"), answer(200, someCommit)}, 2},
		{"too many requests", []http.HandlerFunc{answer(429, `{}`), answer(200, someCommit)}, 2},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			server := newAnswering(t, test.answers...)
			got, err := resolverAt(t, server.URL+"/api/v3", GitHubOptions{}).ResolveRef(t.Context(), sourceAt(server.URL, "app", "v1"))
			if err != nil || got.Commit != someSHA {
				t.Errorf("got %v, %v; want the commit", got, err)
			}
			if n := len(server.requests()); n != test.requests {
				t.Errorf("%d requests, want %d", n, test.requests)
			}
		})
	}
}

func TestRequestProblems(t *testing.T) {
	reset := time.Date(2031, 5, 1, 14, 5, 0, 0, time.UTC)
	limit := []string{"X-RateLimit-Limit: 60", "X-RateLimit-Remaining: 0", fmt.Sprintf("X-RateLimit-Reset: %d", reset.Unix())}
	own := Source{Token: secret.New("s3cret"), TokenName: "DE_MACRS_PAT"}
	for _, test := range []struct {
		name     string
		answer   http.HandlerFunc
		opts     GitHubOptions
		token    Source
		code     string
		want     string
		remedy   string
		requests int
	}{
		{"a lasting server error", answer(503, ""), GitHubOptions{}, Source{}, "apps.api-failing",
			"API: answers 503 Service Unavailable, also after 4 attempts", "see whether GitHub has an outage, and try again later", 4},
		{"a lasting broken connection", cutOff, GitHubOptions{}, Source{}, "apps.network",
			"API: can't be reached: read answer: unexpected EOF", "check the network, the proxy and GITHUB_API_URL, then try again", 4},
		{"the rate limit without a token", answer(403, `{"message": "API rate limit exceeded"}`, limit...), GitHubOptions{}, Source{}, "apps.rate-limit",
			"API: the rate limit is used up until 14:05 UTC, for requests without a token", "set GITHUB_TOKEN to any GitHub token, or wait until 14:05 UTC", 1},
		{"the rate limit with a token", answer(429, `{"message": "API rate limit exceeded"}`, limit...), GitHubOptions{}, own, "apps.rate-limit",
			"API: the rate limit is used up until 14:05 UTC, for the token DE_MACRS_PAT", "wait until 14:05 UTC", 1},
		{"a secondary rate limit that is too long", answer(403, `{"message": "secondary", "documentation_url": "https://docs.github.com/rest/overview/rate-limits-for-the-rest-api#about-secondary-rate-limits"}`, "Retry-After: 3600"),
			GitHubOptions{Token: secret.New("s3cret")}, Source{}, "apps.rate-limit", "API: the rate limit is used up, for the token GITHUB_TOKEN", "wait a few minutes and try again", 1},
		{"single sign-on", answer(403, `{"message": "Resource protected by organization SAML enforcement."}`, "X-GitHub-SSO: required; url=https://github.com/orgs/acme/sso?authorization_request=AZSC"), GitHubOptions{}, own, "apps.token-access",
			"apps.json:2: app: acme wants the token DE_MACRS_PAT authorised for its single sign-on", "authorise it in GitHub's settings under personal access tokens, Configure SSO", 1},
		{"a token that may not read contents", answer(403, `{"message": "Resource not accessible by personal access token"}`), GitHubOptions{}, own, "apps.token-access",
			"apps.json:2: app: reading acme/app is forbidden: \"Resource not accessible by personal access token\"",
			"give DE_MACRS_PAT access to acme/app: a fine-grained token needs the repository selected and Contents: Read, a classic one the scope repo", 1},
		{"a page in place of an answer", answer(200, "<html>log in to the guest network</html>"), GitHubOptions{}, Source{}, "apps.api-answer",
			"API: its answer is not GitHub's", "check GITHUB_API_URL, and whether a proxy answers in GitHub's place", 1},
		{"an answer without a commit", answer(200, `{"sha": "short"}`), GitHubOptions{}, Source{}, "apps.api-answer",
			"API: its answer has no commit in it", "check GITHUB_API_URL, and whether a proxy answers in GitHub's place", 1},
		{"a proxy that wants a password", answer(407, ""), GitHubOptions{}, Source{}, "apps.api-failing",
			"apps.json:2: app: asking for acme/app got 407 Proxy Authentication Required", "open SERVER/acme/app and see whether it is there", 1},
		{"a repository that was taken down", answer(451, `{"message": "Repository access blocked"}`), GitHubOptions{}, Source{}, "apps.api-failing",
			"apps.json:2: app: asking for acme/app got 451 Unavailable For Legal Reasons: \"Repository access blocked\"", "open SERVER/acme/app and see whether it is there", 1},
		{"a server that wants a token for everything", answer(401, `{"message": "Requires authentication"}`), GitHubOptions{}, Source{}, "apps.repo-missing",
			"apps.json:2: app: acme/app is private or does not exist", "check the name; if it is private, put a token placeholder into the url: https://${NAME}@HOST/acme/app", 1},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			server := newAnswering(t, test.answer)
			var log bytes.Buffer
			test.opts.Log = zerolog.New(&log)
			source := sourceAt(server.URL, "app", "v1")
			source.Token, source.TokenName = test.token.Token, test.token.TokenName
			// None of them is worth a long wait.
			ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
			defer cancel()
			_, err := resolverAt(t, server.URL+"/api/v3", test.opts).ResolveRef(ctx, source)
			var found problem.Problem
			if !errors.As(err, &found) {
				t.Fatalf("got %v, want a problem", err)
			}
			local := func(s string) string {
				s = strings.ReplaceAll(s, server.URL+"/api/v3", "API")
				s = strings.ReplaceAll(s, server.URL, "SERVER")
				return strings.ReplaceAll(s, source.Host, "HOST")
			}
			if found.Code != test.code || local(found.Error()) != test.want || local(found.Remedy) != test.remedy {
				t.Errorf("got  %s %s\n     %s\nwant %s %s\n     %s", found.Code, local(found.Error()), local(found.Remedy), test.code, test.want, test.remedy)
			}
			if n := len(server.requests()); n != test.requests {
				t.Errorf("%d requests, want %d", n, test.requests)
			}
			if strings.Contains(log.String(), "s3cret") {
				t.Errorf("the token is in the log: %s", &log)
			}
		})
	}
}

// TestShortCommitIsNoOtherCommit: GitHub answers a bare name also with what is
// called so, and not only with a commit that begins so.
func TestShortCommitIsNoOtherCommit(t *testing.T) {
	missing := answer(422, `{"message": "No commit found for SHA"}`)
	server := newAnswering(t, missing, missing, answer(200, someCommit), answer(200, "[]"))
	_, err := resolverAt(t, server.URL, GitHubOptions{}).ResolveRef(t.Context(), sourceAt(server.URL, "app", "1234567"))
	var found problem.Problem
	if !errors.As(err, &found) || found.Code != "apps.ref-missing" {
		t.Errorf("got %v, want apps.ref-missing", err)
	}
}

func TestUnreachableAPIIsOneProblem(t *testing.T) {
	server := newAnswering(t, answer(200, ""))
	server.Close()
	sources := []Source{sourceAt(server.URL, "one", "v1"), sourceAt(server.URL, "two", "v1")}
	_, _, problems := Resolve(t.Context(), resolverAt(t, server.URL, GitHubOptions{}), sources, time.Now())
	if len(problems) != 1 || problems[0].Code != "apps.network" || !strings.HasSuffix(problems[0].Detail, "connect: connection refused") || problems[0].Subject != server.URL {
		t.Errorf("got %v, want one problem that %s refuses connections", problems, server.URL)
	}
}

func TestResolvingEndsWithItsContext(t *testing.T) {
	block := make(chan struct{})
	defer close(block)
	for name, first := range map[string]http.HandlerFunc{
		"while it waits for an answer": func(_ http.ResponseWriter, r *http.Request) {
			select {
			case <-r.Context().Done():
			case <-block:
			}
		},
		"while it pauses": answer(503, "", "Retry-After: 60"),
	} {
		for cause, context := range map[string]func(context.Context) (context.Context, context.CancelFunc){
			"deadline": func(ctx context.Context) (context.Context, context.CancelFunc) {
				return context.WithTimeout(ctx, 100*time.Millisecond)
			},
			"cancel": func(ctx context.Context) (context.Context, context.CancelFunc) {
				ctx, cancel := context.WithCancel(ctx)
				time.AfterFunc(100*time.Millisecond, cancel)
				return ctx, cancel
			},
		} {
			t.Run(cause+" "+name, func(t *testing.T) {
				server := newAnswering(t, first)
				ctx, cancel := context(t.Context())
				defer cancel()
				start := time.Now()
				_, _, problems := Resolve(ctx, resolverAt(t, server.URL, GitHubOptions{}), []Source{sourceAt(server.URL, "app", "v1")}, time.Now())
				if took := time.Since(start); took > 5*time.Second {
					t.Errorf("took %s", took)
				}
				if len(problems) != 1 || problems[0].Code != "apps.interrupted" || !errors.Is(problems.Err(), ctx.Err()) {
					t.Errorf("got %v, want one that wraps %v", problems, ctx.Err())
				}
			})
		}
	}
}

func TestTokenStaysWithItsHost(t *testing.T) {
	elsewhere := newAnswering(t, answer(200, someCommit))
	server := newAnswering(t,
		func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, "/repositories/1/commits/v1", http.StatusMovedPermanently)
		},
		func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, elsewhere.URL+"/commits/v1", http.StatusTemporaryRedirect)
		})
	source := sourceAt(server.URL, "app", "v1")
	source.Token, source.TokenName = secret.New("s3cret"), "PAT"
	if _, err := resolverAt(t, server.URL, GitHubOptions{}).ResolveRef(t.Context(), source); err != nil {
		t.Fatal(err)
	}
	for _, r := range server.requests() {
		if got := r.Header.Get("Authorization"); got != "Bearer s3cret" {
			t.Errorf("%s was asked for with %q, want the token", r.URL, got)
		}
	}
	for _, r := range elsewhere.requests() {
		if got := r.Header.Get("Authorization"); got != "" {
			t.Errorf("another host was given %q", got)
		}
	}
	if len(elsewhere.requests()) != 1 {
		t.Errorf("%d requests to the other host, want 1", len(elsewhere.requests()))
	}
}

// noting is a transport that notes what it is to send, and sends nothing.
type noting struct {
	mutex sync.Mutex
	sent  []string
}

func (n *noting) RoundTrip(r *http.Request) (*http.Response, error) {
	n.mutex.Lock()
	defer n.mutex.Unlock()
	n.sent = append(n.sent, r.URL.String()+" "+r.Header.Get("Authorization"))
	return &http.Response{StatusCode: http.StatusOK, Header: http.Header{}, Body: io.NopCloser(strings.NewReader(someCommit)), Request: r}, nil
}

func TestWhichAPI(t *testing.T) {
	const tail = "/repos/acme/app/commits/tags%2Fv1?per_page=1 "
	for _, test := range []struct {
		api, host string
		own       bool
		// sent is the request, or the problem.
		sent, problem string
	}{
		{"", "github.com", false, "https://api.github.com" + tail + "Bearer common", ""},
		{"https://api.github.com/", "github.com", true, "https://api.github.com" + tail + "Bearer own", ""},
		{"https://ghe.acme.example/api/v3", "ghe.acme.example", false, "https://ghe.acme.example/api/v3" + tail + "Bearer common", ""},
		{"https://GHE.acme.example/api/v3/", "ghe.acme.example", true, "https://ghe.acme.example/api/v3" + tail + "Bearer own", ""},
		// The enterprise's token is nothing to github.com.
		{"https://ghe.acme.example/api/v3", "github.com", false, "https://api.github.com" + tail, ""},
		{"https://ghe.acme.example/api/v3", "github.com", true, "https://api.github.com" + tail + "Bearer own", ""},
		{"https://api.acme.ghe.com", "acme.ghe.com", false, "https://api.acme.ghe.com" + tail + "Bearer common", ""},
	} {
		t.Run(test.api+" "+test.host, func(t *testing.T) {
			notes := &noting{}
			source := sourceAt("https://"+test.host, "app", "v1")
			if test.own {
				source.Token, source.TokenName = secret.New("own"), "PAT"
			}
			_, err := resolverAt(t, test.api, GitHubOptions{Token: secret.New("common"), Transport: notes}).ResolveRef(t.Context(), source)
			if got := strings.Join(notes.sent, "\n"); got != test.sent {
				t.Errorf("sent %q, want %q", got, test.sent)
			}
			var found problem.Problem
			switch {
			case test.problem == "" && err != nil:
				t.Error(err)
			case test.problem != "" && (!errors.As(err, &found) || found.Error()+"; "+found.Remedy != test.problem):
				t.Errorf("got %v; %s\nwant %s", err, found.Remedy, test.problem)
			}
		})
	}
}

func TestAPIURL(t *testing.T) {
	for address, want := range map[string]string{
		"":                           "",
		"http://127.0.0.1:80/api/v3": "",
		"api.github.com":             "GITHUB_API_URL: is not an address",
		"https://":                   "GITHUB_API_URL: is not an address",
		"ftp://github.com":           "GITHUB_API_URL: is not an address",
		"https://a b/":               "GITHUB_API_URL: is not an address",
		"https://s3cret@github.com":  "GITHUB_API_URL: has more than a host and a path",
		"https://github.com/?x=1":    "GITHUB_API_URL: has more than a host and a path",
		"http://ghe.acme.example":    "GITHUB_API_URL: would send tokens unencrypted",
	} {
		_, err := NewGitHub(address, GitHubOptions{})
		if got := fmt.Sprint(err); got != want && (want != "" || err != nil) {
			t.Errorf("%q: got %v, want %s", address, err, want)
		}
	}
}

func TestExpiringTokens(t *testing.T) {
	now := time.Date(2031, 5, 1, 12, 0, 0, 0, time.UTC)
	for header, want := range map[string]string{
		"":                          "",
		"2031-05-09 12:00:00 UTC":   "",
		"2031-05-08 11:59:59 UTC":   "PAT: the token expires on 8 May 2031, 11:59 UTC",
		"2031-05-03 02:00:00 +0530": "PAT: the token expires on 2 May 2031, 20:30 UTC",
	} {
		server := newAnswering(t, answer(200, someCommit, "GitHub-Authentication-Token-Expiration: "+header))
		sources := []Source{sourceAt(server.URL, "one", "v1"), sourceAt(server.URL, "two", "v1")}
		for i := range sources {
			sources[i].Token, sources[i].TokenName = secret.New("s3cret"), "PAT"
		}
		_, warnings, problems := Resolve(t.Context(), resolverAt(t, server.URL, GitHubOptions{}), sources, now)
		if len(problems) > 0 {
			t.Fatal(problems)
		}
		got := ""
		if err := warnings.Err(); err != nil {
			got = err.Error()
		}
		if got != want {
			t.Errorf("%q: got %q, want %q", header, got, want)
		}
	}
}

// slowly answers like GitHub on a good day: after 50 ms.
func slowly(w http.ResponseWriter, r *http.Request) {
	time.Sleep(50 * time.Millisecond)
	answer(200, someCommit)(w, r)
}

// fifty is a company with fifty apps.
func fifty(server *answering) []Source {
	sources := make([]Source, 50)
	for i := range sources {
		sources[i] = sourceAt(server.URL, fmt.Sprintf("app%d", i), "v1")
	}
	return sources
}

func TestFiftyAppsAreResolvedSideBySide(t *testing.T) {
	server := newAnswering(t, slowly)
	start := time.Now()
	resolved, _, problems := Resolve(t.Context(), resolverAt(t, server.URL, GitHubOptions{}), fifty(server), time.Now())
	took := time.Since(start)
	if len(problems) > 0 || len(resolved) != 50 {
		t.Fatalf("%d apps, %v", len(resolved), problems)
	}
	// One after the other they would take 2.5 s.
	if took > 1500*time.Millisecond {
		t.Errorf("took %s", took)
	}
	for i, app := range resolved {
		if want := fmt.Sprintf("app%d", i); app.Name != want {
			t.Errorf("app %d is %s, want %s", i, app.Name, want)
		}
	}
}

func BenchmarkResolve50(b *testing.B) {
	server := newAnswering(b, slowly)
	sources := fifty(server)
	for b.Loop() {
		start := time.Now()
		// A new resolver each time: connections are part of the work.
		_, _, problems := Resolve(b.Context(), resolverAt(b, server.URL, GitHubOptions{Transport: &http.Transport{}}), sources, time.Now())
		if len(problems) > 0 {
			b.Fatal(problems)
		}
		if took := time.Since(start); took > 500*time.Millisecond {
			b.Fatalf("50 apps took %s, want less than 0.5 s", took)
		}
	}
}
