package registry

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/remote/transport"

	"github.com/desiredeffect/erpnext-pipeline/internal/problem"
)

// Check finds out whether a version can be pushed: the registry answers, the
// credentials may push, and the version is free. It changes nothing.
func Check(ctx context.Context, t Target, version string) problem.Report {
	var report problem.Report
	tag, err := t.tag(version)
	if err != nil {
		report.Addf("registry.name", "IMAGE_NAME", "give a name of lower-case letters, digits, dots, dashes and slashes", "%v", err)
		return report
	}
	var auth authn.Keychain = authn.NewMultiKeychain()
	if t.Password.IsSet() {
		auth = fixed{authn.Basic{Username: t.Username, Password: t.Password.Reveal()}}
	}
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	if err := remote.CheckPushPermission(tag, auth, contextTransport{ctx, remote.DefaultTransport}); err != nil {
		report.Add(describe(t, err))
		return report
	}
	switch digest, err := Released(ctx, t, version); {
	case err != nil:
		report.Add(describe(t, err))
	case digest != "":
		report.Add(Taken(t, version, digest))
	}
	return report
}

// CodeTaken is the code of the problem that [Taken] makes.
const CodeTaken = "registry.version-taken"

// Taken is the problem of a version that names a digest already.
func Taken(t Target, version, digest string) problem.Problem {
	return problem.Problem{
		Code: CodeTaken, Subject: "DE_SITE_VERSION " + version,
		Detail: fmt.Sprintf("is released already: %s:%s is %s", t.Repository(), version, digest),
		Remedy: "increment DE_SITE_VERSION: a version names one image forever; to put that image live, run: pipeline deploy " + version,
	}
}

// describe turns a registry's error into a problem with its remedy.
func describe(t Target, err error) problem.Problem {
	p := problem.Problem{Code: "registry.unreachable", Subject: "REGISTRY", Err: err, Detail: err.Error(),
		Remedy: "check REGISTRY and that this machine reaches it"}
	if t.Host != "" {
		p.Subject += " " + t.Host
	}
	var status *transport.Error
	if errors.As(err, &status) {
		switch status.StatusCode {
		case http.StatusUnauthorized:
			p.Code, p.Detail = "registry.unauthorized", "refuses the credentials"
			p.Remedy = "set REGISTRY_USERNAME and REGISTRY_PASSWORD to an account that may push " + t.Name
		case http.StatusForbidden:
			p.Code, p.Detail = "registry.forbidden", "does not let this account push "+t.Name
			p.Remedy = "give the account push permission, or change IMAGE_NAME"
		case http.StatusTooManyRequests:
			p.Code, p.Detail = "registry.limited", "answers that there were too many requests"
			p.Remedy = "wait for the limit to pass, or use an account with a higher one"
		}
	}
	return p
}

// fixed answers every registry with the same credentials.
type fixed struct{ authn.Basic }

func (f fixed) Resolve(authn.Resource) (authn.Authenticator, error) { return &f.Basic, nil }

// contextTransport puts the caller's context into every request:
// remote.CheckPushPermission takes none.
type contextTransport struct {
	ctx  context.Context
	next http.RoundTripper
}

func (c contextTransport) RoundTrip(r *http.Request) (*http.Response, error) {
	return c.next.RoundTrip(r.WithContext(c.ctx))
}
