package github

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"time"
)

// repo is one bare repository, read by the git command.
type repo struct {
	git, dir    string
	owner, name string
	// url is the server's.
	url     string
	private bool
}

func (r repo) fullName() string { return r.owner + "/" + r.name }
func (r repo) apiURL() string   { return r.url + apiPath + "/repos/" + r.fullName() }
func (r repo) htmlURL() string  { return r.url + "/" + r.fullName() }

func (r repo) exists() bool {
	info, err := os.Stat(filepath.Join(r.dir, "HEAD"))
	return err == nil && info.Mode().IsRegular()
}

// gitEnv keeps the machine's and the user's git configuration out, and adds
// what GitHub allows: fetching any commit by its SHA, and partial clones. The
// repositories may belong to another user.
func gitEnv() []string {
	config := [][2]string{
		{"safe.directory", "*"},
		{"uploadpack.allowAnySHA1InWant", "true"},
		{"uploadpack.allowReachableSHA1InWant", "true"},
		{"uploadpack.allowFilter", "true"},
		{"http.receivepack", "false"},
	}
	env := []string{"GIT_CONFIG_NOSYSTEM=1", "GIT_CONFIG_GLOBAL=" + os.DevNull, "LC_ALL=C", fmt.Sprintf("GIT_CONFIG_COUNT=%d", len(config))}
	for i, pair := range config {
		env = append(env, fmt.Sprintf("GIT_CONFIG_KEY_%d=%s", i, pair[0]), fmt.Sprintf("GIT_CONFIG_VALUE_%d=%s", i, pair[1]))
	}
	return env
}

func (r repo) run(ctx context.Context, args ...string) (string, error) {
	cmd := exec.CommandContext(ctx, r.git, append([]string{"--git-dir", r.dir}, args...)...)
	cmd.Env = append(gitEnv(), "PATH="+os.Getenv("PATH"))
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		return "", fmt.Errorf("git %s: %w: %s", args[0], err, strings.TrimSpace(stderr.String()))
	}
	return string(out), nil
}

var (
	// refShape takes a ref's name and leaves out git's expressions, such as
	// main~1 or main@{yesterday}.
	refShape = regexp.MustCompile(`^[^\x00-\x20\x7f~^:?*\[\\@{-][^\x00-\x20\x7f~^:?*\[\\]*$`)
	shaShape = regexp.MustCompile(`^[0-9a-fA-F]{4,40}$`)
)

// resolve returns the commit that a ref names in GitHub's forms: tags/NAME,
// heads/NAME, a bare branch or tag, HEAD, or a SHA, which may be abbreviated.
func (r repo) resolve(ctx context.Context, ref string) (string, bool) {
	if !refShape.MatchString(ref) || strings.Contains(ref, "..") || strings.Contains(ref, "@{") {
		return "", false
	}
	names := []string{"refs/" + ref, "refs/heads/" + ref, "refs/tags/" + ref}
	if ref == "HEAD" || shaShape.MatchString(ref) {
		names = append(names, ref)
	}
	for _, name := range names {
		if sha, err := r.run(ctx, "rev-parse", "--verify", "--quiet", name+"^{commit}"); err == nil {
			return strings.TrimSpace(sha), true
		}
	}
	return "", false
}

// ref is one tag or branch.
type ref struct {
	// name is whole: refs/tags/v1.
	name string
	// sha and kind are of the object that it names: an annotated tag has
	// one of its own.
	sha, kind string
	// commit is the commit behind it; empty if it names something else.
	commit string
}

func (r ref) short() string {
	name := strings.TrimPrefix(r.name, "refs/heads/")
	return strings.TrimPrefix(name, "refs/tags/")
}

// refs lists what is below a prefix, sorted by a key of git-for-each-ref.
func (r repo) refs(ctx context.Context, sortBy, prefix string) ([]ref, error) {
	out, err := r.run(ctx, "for-each-ref", "--sort="+sortBy, "--format=%(refname)%00%(objectname)%00%(objecttype)%00%(*objectname)%00%(*objecttype)", prefix)
	if err != nil {
		return nil, err
	}
	refs := []ref{}
	for line := range strings.Lines(out) {
		f := strings.Split(strings.TrimSuffix(line, "\n"), "\x00")
		if len(f) != 5 {
			return nil, fmt.Errorf("read refs of %s: unexpected line %q", r.fullName(), line)
		}
		found := ref{name: f[0], sha: f[1], kind: f[2]}
		switch {
		case f[2] == "commit":
			found.commit = f[1]
		case f[4] == "commit":
			found.commit = f[3]
		case f[4] == "tag":
			found.commit, _ = r.resolve(ctx, strings.TrimPrefix(f[0], "refs/"))
		}
		refs = append(refs, found)
	}
	return refs, nil
}

// empty reports whether there is no commit at all.
func (r repo) empty(ctx context.Context) bool {
	out, err := r.run(ctx, "for-each-ref", "--count=1")
	return err == nil && out == ""
}

// identity is the author or the committer of a commit.
type identity struct {
	name, email string
	date        time.Time
}

// details is what a commit says of itself.
type details struct {
	sha, tree         string
	parents           []string
	author, committer identity
	message           string
}

func (r repo) details(ctx context.Context, sha string) (details, error) {
	out, err := r.run(ctx, "show", "--no-patch", "--format=%H%x00%T%x00%P%x00%an%x00%ae%x00%aI%x00%cn%x00%ce%x00%cI%x00%B", sha)
	if err != nil {
		return details{}, err
	}
	f := strings.SplitN(out, "\x00", 10)
	if len(f) != 10 {
		return details{}, fmt.Errorf("read commit %s: unexpected answer", sha)
	}
	authored, err := time.Parse(time.RFC3339, f[5])
	committed, err2 := time.Parse(time.RFC3339, f[8])
	if err := errors.Join(err, err2); err != nil {
		return details{}, fmt.Errorf("read commit %s: %w", sha, err)
	}
	return details{
		sha: f[0], tree: f[1], parents: strings.Fields(f[2]),
		author: identity{f[3], f[4], authored.UTC()}, committer: identity{f[6], f[7], committed.UTC()},
		message: strings.TrimRight(f[9], "\n"),
	}, nil
}

// defaultBranch is what HEAD names.
func (r repo) defaultBranch(ctx context.Context) (string, error) {
	out, err := r.run(ctx, "symbolic-ref", "--short", "HEAD")
	return strings.TrimSpace(out), err
}
