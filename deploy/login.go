package deploy

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"strings"

	"github.com/desiredeffect/erpnext-pipeline/deploy/host"
	"github.com/desiredeffect/erpnext-pipeline/internal/secret"
)

// Login is how the host's Docker logs in to the registry that it pulls from.
type Login struct {
	// Host is the registry; empty for Docker Hub.
	Host     string        `json:"host"`
	Username string        `json:"username"`
	Password secret.Secret `json:"-"`
}

// refused matches what Docker says of a registry that refuses a login or an image.
var refused = regexp.MustCompile(`(?i)unauthorized|denied|forbidden|incorrect username or password`)

// pullWithLogin brings the image to the host where that takes a login. A run's
// scripts lie on the host, so they can't have the password; they find the image
// there already.
func pullWithLogin(ctx context.Context, h Host, login Login, image string) error {
	if !login.Password.IsSet() {
		return nil
	}
	_, err := h.Run(ctx, script(pullScript, image, login.Username, login.Host),
		host.Options{Stdin: strings.NewReader(login.Password.Reveal() + "\n")})
	var answer *host.RunError
	if errors.As(err, &answer) && refused.MatchString(answer.Stderr) {
		return fmt.Errorf("pull %s: the registry refuses %s, whose password may have expired or does not allow this image: %s",
			image, login.Username, strings.TrimSpace(answer.Stderr))
	}
	if err != nil {
		return fmt.Errorf("pull %s: %w", image, err)
	}
	return nil
}
