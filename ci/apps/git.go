package apps

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/Masterminds/semver/v3"
	"github.com/rs/zerolog"

	"github.com/desiredeffect/erpnext-pipeline/internal/problem"
	"github.com/desiredeffect/erpnext-pipeline/internal/release"
)

// GitOptions is what may be set for asking hosts of git.
type GitOptions struct {
	// KnownHosts are the host keys that are accepted over SSH, in the format
	// of known_hosts.
	KnownHosts string
	// CAs are certificates in PEM that are trusted besides this machine's.
	CAs string
	// Environ is what git gets of the process's environment, for the way to
	// it and the proxies: os.Environ.
	Environ []string
	// CacheDir is as in [GitHubOptions].
	CacheDir string
	Log      zerolog.Logger
}

// Git resolves refs and reads commits with the program git, over HTTPS or SSH: from
// GitLab, Gitea, Bitbucket, Azure or any other server. Of a commit it fetches the
// folders, and of the files those that are read, where the server knows partial
// clones; one that does not sends all of them. It is safe for use by several
// goroutines.
type Git struct {
	opts  GitOptions
	cache cache
	// firstWait is the constant, except in tests.
	firstWait time.Duration

	mutex sync.Mutex
	// known says that git is there, and new enough.
	known bool
	// hosts bounds the connections to each host.
	hosts map[string]chan struct{}
}

// NewGit returns a resolver for any host of git.
func NewGit(opts GitOptions) *Git {
	return &Git{opts: opts, cache: cache(opts.CacheDir), firstWait: firstWait, hosts: map[string]chan struct{}{}}
}

// ResolveRef returns the commit that a source's ref names. A tag goes before a
// branch of the same name, as git has it, and both before a commit. A server is not
// asked for abbreviated commits, so one of those has to be that of a tag or branch.
func (g *Git) ResolveRef(ctx context.Context, s Source) (Resolution, error) {
	resolution := Resolution{Kind: release.Commit, Commit: strings.ToLower(s.Ref)}
	if !isFullSHA(s.Ref) {
		refs, err := g.refs(ctx, s)
		if err != nil {
			return Resolution{}, err
		}
		var found bool
		if resolution.Kind, resolution.Commit, found = refs.find(s.Ref); !found {
			return Resolution{}, refMissing(s, refs.names(tagRefs), refs.names(branchRefs))
		}
	}
	var err error
	resolution.CommittedAt, err = g.committedAt(ctx, s, resolution.Commit)
	if errors.Is(err, errUnadvertised) {
		return Resolution{}, problem.Problem{Code: "apps.commit-hidden", Subject: s.RefSubject, Err: err,
			Detail: fmt.Sprintf("%s: %s gives out commits that a tag or branch is at, and not %s", s.Name, s.Host, resolution.Commit),
			Remedy: "name a tag or branch, or tag that commit; a server of your own can allow it (git config uploadpack.allowReachableSHA1InWant true)"}
	}
	if errors.Is(err, errNoObject) && isFullSHA(s.Ref) {
		refs, err := g.refs(ctx, s)
		if err != nil {
			return Resolution{}, err
		}
		return Resolution{}, refMissing(s, refs.names(tagRefs), refs.names(branchRefs))
	}
	if errors.Is(err, errNoObject) {
		return Resolution{}, commitMissing(s, resolution.Commit)
	}
	resolution.TokenName = s.TokenName
	return resolution, err
}

// committedAt returns the committer's date of a commit. With it the list of the
// commit's files arrives, which is asked for next.
func (g *Git) committedAt(ctx context.Context, s Source, commit string) (at time.Time, err error) {
	key := path.Join("dates", checksum([]byte(s.URL+" "+commit)))
	if kept, found := g.cache.get(key); found {
		if at, err := time.Parse(time.RFC3339, string(kept)); err == nil {
			return at, nil
		}
	}
	err = g.in(ctx, s, func(r clone) error {
		if err := r.fetch(ctx, true, commit); err != nil {
			return err
		}
		out, err := r.git(ctx, "show", "--no-patch", "--format=%H %ct", commit+"^{commit}")
		if err != nil {
			return err
		}
		of, date, _ := strings.Cut(strings.TrimSpace(string(out)), " ")
		if of != commit {
			return errNoObject // It is that of an annotated tag.
		}
		seconds, err := strconv.ParseInt(date, 10, 64)
		if err != nil {
			return r.failed(err, "its commit "+commit+" has no date")
		}
		at = time.Unix(seconds, 0).UTC()
		g.cache.keep(g.opts.Log, key, []byte(at.Format(time.RFC3339)))
		_, err = g.list(ctx, r, commit)
		return err
	})
	return at, err
}

