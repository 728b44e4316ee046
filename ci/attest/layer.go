package attest

import (
	"archive/tar"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"path"
	"slices"
	"strings"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/types"
	"github.com/klauspost/compress/gzip"
)

// layer is what was read of a layer. It is kept as JSON: see [layerFormat].
type layer struct {
	// Files are those that tell what the layer holds, by their path in the
	// image, which begins without a slash.
	Files map[string]evidence `json:"files"`
	// Covers are the paths that are no longer what the layers below have there:
	// of everything but folders, and of what is whited out. With a slash at the
	// end only what is below the path is covered.
	Covers []string `json:"covers"`
}

// layerFormat is part of the name that a layer's record is kept under. Raise
// it when another record would be read of the same layer.
const layerFormat = "1"

// evidence is what a file tells of what is in the image.
type evidence struct {
	// Name and Version are a package's.
	Name    string `json:"name,omitempty"`
	Version string `json:"version,omitempty"`
	// URL is where a package is from that is from no index, and Commit which
	// commit of the repository there. Editable is one that is used where its
	// source lies.
	URL      string `json:"url,omitempty"`
	Commit   string `json:"commit,omitempty"`
	Editable bool   `json:"editable,omitempty"`
	// Text is the file itself, where it tells of the system.
	Text string `json:"text,omitempty"`
	// Gone says that of the files on a list of dpkg's none is there.
	Gone bool `json:"gone,omitempty"`
}

// A whiteout is a file that stands for what an upper layer removes, as OCI's
// image specification has it.
const (
	whiteout = ".wh."
	opaque   = ".wh..wh..opq"
)

// readLayer reads what a layer holds.
func readLayer(ctx context.Context, from v1.Layer) (layer, error) {
	read := layer{Files: map[string]evidence{}}
	// All that is there, folders too; dpkg's lists; hard links by their names.
	present, lists, links := map[string]bool{}, map[string][]byte{}, map[string]string{}
	err := walk(ctx, from, func(name string, header *tar.Header, content io.Reader) error {
		folder, base := path.Split(name)
		switch hidden, out := strings.CutPrefix(base, whiteout); {
		case base == opaque:
			read.Covers = append(read.Covers, path.Clean(folder)+"/")
			return nil
		case out:
			read.Covers = append(read.Covers, folder+hidden)
			return nil
		}
		present[name] = true
		if header.Typeflag == tar.TypeDir {
			return nil
		}
		read.Covers = append(read.Covers, name)
		isList := dpkgList.MatchString(name)
		if !isList && parserOf(name) == nil {
			return nil
		}
		switch header.Typeflag {
		case tar.TypeLink:
			links[name] = clean(header.Linkname)
		case tar.TypeReg:
			text, err := io.ReadAll(content)
			if isList {
				lists[name] = text
			} else {
				read.tell(name, text)
			}
			return err
		}
		return nil
	})
	if err != nil {
		return read, err
	}
	for name, text := range lists {
		if allGone(text, present) {
			read.Files[name] = evidence{Gone: true}
		}
	}
	return read, read.follow(ctx, from, links)
}

// follow reads hard links to files that the layer has under another name: pnpm
// makes them of a package that it has twice.
func (l *layer) follow(ctx context.Context, from v1.Layer, links map[string]string) error {
	if len(links) == 0 {
		return nil
	}
	texts := map[string][]byte{}
	for _, target := range links {
		texts[target] = nil
	}
	err := walk(ctx, from, func(name string, header *tar.Header, content io.Reader) error {
		if _, wanted := texts[name]; !wanted || header.Typeflag != tar.TypeReg {
			return nil
		}
		text, err := io.ReadAll(content)
		texts[name] = text
		return err
	})
	for name, target := range links {
		// A list of dpkg's has no parser, and nothing hard links it.
		if parserOf(name) != nil {
			l.tell(name, texts[target])
		}
	}
	return err
}

