package cli

import (
	"cmp"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"

	"github.com/desiredeffect/erpnext-pipeline/deploy/host"
	"github.com/desiredeffect/erpnext-pipeline/internal/config"
	"github.com/desiredeffect/erpnext-pipeline/internal/problem"
	"github.com/desiredeffect/erpnext-pipeline/internal/secret"
)

// question is one that init asks, where nothing has answered it.
type question struct {
	// key is the key of .env with the answer; empty for one that goes elsewhere.
	key, flag, text string
	// example is one for whoever has no terminal.
	example string
	// given is what the flag says.
	given string
	// fallback is the answer of an empty line.
	fallback string
	// told is that without a terminal the flag has to be given: a guess would go
	// live. empty is that no answer is one.
	told, empty bool
	// check returns what is wrong with an answer.
	check func(value string) problem.Report
}

// answer gets the answers to all questions. What is wrong with flags is added to the
// report; at the terminal the question comes again.
func (c *cli) answer(ctx context.Context, o initOptions, s *start, report *problem.Report) error {
	if exists(o.envFile) {
		// What it lacks is for check to say.
		return c.answerFrappe(ctx, o, s, report)
	}
	s.values["DE_SITE_VERSION"] = secret.New(cmp.Or(s.value("DE_SITE_VERSION"), "1.0.0"))
	for _, next := range []func() question{
		func() question {
			return question{key: "IMAGE_NAME", flag: "image", given: o.image, told: true, example: "acme/erpnext", fallback: c.imageGuess(ctx),
				text: "Name of the image, without registry and tag"}
		},
		func() question {
			return question{key: "SITE_NAME", flag: "site", given: *o.keys["SITE_NAME"], told: true, example: "erp.example.com",
				text: "Host name under which people open the site"}
		},
		func() question {
			return question{key: "DEPLOY_HOST", flag: "host", given: *o.keys["DEPLOY_HOST"], told: true, empty: true, example: "erp.example.com, or --host= for none yet",
				text: "Host that runs it, over SSH (empty: none yet)"}
		},
		func() question {
			return question{key: "DEPLOY_USER", flag: "user", given: o.user, told: true, example: "deploy", fallback: cmp.Or(c.getenv("USER"), c.getenv("USERNAME")),
				text: "User to log in there as, who may use Docker"}
		},
		func() question {
			return question{key: "DEPLOY_SSH_KEY_FILE", flag: "ssh-key", given: o.sshKey, empty: true, fallback: c.keyGuess(),
				text: "File with the private key for it (empty: the SSH agent)"}
		},
		func() question {
			return question{key: "COMPOSE_PROJECT_NAME", flag: "project", given: *o.keys["COMPOSE_PROJECT_NAME"], fallback: projectGuess(s.value("SITE_NAME")),
				text: "Name of the compose project, which stays for good"}
		},
		func() question {
			return question{key: "REGISTRY", flag: "registry", given: o.registry, empty: true,
				text: "Registry to push to (empty: none, the host pulls through SSH)"}
		},
	} {
		q := next()
		if needsHost := q.key == "DEPLOY_USER" || q.key == "DEPLOY_SSH_KEY_FILE"; needsHost && s.value("DEPLOY_HOST") == "" {
			continue
		}
		// A key that is in the environment, whole, is one to log in with.
		if q.key == "DEPLOY_SSH_KEY_FILE" && c.getenv("DEPLOY_SSH_KEY") != "" {
			continue
		}
		q.check = func(value string) problem.Report { return config.Check(q.key, value) }
		if q.key == "DEPLOY_SSH_KEY_FILE" {
			q.check = c.checkKey
		}
		if known, _ := s.known.Lookup(q.key); known != "" && !o.changed(q.flag) {
			s.values[q.key] = secret.New(known)
			continue
		}
		value, err := c.reply(ctx, q, o.changed(q.flag), report)
		if err != nil {
			return err
		}
		s.values[q.key] = secret.New(value)
	}
	return c.answerFrappe(ctx, o, s, report)
}

// answerFrappe asks for the version of Frappe, where apps.json is to be written.
func (c *cli) answerFrappe(ctx context.Context, o initOptions, s *start, report *problem.Report) error {
	if exists(cmp.Or(*o.keys["APPS_FILE"], "apps.json")) {
		return nil
	}
	value, err := c.reply(ctx, question{flag: "frappe-version", given: o.frappe, fallback: "15", text: "Version of Frappe and ERPNext, 15 or 16",
		check: func(value string) (wrong problem.Report) {
			if value != "15" && value != "16" {
				wrong.Addf("init.frappe", "", "write 15 or 16", "%q is no version that a site is started with", value)
			}
			return wrong
		}}, o.changed("frappe-version"), report)
	s.frappe = value
	return err
}

