// Package sandbox is the pipeline's whole world on one machine, out of real
// parts: a Dagger engine, a registry, GitHub with git repositories, and a host
// with SSH and Docker. The demo and the end-to-end tests run against it.
//
// It starts what it needs and leaves nothing behind but a cache.
package sandbox

import (
	"cmp"
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"time"

	"dagger.io/dagger"
	"github.com/rs/zerolog"
	"golang.org/x/crypto/ssh"
	"golang.org/x/crypto/ssh/knownhosts"
	"golang.org/x/sync/errgroup"

	"github.com/desiredeffect/erpnext-pipeline/deploy/compose"
	"github.com/desiredeffect/erpnext-pipeline/internal/sandbox/apps"
	"github.com/desiredeffect/erpnext-pipeline/internal/sandbox/github"
	"github.com/desiredeffect/erpnext-pipeline/internal/sandbox/host"
	"github.com/desiredeffect/erpnext-pipeline/internal/sandbox/images"
	"github.com/desiredeffect/erpnext-pipeline/internal/sandbox/localengine"
	"github.com/desiredeffect/erpnext-pipeline/internal/sandbox/packages"
	"github.com/desiredeffect/erpnext-pipeline/internal/secret"
)

// What every sandbox calls itself.
const (
	Project = "demo"
	Site    = "erp.localhost"
)

// Options say what world to make.
type Options struct {
	// CacheDir outlives the sandbox; localengine.DefaultCacheDir is the usual one.
	CacheDir string
	// Repositories is a folder of bare repositories, OWNER/NAME.git, to serve
	// in place of the fixture apps. They are all public.
	Repositories string
	// Name tells apart sandboxes that run at the same time.
	Name string
	// HTTPPort is the port of the host on which the site answers, and the
	// port of this machine that is forwarded to it, if that is free.
	HTTPPort int
	// Jump puts a jump host in front of the host.
	Jump bool
	// Newer has the host be of a newer generation, with Docker 28, and the mirror
	// have the images that go with it.
	Newer bool
	// Bare has the host be a server as it is rented, which pipeline setup makes
	// ready ([host.Options]).
	Bare bool
	// Images are more that the mirror is to have.
	Images images.Set
	// NoHost leaves the host out, where nothing is deployed.
	NoHost bool
	// Docker, Hub and DaggerCLI are as [localengine.Options] has them: the engine runs
	// in Docker where it can. There are no stand-ins then.
	Docker         bool
	Hub, DaggerCLI string
	Log            zerolog.Logger
	// EngineLog gets the engine's own account of the sandbox's session. It
	// may be nil.
	EngineLog io.Writer
}

// World is a running sandbox.
type World struct {
	Engine *localengine.Engine
	Client *dagger.Client
	GitHub *github.Server
	Host   *host.Host
	// Packages stands for the packages of Docker's makers beside a bare host; nil
	// beside another.
	Packages *packages.Repository
	// StandIns are the base images that are not the public ones.
	StandIns []images.StandIn
	// Dir is a folder of the sandbox's own, which Close removes.
	Dir string
	// ComposeFile is the path of the project's own compose file, which lies
	// in Dir.
	ComposeFile string
	// Token opens the private repositories.
	Token secret.Secret
	// Key is the private key that may log in to the host.
	Key secret.Secret
	// Repositories are the fixture apps; nil where others are served.
	Repositories apps.Repositories

	options Options
	// likeHost is what Host was made from, and others the hosts beside it.
	likeHost host.Options
	others   []*host.Host
	// claims give the hosts' names back.
	claims []func()
}

// Start makes a world. Where that can't be done on this machine the error is
// debian.ErrUnsupported. The caller closes it.
func Start(ctx context.Context, options Options) (_ *World, err error) {
	w := &World{options: options}
	defer func() {
		if err != nil {
			err = errors.Join(err, w.Close(context.WithoutCancel(ctx)))
		}
	}()
	log := options.Log
	if w.Dir, err = os.MkdirTemp("", "erpnext-pipeline-"); err != nil {
		return w, fmt.Errorf("make sandbox folder: %w", err)
	}
	if err = w.writeComposeFile(); err != nil {
		return w, err
	}
	log.Info().Str("cache", options.CacheDir).Msg("starting a Dagger engine; without Docker it is built from source the first time, which takes minutes")
	if w.Engine, err = localengine.Start(ctx, localengine.Options{
		CacheDir: options.CacheDir, Docker: options.Docker, Hub: options.Hub, CLI: options.DaggerCLI, Log: log,
	}); err != nil {
		return w, err
	}
	if w.Client, err = w.Engine.Endpoint().Connect(context.WithoutCancel(ctx), options.EngineLog); err != nil {
		return w, err
	}
	if err = w.startGitHub(ctx); err != nil {
		return w, err
	}
	if err = w.ensureImages(ctx); err != nil || options.NoHost {
		return w, err
	}
	log.Info().Msg("starting the host")
	return w, w.startHost(ctx)
}

