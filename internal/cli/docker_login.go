package cli

import (
	"fmt"
	"path/filepath"

	"github.com/docker/cli/cli/config"
	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"

	"github.com/desiredeffect/erpnext-pipeline/internal/secret"
)

// useDockerLogin takes the account that docker login has for the registry, or that
// one of its helpers knows (credHelpers and credsStore in Docker's config.json),
// where the configuration names none. Clouds give such accounts for an hour or a day.
func (c *cli) useDockerLogin(in *inputs) {
	to := &in.config.Registry
	if to.Host == "" || to.Username != "" || to.Password.IsSet() {
		return
	}
	username, password, err := c.dockerLogin(to.Host)
	if err != nil {
		c.log.Warn().Err(err).Str("fix", "log in again with docker login, or set REGISTRY_USERNAME and REGISTRY_PASSWORD").
			Msg("Docker's login for " + to.Host + " can't be used")
		return
	}
	if !password.IsSet() {
		return
	}
	c.hide(password)
	to.Username, to.Password = username, password
	in.config.Target.Login.Username, in.config.Target.Login.Password = username, password
}

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
		folder = filepath.Join(home, ".docker")
	}
	file, err := config.Load(folder)
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
	if account.IdentityToken != "" {
		return "", password, fmt.Errorf("it is a token that only Docker can use")
	}
	return account.Username, secret.New(account.Password), nil
}
