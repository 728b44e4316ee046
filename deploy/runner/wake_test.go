//go:build unix

package runner_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/desiredeffect/erpnext-pipeline/deploy/runner"
)

// tool puts a program where the run finds it before all others.
func (h *host) tool(name, text string) {
	h.t.Helper()
	dir := filepath.Join(h.dir, "tools")
	if err := os.MkdirAll(dir, 0o700); err != nil {
		h.t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, name), []byte("#!/bin/sh\n"+text+"\n"), 0o700); err != nil {
		h.t.Fatal(err)
	}
	for i, v := range h.env {
		if path, ok := strings.CutPrefix(v, "PATH="); ok && !strings.HasPrefix(path, dir+":") {
			h.env[i] = "PATH=" + dir + ":" + path
		}
	}
}

// TestWaker holds what wakes a run: systemd where it can, else cron, and that
// nothing of it is left.
func TestWaker(t *testing.T) {
	for shell, env := range shells(t) {
		for _, tc := range []struct {
			name         string
			user         string // root where empty
			systemd      bool
			prepare      func(*host)
			units, cron  bool
			scope, notes string
		}{
			{name: "systemd", systemd: true, units: true, scope: "--system"},
			{name: "no systemd", cron: true},
			{name: "systemd that does not take the units", systemd: true, cron: true, prepare: func(h *host) { h.unit("fails", "") }},
			{name: "a user's own systemd", user: "1000", systemd: true, units: true, scope: "--user", prepare: func(h *host) { h.unit("lingers", "") }},
			{name: "a user who may let it linger", user: "1000", systemd: true, units: true, scope: "--user"},
			{name: "a user who may not", user: "1000", systemd: true, cron: true, prepare: func(h *host) { h.tool("loginctl", "exit 1") }},
			{name: "neither", notes: "neither systemd nor cron wakes this run", prepare: func(h *host) { h.tool("crontab", "echo not allowed >&2; exit 1") }},
			{name: "a crontab that can't be read", notes: "neither systemd nor cron wakes this run", prepare: func(h *host) {
				h.tool("crontab", `[ "$1" = - ] && cat >"$CRONTAB"; echo "read error" >&2; exit 1`)
			}},
			{name: "a crontab with something to say", cron: true, prepare: func(h *host) {
				h.tool("crontab", `[ "$1" = - ] && exec cat >"$CRONTAB"; echo "warning: mail is off" >&2; exec cat "$CRONTAB"`)
			}},
		} {
			t.Run(shell+" "+tc.name, func(t *testing.T) {
				h := newHost(t, env, steps{"10-a.do": `cp "$SYSTEMD_UNIT_PATH"/deploy-run-* . 2>/dev/null; cat "$CRONTAB" >crontab.seen`})
				sh := h.sh()
				if tc.systemd {
					if err := os.Mkdir(filepath.Join(h.dir, "units"), 0o700); err != nil {
						t.Fatal(err)
					}
				}
				uid := "0"
				if tc.user != "" {
					uid = tc.user
				}
				h.tool("id", "[ $1 = -un ] && echo ann || echo "+uid)
				if tc.prepare != nil {
					tc.prepare(h)
				}
				cmd := exec.Command(sh, runner.Command(h.run, "start")[1:]...)
				cmd.Env = h.env
				out, err := cmd.CombinedOutput()
				if err != nil || tc.notes == "" && strings.Contains(string(out), "neither") || !strings.Contains(string(out), tc.notes) {
					t.Errorf("%v: %s", err, out)
				}
				service, timer := h.read("deploy-run-0001-1.0.0.service"), h.read("deploy-run-0001-1.0.0.timer")
				if tc.units != (service != "") || tc.units != (timer != "") {
					t.Errorf("service:\n%s\ntimer:\n%s", service, timer)
				}
				if tc.units {
					calls, err := os.ReadFile(filepath.Join(h.dir, "units", "calls"))
					if err != nil {
						t.Fatal(err)
					}
					for _, want := range []string{"daemon-reload", "enable --now deploy-run-0001-1.0.0.timer", "--no-reload disable --now deploy-run-0001-1.0.0.timer"} {
						if !strings.Contains(string(calls), tc.scope+" "+want+"\n") {
							t.Errorf("systemctl was not called with %s %s:\n%s", tc.scope, want, calls)
						}
					}
					// What removes its own unit would be ended by that.
					if strings.LastIndex(string(calls), "daemon-reload") > strings.Index(string(calls), "disable --now") {
						t.Errorf("systemd reads its units again at the end:\n%s", calls)
					}
					if root := strings.Contains(service, "\nUser=root\n"); root != (tc.user == "") {
						t.Errorf("service:\n%s", service)
					}
					h.verify()
				}
				if got := strings.Contains(h.read("crontab.seen"), "@reboot sh '"+h.run+"/runner' wake"); got != tc.cron || !strings.HasPrefix(h.read("crontab.seen"), ownLine) {
					t.Errorf("crontab while it ran:\n%s", h.read("crontab.seen"))
				}
				if h.crontab() != ownLine {
					t.Errorf("crontab:\n%s", h.crontab())
				}
				if left, _ := filepath.Glob(filepath.Join(h.dir, "units", "deploy-run-*")); len(left) > 0 {
					t.Errorf("left behind: %v", left)
				}
				if left, _ := filepath.Glob(filepath.Join(h.run, "crontab.[0-9]*")); len(left) > 0 {
					t.Errorf("left behind: %v", left)
				}
			})
		}
	}
}

