package apps

import (
	"bytes"
	"context"
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"strings"
	"time"
)

// The prefix all: takes in __init__.py and .gitignore.
//
//go:embed all:tree
var tree embed.FS

// Repository is what was written of one app.
type Repository struct {
	Owner, Name string
	Private     bool
	// Dir is the bare repository, ROOT/OWNER/NAME.git.
	Dir string
	// Branches and Tags map each name to its commit, a full SHA.
	Branches, Tags map[string]string
}

// Repositories are those that [Write] wrote.
type Repositories []Repository

// Find returns the repository of an app by its name.
func (r Repositories) Find(name string) (Repository, bool) {
	for _, repository := range r {
		if repository.Name == name {
			return repository, true
		}
	}
	return Repository{}, false
}

// history is one app's commits, oldest first.
type history struct {
	owner, name string
	private     bool
	branch      string
	commits     []commit
}

type commit struct {
	// folder under tree/NAME holds the commit's files, and names its tag.
	folder string
	// date is fixed, so that a commit's SHA never changes. It also matters to
	// those who resolve an app's requirements as of its commit's date.
	date    string
	subject string
	// untagged leaves the commit to its branch.
	untagged bool
	// annotated makes the commit's tag an annotated one, not a lightweight one.
	annotated bool
	// aside keeps the commit off the branch: only its tag names it.
	aside bool
}

func histories() []history {
	return []history{
		{owner: "frappe", name: "frappe", branch: "version-15", commits: []commit{
			{folder: "v15.1.0", date: "2024-03-12T17:25:32Z", subject: "Release 15.1.0"},
			{folder: "v15.1.1", date: "2024-03-26T16:02:11Z", subject: "Give the web page a background"},
		}},
		{owner: "frappe", name: "erpnext", branch: "version-15", commits: []commit{
			{folder: "v15.1.0", date: "2024-03-12T18:40:07Z", subject: "Release 15.1.0", annotated: true},
			{folder: "v15.1.1", date: "2024-03-26T17:11:45Z", subject: "Add customer groups", annotated: true},
			{folder: "v15.1.2", date: "2024-04-02T15:30:00Z", subject: "Merge customers by region", aside: true},
			{folder: "v15.1.3", date: "2024-04-02T16:30:00Z", subject: "Recount the stock", aside: true},
		}},
		{owner: "frappe", name: "hrms", branch: "version-15", commits: []commit{
			{folder: "v15.1.0", date: "2024-03-14T09:12:30Z", subject: "Release 15.1.0"},
		}},
		{owner: "frappe", name: "payments", branch: "version-15", commits: []commit{
			{folder: "version-15", date: "2024-02-20T11:05:00Z", subject: "Keep gateways", untagged: true},
		}},
		{owner: "frappe", name: "misfit", branch: "main", commits: []commit{
			{folder: "v1.0.0", date: "2024-03-18T08:00:00Z", subject: "Want a Frappe that is not there yet"},
			{folder: "v1.0.1", date: "2024-03-19T08:00:00Z", subject: "Make do with this Frappe, on an old redis"},
		}},
		{owner: "desiredeffect", name: "de_macrs", private: true, branch: "main", commits: []commit{
			{folder: "v0.0.4", date: "2024-04-02T14:20:00Z", subject: "Release 0.0.4", annotated: true},
		}},
		{owner: "desiredeffect", name: "de_customs", private: true, branch: "main", commits: []commit{
			{folder: "v0.0.5", date: "2025-03-18T10:45:00Z", subject: "Release 0.0.5"},
		}},
	}
}

// Write makes a bare repository ROOT/OWNER/NAME.git of every app, with its
// branches and tags, in the place of one that is there. The commits are the
// same every time and everywhere. It needs the command git.
func Write(ctx context.Context, root string) (Repositories, error) {
	var written Repositories
	for _, h := range histories() {
		repository, err := h.write(ctx, root)
		if err != nil {
			return nil, fmt.Errorf("write repository %s/%s: %w", h.owner, h.name, err)
		}
		written = append(written, repository)
	}
	return written, nil
}

