//go:build !linux

package localengine

import (
	"fmt"

	"github.com/desiredeffect/erpnext-pipeline/internal/sandbox/debian"
)

var errUnsupported = fmt.Errorf("an engine without Docker runs on Linux only: %w", debian.ErrUnsupported)

func supported() error { return errUnsupported }

func (e *Engine) supervise(*fileLock) error { return errUnsupported }
