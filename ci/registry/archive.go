package registry

import (
	"archive/tar"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/tarball"

	"github.com/desiredeffect/erpnext-pipeline/ci/image"
)

// WriteArchive writes an image to a file, as an archive of OCI's image layout
// that carries the version's name.
func WriteArchive(path string, built *image.Image, version string) (err error) {
	dir, err := os.MkdirTemp(filepath.Dir(path), ".image-")
	if err != nil {
		return fmt.Errorf("write image to %s: %w", path, err)
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	folder, err := layout.Write(dir, empty.Index)
	if err != nil {
		return fmt.Errorf("write image to %s: %w", path, err)
	}
	named := layout.WithAnnotations(map[string]string{"org.opencontainers.image.ref.name": version})
	if built.Index != nil {
		err = folder.AppendIndex(built.Index, named)
	} else {
		err = folder.AppendImage(built.Single, named)
	}
	if err != nil {
		return fmt.Errorf("write image to %s: %w", path, err)
	}
	part := path + ".part"
	if err = archive(part, dir); err == nil {
		err = os.Rename(part, path)
	}
	if err != nil {
		return fmt.Errorf("write image to %s: %w", path, errors.Join(err, os.Remove(part)))
	}
	return nil
}

// archive puts the files of a folder into an archive, in the order of their
// names and without the time.
func archive(path, dir string) (err error) {
	file, err := os.Create(path)
	if err != nil {
		return err
	}
	to := tar.NewWriter(file)
	err = filepath.WalkDir(dir, func(at string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		text, err := os.Open(at)
		if err != nil {
			return err
		}
		defer text.Close()
		info, err := entry.Info()
		if err != nil {
			return err
		}
		relative, err := filepath.Rel(dir, at)
		if err != nil {
			return err
		}
		if err := to.WriteHeader(&tar.Header{Name: relative, Mode: 0o644, Size: info.Size(), ModTime: time.Unix(0, 0)}); err != nil {
			return err
		}
		_, err = text.WriteTo(to)
		return err
	})
	return errors.Join(err, to.Close(), file.Close())
}

// WriteDocker writes an image for one platform to a file as docker load reads
// it, under its name and version.
func WriteDocker(path string, built *image.Image, imageName, version string) error {
	if built.Single == nil {
		return errors.New("an image for several platforms can't be loaded into Docker: choose one with --platform")
	}
	tag, err := name.NewTag(imageName + ":" + version)
	if err != nil {
		return fmt.Errorf("name image: %w", err)
	}
	if err := tarball.WriteToFile(path, tag, built.Single); err != nil {
		return fmt.Errorf("write image to %s: %w", path, err)
	}
	return nil
}
