//go:build !unix

package localengine

import (
	"errors"
	"os"
)

const (
	exclusive = iota
	shared
)

func flock(*os.File, int) (bool, error) {
	return false, errors.New("the sandbox runs on Linux and macOS: on Windows, run this in WSL")
}
