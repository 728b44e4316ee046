package github

import (
	"bytes"
	"errors"
	"io"
	"net/http"
	"net/http/cgi"
	"strings"
)

// largestRequest bounds what a client may send: a fetch lists commits, some
// hundred bytes each.
const largestRequest = 64 << 20

// smartHTTP serves fetches through git http-backend. A private repository asks
// for credentials; so does one that is not there, because GitHub does not tell
// the two apart. Pushes are refused.
func (s *Server) smartHTTP(w http.ResponseWriter, r *http.Request) {
	service := r.PathValue("service")
	switch {
	case service == "git-receive-pack", r.URL.Query().Get("service") == "git-receive-pack":
		http.Error(w, "The stand-in takes no pushes.", http.StatusForbidden)
		return
	case service != "info/refs" && service != "git-upload-pack":
		http.NotFound(w, r)
		return
	}
	token, state := s.token(r)
	if state == tokenBad {
		askForCredentials(w)
		return
	}
	found, open := s.find(r.PathValue("owner"), r.PathValue("repo"), token)
	switch {
	case !open && state == tokenAbsent:
		askForCredentials(w)
		return
	case !open:
		http.Error(w, "Repository not found.", http.StatusNotFound)
		return
	}
	r = r.Clone(r.Context())
	// CGI knows no chunked request, which is how git sends a long one.
	if r.ContentLength < 0 {
		body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, largestRequest))
		var tooLarge *http.MaxBytesError
		if errors.As(err, &tooLarge) {
			http.Error(w, "Request too large.", http.StatusRequestEntityTooLarge)
			return
		}
		if err != nil {
			http.Error(w, "Request cut off.", http.StatusBadRequest)
			return
		}
		r.Body, r.ContentLength, r.TransferEncoding = io.NopCloser(bytes.NewReader(body)), int64(len(body)), nil
	}
	r.URL.Path = "/" + found.fullName() + ".git/" + service
	// The token has done its work, and CGI would hand it on.
	r.Header.Del("Authorization")
	backend := cgi.Handler{
		Path: s.git, Args: []string{"http-backend"}, Dir: s.opts.Root,
		Env:    append(gitEnv(), "GIT_PROJECT_ROOT="+s.opts.Root, "GIT_HTTP_EXPORT_ALL=1"),
		Stderr: logWriter{s},
	}
	backend.ServeHTTP(w, r)
}

func askForCredentials(w http.ResponseWriter) {
	w.Header().Set("WWW-Authenticate", `Basic realm="GitHub"`)
	http.Error(w, "Invalid username or token.", http.StatusUnauthorized)
}

// logWriter puts what git complains of into the log.
type logWriter struct{ server *Server }

func (l logWriter) Write(p []byte) (int, error) {
	l.server.opts.Log.Warn().Str("git", strings.TrimSpace(string(p))).Msg("GitHub stand-in")
	return len(p), nil
}
