//go:build !linux

package emulation

import (
	"os"

	"github.com/desiredeffect/erpnext-pipeline/internal/sandbox/debian"
)

// openKernel refuses: binfmt_misc is a file system of Linux.
func openKernel() (*os.Root, error) { return nil, debian.ErrUnsupported }
