package github

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"net/http"
	"net/url"
	"os"
	"strconv"
	"strings"
	"time"
)

// object is a JSON object. The names in it are GitHub's, as its OpenAPI
// description has them.
type object = map[string]any

// failure is an answer that is not what was asked for.
type failure struct {
	status  int
	message string
}

func (f *failure) Error() string { return f.message }

// rest wraps a handler of one call: it finds the repository, checks the token
// as GitHub does, and writes what the handler returns.
func (s *Server) rest(answer func(repo, *http.Request) (any, error)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		token, state := s.token(r)
		if state == tokenBad {
			fail(w, http.StatusUnauthorized, "Bad credentials")
			return
		}
		if end, ends := s.opts.Expires[token]; ends {
			w.Header().Set("GitHub-Authentication-Token-Expiration", end.UTC().Format("2006-01-02 15:04:05 UTC"))
		}
		found, open := s.find(r.PathValue("owner"), r.PathValue("repo"), token)
		if !open {
			// GitHub does not tell a private repository from none.
			fail(w, http.StatusNotFound, "Not Found")
			return
		}
		result, err := answer(found, r)
		var failed *failure
		if errors.As(err, &failed) {
			fail(w, failed.status, failed.message)
			return
		}
		if err != nil {
			s.opts.Log.Error().Err(err).Str("path", r.URL.Path).Msg("GitHub stand-in failed")
			fail(w, http.StatusInternalServerError, "Server Error")
			return
		}
		switch content := result.(type) {
		case raw:
			content.write(w)
			return
		case done:
			content.write(w)
			return
		case counted:
			result = object{"total_count": len(content.all), content.key: append([]object{}, page(w, r, s.URL(), content.all)...)}
		}
		if all, isList := result.([]object); isList && paged(r) {
			result = page(w, r, s.URL(), all)
		}
		reply(w, http.StatusOK, result)
	}
}

