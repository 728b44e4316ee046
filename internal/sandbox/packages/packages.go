// Package packages serves a small repository of Debian packages that stands for the
// one of Docker's makers, which a machine without a way there can't reach. It is a real
// one: apt fetches it, checks its signature, and installs from it. Its packages have
// the names of Docker's, and hold Debian's own Docker and the compose plugin.
package packages

import (
	"bytes"
	"context"
	"crypto"
	"encoding/hex"
	"errors"
	"fmt"
	"maps"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"time"

	"github.com/ProtonMail/go-crypto/openpgp"
	"github.com/ProtonMail/go-crypto/openpgp/armor"
	"github.com/ProtonMail/go-crypto/openpgp/clearsign"
	"github.com/ProtonMail/go-crypto/openpgp/packet"

	"github.com/desiredeffect/erpnext-pipeline/internal/sandbox/debian"
)

// Repository is a repository that is served until Close.
type Repository struct {
	// Address is where it is served on this machine, "127.0.0.1:port".
	Address string
	// Fingerprint is that of the key that signs it.
	Fingerprint string

	dir    string
	server *http.Server
}

// small are the packages beside docker-ce, with what each depends on.
var small = map[string]string{"docker-ce-cli": "docker-ce", "containerd.io": "containerd", "docker-compose-plugin": ""}

// Serve makes a repository for a suite, such as "bookworm", with the compose plugin of
// that path, and serves it. The caller closes it.
func Serve(ctx context.Context, suite, composePlugin string) (_ *Repository, err error) {
	if err := debian.Install(ctx, "apt-utils", "dpkg"); err != nil {
		return nil, err
	}
	r := &Repository{}
	if r.dir, err = os.MkdirTemp("", "packages-"); err != nil {
		return nil, fmt.Errorf("make folder for packages: %w", err)
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, r.Close())
		}
	}()
	if err := r.pack(ctx, composePlugin); err != nil {
		return nil, fmt.Errorf("make packages: %w", err)
	}
	if err := r.index(ctx, suite); err != nil {
		return nil, fmt.Errorf("index packages: %w", err)
	}
	listener, err := (&net.ListenConfig{}).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return nil, fmt.Errorf("serve packages: %w", err)
	}
	r.Address = listener.Addr().String()
	r.server = &http.Server{Handler: http.FileServer(http.Dir(r.dir)), ReadHeaderTimeout: 10 * time.Second}
	go func() { _ = r.server.Serve(listener) }()
	return r, nil
}

// pack makes the packages in the folder pool.
func (r *Repository) pack(ctx context.Context, composePlugin string) error {
	pool, root := filepath.Join(r.dir, "pool"), filepath.Join(r.dir, "root")
	if err := os.MkdirAll(pool, 0o755); err != nil {
		return err
	}
	build := func(name string) error {
		defer os.RemoveAll(root)
		return run(exec.CommandContext(ctx, "dpkg-deb", "--root-owner-group", "-Znone", "--build", root, filepath.Join(pool, name+".deb")))
	}
	// Debian's Docker can't be installed beside one of this name, so it is made one.
	if err := r.unpack(ctx, "docker.io", root); err != nil {
		return err
	}
	file := filepath.Join(root, "DEBIAN/control")
	text, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	control := ""
	for line := range strings.Lines(string(text)) {
		name, _, _ := strings.Cut(line, ":")
		switch name {
		case "Package":
			line = "Package: docker-ce\n"
		case "Conflicts", "Breaks", "Replaces", "Recommends", "Suggests", "Source":
			line = ""
		}
		control += line
	}
	if err := write(file, []byte(control), 0o644); err != nil {
		return err
	}
	if err := build("docker-ce"); err != nil {
		return err
	}
	for _, name := range slices.Sorted(maps.Keys(small)) {
		control := fmt.Sprintf("Package: %s\nVersion: 28.0\nArchitecture: %s\nMaintainer: Nobody <nobody@localhost>\nDescription: stands for the package of this name\n", name, runtime.GOARCH)
		if small[name] != "" {
			control += "Depends: " + small[name] + "\n"
		}
		if err := write(file, []byte(control), 0o644); err != nil {
			return err
		}
		if name == "docker-compose-plugin" {
			program, err := os.ReadFile(composePlugin)
			if err != nil {
				return err
			}
			if err := write(filepath.Join(root, "usr/libexec/docker/cli-plugins/docker-compose"), program, 0o755); err != nil {
				return err
			}
		}
		if err := build(name); err != nil {
			return err
		}
	}
	return nil
}

