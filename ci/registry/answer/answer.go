// Package answer tells what registries mean by their answers.
package answer

import (
	"errors"
	"net/http"

	"github.com/google/go-containerregistry/pkg/v1/remote/transport"
)

// Missing reports whether a registry answered that it does not have something.
func Missing(err error) bool {
	var status *transport.Error
	return errors.As(err, &status) && status.StatusCode == http.StatusNotFound
}

// Refused reports whether a registry answered that something may not be written as it
// is: a tag that it does not move (of which each says it in its own way: 400, 403, 405,
// 409, 412), or a name that its rules don't allow.
func Refused(err error) bool {
	var status *transport.Error
	if !errors.As(err, &status) {
		return false
	}
	switch status.StatusCode {
	case http.StatusBadRequest, http.StatusForbidden, http.StatusMethodNotAllowed, http.StatusConflict, http.StatusPreconditionFailed, http.StatusUnprocessableEntity:
		return true
	}
	return false
}
