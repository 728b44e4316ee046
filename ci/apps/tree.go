package apps

import (
	"cmp"
	"context"
	"crypto/sha1"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strings"

	"github.com/google/go-github/v60/github"
	"golang.org/x/sync/errgroup"

	"github.com/desiredeffect/erpnext-pipeline/internal/problem"
)

// File is one file of a commit.
type File struct {
	// Path is slash separated, from the repository's root.
	Path string
	// Mode is git's: "100644", "100755" for an executable, "120000" for a
	// link, whose content is its target.
	Mode string
	// Blob is git's SHA-1 of the content.
	Blob string
	// Size is the content's, in bytes; 0 where the server was not asked for it.
	Size int64
}

// foldersAtOnce is how many folders of one commit are listed side by side.
const foldersAtOnce = 8

// Tree lists the files of a commit, which is a full SHA, sorted by path.
// Submodules are left out. The error is a [problem.Problem], or what ended the
// context.
//
// A commit never changes, so what is in the cache is not asked for again.
func (g *GitHub) Tree(ctx context.Context, s Source, commit string) ([]File, error) {
	r := g.open(s)
	commit = strings.ToLower(commit)
	if !isFullSHA(commit) {
		return nil, fmt.Errorf("list files of %s: %q is no full commit", r.name(), commit)
	}
	// GitHub's names of owners and repositories know no case.
	key := path.Join("trees", checksum([]byte(r.api+" "+strings.ToLower(r.name())+" "+commit)))
	var files []File
	if kept, found := g.cache.get(key); found && json.Unmarshal(kept, &files) == nil {
		return files, nil
	}
	files, err := r.tree(ctx, commit)
	if errors.Is(err, errNoObject) {
		return nil, commitMissing(s, commit)
	}
	if err != nil {
		return nil, err
	}
	text, err := json.Marshal(files)
	if err != nil {
		return nil, fmt.Errorf("list files of %s: %w", r.name(), err)
	}
	g.cache.keep(g.opts.Log, key, text)
	return files, nil
}

// folder is one folder of a commit, by its tree. The root's path is empty.
type folder struct{ path, sha string }

// tree lists all in one request. What GitHub cuts off, above 100,000 entries or
// 7 MB ("Get a tree"), it lists folder by folder, a level at a time.
func (r repository) tree(ctx context.Context, commit string) ([]File, error) {
	var files []File
	for level := []folder{{sha: commit}}; len(level) > 0; {
		found, below := make([][]File, len(level)), make([][]folder, len(level))
		group, ctx := errgroup.WithContext(ctx)
		group.SetLimit(foldersAtOnce)
		for i, f := range level {
			group.Go(func() (err error) {
				found[i], below[i], err = r.list(ctx, f)
				return err
			})
		}
		if err := group.Wait(); err != nil {
			return nil, err
		}
		files, level = append(files, slices.Concat(found...)...), slices.Concat(below...)
	}
	slices.SortFunc(files, func(a, b File) int { return cmp.Compare(a.Path, b.Path) })
	return files, nil
}

// list returns the files of a folder and of all below it, or where those are too
// many, its own files and the folders in it.
func (r repository) list(ctx context.Context, f folder) ([]File, []folder, error) {
	tree, response, err := r.client.Git.GetTree(ctx, r.source.Owner, r.source.Repo, f.sha, true)
	if err == nil && tree.GetTruncated() {
		tree, response, err = r.client.Git.GetTree(ctx, r.source.Owner, r.source.Repo, f.sha, false)
	}
	switch {
	case err != nil:
		return nil, nil, r.objectError(ctx, response, err)
	case !isFullSHA(tree.GetSHA()):
		return nil, nil, r.strangeAnswer("has no files in it", nil)
	case tree.GetTruncated():
		return nil, nil, r.strangeAnswer("leaves out files of a single folder", nil)
	}
	// Whatever was asked for: where no path has a slash, the folders in the
	// answer are still to be listed.
	flat := !slices.ContainsFunc(tree.Entries, func(e *github.TreeEntry) bool { return strings.Contains(e.GetPath(), "/") })
	var files []File
	var folders []folder
	for _, e := range tree.Entries {
		at := path.Join(f.path, e.GetPath())
		switch {
		case !fs.ValidPath(e.GetPath()) || e.GetPath() == "." || !isFullSHA(e.GetSHA()):
			return nil, nil, r.strangeAnswer("has a file without a path or a SHA in it", nil)
		case e.GetType() == "blob":
			files = append(files, File{Path: at, Mode: e.GetMode(), Blob: strings.ToLower(e.GetSHA()), Size: int64(e.GetSize())})
		case e.GetType() == "tree" && flat:
			folders = append(folders, folder{at, e.GetSHA()})
		}
	}
	return files, folders, nil
}

// readAtOnce is how many files of one commit are read side by side.
const readAtOnce = 16

// Read returns the contents of files that [GitHub.Tree] listed, each at most 16 MiB, in
// their order. They are what the files' SHA-1 name, wherever they came from. The
// error is a [problem.Problem], or what ended the context.
//
// A content never changes under its SHA-1, so what is in the cache is not asked
// for again, also where another repository has it.
func (g *GitHub) Read(ctx context.Context, s Source, files ...File) ([]string, error) {
	contents := make([]string, len(files))
	side, ctx := errgroup.WithContext(ctx)
	side.SetLimit(readAtOnce)
	for i, f := range files {
		side.Go(func() (err error) {
			contents[i], err = g.read(ctx, s, f)
			return err
		})
	}
	if err := side.Wait(); err != nil {
		return nil, err
	}
	return contents, nil
}

func (g *GitHub) read(ctx context.Context, s Source, f File) (string, error) {
	r := g.open(s)
	sha := strings.ToLower(f.Blob)
	if !isFullSHA(sha) {
		return "", fmt.Errorf("read %s of %s: %q is no SHA-1", f.Path, r.name(), f.Blob)
	}
	key := path.Join("blobs", sha)
	if kept, found := g.cache.get(key); found && blobSHA(kept) == sha {
		return string(kept), nil
	}
	if f.Size > largestAnswer {
		return "", fileLarge(s, f, f.Size)
	}
	content, response, err := r.client.Git.GetBlobRaw(ctx, s.Owner, s.Repo, sha)
	if err != nil {
		err = r.objectError(ctx, response, err)
	}
	switch {
	case errors.Is(err, errNoObject):
		return "", problem.Problem{Code: "apps.file-missing", Subject: s.Subject,
			Detail: fmt.Sprintf("%s: %s no longer has the content %s of %s", s.Name, r.name(), sha, quote(f.Path)), Remedy: "try again: the ref may have been moved meanwhile"}
	case err != nil:
		return "", err
	case blobSHA(content) != sha:
		return "", r.strangeAnswer(fmt.Sprintf("is not the content %s of %s in %s", sha, quote(f.Path), r.name()), nil)
	}
	g.cache.keep(g.opts.Log, key, content)
	return string(content), nil
}

// blobSHA is git's name of a content: the SHA-1 of a header with its length,
// and of the content (Pro Git, "Git Objects").
func blobSHA(content []byte) string {
	hash := sha1.New()
	fmt.Fprintf(hash, "blob %d\x00", len(content))
	hash.Write(content)
	return hex.EncodeToString(hash.Sum(nil))
}
