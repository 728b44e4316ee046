// Package erpnextpipeline holds those files of this repository that other
// repositories start from. They are written there by internal/starter.
package erpnextpipeline

import "embed"

// Files are the workflows that release a site, and what a folder of hooks says of
// itself, by their paths in this repository.
//
//go:embed .github/workflows/deploy.yml .github/workflows/release.yml
//go:embed .github/workflows/hotfix.yml .github/workflows/rollback.yml
//go:embed deploy/hooks/README.md
var Files embed.FS
