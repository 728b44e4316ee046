package setup

import (
	"context"
	"fmt"
	"path"
	"strings"

	"github.com/desiredeffect/erpnext-pipeline/internal/problem"
)

// deployUser has a user to deploy as, who may use Docker. One who is there is kept.
func deployUser(f Facts, o Options) finding {
	if o.User == "root" {
		return finding{has: "root deploys"}
	}
	missing := &problem.Problem{Code: "setup.user", Subject: "user " + o.User, Remedy: "pipeline setup makes the user and lets it use Docker"}
	found := finding{missing: missing, blocks: true, act: func(ctx context.Context, r root) error {
		_, err := r.do(ctx, "user", "", o.User)
		return err
	}}
	switch {
	case !f.is("user"):
		missing.Detail = "is not on the host"
		found.does = "make the user, in the group docker, with a key and without a password"
	case !strings.Contains(f.get("groups"), " docker "):
		missing.Detail = "is not in the group docker"
		found.does = "add the user to the group"
	default:
		return finding{has: o.User + " is in the group docker"}
	}
	return found
}

// loginKey has a key that lets the user in. Others stay.
func loginKey(f Facts, o Options) finding {
	if !f.is("root") {
		return finding{} // whoever looks has come in
	}
	if f.is("key") {
		return finding{has: o.User + " logs in with " + o.Fingerprint}
	}
	home := f.get("home")
	if home == "" {
		home = "~" + o.User
	}
	return finding{
		missing: &problem.Problem{Code: "setup.key", Subject: "user " + o.User, Detail: "can't log in with the key of the configuration", Remedy: "pipeline setup adds it"},
		blocks:  true,
		does:    fmt.Sprintf("add %s to %s", o.Fingerprint, path.Join(home, ".ssh/authorized_keys")),
		act: func(ctx context.Context, r root) error {
			_, err := r.do(ctx, "key", o.Key+"\n", o.User)
			return err
		},
	}
}

// FolderProblem says that nothing can be made in the folder of releases, because of a
// folder that is there.
func FolderProblem(dir, because string) problem.Problem {
	return problem.Problem{Code: "deploy.unwritable", Subject: dir, Detail: fmt.Sprintf("can't be written: %s does not allow it", because),
		Remedy: "pipeline setup makes the folder on the host and gives it to the user who deploys"}
}

// folder has the folder of releases belong to the user. One that has something in it
// is not given away: it may be the wrong one.
func folder(f Facts, o Options) finding {
	state := f.get("folder")
	if state == "writable" {
		return finding{has: o.Dir + " can be written"}
	}
	found := finding{blocks: true, act: func(ctx context.Context, r root) error {
		_, err := r.do(ctx, "folder", "", o.User, o.Dir)
		return err
	}}
	owner, taken := strings.CutPrefix(state, "of ")
	switch {
	case taken:
		p := FolderProblem(o.Dir, o.Dir)
		p.Detail = fmt.Sprintf("belongs to %s, has something in it, and %s can't write there", owner, o.User)
		p.Remedy = fmt.Sprintf("if it is the right folder, give it to the user on the host: chown -R %s %s", o.User, o.Dir)
		found.missing = &p
	case state == "empty":
		p := FolderProblem(o.Dir, o.Dir)
		found.missing, found.does = &p, "give it to "+o.User
	default:
		p := FolderProblem(o.Dir, o.Dir)
		p.Detail = "is not there"
		found.missing, found.does = &p, "make it, for "+o.User
	}
	return found
}