// ensureImages sees to the images that releases and hosts are made of, where the
// engine does not have them from docker.io.
func (w *World) ensureImages(ctx context.Context) (err error) {
	if w.Engine.Mirror() == "" {
		w.options.Log.Info().Str("from", cmp.Or(w.options.Hub, "docker.io")).Msg("base images are the public ones")
		return nil
	}
	w.options.Log.Info().Msg("looking after base images; the first time they are made from Debian packages")
	set := images.All()
	for _, one := range w.options.Images {
		if !slices.Contains(set, one) {
			set = append(set, one)
		}
	}
	if w.options.Newer {
		set = append(set, images.Newer()...)
	}
	w.StandIns, err = images.Ensure(ctx, w.Client, w.Engine.Mirror(), set, w.options.Log)
	return err
}

func (w *World) writeComposeFile() error {
	const name = "compose-main.yaml"
	text, err := compose.Own.ReadFile(name)
	if err != nil {
		return fmt.Errorf("read compose file: %w", err)
	}
	w.ComposeFile = filepath.Join(w.Dir, name)
	if err := os.WriteFile(w.ComposeFile, text, 0o644); err != nil {
		return fmt.Errorf("write compose file: %w", err)
	}
	return nil
}

func (w *World) startGitHub(ctx context.Context) (err error) {
	root := w.options.Repositories
	options := github.Options{Root: root, Log: w.options.Log}
	if root == "" {
		options.Root = filepath.Join(w.Dir, "repositories")
		w.Token = secret.New("ghp_" + rand.Text() + rand.Text())
		if w.Repositories, err = apps.Write(ctx, options.Root); err != nil {
			return err
		}
		options.Private = map[string][]string{}
		for _, repository := range w.Repositories {
			if repository.Private {
				options.Private[repository.Owner+"/"+repository.Name] = []string{w.Token.Reveal()}
			}
		}
	}
	w.GitHub, err = github.Start(context.WithoutCancel(ctx), options)
	return err
}

func (w *World) startHost(ctx context.Context) error {
	public, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return fmt.Errorf("make login key: %w", err)
	}
	block, err := ssh.MarshalPrivateKey(private, "")
	if err != nil {
		return fmt.Errorf("make login key: %w", err)
	}
	w.Key = secret.New(string(pem.EncodeToMemory(block)))
	authorized, err := ssh.NewPublicKey(public)
	if err != nil {
		return fmt.Errorf("make login key: %w", err)
	}
	plugin, err := localengine.ComposePlugin(ctx, w.options.CacheDir, w.options.Log)
	if err != nil {
		return err
	}
	w.likeHost = host.Options{
		Client: w.Client, Mirror: w.Engine.Mirror(), Hub: w.options.Hub, ComposePlugin: plugin,
		AuthorizedKey: string(ssh.MarshalAuthorizedKey(authorized)),
		Name:          w.options.Name, HTTPPort: w.options.HTTPPort,
		Fresh: true, Jump: w.options.Jump, Log: w.options.Log,
	}
	if w.options.Bare {
		if w.Packages, err = packages.Serve(ctx, "bookworm", plugin); err != nil {
			return err
		}
		w.likeHost.Bare, w.likeHost.Packages = true, w.Packages.Address
	}
	if w.options.Newer {
		w.likeHost.Image = images.NewerHost
	}
	w.Host, err = w.startLike(ctx, w.likeHost)
	return err
}

// startLike starts a host, if no other sandbox has one of its name.
func (w *World) startLike(ctx context.Context, options host.Options) (*host.Host, error) {
	giveBack, err := w.Engine.Claim(options.Name)
	if err != nil {
		return nil, fmt.Errorf("start host: %w", err)
	}
	h, err := host.Start(ctx, options)
	if err != nil {
		giveBack()
		return nil, err
	}
	w.claims = append(w.claims, giveBack)
	return h, nil
}

// AnotherHost starts a host beside the first, with the same key to log in and a
// host key of its own. It goes on with what the disk of its name has
// ([host.CopyDisk]), and ends with the world.
func (w *World) AnotherHost(ctx context.Context, name string) (*host.Host, error) {
	options := w.likeHost
	options.Name, options.Fresh, options.Jump = name, false, false
	h, err := w.startLike(ctx, options)
	if err == nil {
		w.others = append(w.others, h)
	}
	return h, err
}

