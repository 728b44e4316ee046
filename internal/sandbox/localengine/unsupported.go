//go:build !linux

package localengine

import (
	"fmt"
	"os"

	"github.com/desiredeffect/erpnext-pipeline/internal/sandbox/debian"
)

const (
	exclusive = iota
	shared
)

var errUnsupported = fmt.Errorf("the sandbox builds its own engine, which runs on Linux only: %w", debian.ErrUnsupported)

func supported() error { return errUnsupported }

func flock(*os.File, int) (bool, error) { return false, errUnsupported }

func (e *Engine) supervise(*fileLock) error { return errUnsupported }