// unpack fetches a package of Debian's and unpacks it with its control files.
func (r *Repository) unpack(ctx context.Context, name, root string) error {
	into := filepath.Join(r.dir, "fetched")
	defer os.RemoveAll(into)
	if err := os.MkdirAll(into, 0o755); err != nil {
		return err
	}
	if err := debian.Fetch(ctx, into, name); err != nil {
		return err
	}
	found, err := filepath.Glob(filepath.Join(into, name+"_*.deb"))
	if err != nil || len(found) != 1 {
		return fmt.Errorf("find package %s: %v", name, found)
	}
	return run(exec.CommandContext(ctx, "dpkg-deb", "--raw-extract", found[0], root))
}

// index writes what apt reads, and signs it with a new key.
func (r *Repository) index(ctx context.Context, suite string) error {
	list := exec.CommandContext(ctx, "apt-ftparchive", "packages", "pool")
	list.Dir = r.dir
	text, err := list.Output()
	if err != nil {
		return fmt.Errorf("run apt-ftparchive: %w", err)
	}
	if err := write(filepath.Join(r.dir, "dists", suite, "stable/binary-"+runtime.GOARCH, "Packages"), text, 0o644); err != nil {
		return err
	}
	release := exec.CommandContext(ctx, "apt-ftparchive",
		"-o", "APT::FTPArchive::Release::Suite="+suite, "-o", "APT::FTPArchive::Release::Codename="+suite,
		"-o", "APT::FTPArchive::Release::Components=stable", "-o", "APT::FTPArchive::Release::Architectures="+runtime.GOARCH,
		"release", filepath.Join("dists", suite))
	release.Dir = r.dir
	if text, err = release.Output(); err != nil {
		return fmt.Errorf("run apt-ftparchive: %w", err)
	}
	settings := &packet.Config{DefaultHash: crypto.SHA256, Algorithm: packet.PubKeyAlgoRSA, RSABits: 3072}
	key, err := openpgp.NewEntity("packages of the sandbox", "", "nobody@localhost", settings)
	if err != nil {
		return fmt.Errorf("make signing key: %w", err)
	}
	r.Fingerprint = strings.ToUpper(hex.EncodeToString(key.PrimaryKey.Fingerprint))
	var signed, public bytes.Buffer
	signer, err := clearsign.Encode(&signed, key.PrivateKey, settings)
	if err == nil {
		_, err = signer.Write(text)
	}
	if err == nil {
		err = signer.Close()
	}
	if err != nil {
		return fmt.Errorf("sign: %w", err)
	}
	if err := write(filepath.Join(r.dir, "dists", suite, "InRelease"), signed.Bytes(), 0o644); err != nil {
		return err
	}
	armored, err := armor.Encode(&public, openpgp.PublicKeyType, nil)
	if err == nil {
		err = key.Serialize(armored)
	}
	if err == nil {
		err = armored.Close()
	}
	if err != nil {
		return fmt.Errorf("write key: %w", err)
	}
	return write(filepath.Join(r.dir, "gpg"), append(public.Bytes(), '\n'), 0o644)
}

// Close ends the server and removes the packages.
func (r *Repository) Close() error {
	var err error
	if r.server != nil {
		err = r.server.Close()
	}
	return errors.Join(err, os.RemoveAll(r.dir))
}

func write(name string, content []byte, mode os.FileMode) error {
	if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
		return err
	}
	return os.WriteFile(name, content, mode)
}

func run(cmd *exec.Cmd) error {
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("%w\n%s", err, out)
	}
	return nil
}
