package cli

import (
	"context"
	"fmt"
	"path/filepath"
	"time"

	dockerconfig "github.com/docker/cli/cli/config"
	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"

	"github.com/desiredeffect/erpnext-pipeline/internal/config"
	"github.com/desiredeffect/erpnext-pipeline/internal/secret"
)

// useDockerLogin takes the account that docker login has for the registry, or that
// one of its helpers knows (credHelpers and credsStore in Docker's config.json),
// where the configuration names none and something is pushed or pulled. Clouds give
// such accounts for an hour or a day.
func (c *cli) useDockerLogin(ctx context.Context, in *inputs, need config.Need) {
	to := &in.config.Registry
	if need&(config.Push|config.Deploy|config.RegistryAccess) == 0 || to.Host == "" || to.Username != "" || to.Password.IsSet() {
		return
	}
	type account struct {
		username string
		password secret.Secret
		err      error
	}
	// A helper may wait for a person or a network, and can't be told to end.
	answer := make(chan account, 1)
	go func() {
		username, password, err := c.dockerLogin(to.Host)
		answer <- account{username, password, err}
	}()
	var found account
	select {
	case found = <-answer:
	case <-ctx.Done():
		return
	case <-time.After(mostHelp):
		found.err = fmt.Errorf("its helper has not answered within %s", mostHelp)
	}
	if err := found.err; err != nil {
		c.log.Warn().Err(err).Str("fix", "log in again with docker login, or set REGISTRY_USERNAME and REGISTRY_PASSWORD").
			Msg("Docker's login for " + to.Host + " can't be used")
		return
	}
	if !found.password.IsSet() {
		return
	}
	c.hide(found.password)
	c.log.Info().Str("user", found.username).Str("registry", to.Host).Msg("docker login has an account for the registry: it is used here and on the host")
	to.Username, to.Password = found.username, found.password
	in.config.Target.Login.Username, in.config.Target.Login.Password = found.username, found.password
}

// mostHelp is how long a helper of docker login may take.
const mostHelp = 30 * time.Second

// dockerLogin returns the account that Docker's configuration has for a registry;
// nothing where it has none.
func (c *cli) dockerLogin(host string) (username string, password secret.Secret, err error) {
	registry, err := name.NewRegistry(host)
	if err != nil {
		return "", password, err
	}
	folder := c.getenv("DOCKER_CONFIG")
	if folder == "" {
		home := c.getenv("HOME")
		if home == "" {
			home = c.getenv("USERPROFILE")
		}
		if home == "" {
			return "", password, nil
		}
		folder = filepath.Join(home, ".docker")
	}
	file, err := dockerconfig.Load(folder)
	if err != nil {
		return "", password, err
	}
	// Docker's own registry goes by an address that it had once.
	key := registry.Name()
	if key == name.DefaultRegistry {
		key = authn.DefaultAuthKey
	}
	account, err := file.GetAuthConfig(key)
	if err != nil {
		return "", password, err
	}
	if account.IdentityToken != "" || account.RegistryToken != "" {
		return "", password, fmt.Errorf("it is a token and no password")
	}
	return account.Username, secret.New(account.Password), nil
}
