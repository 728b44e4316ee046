package host_test

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"

	"github.com/desiredeffect/erpnext-pipeline/internal/sandbox/host"
	"github.com/desiredeffect/erpnext-pipeline/internal/sandbox/images"
	"github.com/desiredeffect/erpnext-pipeline/internal/sandbox/localengine"
	"github.com/desiredeffect/erpnext-pipeline/internal/sandbox/localengine/enginetest"
)

// TestHost takes a host through its life: a login, containers from the
// mirror, a published port, a restart, a power cut, a jump host, the end.
func TestHost(t *testing.T) {
	if testing.Short() {
		t.Skip("starts a deploy host")
	}
	for _, generation := range []struct{ name, image, docker string }{
		{"Docker 20.10", "debian:bookworm-slim", "20.10."},
		{"Docker 28", images.NewerHost, "28."},
	} {
		t.Run(generation.name, func(t *testing.T) { lifeOf(t, generation.image, generation.docker) })
	}
}

// lifeOf takes a host that is built on an image, and has a version of Docker,
// through its life.
func lifeOf(t *testing.T, image, docker string) {
	client, mirror := enginetest.Session(t)
	ctx, log := t.Context(), enginetest.Log(t)
	compose, err := localengine.ComposePlugin(ctx, enginetest.CacheDir(t), log)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := images.Ensure(ctx, client, mirror, images.Set{"debian:bookworm-slim", image, "redis:7.2", "python:3.11.6-slim-bookworm"}, log); err != nil {
		t.Fatal(err)
	}

	_, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	login, err := ssh.NewSignerFromKey(private)
	if err != nil {
		t.Fatal(err)
	}
	options := host.Options{
		Client:        client,
		Mirror:        mirror,
		Image:         image,
		ComposePlugin: compose,
		AuthorizedKey: string(ssh.MarshalAuthorizedKey(login.PublicKey())),
		Name:          "host-test",
		HTTPPort:      8093,
		Fresh:         true,
		Jump:          true,
		Log:           log,
	}
	h, err := host.Start(ctx, options)
	if err != nil {
		t.Fatal(err)
	}
	closed := false
	t.Cleanup(func() {
		if t.Failed() && !closed {
			logs, err := h.Logs(context.Background())
			t.Logf("logs of the host (%v):\n%s", err, logs)
		}
		if !closed {
			if err := h.Close(context.Background()); err != nil {
				t.Error(err)
			}
		}
	})

	config := &ssh.ClientConfig{
		User:            host.User,
		Auth:            []ssh.AuthMethod{ssh.PublicKeys(login)},
		HostKeyCallback: ssh.FixedHostKey(h.HostKey()),
		Timeout:         10 * time.Second,
	}
	dial := func(t *testing.T) *ssh.Client {
		t.Helper()
		connection, err := ssh.Dial("tcp", h.SSHAddress(), config)
		if err != nil {
			t.Fatalf("log in: %v", err)
		}
		return connection
	}
	expect := func(t *testing.T, connection *ssh.Client, command, want string) {
		t.Helper()
		if got := run(t, connection, command); !strings.Contains(got, want) {
			t.Fatalf("%s printed %q, want it to contain %q", command, got, want)
		}
	}

	connection := dial(t)
	t.Run("versions", func(t *testing.T) {
		expect(t, connection, "docker version --format '{{.Server.Version}}'", docker)
		expect(t, connection, "docker compose version", "Docker Compose version")
		expect(t, connection, "docker info --format '{{.Driver}}'", "overlay2")
	})
	t.Run("a container of the mirror", func(t *testing.T) {
		run(t, connection, "docker run --detach --name store --restart always redis:7.2 --save '' --appendonly yes")
		expect(t, connection, ping("store"), "PONG")
		expect(t, connection, "docker exec store redis-cli set kept yes", "OK")
	})
	t.Run("compose, names in its network, a published port", func(t *testing.T) {
		run(t, connection, "mkdir -p site && cat >site/compose.yaml <<'YAML'\n"+project+"YAML\n"+
			"docker compose -p site -f site/compose.yaml up --detach --quiet-pull 2>&1")
		expect(t, connection, "docker compose -p site exec -T web python -c \"import socket; socket.create_connection(('queue', 6379)); print('reached')\" </dev/null", "reached")
		get(t, h.SiteAddress(), "home of the site")
	})
	t.Run("jump host", func(t *testing.T) {
		jump, err := ssh.Dial("tcp", h.JumpAddress(), config)
		if err != nil {
			t.Fatalf("log in to the jump host: %v", err)
		}
		defer jump.Close()
		through, err := jump.Dial("tcp", h.InnerAddress())
		if err != nil {
			t.Fatalf("reach the host from the jump host: %v", err)
		}
		c, channels, requests, err := ssh.NewClientConn(through, h.InnerAddress(), config)
		if err != nil {
			t.Fatalf("log in through the jump host: %v", err)
		}
		inner := ssh.NewClient(c, channels, requests)
		defer inner.Close()
		expect(t, inner, "docker ps --format '{{.Names}}'", "store")
	})
	t.Run("only the key opens it", func(t *testing.T) {
		denied := *config
		denied.Auth = []ssh.AuthMethod{ssh.Password("deploy")}
		if _, err := ssh.Dial("tcp", h.SSHAddress(), &denied); err == nil || !strings.Contains(err.Error(), "unable to authenticate") {
			t.Fatalf("login by password gave %v, want a refusal", err)
		}
	})

	faults := map[string]func(context.Context) error{"Docker is restarted": h.RestartDocker, "Docker is killed": h.KillDocker}
	if image == images.NewerHost {
		faults["Docker crashes"] = h.CrashDocker
	}
	for name, fault := range faults {
		t.Run(name, func(t *testing.T) {
			const started = "docker inspect --format '{{.State.StartedAt}}' store"
			before := run(t, connection, started)
			begun := time.Now()
			if err := fault(ctx); err != nil {
				t.Fatal(err)
			}
			t.Logf("Docker was back in %v", time.Since(begun))
			expect(t, connection, ping("store"), "PONG")
			if after := run(t, connection, started); after == before {
				t.Errorf("the container runs since %s all the same", before)
			}
			expect(t, connection, "docker exec store redis-cli get kept", "yes")
			get(t, h.SiteAddress(), "home of the site")
			// One of the container store and one of the project, and none that
			// Docker knows nothing of.
			if got := strings.TrimSpace(run(t, connection, "pgrep --count redis-server")); got != "2" {
				t.Errorf("%s servers run, want 2", got)
			}
		})
	}
	t.Run("SSH is killed", func(t *testing.T) {
		expect(t, connection, "setsid sleep 1000 </dev/null >/dev/null 2>&1 & echo $!", "")
		lost := make(chan error, 1)
		go func() { lost <- connection.Wait() }()
		begun := time.Now()
		if err := h.KillSSH(ctx); err != nil {
			t.Fatal(err)
		}
		t.Logf("SSH was back in %v", time.Since(begun))
		select {
		case <-lost:
		case <-time.After(10 * time.Second):
			t.Error("the session goes on")
		}
		connection = dial(t)
		run(t, connection, "pgrep --full --exact 'sleep 1000'")
	})

	t.Run("volumes have little room", func(t *testing.T) {
		if err := h.ShrinkVolumes(ctx); err != nil {
			t.Fatal(err)
		}
		expect(t, connection, "grep -c '^volumes /var/lib/docker/volumes tmpfs ' /proc/mounts", "1")
		expect(t, connection, ping("store"), "PONG")
		expect(t, connection, "docker exec store redis-cli get kept", "yes")
	})

	run(t, connection, "echo '@reboot date >>booted' | crontab - && mkdir boots && cp /proc/sys/kernel/random/boot_id boots/first")
	site := h.SiteAddress()
	for _, end := range []struct {
		name string
		stop func(context.Context) error
	}{{"after a stop", h.Stop}, {"after a power cut", h.Cut}} {
		t.Run(end.name, func(t *testing.T) {
			begun := time.Now()
			if err := end.stop(ctx); err != nil {
				t.Fatal(err)
			}
			down := time.Now()
			_ = connection.Close()
			if _, err := ssh.Dial("tcp", h.SSHAddress(), config); err == nil {
				t.Fatal("the host answers although it is down")
			}
			up := time.Now()
			if err := h.Start(ctx); err != nil {
				t.Fatal(err)
			}
			t.Logf("down in %v, up again in %v", down.Sub(begun), time.Since(up))
			connection = dial(t)
			expect(t, connection, "cat site/compose.yaml", "queue")
			expect(t, connection, ping("store"), "PONG")
			expect(t, connection, "docker exec store redis-cli get kept", "yes")
			get(t, site, "home of the site")
			run(t, connection, "for i in $(seq 100); do [ -e booted ] && break; sleep 0.1; done; rm booted")
			run(t, connection, "! grep -qxFf /proc/sys/kernel/random/boot_id boots/* && cp /proc/sys/kernel/random/boot_id boots/$(date +%s.%N)")
		})
	}

	t.Run("logs", func(t *testing.T) {
		logs, err := h.Logs(ctx)
		if err != nil {
			t.Fatal(err)
		}
		for _, want := range []string{"boot.log", "API listen on /var/run/docker.sock", "Accepted publickey for deploy", "Server listening on"} {
			if !strings.Contains(logs, want) {
				t.Errorf("logs lack %q:\n%s", want, logs)
			}
		}
	})
	t.Run("another host goes on with the disk", func(t *testing.T) {
		_ = connection.Close()
		if err := h.Stop(ctx); err != nil {
			t.Fatal(err)
		}
		same := options
		same.Fresh, same.Jump = false, false
		second, err := host.Start(ctx, same)
		if err != nil {
			t.Fatal(err)
		}
		defer func() {
			if err := second.Close(context.WithoutCancel(ctx)); err != nil {
				t.Error(err)
			}
		}()
		with := *config
		with.HostKeyCallback = ssh.FixedHostKey(second.HostKey())
		connection, err := ssh.Dial("tcp", second.SSHAddress(), &with)
		if err != nil {
			t.Fatalf("log in: %v", err)
		}
		defer connection.Close()
		expect(t, connection, ping("store"), "PONG")
		expect(t, connection, "docker exec store redis-cli get kept", "yes")
	})
	t.Run("nothing is left", func(t *testing.T) {
		_ = connection.Close()
		begun := time.Now()
		if err := h.Close(ctx); err != nil {
			t.Fatal(err)
		}
		closed = true
		t.Logf("closed in %v", time.Since(begun))
		for _, address := range []string{h.SSHAddress(), h.SiteAddress(), h.JumpAddress()} {
			if c, err := net.DialTimeout("tcp", address, time.Second); err == nil {
				_ = c.Close()
				t.Errorf("something still listens on %s", address)
			}
		}
		left, err := client.Container().From("debian:bookworm-slim").
			WithMountedCache("/disk", client.CacheVolume("sandbox-host-"+options.Name)).
			WithEnvVariable("NOW", rand.Text()).
			WithExec([]string{"ls", "-A", "/disk"}).Stdout(ctx)
		if err != nil || left != "" {
			t.Errorf("the disk still has %q (%v)", left, err)
		}
	})
}