// SetupFlags are what pipeline setup needs besides for a bare host, where Docker's
// packages come from.
func (w *World) SetupFlags() []string {
	_, port, _ := net.SplitHostPort(w.Packages.Address)
	return []string{"--docker-repository", "http://" + host.PackagesHost + ":" + port, "--docker-key", w.Packages.Fingerprint}
}

// KnownHosts are the host keys of the sandbox's SSH servers, in the format of
// known_hosts.
func (w *World) KnownHosts() string {
	text := ""
	for _, address := range []string{w.Host.SSHAddress(), w.Host.JumpAddress(), w.Host.InnerAddress()} {
		if address != "" {
			text += knownhosts.Line([]string{knownhosts.Normalize(address)}, w.Host.HostKey()) + "\n"
		}
	}
	return text
}

// WriteApps writes the apps.json of a version, with the selection's apps from
// this world's GitHub, and returns its path.
func (w *World) WriteApps(version string, selection apps.Selection) (string, error) {
	list, err := selection.AppsJSON(w.GitHub.URL())
	if err != nil {
		return "", err
	}
	file := filepath.Join(w.Dir, "apps-"+version+".json")
	if err := os.WriteFile(file, list, 0o644); err != nil {
		return "", fmt.Errorf("write apps.json: %w", err)
	}
	return file, nil
}

// Environment returns what a user of the pipeline would have in .env to release
// to this world, in the form of os.Environ, with the engine to use. Without a
// host there is what a build needs. Each call makes passwords of its own.
func (w *World) Environment() ([]string, error) {
	environ := append(w.Engine.Endpoint().Environ(),
		"PATH="+os.Getenv("PATH"), "HOME="+w.Dir,
		"GITHUB_API_URL="+w.GitHub.APIURL(),
		"DE_MACRS_PAT="+w.Token.Reveal(),
		"IMAGE_NAME=desiredeffect/erpnext-custom",
	)
	if w.Host == nil {
		return environ, nil
	}
	place, err := w.Place()
	if err != nil {
		return nil, err
	}
	for name, value := range place {
		environ = append(environ, name+"="+value)
	}
	return append(environ, "COMPOSE_FILES="+w.ComposeFile), nil
}

// Place returns the keys of the configuration that say where to release to: the
// host, and what belongs to the site on it. Each call makes passwords of its own.
func (w *World) Place() (map[string]string, error) {
	keys := map[string]string{
		"DEPLOY_USER":          host.User,
		"DEPLOY_SSH_KEY":       w.Key.Reveal(),
		"DEPLOY_KNOWN_HOSTS":   w.KnownHosts(),
		"DEPLOY_DIR":           "/home/" + host.User + "/" + Project,
		"COMPOSE_PROJECT_NAME": Project,
		"SITE_NAME":            Site,
		"HTTP_PORT":            strconv.Itoa(w.options.HTTPPort),
		"ADMIN_PASSWORD":       rand.Text(),
		"DB_ROOT_PASSWORD":     rand.Text(),
	}
	if w.options.Bare {
		keys["DEPLOY_DIR"] = "/srv/" + Project
	}
	address := w.Host.SSHAddress()
	if w.options.Jump {
		address = w.Host.InnerAddress()
		keys["DEPLOY_JUMP_HOST"] = host.User + "@" + w.Host.JumpAddress()
	}
	var err error
	if keys["DEPLOY_HOST"], keys["DEPLOY_PORT"], err = net.SplitHostPort(address); err != nil {
		return nil, fmt.Errorf("read host address: %w", err)
	}
	return keys, nil
}

// closeTime is how long everything may take to end.
const closeTime = 2 * time.Minute

// Close ends everything that the sandbox started. Once more it does nothing.
func (w *World) Close(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, closeTime)
	defer cancel()
	var side errgroup.Group
	if w.Host != nil {
		side.Go(func() error { return w.Host.Close(ctx) })
	}
	for _, h := range w.others {
		side.Go(func() error { return h.Close(ctx) })
	}
	if w.GitHub != nil {
		side.Go(w.GitHub.Close)
	}
	errs := []error{side.Wait()}
	if w.Packages != nil {
		errs = append(errs, w.Packages.Close())
	}
	for _, giveBack := range w.claims {
		giveBack()
	}
	if w.Client != nil {
		errs = append(errs, w.Client.Close())
	}
	if w.Engine != nil {
		errs = append(errs, w.Engine.Close())
	}
	if w.Dir != "" {
		errs = append(errs, os.RemoveAll(w.Dir))
	}
	w.Host, w.others, w.claims, w.Packages, w.GitHub, w.Client, w.Engine, w.Dir = nil, nil, nil, nil, nil, nil, nil, ""
	return errors.Join(errs...)
}