// Tree lists the files of a commit, as [GitHub.Tree] does, but for their sizes.
func (g *Git) Tree(ctx context.Context, s Source, commit string) (files []File, err error) {
	commit = strings.ToLower(commit)
	if !isFullSHA(commit) {
		return nil, fmt.Errorf("list files of %s: %q is no full commit", s.URL, commit)
	}
	if kept, found := g.cache.get(treeKey(s, commit)); found && json.Unmarshal(kept, &files) == nil {
		return files, nil
	}
	err = g.in(ctx, s, func(r clone) error {
		if err := r.fetch(ctx, true, commit); err != nil {
			return err
		}
		files, err = g.list(ctx, r, commit)
		return err
	})
	if errors.Is(err, errNoObject) {
		return nil, commitMissing(s, commit)
	}
	return files, err
}

func treeKey(s Source, commit string) string {
	return path.Join("trees", checksum([]byte("git "+s.URL+" "+commit)))
}

// list returns the files of a commit that was fetched, and keeps the list.
func (g *Git) list(ctx context.Context, r clone, commit string) ([]File, error) {
	out, err := r.git(ctx, "ls-tree", "-r", "-z", "--full-tree", commit)
	if err != nil {
		return nil, err
	}
	files := []File{}
	for line := range strings.SplitSeq(strings.TrimSuffix(string(out), "\x00"), "\x00") {
		about, at, _ := strings.Cut(line, "\t")
		fields := strings.Fields(about)
		switch {
		case line == "" || len(fields) == 3 && fields[1] == "commit":
			continue
		case len(fields) != 3 || !isFullSHA(fields[2]) || !fs.ValidPath(strings.ToValidUTF8(at, "_")):
			return nil, r.failed(nil, "it has a file without a path or a SHA")
		}
		files = append(files, File{Path: at, Mode: fields[0], Blob: fields[2]})
	}
	slices.SortFunc(files, func(a, b File) int { return strings.Compare(a.Path, b.Path) })
	text, err := json.Marshal(files)
	if err != nil {
		return nil, fmt.Errorf("list files of %s: %w", r.source.URL, err)
	}
	g.cache.keep(g.opts.Log, treeKey(r.source, commit), text)
	return files, nil
}

// Read returns the contents of files that [Git.Tree] listed, as [GitHub.Read] does. The
// source's ref is the commit that they are of.
func (g *Git) Read(ctx context.Context, s Source, files ...File) ([]string, error) {
	contents := make([]string, len(files))
	var absent []int
	for i, f := range files {
		sha := strings.ToLower(f.Blob)
		if !isFullSHA(sha) {
			return nil, fmt.Errorf("read %s of %s: %q is no SHA-1", f.Path, s.URL, f.Blob)
		}
		if kept, found := g.cache.get(path.Join("blobs", sha)); found && blobSHA(kept) == sha {
			contents[i] = string(kept)
			continue
		}
		absent = append(absent, i)
	}
	if len(absent) == 0 {
		return contents, nil
	}
	err := g.in(ctx, s, func(r clone) error {
		var wanted []string
		for _, i := range absent {
			wanted = append(wanted, strings.ToLower(files[i].Blob))
		}
		err := r.fetch(ctx, true, wanted...)
		// Some servers send whole commits and nothing else.
		if errors.Is(err, errNoObject) && isFullSHA(s.Ref) {
			err = r.fetch(ctx, false, s.Ref)
		}
		for _, i := range absent {
			if err != nil {
				return err
			}
			contents[i], err = g.content(ctx, r, files[i])
		}
		return err
	})
	if errors.Is(err, errNoObject) {
		return nil, commitMissing(s, s.Ref)
	}
	return contents, err
}

// content returns a file that was fetched, and keeps it.
func (g *Git) content(ctx context.Context, r clone, f File) (string, error) {
	out, err := r.git(ctx, "cat-file", "blob", f.Blob)
	switch {
	case err != nil:
		return "", err
	case len(out) > largestAnswer:
		return "", fileLarge(r.source, f, int64(len(out)))
	}
	g.cache.keep(g.opts.Log, path.Join("blobs", strings.ToLower(f.Blob)), out)
	return string(out), nil
}

// GitScratch begins the name of a folder of [Git]'s in the system's folder for temporary
// files; digits follow. One is left behind where the process is killed.
const GitScratch = "erpnext-pipeline-git-"

