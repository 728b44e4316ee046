package cli

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"

	"github.com/desiredeffect/erpnext-pipeline/internal/problem"
	"github.com/desiredeffect/erpnext-pipeline/internal/starter"
)

const gitignore = ".gitignore"

// writeStart says which files will be written, and writes them. What is there is left
// as it is, but for lines that .gitignore lacks.
func (c *cli) writeStart(ctx context.Context, o initOptions, files []starter.File) error {
	old, err := os.ReadFile(gitignore)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("read %s: %w", gitignore, err)
	}
	missing := starter.Ignored(old, below(o.envFile))
	var wanted []starter.File
	var text strings.Builder
	table := newTable(&text)
	switch {
	case len(missing) == 0:
		fmt.Fprintf(table, "  = %s\tkeeps %s out of git already\n", gitignore, o.envFile)
	case old == nil:
		fmt.Fprintf(table, "  + %s\tkeeps %s out of git\n", gitignore, o.envFile)
	default:
		fmt.Fprintf(table, "  ~ %s\tgets the lines that keep %s out of git: %s\n", gitignore, o.envFile, strings.Join(missing, " "))
	}
	for _, file := range files {
		if exists(file.Path) {
			fmt.Fprintf(table, "  = %s\tis there, and is left as it is\n", file.Path)
			continue
		}
		wanted = append(wanted, file)
		fmt.Fprintf(table, "  + %s\t%s\n", file.Path, file.What)
	}
	if err := table.Flush(); err != nil {
		return err
	}
	fmt.Fprintf(c.err, "Files:\n%s\n", text.String())
	_ = c.redactErr.Flush()
	if len(missing) > 0 {
		if err := addLines(gitignore, old, missing); err != nil {
			return err
		}
	}
	if err := c.keptOutOfGit(ctx, o.envFile); err != nil {
		return err
	}
	for _, file := range wanted {
		if err := os.MkdirAll(filepath.Dir(filepath.FromSlash(file.Path)), 0o755); err != nil {
			return fmt.Errorf("make folder: %w", err)
		}
		if err := writeNew(file.Path, file.Text, file.Mode); err != nil {
			return fmt.Errorf("write %s: %w", file.Path, err)
		}
	}
	return nil
}

// below returns the path of a file from this folder, with slashes; empty for one that
// is not below it.
func below(file string) string {
	dir, err := os.Getwd()
	if err != nil {
		return ""
	}
	file, err = filepath.Abs(file)
	if err != nil {
		return ""
	}
	rel, err := filepath.Rel(dir, file)
	if err != nil || !filepath.IsLocal(rel) {
		// Either may be named through a symbolic link.
		rel, err = filepath.Rel(realPath(dir), realPath(file))
	}
	if err != nil || !filepath.IsLocal(rel) {
		return ""
	}
	return filepath.ToSlash(rel)
}

// realPath returns a path without symbolic links, of which the end need not be there.
func realPath(file string) string {
	if real, err := filepath.EvalSymlinks(file); err == nil {
		return real
	}
	dir := filepath.Dir(file)
	if dir == file {
		return file
	}
	return filepath.Join(realPath(dir), filepath.Base(file))
}

// keptOutOfGit asks git whether it ignores the file with the secrets, in the repository
// that the file is or will be in: later lines and other files can undo a line of
// .gitignore. One that is there already is named, and no other may be written.
func (c *cli) keptOutOfGit(ctx context.Context, envFile string) error {
	dir, base := filepath.Split(realPath(envFile))
	for dir = filepath.Clean(dir); !exists(dir) && dir != filepath.Dir(dir); dir = filepath.Dir(dir) {
		base = filepath.Join(filepath.Base(dir), base)
	}
	if c.git(ctx, "-C", dir, "ls-files", "--error-unmatch", "--", base) != "" {
		fix := "git rm --cached " + envFile + ", commit, and change what it has of passwords and tokens"
		if exists(envFile) {
			c.log.Warn().Str("fix", fix).Msg(envFile + " is in git, with the secrets in it")
			return nil
		}
		return problem.Report{{Code: "init.in-git", Subject: envFile, Detail: "is in git, and would have secrets in it", Remedy: fix}}.Err()
	}
	var exit *exec.ExitError
	// 1 is for a file that is not ignored; where there is no repository it is 128.
	if err := exec.CommandContext(ctx, "git", "-C", dir, "check-ignore", "-q", "--", base).Run(); !errors.As(err, &exit) || exit.ExitCode() != 1 {
		return ctx.Err()
	}
	const detail = "is not ignored by git, so that its secrets could be committed"
	fix := "have " + gitignore + " name it, after every line with ! in front that takes it out again"
	if below(envFile) == "" {
		fix = "have the " + gitignore + " of the repository that it is in name it"
	}
	if exists(envFile) {
		c.log.Warn().Str("fix", fix).Msg(envFile + " " + detail)
		return nil
	}
	return problem.Report{{Code: "init.not-ignored", Subject: envFile, Detail: detail, Remedy: fix + "; then run init again"}}.Err()
}

// writeNew writes a file that was not there, and leaves none that is half written.
func writeNew(name string, text []byte, mode fs.FileMode) (err error) {
	out, err := os.OpenFile(filepath.FromSlash(name), os.O_WRONLY|os.O_CREATE|os.O_EXCL, mode)
	if err != nil {
		return err
	}
	defer func() {
		if err = errors.Join(err, out.Close()); err != nil {
			err = errors.Join(err, os.Remove(out.Name()))
		}
	}()
	_, err = out.Write(text)
	return err
}

// addLines adds lines to a file with a text that may not end with a line break.
func addLines(name string, old []byte, lines []string) (err error) {
	text := strings.Join(lines, "\n") + "\n"
	if len(old) == 0 {
		text = "# Configuration with secrets in it.\n" + text
	} else if !bytes.HasSuffix(old, []byte("\n")) {
		text = "\n" + text
	}
	file, err := os.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o644)
	if err != nil {
		return fmt.Errorf("add to %s: %w", name, err)
	}
	defer func() { err = errors.Join(err, file.Close()) }()
	_, err = file.WriteString(text)
	return err
}

// git returns what git prints about the folder; empty where there is no git, or no
// repository.
func (c *cli) git(ctx context.Context, args ...string) string {
	out, err := exec.CommandContext(ctx, "git", args...).Output()
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(out))
}

// gitHubRemote is the address of a repository at GitHub, over https or SSH.
var gitHubRemote = regexp.MustCompile(`^(?:https://(?:[^@/]*@)?|ssh://git@|git@)([^/:]+)(?::\d+)?[/:]([^/]+/[^/]+?)(?:\.git)?/?$`)

// remoteRepository returns OWNER/NAME of the remote origin, if that is at GitHub or
// where GITHUB_API_URL is.
func (c *cli) remoteRepository(ctx context.Context) string {
	found := gitHubRemote.FindStringSubmatch(c.git(ctx, "remote", "get-url", "origin"))
	if found == nil || found[1] != "github.com" && !strings.Contains(c.getenv("GITHUB_API_URL"), "//"+found[1]+"/") {
		return ""
	}
	return found[2]
}
