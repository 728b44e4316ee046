// Command supervisor runs one engine and its mirror for as long as somebody
// uses them, and then leaves the machine as it was found.
//
// It is the first process of a mount namespace and of a process namespace of
// its own: what it mounts and starts is gone with it, however it ends. Only the
// network is shared with the machine, so that the engine reaches the servers on
// its loopback; what is put there is taken away at the end and, should the end
// come by a kill, at the next start.
//
// It is compiled on its own where the sandbox runs (see package engine), and so
// imports the standard library only.
package main

import (
	"errors"
	"flag"
	"fmt"
	"log"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"
	"time"
)

// engineGrace is what the engine gets to write its cache down.
const engineGrace = 30 * time.Second

func main() {
	log.SetFlags(log.LstdFlags | log.Lmsgprefix)
	log.SetPrefix("supervisor: ")
	if err := run(os.Args[1:]); err != nil {
		log.Fatal(err)
	}
}

func run(args []string) error {
	flags := flag.NewFlagSet("supervisor", flag.ContinueOnError)
	root := flags.String("root", "", "folder of the engine: its configuration, state, socket and locks")
	tools := flags.String("tools", "", "folder with the commands engine, dagger-init and dnsname")
	mirror := flags.String("mirror", "", "the mirror's command")
	listen := flags.String("listen", "", "address that the mirror listens on, as host:port")
	var bridged network
	flags.StringVar(&bridged.name, "network", "", "name of the containers' network")
	flags.StringVar(&bridged.cidr, "cidr", "", "addresses of the containers' network")
	if err := flags.Parse(args); err != nil {
		return err
	}
	if os.Getpid() != 1 {
		return errors.New("has to be the first process of a process namespace")
	}

	// The lock that says "running" ends with this process, not with a child.
	syscall.CloseOnExec(3)

	if err := isolate(*root, *tools); err != nil {
		return err
	}
	forget := func() {
		bridged.forget()
		forgetCgroups(bridged.name)
	}
	forget()
	config := filepath.Join(partDir, "engine.toml")
	if err := configureCgroups(config, bridged.name); err != nil {
		return err
	}
	// What is left of the containers' networks by an end with containers: the
	// engine would try to dissolve them, in vain.
	if err := os.RemoveAll(filepath.Join(*root, "state", "net")); err != nil {
		return err
	}
	forwarded := forwards()
	err := serve(
		[]string{
			*mirror,
			"-listen", *listen,
			"-content", filepath.Join(*root, "images"),
		},
		[]string{
			filepath.Join(*tools, "engine"),
			"--config", config, // and /etc/dagger/engine.json
			"--root", filepath.Join(*root, "state"),
			"--addr", "unix://" + filepath.Join(*root, "engine.sock"),
			"--network-name", bridged.name,
			"--network-cidr", bridged.cidr,
			"--oci-cni-binary-dir", pluginDir,
		},
		filepath.Join(*root, "users.lock"),
	)
	forget()
	if !forwarded {
		stopForwarding()
	}
	return errors.Join(err, os.RemoveAll(filepath.Join(*root, "engine.sock")))
}

// serve runs the mirror and the engine until nobody holds the users' lock or
// one of them ends. When it returns, no process but this one is left in the
// namespace.
func serve(mirrorCommand, engineCommand []string, users string) error {
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, syscall.SIGTERM, syscall.SIGINT, syscall.SIGHUP)

	mirror, err := start(mirrorCommand)
	if err != nil {
		return err
	}
	engine, err := start(engineCommand)
	if err != nil {
		return err // the end of this process is the mirror's
	}
	ended := make(chan int)
	go reap(ended)
	unused := make(chan error, 1)
	go func() { unused <- awaitUnused(users) }()

	var late <-chan time.Time
	stop := func(why string) {
		if late != nil {
			return
		}
		log.Printf("stopping: %s", why)
		late = time.After(engineGrace)
		_ = syscall.Kill(engine, syscall.SIGTERM) // gone is as good
	}
	for {
		select {
		case pid, more := <-ended:
			switch {
			case !more:
				return nil
			case pid == mirror:
				stop("the mirror ended")
			case pid == engine:
				stop("the engine ended")
				endAll()
			}
		case err := <-unused:
			if err != nil {
				log.Print(err)
			}
			stop("nobody uses the engine")
		case s := <-signals:
			stop(s.String())
		case <-late:
			log.Printf("the engine did not end in %s", engineGrace)
			endAll()
		}
	}
}

// start runs a command with this process's output and gives its process id.
func start(command []string) (int, error) {
	process, err := os.StartProcess(command[0], command, &os.ProcAttr{
		Files: []*os.File{nil, os.Stdout, os.Stderr},
	})
	if err != nil {
		return 0, fmt.Errorf("start %s: %w", filepath.Base(command[0]), err)
	}
	return process.Pid, nil
}

// reap collects every process that ends, as the first process of a namespace
// has to, sends its id, and closes the channel when none is left.
func reap(ended chan<- int) {
	defer close(ended)
	for {
		pid, err := syscall.Wait4(-1, nil, 0, nil)
		if err == nil {
			ended <- pid
		} else if !errors.Is(err, syscall.EINTR) {
			return
		}
	}
}

// endAll kills every other process in the namespace.
func endAll() { _ = syscall.Kill(-1, syscall.SIGKILL) }

// awaitUnused returns when no user holds the lock. It is this process's from
// then on, so that who comes now waits until everything is gone.
func awaitUnused(path string) error {
	lock, err := syscall.Open(path, syscall.O_RDWR|syscall.O_CREAT|syscall.O_CLOEXEC, 0o600)
	if err != nil {
		return fmt.Errorf("open %s: %w", path, err)
	}
	for {
		err := syscall.Flock(lock, syscall.LOCK_EX)
		if err == nil {
			return nil
		}
		if !errors.Is(err, syscall.EINTR) {
			return fmt.Errorf("lock %s: %w", path, err)
		}
	}
}