// unit writes a file beside the units.
func (h *host) unit(name, text string) {
	h.t.Helper()
	if err := os.WriteFile(filepath.Join(h.dir, "units", name), []byte(text), 0o600); err != nil {
		h.t.Fatal(err)
	}
}

// verify has systemd read the units, where it is there.
func (h *host) verify() {
	h.t.Helper()
	analyze, err := exec.LookPath("systemd-analyze")
	if err != nil {
		return
	}
	for _, kind := range []string{".service", ".timer"} {
		cmd := exec.Command(analyze, "verify", "--man=no", filepath.Join(h.run, "deploy-run-0001-1.0.0"+kind))
		if out, err := cmd.CombinedOutput(); err != nil || strings.Contains(string(out), "deploy-run-") {
			h.t.Errorf("systemd-analyze verify: %v\n%s", err, out)
		}
	}
}

// TestHostStops: a run that is told to end because the host is stopped is neither
// stopped nor undone: it goes on after the restart.
func TestHostStops(t *testing.T) {
	for shell, env := range shells(t) {
		t.Run(shell, func(t *testing.T) {
			h := newHost(t, env, steps{
				"10-a.do": "echo a >>trace", "10-a.undo": "echo undo-a >>trace",
				"20-b.do": "echo b >>trace; [ -e again ] || { touch again; sleep 60; }",
			})
			sh := h.sh()
			h.tool("systemctl", `[ "$1" = is-system-running ] && [ -e "`+h.dir+`/stopping" ] && echo stopping`)
			first := exec.Command(sh, runner.Command(h.run, "start")[1:]...)
			first.Env = h.env
			first.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
			if err := first.Start(); err != nil {
				t.Fatal(err)
			}
			until(t, "the second step", func() bool { return h.words("trace") == "a b" })
			if err := os.WriteFile(filepath.Join(h.dir, "stopping"), nil, 0o600); err != nil {
				t.Fatal(err)
			}
			// As systemd does it: to all that belongs to the session.
			if err := syscall.Kill(-first.Process.Pid, syscall.SIGTERM); err != nil {
				t.Fatal(err)
			}
			_ = first.Wait()
			if code, out := h.do("status"); strings.TrimSpace(out) != "interrupted" || strings.Contains(h.read("journal"), "undoing") {
				t.Errorf("%d %s, journal\n%s", code, out, h.read("journal"))
			}
			if err := os.Remove(filepath.Join(h.dir, "stopping")); err != nil {
				t.Fatal(err)
			}
			if code, out := h.do("wake"); code != 0 {
				t.Errorf("wake: exit %d\n%s", code, out)
			}
			if got := h.words("trace"); got != "a b b" || h.journal().Outcome() != runner.Done || h.locked() {
				t.Errorf("trace %q, journal\n%s", got, h.read("journal"))
			}
		})
	}
}