// project is a compose project with a published port, a volume and two
// services that see each other.
const project = `services:
  queue:
    image: redis:7.2
    restart: always
  web:
    image: python:3.11.6-slim-bookworm
    restart: always
    init: true
    ports: ["8093:80"]
    working_dir: /pages
    volumes: ["pages:/pages"]
    command: sh -c "echo home of the site >index.html; exec python -m http.server 80"
volumes:
  pages: {}
`

// ping asks the Redis of a container until it answers.
func ping(container string) string {
	return "for i in $(seq 100); do docker exec " + container + " redis-cli ping 2>&1 && break; sleep 0.1; done"
}

// run returns what a command on the host prints.
func run(t *testing.T, connection *ssh.Client, command string) string {
	t.Helper()
	session, err := connection.NewSession()
	if err != nil {
		t.Fatalf("open session: %v", err)
	}
	defer session.Close()
	out, err := session.CombinedOutput(command)
	if err != nil {
		t.Fatalf("%s: %v\n%s", command, err, out)
	}
	return string(out)
}

// get waits for a page that contains a text.
func get(t *testing.T, address, want string) {
	t.Helper()
	var last error
	for deadline := time.Now().Add(30 * time.Second); time.Now().Before(deadline); time.Sleep(200 * time.Millisecond) {
		request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+address+"/", nil)
		if err != nil {
			t.Fatal(err)
		}
		request.Close = true
		response, err := http.DefaultClient.Do(request)
		if err != nil {
			last = err
			continue
		}
		body, err := io.ReadAll(response.Body)
		_ = response.Body.Close()
		if err == nil && strings.Contains(string(body), want) {
			return
		}
		last = errors.Join(fmt.Errorf("%s: %q", response.Status, body), err)
	}
	t.Fatalf("get http://%s/: %v, want %q", address, last, want)
}
