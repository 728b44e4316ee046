package image

import (
	"time"

	"dagger.io/dagger"
)

// Options say how images are built, whatever is in them.
type Options struct {
	// Mirrors are where packages come from.
	Mirrors Mirrors
	// PackagesAsOf is the date after which Python packages are not
	// considered. The zero time stands for no limit.
	PackagesAsOf time.Time
	// Platforms are what the image is built for; the engine's own if empty.
	Platforms []dagger.Platform
}
