package cli

import (
	"context"

	"github.com/desiredeffect/erpnext-pipeline/ci/apps"
	"github.com/desiredeffect/erpnext-pipeline/internal/release"
)

// commits reads apps' commits through GitHub's API. It is an image.Reader.
type commits struct {
	github  *apps.GitHub
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
	return c.github.Tree(ctx, source, app.Commit)
}

// Read returns the text of a file of an app.
func (c commits) Read(ctx context.Context, app release.App, file apps.File) (string, error) {
	source, err := c.source(app)
	if err != nil {
		return "", err
	}
	return c.github.Read(ctx, source, file)
}
