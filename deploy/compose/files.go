package compose

import (
	"os"
	"path/filepath"

	"github.com/desiredeffect/erpnext-pipeline/internal/problem"
)

// File is one compose file.
type File struct {
	// Path is where it was read, for problems.
	Path string
	// Name is its name in the set on the host.
	Name string
	Data []byte
}

// main is the name of the file that is a whole set by itself.
const main = "compose-main.yaml"

// ReadFiles reads the files of a set; without any it is the project's own, out of
// [Own]. Their names have to differ, because on the host they lie in one folder.
func ReadFiles(paths []string) ([]File, problem.Report) {
	var report problem.Report
	var files []File
	seen := map[string]string{}
	read, where := os.ReadFile, ""
	if len(paths) == 0 {
		paths, read, where = []string{main}, Own.ReadFile, "the program's "
	}
	for _, path := range paths {
		name := filepath.Base(path)
		if other, ok := seen[name]; ok {
			report.Addf("compose.file-name", path, "rename one of them",
				"has the same name as %s; on the host they lie in one folder", other)
			continue
		}
		seen[name] = path
		if name == EnvFile || name == "release.json" || name == "compose-files" || name == TLSFile || name == CertificateFile {
			report.Addf("compose.file-name", path, "give it another name", "is a name that the release's folder needs for itself")
			continue
		}
		data, err := read(path)
		if err != nil {
			report.Add(problem.Problem{Code: "compose.file-unreadable", Subject: path, Detail: err.Error(),
				Remedy: "name a compose file that is there", Err: err})
			continue
		}
		files = append(files, File{Path: where + path, Name: name, Data: data})
	}
	return files, report
}
