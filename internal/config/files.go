package config

import (
	"cmp"
	"errors"
	"io/fs"
	"path"
	"path/filepath"
	"runtime"
	"strings"
)

// file takes the path of a file on this machine.
func file(field *string) parser {
	return func(l *loader, key, value string) { *field = l.expand(key, value) }
}

// expand puts the home folder in place of ~/ in front of a path.
func (l *loader) expand(key, file string) string {
	rest, ok := strings.CutPrefix(file, "~/")
	if !ok {
		return file
	}
	home := l.home()
	if home == "" {
		l.bad(key, "write the whole path", "begins with ~/, and there is no HOME")
		return file
	}
	return filepath.Join(home, rest)
}

// home returns the user's folder; empty where the environment names none.
func (l *loader) home() string { return cmp.Or(l.environ["HOME"], l.environ["USERPROFILE"]) }

// contents reads the file that a key names. what is the file in words, other
// what else to do than to correct its path. A private one must be closed to
// others.
func (l *loader) contents(key, file, what, other string, private bool) ([]byte, bool) {
	info, err := l.sources.Stat(file)
	if err != nil {
		l.bad(key, "correct the path"+other, "names %s: %s", file, reason(err))
		return nil, false
	}
	if !info.Mode().IsRegular() {
		l.bad(key, "name "+what+" itself", "names %s, which is not a file", file)
		return nil, false
	}
	// Windows has no such modes: Go makes them up there.
	if mode := info.Mode().Perm(); private && mode&0o077 != 0 && runtime.GOOS != "windows" {
		l.bad(key, "chmod 600 "+file, "names %s, which others can get at (mode %04o)", file, mode)
	}
	data, err := l.sources.ReadFile(file)
	if err != nil {
		l.bad(key, "make it readable for yourself", "names %s: %s", file, reason(err))
		return nil, false
	}
	return data, true
}

// hooksFolder takes the folder with hooks, and looks for it before a
// deployment. There may be no default one, but one that was chosen is there to
// be run.
func hooksFolder(field *string) parser {
	return func(l *loader, key, dir string) {
		*field = dir
		if l.need&Deploy == 0 {
			return
		}
		switch info, err := l.sources.Stat(dir); {
		case errors.Is(err, fs.ErrNotExist) && !l.isSet(key):
		case err != nil:
			l.bad(key, "correct the path; it is relative to the current folder", "names %s: %s", dir, reason(err))
		case !info.IsDir():
			l.bad(key, "name the folder that the hooks are in", "names %s, which is not a folder", dir)
		}
	}
}

// composeFiles splits the list of compose files, and looks for them before a
// deployment. Where not even the default one's folder is there the list is empty: one
// that was moved away is missing, and not another set.
func composeFiles(field *[]string) parser {
	return func(l *loader, key, list string) {
		if _, err := l.sources.Stat(path.Dir(list)); errors.Is(err, fs.ErrNotExist) && !l.isSet(key) {
			return
		}
		seen := map[string]string{}
		for _, file := range strings.Split(list, ",") {
			if file = strings.TrimSpace(file); file == "" {
				l.bad(key, "separate the files by single commas", "has an empty place in its list")
				continue
			}
			*field = append(*field, file)
			base := filepath.Base(file)
			if other, again := seen[base]; again {
				l.bad(key, "rename one; on the host they are in one folder", "has %s and %s, which have the same name", other, file)
			}
			seen[base] = file
			if l.need&Deploy == 0 {
				continue
			}
			if info, err := l.sources.Stat(file); err != nil {
				l.bad(key, "correct the path; it is relative to the current folder", "names %s: %s", file, reason(err))
			} else if !info.Mode().IsRegular() {
				l.bad(key, "name the file itself", "names %s, which is not a file", file)
			}
		}
	}
}

// reason returns what of a file's error is worth saying: not its path again.
func reason(err error) string {
	var path *fs.PathError
	if errors.As(err, &path) {
		return path.Err.Error()
	}
	return err.Error()
}
