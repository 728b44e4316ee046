package image

import (
	"archive/tar"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"path"
	"slices"
	"strings"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
	"github.com/google/go-containerregistry/pkg/v1/types"
)

// benchLayer is the last layer of the image, and the only one that all apps
// share: the list of apps, the merged lists of assets, the links into the
// virtualenv and the manifest. It is a few kilobytes, so it is made here.
func benchLayer(list []app, stages *graph, m manifest, requirements string) (v1.Layer, error) {
	w := newWriter()
	names := make([]string, len(list))
	merged := map[string]map[string]string{"assets.json": {}, "assets-rtl.json": {}}
	for i, a := range list {
		names[i] = a.Name
		public := a.dir() + "/" + a.Name + "/public"
		w.link(benchDir+"/assets/"+a.Name, public)
		for _, docs := range []string{"docs", "www/docs"} {
			if a.hasFolder(a.Name + "/" + docs) {
				w.link(benchDir+"/assets/"+a.Name+"_docs", a.dir()+"/"+a.Name+"/"+docs)
				break
			}
		}
		if a.servesModules() && a.has("package.json") {
			w.link(public+"/node_modules", a.dir()+"/node_modules")
		}
		if built := stages.assets[a.Name]; built != nil {
			texts, err := info(built.run.kept)
			if err != nil {
				return nil, err
			}
			for name, into := range merged {
				if texts[name] == "" {
					continue
				}
				if err := json.Unmarshal([]byte(texts[name]), &into); err != nil {
					return nil, fmt.Errorf("read %s of %s: %w", name, a.Name, err)
				}
			}
		}
		if err := w.layer(stages.links[i].run.kept); err != nil {
			return nil, fmt.Errorf("link %s: %w", a.Name, err)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(merged)) {
		text, err := json.MarshalIndent(merged[name], "", "    ")
		if err != nil {
			return nil, fmt.Errorf("merge %s: %w", name, err)
		}
		w.file(benchDir+"/assets/"+name, text)
	}
	text, err := json.MarshalIndent(m, "", "  ")
	if err != nil {
		return nil, fmt.Errorf("encode manifest: %w", err)
	}
	w.file(ManifestPath, append(text, '\n'))
	w.file(LockPath, []byte(requirements))
	w.file(benchDir+"/sites/apps.txt", []byte(strings.Join(names, "\n")+"\n"))
	w.file(benchDir+"/sites/common_site_config.json", []byte("{}"))
	return w.close()
}

// writer makes a small layer out of files of the image's user.
type writer struct {
	entries map[string]entryOf
}

type entryOf struct {
	header tar.Header
	text   []byte
}

func newWriter() *writer { return &writer{entries: map[string]entryOf{}} }

func (w *writer) add(header tar.Header, text []byte) {
	header.Name = strings.TrimPrefix(header.Name, "/")
	header.Uid, header.Gid, header.Size = 1000, 1000, int64(len(text))
	header.ModTime, header.Format = time.Unix(epoch, 0), tar.FormatPAX
	w.entries[header.Name] = entryOf{header, text}
}

func (w *writer) file(name string, text []byte) {
	w.add(tar.Header{Typeflag: tar.TypeReg, Name: name, Mode: 0o644}, text)
}

func (w *writer) link(name, target string) {
	w.add(tar.Header{Typeflag: tar.TypeSymlink, Name: name, Linkname: target, Mode: 0o777}, nil)
}

func (w *writer) folder(name string) {
	w.add(tar.Header{Typeflag: tar.TypeDir, Name: name + "/", Mode: 0o755}, nil)
	if "/"+name == path.Dir(home) {
		e := w.entries[name+"/"]
		e.header.Uid, e.header.Gid = 0, 0
		w.entries[name+"/"] = e
	}
}

// layer adds the files of a stored stage.
func (w *writer) layer(stage v1.Image) error {
	layer, err := fileSystem(stage)
	if err != nil || layer == nil {
		return err
	}
	content, err := layer.Uncompressed()
	if err != nil {
		return fmt.Errorf("read layer: %w", err)
	}
	defer content.Close()
	for archive := tar.NewReader(content); ; {
		header, err := archive.Next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("read layer: %w", err)
		}
		if header.Typeflag == tar.TypeDir {
			continue
		}
		text, err := io.ReadAll(archive)
		if err != nil {
			return fmt.Errorf("read layer: %w", err)
		}
		w.add(tar.Header{Typeflag: header.Typeflag, Name: header.Name, Linkname: header.Linkname, Mode: header.Mode}, text)
	}
}

// close returns the layer, with an entry for every folder: see parentsScript.
func (w *writer) close() (v1.Layer, error) {
	for _, name := range slices.Collect(maps.Keys(w.entries)) {
		for folder := path.Dir(name); folder != "."; folder = path.Dir(folder) {
			w.folder(folder)
		}
	}
	var archive bytes.Buffer
	to := tar.NewWriter(&archive)
	for _, name := range slices.Sorted(maps.Keys(w.entries)) {
		e := w.entries[name]
		if err := to.WriteHeader(&e.header); err != nil {
			return nil, fmt.Errorf("write %s: %w", name, err)
		}
		if _, err := to.Write(e.text); err != nil {
			return nil, fmt.Errorf("write %s: %w", name, err)
		}
	}
	if err := to.Close(); err != nil {
		return nil, fmt.Errorf("write layer: %w", err)
	}
	return tarball.LayerFromOpener(func() (io.ReadCloser, error) {
		return io.NopCloser(bytes.NewReader(archive.Bytes())), nil
	}, tarball.WithMediaType(types.OCILayer), tarball.WithCompressedCaching)
}