// in calls a function with an empty repository that fetches from a source, and
// removes it.
func (g *Git) in(ctx context.Context, s Source, call func(clone) error) (err error) {
	dir, err := os.MkdirTemp("", GitScratch)
	if err != nil {
		return fmt.Errorf("make folder for %s: %w", s.URL, err)
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	r := clone{g: g, source: s, dir: filepath.Join(dir, "repository")}
	if err := os.Mkdir(r.dir, 0o700); err != nil {
		return fmt.Errorf("make folder for %s: %w", s.URL, err)
	}
	if r.environ, err = g.environ(dir, s); err != nil {
		return err
	}
	err = g.newEnough(ctx, r)
	if err == nil {
		_, err = r.git(ctx, "init", "--quiet", "--bare", ".")
	}
	var failed *gitError
	if errors.As(err, &failed) {
		return r.explain(failed)
	}
	if err != nil {
		return err
	}
	return call(r)
}

// oldest is the oldest git that takes all that it is told here by its environment.
var oldest = semver.MustParse("2.32.0")

// newEnough reports a git that is too old.
func (g *Git) newEnough(ctx context.Context, r clone) error {
	g.mutex.Lock()
	defer g.mutex.Unlock()
	if g.known {
		return nil
	}
	out, err := r.git(ctx, "version")
	if err != nil {
		return err
	}
	fields := strings.Fields(string(out))
	if len(fields) >= 3 {
		numbers := strings.SplitN(fields[2], ".", 4)
		if version, err := semver.NewVersion(strings.Join(numbers[:min(3, len(numbers))], ".")); err == nil && version.LessThan(oldest) {
			return problem.Problem{Code: "apps.git-old", Subject: "git", Detail: "is " + fields[2] + " on this machine, too old to ask " + r.source.Host + " with", Remedy: "install git 2.32 or newer"}
		}
	}
	g.known = true
	return nil
}

// clone is a repository for a source, with the environment in which git reaches it.
type clone struct {
	g       *Git
	source  Source
	dir     string
	environ []string
}

// fetch fetches objects by their SHA-1, of commits without their past, and the
// contents of files only where they are asked for, if partial.
func (r clone) fetch(ctx context.Context, partial bool, objects ...string) error {
	// git keeps a filter for later fetches.
	promisor, filter := "false", "--no-filter"
	if partial {
		promisor, filter = "true", "--filter=blob:none"
	}
	args := []string{"-c", "remote.origin.url=" + r.source.URL, "-c", "remote.origin.promisor=" + promisor,
		"fetch", "--quiet", "--no-tags", "--no-write-fetch-head", "--depth", "1", filter, "origin"}
	_, err := r.ask(ctx, append(args, objects...)...)
	return err
}

// refs are the tags and branches of a repository by their full names.
type refs map[string]string

const (
	tagRefs    = "refs/tags/"
	branchRefs = "refs/heads/"
	// peeled stands behind the name of an annotated tag, for the commit that it is of.
	peeled = "^{}"
)

func (g *Git) refs(ctx context.Context, s Source) (refs, error) {
	found := refs{}
	err := g.in(ctx, s, func(r clone) error {
		out, err := r.ask(ctx, "ls-remote", "--heads", "--tags", s.URL)
		if err != nil {
			return err
		}
		for line := range bytes.Lines(out) {
			sha, name, _ := strings.Cut(strings.TrimSpace(string(line)), "\t")
			if !isFullSHA(sha) {
				return r.failed(nil, "its refs are not SHA-1, which alone is supported")
			}
			found[name] = sha
		}
		return nil
	})
	return found, err
}

// find returns what a ref names, and its commit.
func (r refs) find(ref string) (release.RefKind, string, bool) {
	for _, name := range []string{tagRefs + ref + peeled, tagRefs + ref} {
		if commit, found := r[name]; found {
			return release.Tag, commit, true
		}
	}
	if commit, found := r[branchRefs+ref]; found {
		return release.Branch, commit, true
	}
	var commits []string
	for name, commit := range r {
		if _, annotated := r[name+peeled]; isHex(ref) && !annotated && strings.HasPrefix(commit, strings.ToLower(ref)) {
			commits = append(commits, commit)
		}
	}
	if slices.Sort(commits); len(slices.Compact(commits)) == 1 {
		return release.Commit, commits[0], true
	}
	return "", "", false
}

// names returns the names of the tags or branches.
func (r refs) names(prefix string) []string {
	var names []string
	for full := range r {
		if name, ok := strings.CutPrefix(full, prefix); ok && !strings.HasSuffix(name, peeled) {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names
}

func commitMissing(s Source, commit string) error {
	return problem.Problem{Code: "apps.commit-missing", Subject: s.RefSubject,
		Detail: fmt.Sprintf("%s: %s has no commit %s", s.Name, s.path(), commit), Remedy: "try again: the ref may have been moved meanwhile"}
}

func fileLarge(s Source, f File, size int64) error {
	return problem.Problem{Code: "apps.file-large", Subject: s.Subject,
		Detail: fmt.Sprintf("%s: %s in %s has %d bytes, and the most that is read is %d", s.Name, quote(f.Path), s.path(), size, largestAnswer), Remedy: "take the file out of the repository"}
}