// tell adds what a file tells, if it tells anything.
func (l *layer) tell(name string, text []byte) {
	if told, ok := parserOf(name)(name, text); ok {
		l.Files[name] = told
	}
}

// parserOf returns what reads a file, or nil where the file tells nothing of
// what is in the image.
func parserOf(name string) func(name string, text []byte) (evidence, bool) {
	switch {
	case name == dpkgStatus || slices.Contains(osReleases, name):
		return func(_ string, text []byte) (evidence, bool) { return evidence{Text: string(text)}, true }
	case strings.HasPrefix(name, "usr/") && !strings.HasPrefix(name, "usr/local/"):
		// There Debian alone puts files, and they are in its packages.
		return nil
	case isNodePackage(name):
		return parsePackageJSON
	case pythonMetadata.MatchString(name):
		return parseMetadata
	case pythonOrigin.MatchString(name):
		return parseDirectURL
	case pythonWheel.MatchString(name):
		return parseWheelName
	}
	return nil
}

// walk calls visit for every entry of a layer, with its path in the image.
func walk(ctx context.Context, from v1.Layer, visit func(name string, header *tar.Header, content io.Reader) error) (err error) {
	content, err := uncompressed(from)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, content.Close()) }()
	for archive := tar.NewReader(content); ; {
		header, err := archive.Next()
		switch {
		case errors.Is(err, io.EOF):
			// Only at its end a layer is held against its digest.
			_, err := io.Copy(io.Discard, content)
			return err
		case err != nil:
			return err
		case ctx.Err() != nil:
			return ctx.Err()
		case header.Typeflag == tar.TypeXGlobalHeader:
			continue
		}
		if err := visit(clean(header.Name), header, archive); err != nil {
			return fmt.Errorf("read %s: %w", header.Name, err)
		}
	}
}

// uncompressed returns the archive of a layer. For gzip, which all layers that
// are built here have, this takes little more than half the time of the layer's own.
func uncompressed(from v1.Layer) (io.ReadCloser, error) {
	kind, err := from.MediaType()
	if err != nil || kind != types.OCILayer {
		return from.Uncompressed()
	}
	compressed, err := from.Compressed()
	if err != nil {
		return nil, err
	}
	content, err := gzip.NewReader(compressed)
	if err != nil {
		return nil, errors.Join(err, compressed.Close())
	}
	return struct {
		io.Reader
		io.Closer
	}{content, compressed}, nil
}

// clean returns a path of an archive as all have it here: "usr/bin/node".
func clean(name string) string { return strings.TrimPrefix(path.Clean("/"+name), "/") }

// merge returns what the files of an image tell, given its layers, the lowest
// first: a file that an upper layer replaces or removes tells nothing.
func merge(layers []layer) map[string]evidence {
	files := map[string]evidence{}
	for _, l := range layers {
		covered := make(map[string]bool, len(l.Covers))
		for _, name := range l.Covers {
			covered[name] = true
		}
		for name := range files {
			if covers(covered, name) {
				delete(files, name)
			}
		}
		for name, told := range l.Files {
			files[name] = told
		}
	}
	return files
}

// covers reports whether a layer covers a path of the layers below: itself or a
// folder above it.
func covers(covered map[string]bool, name string) bool {
	if covered[name] {
		return true
	}
	for name != "." {
		name = path.Dir(name)
		if covered[name] || covered[name+"/"] {
			return true
		}
	}
	return false
}

// encode returns the record of a layer as it is kept: JSON, compressed, because
// the names of all files are in it.
func (l layer) encode() ([]byte, error) {
	var text bytes.Buffer
	to := gzip.NewWriter(&text)
	err := errors.Join(json.NewEncoder(to).Encode(l), to.Close())
	return text.Bytes(), err
}

// decodeLayer reads a record that was kept.
func decodeLayer(record []byte) (layer, error) {
	var l layer
	from, err := gzip.NewReader(bytes.NewReader(record))
	if err != nil {
		return l, err
	}
	err = json.NewDecoder(from).Decode(&l)
	return l, err
}