func reply(w http.ResponseWriter, status int, body any) {
	w.Header().Set("Content-Type", "application/json; charset=utf-8")
	w.Header().Set("X-GitHub-Media-Type", "github.v3; format=json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(body)
}

func fail(w http.ResponseWriter, status int, message string) {
	reply(w, status, object{"message": message, "documentation_url": "https://docs.github.com/rest", "status": strconv.Itoa(status)})
}

// paged reports whether a list comes in pages: GitHub's matching-refs does not.
func paged(r *http.Request) bool { return !strings.Contains(r.Pattern, "/matching-refs/") }

// page cuts a list as per_page and page ask for, and links to its neighbours.
func page(w http.ResponseWriter, r *http.Request, server string, all []object) []object {
	number := func(key string, fallback, most int) int {
		if n, err := strconv.Atoi(r.URL.Query().Get(key)); err == nil && n > 0 {
			return min(n, most)
		}
		return fallback
	}
	size := number("per_page", 30, 100)
	current := number("page", 1, 1<<20)
	last := max(1, (len(all)+size-1)/size)
	var links []string
	link := func(rel string, n int) {
		query := r.URL.Query()
		query.Set("page", strconv.Itoa(n))
		links = append(links, fmt.Sprintf("<%s%s?%s>; rel=%q", server, r.URL.EscapedPath(), query.Encode(), rel))
	}
	if current > 1 {
		link("prev", min(current-1, last))
	}
	if current < last {
		link("next", current+1)
		link("last", last)
	}
	if current > 1 {
		link("first", 1)
	}
	if len(links) > 0 {
		w.Header().Set("Link", strings.Join(links, ", "))
	}
	from := min((current-1)*size, len(all))
	return all[from:min(from+size, len(all))]
}

func commit(r repo, request *http.Request) (any, error) {
	ctx := request.Context()
	name := request.PathValue("ref")
	sha, found := r.resolve(ctx, name)
	switch {
	case !found && r.empty(ctx):
		return nil, &failure{http.StatusConflict, "Git Repository is empty."}
	case !found:
		return nil, &failure{http.StatusUnprocessableEntity, "No commit found for SHA: " + name}
	}
	d, err := r.details(ctx, sha)
	if err != nil {
		return nil, err
	}
	who := func(p identity) object {
		return object{"name": p.name, "email": p.email, "date": p.date.Format(time.RFC3339)}
	}
	parents := []object{}
	for _, parent := range d.parents {
		parents = append(parents, object{"sha": parent, "url": r.apiURL() + "/commits/" + parent, "html_url": r.htmlURL() + "/commit/" + parent})
	}
	return object{
		"sha": d.sha, "node_id": nodeID("Commit", r.fullName(), d.sha),
		"url": r.apiURL() + "/commits/" + d.sha, "html_url": r.htmlURL() + "/commit/" + d.sha,
		"comments_url": r.apiURL() + "/commits/" + d.sha + "/comments",
		"commit": object{
			"url": r.apiURL() + "/git/commits/" + d.sha, "message": d.message, "comment_count": 0,
			"author": who(d.author), "committer": who(d.committer),
			"tree":         object{"sha": d.tree, "url": r.apiURL() + "/git/trees/" + d.tree},
			"verification": object{"verified": false, "reason": "unsigned", "signature": nil, "payload": nil, "verified_at": nil},
		},
		// No account on the server has the author's address.
		"author": nil, "committer": nil, "parents": parents,
	}, nil
}

func tags(r repo, request *http.Request) (any, error) {
	refs, err := r.refs(request.Context(), "-version:refname", "refs/tags/")
	if err != nil {
		return nil, err
	}
	list := []object{}
	for _, ref := range refs {
		if ref.commit == "" {
			continue
		}
		list = append(list, object{
			"name": ref.short(), "node_id": nodeID("Ref", r.fullName(), ref.name), "commit": r.commitLink(ref.commit),
			"zipball_url": r.apiURL() + "/zipball/" + escapePath(ref.name), "tarball_url": r.apiURL() + "/tarball/" + escapePath(ref.name),
		})
	}
	return list, nil
}

func branches(r repo, request *http.Request) (any, error) {
	refs, err := r.refs(request.Context(), "refname", "refs/heads/")
	if err != nil {
		return nil, err
	}
	list := []object{}
	for _, ref := range refs {
		list = append(list, object{"name": ref.short(), "commit": r.commitLink(ref.commit), "protected": false})
	}
	return list, nil
}

func (r repo) commitLink(sha string) object {
	return object{"sha": sha, "url": r.apiURL() + "/commits/" + sha}
}

func gitRef(r repo, request *http.Request) (any, error) {
	name := "refs/" + request.PathValue("ref")
	refs, err := r.matching(request, name)
	if err != nil {
		return nil, err
	}
	for _, ref := range refs {
		if ref.name == name {
			return r.refObject(ref), nil
		}
	}
	return nil, &failure{http.StatusNotFound, "Not Found"}
}

func matchingRefs(r repo, request *http.Request) (any, error) {
	prefix := "refs/" + request.PathValue("ref")
	refs, err := r.matching(request, prefix)
	if err != nil {
		return nil, err
	}
	list := []object{}
	for _, ref := range refs {
		if strings.HasPrefix(ref.name, prefix) {
			list = append(list, r.refObject(ref))
		}
	}
	return list, nil
}

// matching lists the refs in the folder of a name: git itself takes only whole
// parts of a path for a prefix.
func (r repo) matching(request *http.Request, name string) ([]ref, error) {
	ctx := request.Context()
	if !refShape.MatchString(name) {
		return nil, nil
	}
	refs, err := r.refs(ctx, "refname", name[:strings.LastIndexByte(name, '/')+1])
	if err == nil && len(refs) == 0 && r.empty(ctx) {
		return nil, &failure{http.StatusConflict, "Git Repository is empty."}
	}
	return refs, err
}

func (r repo) refObject(ref ref) object {
	return object{
		"ref": ref.name, "node_id": nodeID("Ref", r.fullName(), ref.name), "url": r.apiURL() + "/git/" + escapePath(ref.name),
		"object": object{"type": ref.kind, "sha": ref.sha, "url": r.apiURL() + "/git/" + ref.kind + "s/" + ref.sha},
	}
}

func repository(r repo, request *http.Request) (any, error) {
	branch, err := r.defaultBranch(request.Context())
	if err != nil {
		return nil, err
	}
	info, err := os.Stat(r.dir)
	if err != nil {
		return nil, fmt.Errorf("read repository: %w", err)
	}
	changed := info.ModTime().UTC().Format(time.RFC3339)
	visibility := "public"
	if r.private {
		visibility = "private"
	}
	host := strings.TrimPrefix(r.url, "http://")
	answer := object{
		"id": number(r.fullName()), "node_id": nodeID("Repository", r.fullName()), "name": r.name, "full_name": r.fullName(),
		"owner": r.ownerObject(), "private": r.private, "visibility": visibility, "description": nil, "fork": false,
		"url": r.apiURL(), "html_url": r.htmlURL(), "clone_url": r.htmlURL() + ".git", "svn_url": r.htmlURL(),
		"git_url": "git://" + host + "/" + r.fullName() + ".git", "ssh_url": "git@" + host + ":" + r.fullName() + ".git",
		"mirror_url": nil, "homepage": nil, "language": nil, "license": nil, "default_branch": branch,
		"forks": 0, "forks_count": 0, "stargazers_count": 0, "watchers": 0, "watchers_count": 0, "size": 0,
		"open_issues": 0, "open_issues_count": 0, "subscribers_count": 0, "network_count": 0,
		"has_issues": true, "has_projects": true, "has_wiki": true, "has_pages": false, "has_discussions": false, "has_downloads": true,
		"archived": false, "disabled": false, "is_template": false, "topics": []string{},
		"pushed_at": changed, "created_at": changed, "updated_at": changed,
		"permissions": object{"admin": false, "maintain": false, "push": false, "triage": false, "pull": true},
	}
	for key, tail := range repositoryLinks {
		answer[key] = r.apiURL() + tail
	}
	return answer, nil
}

// repositoryLinks are the addresses that GitHub puts into a repository's
// answer, some with a URI template, relative to the repository's own.
var repositoryLinks = map[string]string{
	"archive_url": "/{archive_format}{/ref}", "assignees_url": "/assignees{/user}", "blobs_url": "/git/blobs{/sha}",
	"branches_url": "/branches{/branch}", "collaborators_url": "/collaborators{/collaborator}", "comments_url": "/comments{/number}",
	"commits_url": "/commits{/sha}", "compare_url": "/compare/{base}...{head}", "contents_url": "/contents/{+path}",
	"contributors_url": "/contributors", "deployments_url": "/deployments", "downloads_url": "/downloads", "events_url": "/events",
	"forks_url": "/forks", "git_commits_url": "/git/commits{/sha}", "git_refs_url": "/git/refs{/sha}", "git_tags_url": "/git/tags{/sha}",
	"hooks_url": "/hooks", "issue_comment_url": "/issues/comments{/number}", "issue_events_url": "/issues/events{/number}",
	"issues_url": "/issues{/number}", "keys_url": "/keys{/key_id}", "labels_url": "/labels{/name}", "languages_url": "/languages",
	"merges_url": "/merges", "milestones_url": "/milestones{/number}", "notifications_url": "/notifications{?since,all,participating}",
	"pulls_url": "/pulls{/number}", "releases_url": "/releases{/id}", "stargazers_url": "/stargazers", "statuses_url": "/statuses/{sha}",
	"subscribers_url": "/subscribers", "subscription_url": "/subscription", "tags_url": "/tags", "teams_url": "/teams", "trees_url": "/git/trees{/sha}",
}

func (r repo) ownerObject() object {
	api := r.url + apiPath + "/users/" + r.owner
	return object{
		"login": r.owner, "id": number(r.owner), "node_id": nodeID("User", r.owner), "type": "Organization", "site_admin": false,
		"gravatar_id": "", "avatar_url": r.url + "/avatars/" + r.owner, "url": api, "html_url": r.url + "/" + r.owner,
		"followers_url": api + "/followers", "following_url": api + "/following{/other_user}", "gists_url": api + "/gists{/gist_id}",
		"starred_url": api + "/starred{/owner}{/repo}", "subscriptions_url": api + "/subscriptions", "organizations_url": api + "/orgs",
		"repos_url": api + "/repos", "events_url": api + "/events{/privacy}", "received_events_url": api + "/received_events",
	}
}

// number makes the same number of the same name every time.
func number(name string) int64 { return int64(crc32.ChecksumIEEE([]byte(name))) }

func nodeID(parts ...string) string {
	return base64.StdEncoding.EncodeToString([]byte(strings.Join(parts, ":")))
}

// escapePath escapes the parts of a path, and not the slashes between them.
func escapePath(path string) string {
	parts := strings.Split(path, "/")
	for i, part := range parts {
		parts[i] = url.PathEscape(part)
	}
	return strings.Join(parts, "/")
}
