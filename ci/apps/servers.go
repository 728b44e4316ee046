package apps

import "context"

// Servers answers for all hosts: GitHub's with its API, others with git.
type Servers struct {
	GitHub *GitHub
	Git    *Git
}

// server is what answers for some hosts.
type server interface {
	RefResolver
	Tree(ctx context.Context, s Source, commit string) ([]File, error)
	Read(ctx context.Context, s Source, files ...File) ([]string, error)
}

func (v Servers) of(s Source) server {
	if v.GitHub.has(s) {
		return v.GitHub
	}
	return v.Git
}

// ResolveRef returns the commit that a source's ref names.
func (v Servers) ResolveRef(ctx context.Context, s Source) (Resolution, error) {
	return v.of(s).ResolveRef(ctx, s)
}

// Tree lists the files of a commit, which is a full SHA, sorted by path. Submodules are
// left out. The error is a [problem.Problem], or what ended the context.
func (v Servers) Tree(ctx context.Context, s Source, commit string) ([]File, error) {
	return v.of(s).Tree(ctx, s, commit)
}

// Read returns the contents of files that Tree listed, in their order. The source's
// ref is the commit that they are of. The error is a [problem.Problem], or what ended
// the context.
func (v Servers) Read(ctx context.Context, s Source, files ...File) ([]string, error) {
	return v.of(s).Read(ctx, s, files...)
}
