package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
)

// Where the engine finds its parts, in a /run of its own. The first one is
// compiled into it, see package distconsts.
const (
	partDir   = "/run/sandbox-engine"
	pluginDir = partDir + "/cni"
	binDir    = partDir + "/bin"
)

// plugins are the container network plugins that the engine's network
// configuration names, from the package containernetworking-plugins.
var plugins = []string{"bridge", "firewall", "host-local", "loopback"}

// isolate gives the engine folders of its own in place of those of the
// machine's that it writes to:
//   - /run, for its sockets, its containers and its network's configuration;
//   - /etc, where it puts its own resolver file over the machine's;
//   - the folder of additional certificates, which it indexes.
func isolate(root, tools string) error {
	// Without this what is mounted below would be mounted on the machine.
	if err := mount("", "/", "", syscall.MS_REC|syscall.MS_PRIVATE, ""); err != nil {
		return err
	}
	if err := mount("proc", "/proc", "proc", 0, ""); err != nil {
		return err
	}
	// An overlay does not show what is mounted in the folder below it, as
	// containers do with these files, and links into /run are about to break.
	kept := map[string][]byte{}
	for _, name := range []string{"/etc/resolv.conf", "/etc/hosts", "/etc/hostname"} {
		content, err := os.ReadFile(name)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return fmt.Errorf("keep resolver: %w", err)
		}
		kept[name] = content
	}
	if err := mount("tmpfs", "/run", "tmpfs", 0, "mode=0755"); err != nil {
		return err
	}
	for _, dir := range []string{"/etc", "/usr/local/share/ca-certificates"} {
		if err := overlay(dir); err != nil {
			return err
		}
	}
	for name, content := range kept {
		if err := os.RemoveAll(name); err != nil {
			return fmt.Errorf("put %s back: %w", name, err)
		}
		if err := os.WriteFile(name, content, 0o644); err != nil {
			return fmt.Errorf("put %s back: %w", name, err)
		}
	}
	return placeParts(root, tools)
}

func mount(source, target, kind string, flags uintptr, options string) error {
	if err := syscall.Mount(source, target, kind, flags, options); err != nil {
		return fmt.Errorf("mount %s: %w", target, err)
	}
	return nil
}

// overlay catches in memory what is written below a folder, if it is there.
func overlay(dir string) error {
	if _, err := os.Stat(dir); errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	scratch := filepath.Join("/run/scratch", strings.ReplaceAll(dir, "/", "_"))
	upper, work := filepath.Join(scratch, "upper"), filepath.Join(scratch, "work")
	for _, d := range []string{upper, work} {
		if err := os.MkdirAll(d, 0o755); err != nil {
			return fmt.Errorf("overlay %s: %w", dir, err)
		}
	}
	return mount("overlay", dir, "overlay", 0, "lowerdir="+dir+",upperdir="+upper+",workdir="+work)
}

// placeParts puts what the engine runs and reads where it looks for it.
func placeParts(root, tools string) error {
	runc, err := exec.LookPath("runc")
	if err != nil {
		return fmt.Errorf("find runc: %w", err)
	}
	links := map[string]string{
		partDir + "/runc":         runc,
		partDir + "/dagger-init":  filepath.Join(tools, "dagger-init"),
		pluginDir + "/dnsname":    filepath.Join(tools, "dnsname"),
		"/etc/dagger/engine.json": filepath.Join(root, "engine.json"),
		// The engine begins with a refresh of the trusted certificates,
		// which takes seconds. The machine's are as its owner wants them.
		binDir + "/update-ca-certificates": "/bin/true",
	}
	for _, plugin := range plugins {
		links[filepath.Join(pluginDir, plugin)] = filepath.Join("/usr/lib/cni", plugin)
	}
	for link, target := range links {
		if err := os.MkdirAll(filepath.Dir(link), 0o755); err != nil {
			return fmt.Errorf("place %s: %w", link, err)
		}
		if err := os.RemoveAll(link); err != nil {
			return fmt.Errorf("place %s: %w", link, err)
		}
		if err := os.Symlink(target, link); err != nil {
			return fmt.Errorf("place %s: %w", link, err)
		}
	}
	return placeDNSMasq()
}

// placeDNSMasq puts a dnsmasq first in the search path that binds to the
// bridge only. Left to itself it takes port 53 of every address, which it can
// have neither beside the machine's own resolver nor beside that of another
// engine.
func placeDNSMasq() error {
	dnsmasq, err := exec.LookPath("dnsmasq")
	if err != nil {
		return fmt.Errorf("find dnsmasq: %w", err)
	}
	if err := os.MkdirAll(binDir, 0o755); err != nil {
		return fmt.Errorf("place dnsmasq: %w", err)
	}
	script := fmt.Sprintf("#!/bin/sh\nexec %s --bind-dynamic \"$@\"\n", dnsmasq)
	if err := os.WriteFile(filepath.Join(binDir, "dnsmasq"), []byte(script), 0o755); err != nil {
		return fmt.Errorf("place dnsmasq: %w", err)
	}
	return os.Setenv("PATH", binDir+":"+os.Getenv("PATH"))
}