func (h history) write(ctx context.Context, root string) (Repository, error) {
	repository := Repository{
		Owner: h.owner, Name: h.name, Private: h.private,
		Dir:      filepath.Join(root, h.owner, h.name+".git"),
		Branches: map[string]string{}, Tags: map[string]string{},
	}
	stream, err := h.stream()
	if err != nil {
		return repository, err
	}
	if err := os.RemoveAll(repository.Dir); err != nil {
		return repository, fmt.Errorf("remove old repository: %w", err)
	}
	if err := os.MkdirAll(repository.Dir, 0o755); err != nil {
		return repository, fmt.Errorf("make folder: %w", err)
	}
	run := func(stdin []byte, args ...string) (string, error) {
		return git(ctx, repository.Dir, stdin, args...)
	}
	// As GitHub does, serve any commit by its SHA and clones without blobs.
	for _, args := range [][]string{
		{"init", "--quiet", "--bare", "--template=", "--object-format=sha1", "--initial-branch=" + h.branch, "."},
		{"config", "uploadpack.allowAnySHA1InWant", "true"},
		{"config", "uploadpack.allowFilter", "true"},
	} {
		if _, err := run(nil, args...); err != nil {
			return repository, err
		}
	}
	if _, err := run(stream, "fast-import", "--quiet"); err != nil {
		return repository, err
	}
	refs, err := run(nil, "for-each-ref", "--format=%(refname) %(objectname) %(*objectname)")
	if err != nil {
		return repository, err
	}
	for line := range strings.Lines(refs) {
		// The last field is the commit: that of an annotated tag follows the
		// tag's own.
		fields := strings.Fields(line)
		sha := fields[len(fields)-1]
		if name, ok := strings.CutPrefix(fields[0], "refs/heads/"); ok {
			repository.Branches[name] = sha
		} else if name, ok := strings.CutPrefix(fields[0], "refs/tags/"); ok {
			repository.Tags[name] = sha
		}
	}
	return repository, nil
}

// stream renders the history in the language of git fast-import.
func (h history) stream() ([]byte, error) {
	const author = "The erpnext-pipeline authors <fixtures@example.com>"
	var out bytes.Buffer
	data := func(content string) { fmt.Fprintf(&out, "data %d\n%s\n", len(content), content) }
	mainline := 0 // the mark of the newest commit on the branch
	for i, c := range h.commits {
		date, err := time.Parse(time.RFC3339, c.date)
		if err != nil {
			return nil, fmt.Errorf("read date: %w", err)
		}
		signature := fmt.Sprintf("%s %d +0000", author, date.Unix())
		ref := "refs/heads/" + h.branch
		if c.aside {
			ref = "refs/tags/" + c.folder
		}
		fmt.Fprintf(&out, "commit %s\nmark :%d\nauthor %s\ncommitter %s\n", ref, i+1, signature, signature)
		data(c.subject + "\n")
		if mainline > 0 {
			fmt.Fprintf(&out, "from :%d\n", mainline)
		}
		base := path.Join("tree", h.name, c.folder)
		err = fs.WalkDir(tree, base, func(name string, entry fs.DirEntry, err error) error {
			if err != nil || entry.IsDir() {
				return err
			}
			content, err := tree.ReadFile(name)
			if err != nil {
				return err
			}
			fmt.Fprintf(&out, "M 100644 inline %s\n", strings.TrimPrefix(name, base+"/"))
			data(string(content))
			return nil
		})
		if err != nil {
			return nil, fmt.Errorf("read files of %s: %w", c.folder, err)
		}
		out.WriteByte('\n')
		if c.aside {
			continue
		}
		mainline = i + 1
		switch {
		case c.untagged:
		case c.annotated:
			fmt.Fprintf(&out, "tag %s\nfrom :%d\ntagger %s\n", c.folder, mainline, signature)
			data(c.subject + "\n")
		default:
			fmt.Fprintf(&out, "reset refs/tags/%s\nfrom :%d\n\n", c.folder, mainline)
		}
	}
	return out.Bytes(), nil
}

// git runs git in a folder, with no configuration but the repository's own.
func git(ctx context.Context, dir string, stdin []byte, args ...string) (string, error) {
	cmd := exec.CommandContext(ctx, "git", args...)
	cmd.Dir = dir
	cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "HOME=" + dir, "GIT_CONFIG_NOSYSTEM=1", "GIT_CONFIG_GLOBAL=" + os.DevNull, "LC_ALL=C"}
	cmd.Stdin = bytes.NewReader(stdin)
	out, err := cmd.Output()
	if err != nil {
		var exit *exec.ExitError
		if errors.As(err, &exit) {
			return "", fmt.Errorf("git %s: %w: %s", args[0], err, strings.TrimSpace(string(exit.Stderr)))
		}
		return "", fmt.Errorf("git %s: %w", args[0], err)
	}
	return string(out), nil
}
