// Package github stands in for GitHub in the sandbox and in tests.
//
// It is an HTTP server on loopback that answers out of real bare git
// repositories in a folder, ROOT/OWNER/REPO.git: the REST calls that the
// pipeline makes under /api/v3, as a GitHub Enterprise Server has them, and
// git's smart HTTP protocol under /OWNER/REPO. Private repositories need a
// token, and a wrong one is refused the way GitHub refuses it. Its REST answers
// are held against GitHub's own OpenAPI description in contract_test.go.
package github

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/rs/zerolog"

	"github.com/desiredeffect/erpnext-pipeline/internal/sandbox/debian"
)

// Options is what a stand-in serves.
type Options struct {
	// Root holds the repositories as OWNER/REPO.git. They may come and go
	// while the server runs.
	Root string
	// Private names repositories, as "OWNER/REPO", that need one of the
	// given tokens. All others are public. A token that is named nowhere
	// here is refused everywhere.
	Private map[string][]string
	// Admins has the tokens that may change the settings of a repository, by
	// "OWNER/REPO". They may read it too.
	Admins map[string][]string
	// Expires has when a token ends, for the header in which GitHub says so.
	// A token whose time has passed is refused.
	Expires map[string]time.Time
	// TreeLimit is how many entries a recursive tree has at most; GitHub's
	// 100,000 if zero.
	TreeLimit int
	// Addr is where to listen; 127.0.0.1 with a free port if empty.
	Addr string
	Log  zerolog.Logger
}

// Request is one request that was answered.
type Request struct {
	Method string
	// Path is the path as it was sent, still escaped, without the query.
	Path string
	// Authorized says that a good token came with it.
	Authorized bool
	Status     int
}

// Server is a running stand-in.
type Server struct {
	opts Options
	git  string
	addr string
	http *http.Server
	// stop ends the context of every request.
	stop context.CancelFunc
	// done is closed when nothing of the server runs any more.
	done chan struct{}

	mutex    sync.Mutex
	requests []Request
	// environments are those of all repositories, by "OWNER/REPO" and their names.
	environments map[string]map[string]*environment
	// closed lets no further request in; handlers counts those that are
	// being answered.
	closed   bool
	handlers sync.WaitGroup
}

// Start runs a stand-in until it is closed or the context ends. It installs
// git if that is absent; the error then wraps debian.ErrUnsupported where that
// can't be done.
func Start(ctx context.Context, opts Options) (*Server, error) {
	git, err := exec.LookPath("git")
	if err != nil {
		if err := debian.Install(ctx, "git"); err != nil {
			return nil, fmt.Errorf("start GitHub stand-in: %w", err)
		}
		if git, err = exec.LookPath("git"); err != nil {
			return nil, fmt.Errorf("start GitHub stand-in: %w", err)
		}
	}
	if opts.Root, err = filepath.Abs(opts.Root); err != nil {
		return nil, fmt.Errorf("start GitHub stand-in: %w", err)
	}
	if opts.Addr == "" {
		opts.Addr = "127.0.0.1:0"
	}
	var config net.ListenConfig
	listener, err := config.Listen(ctx, "tcp", opts.Addr)
	if err != nil {
		return nil, fmt.Errorf("start GitHub stand-in: %w", err)
	}
	ctx, stop := context.WithCancel(ctx)
	s := &Server{opts: opts, git: git, addr: listener.Addr().String(), stop: stop, done: make(chan struct{})}
	s.http = &http.Server{
		Handler:           s.recorded(s.routes()),
		ReadHeaderTimeout: 10 * time.Second,
		BaseContext:       func(net.Listener) context.Context { return ctx },
	}
	go func() {
		defer close(s.done)
		defer stop()
		if err := s.http.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
			s.opts.Log.Error().Err(err).Msg("GitHub stand-in stopped")
		}
		s.mutex.Lock()
		s.closed = true
		s.mutex.Unlock()
		s.handlers.Wait()
	}()
	context.AfterFunc(ctx, func() { _ = s.http.Close() })
	s.opts.Log.Debug().Str("url", s.URL()).Str("root", opts.Root).Msg("GitHub stand-in started")
	return s, nil
}

// URL is the address in front of OWNER/REPO, for instance
// "http://127.0.0.1:41234".
func (s *Server) URL() string { return "http://" + s.addr }

// APIURL is the address of the REST API, what GITHUB_API_URL has to be.
func (s *Server) APIURL() string { return s.URL() + apiPath }

// Close stops the server and waits until nothing of it runs.
func (s *Server) Close() error {
	s.stop()
	err := s.http.Close()
	<-s.done
	if err != nil {
		return fmt.Errorf("close GitHub stand-in: %w", err)
	}
	return nil
}

