package registry

import (
	"archive/tar"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
)

// untar unpacks the regular files of an archive that the engine made.
func untar(ctx context.Context, archive, dir string) error {
	file, err := os.Open(archive)
	if err != nil {
		return fmt.Errorf("open exported image: %w", err)
	}
	defer file.Close()
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return fmt.Errorf("unpack exported image: %w", err)
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		return fmt.Errorf("unpack exported image: %w", err)
	}
	defer root.Close()
	for entries := tar.NewReader(file); ; {
		header, err := entries.Next()
		switch {
		case errors.Is(err, io.EOF):
			return nil
		case err != nil:
			return fmt.Errorf("unpack exported image: %w", err)
		case ctx.Err() != nil:
			return ctx.Err()
		case header.Typeflag != tar.TypeReg:
			continue
		}
		if err := unpack(root, filepath.Clean(header.Name), entries); err != nil {
			return fmt.Errorf("unpack %s of exported image: %w", header.Name, err)
		}
	}
}

func unpack(root *os.Root, path string, from io.Reader) error {
	if err := root.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return err
	}
	to, err := root.Create(path)
	if err != nil {
		return err
	}
	_, err = io.Copy(to, from)
	return errors.Join(err, to.Close())
}