// TestUnitRuns: the command of the unit is one that starts the runner, whatever
// is in the folder's name. systemd's quoting is undone as systemd.service(5) has
// it.
func TestUnitRuns(t *testing.T) {
	for shell, env := range shells(t) {
		t.Run(shell, func(t *testing.T) {
			h := newHost(t, env, nil)
			h.dir = filepath.Join(t.TempDir(), `it's 50% of $HOME "x"`)
			h.run = filepath.Join(h.dir, "runs", "0001-1.0.0")
			h.add(h.run, steps{"10-a.do": `cp "$SYSTEMD_UNIT_PATH"/deploy-run-*.service unit; echo a >>trace; [ -e again ] || { touch again; kill -9 $PPID; }`})
			if err := os.Mkdir(filepath.Join(h.dir, "units"), 0o700); err != nil {
				t.Fatal(err)
			}
			h.env = append(h.env, "SYSTEMD_UNIT_PATH="+filepath.Join(h.dir, "units"))
			h.tool("id", "echo 0")
			cmd := exec.Command("/bin/sh", runner.Command(h.run, "start")[1:]...)
			cmd.Env = h.env
			_ = cmd.Run()
			until(t, "the end of the step", func() bool { return h.read("unit") != "" && h.read("trace") != "" })
			_, line, _ := strings.Cut(h.read("unit"), "\nExecStart=")
			line, _, _ = strings.Cut(line, "\n")
			var argv []string
			for rest := strings.TrimSpace(line); rest != ""; rest = strings.TrimSpace(rest) {
				word := ""
				if quoted, ok := strings.CutPrefix(rest, `"`); ok {
					for quoted[0] != '"' {
						quoted = strings.TrimPrefix(quoted, `\`)
						word, quoted = word+quoted[:1], quoted[1:]
					}
					rest = quoted[1:]
				} else {
					word, rest, _ = strings.Cut(rest, " ")
				}
				argv = append(argv, strings.NewReplacer("$$", "$", "%%", "%").Replace(word))
			}
			until(t, "the run's end", func() bool {
				woken := exec.Command(argv[0], argv[1:]...)
				woken.Env = []string{"PATH=/usr/bin:/bin", "SYSTEMD_UNIT_PATH=" + filepath.Join(h.dir, "units"), "CRONTAB=" + filepath.Join(h.dir, "crontab")}
				if out, err := woken.CombinedOutput(); err != nil || len(out) > 0 {
					t.Fatalf("%q: %v: %s", argv, err, out)
				}
				return h.journal().Outcome() == runner.Done
			})
			if got := h.words("trace"); got != "a a" || !strings.Contains(h.read("log"), "run-end done") {
				t.Errorf("trace %q, log\n%s", got, h.read("log"))
			}
		})
	}
}

// TestWakeFindsDocker: what wakes a run has not the PATH of the session that
// started it.
func TestWakeFindsDocker(t *testing.T) {
	for shell, env := range shells(t) {
		t.Run(shell, func(t *testing.T) {
			h := newHost(t, env, steps{"10-a.do": "docker >>trace; [ -e again ] || { touch again; kill -9 $PPID; }"})
			sh := h.sh()
			h.tool("docker", `echo "$DOCKER_HOST $DOCKER_TLS_VERIFY $DOCKER_CERT_PATH"`)
			const docker = "tcp://127.0.0.1:2376 1 /home/ann/.docker"
			h.env = append(h.env, "DOCKER_HOST=tcp://127.0.0.1:2376", "DOCKER_TLS_VERIFY=1", "DOCKER_CERT_PATH=/home/ann/.docker")
			cmd := exec.Command(sh, runner.Command(h.run, "start")[1:]...)
			cmd.Env = h.env
			_ = cmd.Run()
			until(t, "the run's end", func() bool {
				woken := exec.Command("/bin/sh", runner.Command(h.run, "wake")[1:]...)
				woken.Env = []string{"PATH=/usr/bin:/bin", "CRONTAB=" + filepath.Join(h.dir, "crontab"), "SYSTEMD_UNIT_PATH=" + filepath.Join(h.dir, "units")}
				if out, err := woken.CombinedOutput(); err != nil {
					t.Fatalf("%v: %s", err, out)
				}
				return h.journal().Outcome() == runner.Done
			})
			if got := h.words("trace"); got != docker+" "+docker {
				t.Errorf("trace %q", got)
			}
			if h.crontab() != ownLine {
				t.Errorf("crontab:\n%s", h.crontab())
			}
		})
	}
}
