package cli

import (
	"context"

	"github.com/desiredeffect/erpnext-pipeline/ci/apps"
	"github.com/desiredeffect/erpnext-pipeline/internal/release"
)

// commits reads apps' commits at their hosts. It is an image.Reader.
type commits struct {
	servers apps.Servers
	sources []apps.Source
}

func (c commits) source(app release.App) (apps.Source, error) {
	sources, err := apps.ForLock([]release.App{app}, c.sources)
	if err != nil {
		return apps.Source{}, err
	}
	return sources[0], nil
}

// Tree returns the files of an app.
func (c commits) Tree(ctx context.Context, app release.App) ([]apps.File, error) {
	source, err := c.source(app)
	if err != nil {
		return nil, err
	}
	return c.servers.Tree(ctx, source, app.Commit)
}

// Read returns the texts of files of an app.
func (c commits) Read(ctx context.Context, app release.App, files ...apps.File) ([]string, error) {
	source, err := c.source(app)
	if err != nil {
		return nil, err
	}
	return c.servers.Read(ctx, source, files...)
}
