package image

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/desiredeffect/erpnext-pipeline/internal/sandbox/debian"
	"github.com/desiredeffect/erpnext-pipeline/internal/sandbox/debian/debiantest"
)

// file is one of a tree that is packed: a folder where mode has no text, and a
// link where to is set.
type file struct {
	path string
	mode os.FileMode
	text string
	to   string
}

var bench = []file{
	{path: "b", mode: 0o700},
	{path: "b/z.py", mode: 0o600, text: "last"},
	{path: "b/a.py", mode: 0o666, text: "first"},
	{path: "run.sh", mode: 0o700, text: "run"},
	{path: "link", to: "b/a.py"},
	{path: "frontend", mode: 0o755},
	{path: "frontend/src.ts", mode: 0o644, text: "src"},
	{path: "frontend.txt", mode: 0o644, text: "kept"},
	{path: "left.pyc", mode: 0o644, text: "for the script before"},
}

// plant makes the files in a folder, in this order, with a time and an owner.
func plant(t *testing.T, dir string, files []file, at time.Time, uid int) {
	t.Helper()
	for _, f := range files {
		path := filepath.Join(dir, f.path)
		var err error
		switch {
		case f.to != "":
			err = os.Symlink(f.to, path)
		case f.text == "":
			err = os.Mkdir(path, 0o755)
		default:
			err = os.WriteFile(path, []byte(f.text), 0o644)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	for i := len(files) - 1; i >= 0; i-- {
		path := filepath.Join(dir, files[i].path)
		err := os.Lchown(path, uid, uid)
		if files[i].to == "" {
			err = errors.Join(err, os.Chmod(path, files[i].mode), os.Chtimes(path, at, at))
		}
		if err != nil {
			t.Fatal(err)
		}
	}
}

// pack runs the script that makes a layer over a folder, and returns the layer.
// What it knows as /pack is a folder of the test's.
func pack(ctx context.Context, t *testing.T, from string, environ ...string) v1.Layer {
	t.Helper()
	layer, out, err := packWith(ctx, t, packScript, from, environ...)
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	return layer
}

func packWith(ctx context.Context, t *testing.T, script, from string, environ ...string) (v1.Layer, string, error) {
	t.Helper()
	dir := t.TempDir()
	if err := errors.Join(os.Symlink(from, filepath.Join(dir, "from")), os.Mkdir(filepath.Join(dir, "out"), 0o755)); err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(ctx, "dash", "-eufc", ": stage test"+strings.ReplaceAll(script, "/pack", dir))
	cmd.Env = append([]string{"PATH=" + searchPath, "LANG=C.UTF-8", "BEFORE=", "EXCLUDE=", "OWNER=", "SECONDS_=1600000000", "PASSING="}, environ...)
	if out, err := cmd.CombinedOutput(); err != nil {
		return nil, string(out), err
	}
	layer, err := readLayer(filepath.Join(dir, "out"))
	if err != nil {
		t.Fatal(err)
	}
	return layer, "", nil
}

// A name of more than 100 characters, of which Python packages have some, is in the layer
// too, which is the same each time.
func TestPackLongNames(t *testing.T) {
	needsPacker(t)
	long := strings.Repeat("StandardBusinessDocument", 6) + ".xsd"
	environ := []string{"AT=home/frappe/frappe-bench/env/lib", "OWNER=1000:1000"}
	var layers []v1.Layer
	for range 2 {
		dir := t.TempDir()
		if err := os.Chmod(dir, 0o755); err != nil {
			t.Fatal(err)
		}
		plant(t, dir, []file{{path: "a", mode: 0o644, text: "before"}, {path: long, mode: 0o644, text: "long"}, {path: "z", mode: 0o644, text: "after"}, {path: "zlink", to: long}}, time.Unix(1500000000, 0), 33)
		if _, out, err := packWith(t.Context(), t, packScript, dir, environ...); err == nil || !strings.Contains(out, nameTooLong) {
			t.Fatalf("tar says %q, %v; is longScript of any use?", out, err)
		}
		layer, out, err := packWith(t.Context(), t, longScript, dir, environ...)
		if err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
		layers = append(layers, layer)
	}
	want := []string{"755 0:0 home/", "755 1000:1000 home/frappe/", "755 1000:1000 home/frappe/frappe-bench/", "755 1000:1000 home/frappe/frappe-bench/env/",
		"755 1000:1000 home/frappe/frappe-bench/env/lib/",
		"644 1000:1000 home/frappe/frappe-bench/env/lib/" + long + " long", "644 1000:1000 home/frappe/frappe-bench/env/lib/a before", "644 1000:1000 home/frappe/frappe-bench/env/lib/z after",
		"755 1000:1000 home/frappe/frappe-bench/env/lib/zlink " + long}
	if got := entriesOf(t, layers[0]); !reflect.DeepEqual(got, want) {
		t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	first, err := layers[0].Digest()
	if err != nil {
		t.Fatal(err)
	}
	if second, err := layers[1].Digest(); err != nil || first != second {
		t.Errorf("%s and then %s, %v", first, second, err)
	}
}

// entriesOf lists a layer: mode, owner, name, and target or text.
func entriesOf(t *testing.T, layer v1.Layer) []string {
	t.Helper()
	content, err := layer.Uncompressed()
	if err != nil {
		t.Fatal(err)
	}
	defer content.Close()
	var list []string
	for archive := tar.NewReader(content); ; {
		h, err := archive.Next()
		if errors.Is(err, io.EOF) {
			return list
		}
		if err != nil {
			t.Fatal(err)
		}
		if h.Uname != "" || h.Gname != "" || len(h.PAXRecords) > 1 || len(h.PAXRecords) == 1 && h.PAXRecords["path"]+h.PAXRecords["linkpath"] == "" || h.ModTime.Unix() != 1600000000 {
			t.Errorf("%s carries %q, %q, %v, %s", h.Name, h.Uname, h.Gname, h.PAXRecords, h.ModTime)
		}
		text, err := io.ReadAll(archive)
		if err != nil {
			t.Fatal(err)
		}
		list = append(list, strings.TrimSpace(fmt.Sprintf("%o %d:%d %s %s%s", h.Mode, h.Uid, h.Gid, h.Name, h.Linkname, text)))
	}
}

// needsPacker skips where the packer's programs can't be had. Owners need root
// as well.
func needsPacker(t *testing.T) {
	t.Helper()
	debiantest.Install(t, "dash", "isal", "libdeflate-tools", "openssl")
	if os.Geteuid() != 0 {
		debiantest.Require(t, debian.ErrUnsupported)
	}
}

func TestPackScript(t *testing.T) {
	needsPacker(t)
	for name, test := range map[string]struct {
		environ []string
		want    []string
	}{
		"an app": {
			[]string{"AT=home/frappe/frappe-bench/apps/x", "OWNER=1000:1000", "EXCLUDE=./frontend ./.git", "BEFORE=rm -f *.pyc"},
			[]string{
				"755 0:0 home/",
				"755 1000:1000 home/frappe/",
				"755 1000:1000 home/frappe/frappe-bench/",
				"755 1000:1000 home/frappe/frappe-bench/apps/",
				"755 1000:1000 home/frappe/frappe-bench/apps/x/",
				"755 1000:1000 home/frappe/frappe-bench/apps/x/b/",
				"644 1000:1000 home/frappe/frappe-bench/apps/x/b/a.py first",
				"644 1000:1000 home/frappe/frappe-bench/apps/x/b/z.py last",
				"644 1000:1000 home/frappe/frappe-bench/apps/x/frontend.txt kept",
				"755 1000:1000 home/frappe/frappe-bench/apps/x/link b/a.py",
				"755 1000:1000 home/frappe/frappe-bench/apps/x/run.sh run",
			},
		},
		"outside of home": {
			[]string{"AT=opt/bench", "OWNER=0:0", "EXCLUDE=./frontend ./b"},
			[]string{
				"755 0:0 opt/",
				"755 0:0 opt/bench/",
				"644 0:0 opt/bench/frontend.txt kept",
				"644 0:0 opt/bench/left.pyc for the script before",
				"755 0:0 opt/bench/link b/a.py",
				"755 0:0 opt/bench/run.sh run",
			},
		},
		// A whole system keeps owners and modes, and the folder itself.
		"a base": {
			[]string{"AT=.", "EXCLUDE=./frontend/*"},
			[]string{
				"755 0:0 ./",
				"700 33:33 ./b/",
				"666 33:33 ./b/a.py first",
				"600 33:33 ./b/z.py last",
				"755 33:33 ./frontend/",
				"644 33:33 ./frontend.txt kept",
				"644 33:33 ./left.pyc for the script before",
				"777 33:33 ./link b/a.py",
				"700 33:33 ./run.sh run",
			},
		},
	} {
		for mode, passing := range map[string]string{"small": "", "quick": "1"} {
			t.Run(name+", "+mode, func(t *testing.T) {
				environ := append([]string{"PASSING=" + passing}, test.environ...)
				first, second := t.TempDir(), t.TempDir()
				for _, dir := range []string{first, second} {
					if err := os.Chmod(dir, 0o755); err != nil {
						t.Fatal(err)
					}
				}
				backwards := []file{bench[0], bench[3], bench[2], bench[1], bench[4], bench[5], bench[8], bench[7], bench[6]}
				plant(t, first, bench, time.Unix(1500000000, 0), 33)
				uid := 33
				if !strings.Contains(strings.Join(environ, " "), "AT=. ") {
					uid = 34
				}
				plant(t, second, backwards, time.Unix(1510000000, 5), uid)
				one := pack(t.Context(), t, first, environ...)
				if got := entriesOf(t, one); !reflect.DeepEqual(got, test.want) {
					t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(test.want, "\n"))
				}
				again := pack(t.Context(), t, second, environ...)
				for name, of := range map[string]func(v1.Layer) (v1.Hash, error){"diff ID": v1.Layer.DiffID, "digest": v1.Layer.Digest} {
					a, errA := of(one)
					b, errB := of(again)
					if errA != nil || errB != nil || a != b {
						t.Errorf("%s is %s, %v and then %s, %v", name, a, errA, b, errB)
					}
				}
				content, err := one.Uncompressed()
				if err != nil {
					t.Fatal(err)
				}
				defer content.Close()
				want, _, err := v1.SHA256(content)
				if got, _ := one.DiffID(); err != nil || got != want {
					t.Errorf("diff ID is %s, want %s, %v", got, want, err)
				}
			})
		}
	}
}

func TestReadLayer(t *testing.T) {
	var compressed bytes.Buffer
	to := gzip.NewWriter(&compressed)
	if _, err := to.Write([]byte("an archive")); err != nil || to.Close() != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	diffID := digest("an archive")
	if err := errors.Join(
		os.WriteFile(filepath.Join(dir, "layer.tar.gz"), compressed.Bytes(), 0o600),
		os.WriteFile(filepath.Join(dir, "diffid"), []byte(strings.TrimPrefix(diffID, "sha256:")+"\n"), 0o600)); err != nil {
		t.Fatal(err)
	}
	layer, err := readLayer(dir)
	if err != nil {
		t.Fatal(err)
	}
	if got, err := layer.DiffID(); err != nil || got.String() != diffID {
		t.Errorf("diff ID is %s, %v; want %s", got, err, diffID)
	}
	if got, err := layer.Digest(); err != nil || got.String() != digest(compressed.String()) {
		t.Errorf("digest is %s, %v", got, err)
	}
	if size, err := layer.Size(); err != nil || size != int64(compressed.Len()) {
		t.Errorf("size is %d, %v; want %d", size, err, compressed.Len())
	}
	content, err := layer.Uncompressed()
	if err != nil {
		t.Fatal(err)
	}
	defer content.Close()
	if text, err := io.ReadAll(content); err != nil || string(text) != "an archive" {
		t.Errorf("it holds %q, %v", text, err)
	}
	for _, name := range []string{"layer.tar.gz", "diffid"} {
		if err := os.Remove(filepath.Join(dir, name)); err != nil {
			t.Fatal(err)
		}
		if _, err := readLayer(dir); err == nil || !strings.Contains(err.Error(), "read layer: open "+filepath.Join(dir, name)) {
			t.Errorf("without %s: %v", name, err)
		}
	}
}
