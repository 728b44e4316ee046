package github

import (
	"context"
	"encoding/base64"
	"fmt"
	"net/http"
	"regexp"
	"strconv"
	"strings"
)

// mostEntries is where GitHub cuts a recursive tree off ("Get a tree").
const mostEntries = 100_000

// wholeSHA is what GitHub takes for the name of an object.
var wholeSHA = regexp.MustCompile(`^[0-9a-f]{40}$`)

// kind returns the type of the object with a SHA; "" if there is none.
func (r repo) kind(ctx context.Context, sha string) string {
	if !wholeSHA.MatchString(sha) {
		return ""
	}
	// git says no more than that it has no such object.
	out, _ := r.run(ctx, "cat-file", "-t", sha)
	return strings.TrimSpace(out)
}

// tree answers what a commit or a tree holds, named by its SHA or by a ref.
// Its own SHA in the answer is the one that was asked for, a commit's too.
func (s *Server) tree(r repo, request *http.Request) (any, error) {
	ctx := request.Context()
	name := request.PathValue("sha")
	recursive := request.URL.Query().Has("recursive")
	sha, found := r.resolve(ctx, name)
	kind := "commit"
	if !found {
		kind = r.kind(ctx, name)
		sha, found = name, kind != ""
	}
	switch {
	case found && kind != "commit" && kind != "tree":
		return nil, invalidTree()
	case !found && r.empty(ctx):
		return nil, &failure{http.StatusConflict, "Git Repository is empty."}
	case !found && recursive && wholeSHA.MatchString(name):
		// Without recursive GitHub says that the same SHA is not found.
		return nil, invalidTree()
	case !found:
		return nil, &failure{http.StatusNotFound, "Not Found"}
	}
	args := []string{"ls-tree", "-l", "-z", sha}
	if recursive {
		args = []string{"ls-tree", "-l", "-z", "-r", "-t", sha}
	}
	out, err := r.run(ctx, args...)
	if err != nil {
		return nil, err
	}
	most := s.opts.TreeLimit
	if most == 0 {
		most = mostEntries
	}
	entries, truncated := []object{}, false
	for line := range strings.SplitSeq(strings.TrimSuffix(out, "\x00"), "\x00") {
		if line == "" {
			continue
		}
		if truncated = recursive && len(entries) == most; truncated {
			break
		}
		about, path, _ := strings.Cut(line, "\t")
		f := strings.Fields(about)
		if len(f) != 4 {
			return nil, fmt.Errorf("read tree %s: unexpected line %q", sha, line)
		}
		entry := object{"path": path, "mode": f[0], "type": f[1], "sha": f[2]}
		switch f[1] {
		case "blob":
			if entry["size"], err = strconv.ParseInt(f[3], 10, 64); err != nil {
				return nil, fmt.Errorf("read tree %s: %w", sha, err)
			}
			entry["url"] = r.apiURL() + "/git/blobs/" + f[2]
		case "tree":
			entry["url"] = r.apiURL() + "/git/trees/" + f[2]
		}
		// A submodule's commit is in another repository and has no address here.
		entries = append(entries, entry)
	}
	return object{"sha": sha, "url": r.apiURL() + "/git/trees/" + sha, "tree": entries, "truncated": truncated}, nil
}

func invalidTree() error {
	return &failure{http.StatusUnprocessableEntity, "Invalid object requested. SHA must identify a commit or a tree."}
}

// rawType is the media types for which GitHub sends a content as it is.
var rawType = regexp.MustCompile(`\bapplication/vnd\.github(\.v3)?\.raw(\+json)?\b`)

// raw is an answer that is no JSON.
type raw struct{ mediaType, content string }

func (answer raw) write(w http.ResponseWriter) {
	w.Header().Set("Content-Type", answer.mediaType+"; charset=utf-8")
	w.Header().Set("X-GitHub-Media-Type", "github.v3; param=raw")
	_, _ = w.Write([]byte(answer.content))
}

// blob answers a content, as base64 within JSON or raw.
func blob(r repo, request *http.Request) (any, error) {
	ctx := request.Context()
	sha := request.PathValue("sha")
	switch {
	case r.empty(ctx):
		return nil, &failure{http.StatusConflict, "Git Repository is empty."}
	case !wholeSHA.MatchString(sha):
		return nil, &failure{http.StatusUnprocessableEntity, "The sha parameter must be exactly 40 characters and contain only [0-9a-f]."}
	case r.kind(ctx, sha) != "blob":
		return nil, &failure{http.StatusNotFound, "Not Found"}
	}
	content, err := r.run(ctx, "cat-file", "blob", sha)
	if err != nil {
		return nil, err
	}
	if mediaType := rawType.FindString(request.Header.Get("Accept")); mediaType != "" {
		return raw{mediaType, content}, nil
	}
	return object{
		"sha": sha, "node_id": nodeID("Blob", r.fullName(), sha), "url": r.apiURL() + "/git/blobs/" + sha,
		"size": len(content), "encoding": "base64", "content": wrapped(base64.StdEncoding.EncodeToString([]byte(content))),
	}, nil
}

// wrapped breaks base64 into GitHub's lines of 60 characters.
func wrapped(text string) string {
	var lines strings.Builder
	for len(text) > 0 {
		n := min(60, len(text))
		lines.WriteString(text[:n] + "\n")
		text = text[n:]
	}
	return lines.String()
}