// Requests returns the requests that were answered so far, in the order of their
// answers.
func (s *Server) Requests() []Request {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	return slices.Clone(s.requests)
}

const apiPath = "/api/v3"

func (s *Server) routes() http.Handler {
	mux := http.NewServeMux()
	repo := "GET " + apiPath + "/repos/{owner}/{repo}"
	mux.HandleFunc(repo, s.rest(repository))
	mux.HandleFunc(repo+"/commits/{ref...}", s.rest(commit))
	mux.HandleFunc(repo+"/tags", s.rest(tags))
	mux.HandleFunc(repo+"/branches", s.rest(branches))
	mux.HandleFunc(repo+"/git/ref/{ref...}", s.rest(gitRef))
	mux.HandleFunc(repo+"/git/matching-refs/{ref...}", s.rest(matchingRefs))
	mux.HandleFunc(repo+"/git/trees/{sha...}", s.rest(s.tree))
	mux.HandleFunc(repo+"/git/blobs/{sha}", s.rest(blob))
	s.environmentRoutes(mux)
	mux.HandleFunc(apiPath+"/", func(w http.ResponseWriter, _ *http.Request) { fail(w, http.StatusNotFound, "Not Found") })
	mux.HandleFunc("/{owner}/{repo}/{service...}", s.smartHTTP)
	return mux
}

// recorded keeps what was asked, for Requests.
func (s *Server) recorded(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.mutex.Lock()
		closed := s.closed
		if !closed {
			s.handlers.Add(1)
		}
		s.mutex.Unlock()
		if closed {
			return
		}
		defer s.handlers.Done()
		watched := &statusWriter{ResponseWriter: w, status: http.StatusOK}
		next.ServeHTTP(watched, r)
		_, authorized := s.token(r)
		done := Request{Method: r.Method, Path: r.URL.EscapedPath(), Authorized: authorized == tokenGood, Status: watched.status}
		s.mutex.Lock()
		s.requests = append(s.requests, done)
		s.mutex.Unlock()
		s.opts.Log.Debug().Str("method", done.Method).Str("path", done.Path).Int("status", done.Status).Msg("GitHub stand-in answered")
	})
}

// statusWriter remembers the status of an answer.
type statusWriter struct {
	http.ResponseWriter
	status int
}

func (w *statusWriter) WriteHeader(status int) {
	w.status = status
	w.ResponseWriter.WriteHeader(status)
}

// Unwrap lets git's answers be flushed.
func (w *statusWriter) Unwrap() http.ResponseWriter { return w.ResponseWriter }

// tokenState is what a request's credentials are worth.
type tokenState int

const (
	tokenAbsent tokenState = iota
	tokenBad
	tokenGood
)

// token reads a request's token: "Bearer" and "token" as the REST API takes
// it, and basic authentication as git sends it, with the token as password or,
// without one, as the user.
func (s *Server) token(r *http.Request) (string, tokenState) {
	header := r.Header.Get("Authorization")
	if header == "" {
		return "", tokenAbsent
	}
	scheme, token, _ := strings.Cut(header, " ")
	switch strings.ToLower(scheme) {
	case "bearer", "token":
	case "basic":
		user, password, _ := r.BasicAuth()
		if token = password; password == "" || password == "x-oauth-basic" {
			token = user
		}
	default:
		return "", tokenBad
	}
	if end, ends := s.opts.Expires[token]; ends && !time.Now().Before(end) {
		return "", tokenBad
	}
	for _, some := range []map[string][]string{s.opts.Private, s.opts.Admins} {
		for _, tokens := range some {
			if slices.Contains(tokens, token) {
				return token, tokenGood
			}
		}
	}
	if _, known := s.opts.Expires[token]; known {
		return token, tokenGood
	}
	return "", tokenBad
}

// validName keeps a request from leaving the root.
var validName = regexp.MustCompile(`^[A-Za-z0-9_-][A-Za-z0-9._-]*$`)

// find returns the repository that a request names, if it is there and, being
// private, is open to the token.
func (s *Server) find(owner, name, token string) (repo, bool) {
	name = strings.TrimSuffix(name, ".git")
	if !validName.MatchString(owner) || !validName.MatchString(name) {
		return repo{}, false
	}
	found := repo{git: s.git, dir: filepath.Join(s.opts.Root, owner, name+".git"), owner: owner, name: name, url: s.URL()}
	if !found.exists() {
		return repo{}, false
	}
	if tokens, private := s.opts.Private[owner+"/"+name]; private {
		found.private = true
		return found, slices.Contains(tokens, token) || s.isAdmin(found, token)
	}
	return found, true
}
