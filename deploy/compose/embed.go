package compose

import "embed"

// Own are the project's own compose files: compose-main.yaml, the whole
// constellation, and compose-bench.yaml, which makes a test bench of it.
//
//go:embed compose-main.yaml compose-bench.yaml
var Own embed.FS