// reply returns the answer to a question: what the flag says, or the user does.
func (c *cli) reply(ctx context.Context, q question, given bool, report *problem.Report) (string, error) {
	switch {
	case given && (q.given != "" || q.empty):
		if q.given == "" {
			return "", nil
		}
		for _, p := range q.check(q.given) {
			p.Subject = "--" + q.flag
			report.Add(p)
		}
		return q.given, nil
	case !c.terminal && (q.told || given):
		report.Addf("init.missing", "--"+q.flag, "give --"+q.flag+", such as "+q.example, "is not given, and there is no terminal to ask on")
		return "", nil
	case !c.terminal:
		return q.fallback, nil
	}
	for {
		value, err := c.ask(ctx, q.text, q.fallback)
		if err != nil {
			return "", err
		}
		if value == "" && q.empty {
			return "", nil
		}
		var wrong problem.Report
		if value == "" {
			wrong.Addf("init.missing", "", "such as "+q.example, "it needs an answer")
		} else {
			wrong = q.check(value)
		}
		if len(wrong) == 0 {
			return value, nil
		}
		for _, p := range wrong {
			fmt.Fprintf(c.err, "  ✗ %s\n    fix: %s\n", p.Detail, p.Remedy)
		}
	}
}

// ask asks the user one question. An empty line is the fallback, a dash none at all.
func (c *cli) ask(ctx context.Context, text, fallback string) (string, error) {
	if fallback != "" {
		text += " [" + fallback + "]"
	}
	fmt.Fprintf(c.err, "%s: ", text)
	_ = c.redactErr.Flush()
	line, err := c.readLine(ctx)
	if err != nil {
		return "", err
	}
	switch line = strings.TrimSpace(line); line {
	case "":
		return fallback, nil
	case "-":
		return "", nil
	}
	return line, nil
}

// readLine reads what the user types, until the context ends. Its end is
// [errDeclined].
func (c *cli) readLine(ctx context.Context) (string, error) {
	type typed struct {
		line string
		err  error
	}
	read := make(chan typed, 1)
	go func() {
		line, err := c.lines.ReadString('\n')
		read <- typed{line, err}
	}()
	select {
	case <-ctx.Done():
		return "", ctx.Err()
	case t := <-read:
		if t.err != nil && t.line == "" {
			fmt.Fprintln(c.err)
			return "", errDeclined
		}
		return t.line, nil
	}
}

// imageGuess returns a name for the image: of the repository's owner, or the folder.
func (c *cli) imageGuess(ctx context.Context) string {
	owner, _, _ := strings.Cut(c.remoteRepository(ctx), "/")
	if owner == "" {
		dir, err := os.Getwd()
		if err != nil {
			return ""
		}
		owner = filepath.Base(dir)
	}
	name := strings.ToLower(owner) + "/erpnext"
	if len(config.Check("IMAGE_NAME", name)) > 0 {
		return ""
	}
	return name
}

// keyGuess returns the usual private key, where there is one and no agent.
func (c *cli) keyGuess() string {
	if c.getenv("SSH_AUTH_SOCK") != "" {
		return ""
	}
	for _, name := range []string{"id_ed25519", "id_ecdsa", "id_rsa"} {
		if exists(filepath.Join(cmp.Or(c.getenv("HOME"), c.getenv("USERPROFILE")), ".ssh", name)) {
			return "~/.ssh/" + name
		}
	}
	return ""
}

// checkKey says what is wrong with the file of a private key, but for what is in it.
func (c *cli) checkKey(file string) (report problem.Report) {
	path := file
	if rest, inHome := strings.CutPrefix(file, "~/"); inHome {
		path = filepath.Join(cmp.Or(c.getenv("HOME"), c.getenv("USERPROFILE")), rest)
	}
	if info, err := os.Stat(path); err != nil || !info.Mode().IsRegular() {
		report.Addf("init.ssh-key", "", "name the private key, or make one: ssh-keygen -t ed25519 -f "+host.Quote([]string{file}), "there is no file %s", file)
	}
	return report
}

var notInProject = regexp.MustCompile(`[^a-z0-9]+`)

// projectGuess makes a compose project of a site's name.
func projectGuess(site string) string {
	return cmp.Or(strings.Trim(notInProject.ReplaceAllString(strings.ToLower(site), "-"), "-"), "erpnext")
}
