package apps

import (
	"errors"
	"fmt"
	"os/exec"
	"strings"
	"unicode"

	"github.com/desiredeffect/erpnext-pipeline/internal/problem"
	"github.com/desiredeffect/erpnext-pipeline/internal/secret"
)

// gitError is a git that failed, with what it said.
type gitError struct {
	err       error
	complaint string
	// silent says that the host gave no answer, and would give none later.
	silent bool
}

func (e *gitError) Error() string { return e.err.Error() + ": " + strings.TrimSpace(e.complaint) }

func (e *gitError) Unwrap() error { return e.err }

// errUnadvertised says that a server gives out only commits that a tag or branch is at.
var errUnadvertised = fmt.Errorf("%w that a tag or branch is at", errNoObject)

// says reports whether git said one of some things.
func (e *gitError) says(texts ...string) bool {
	said := strings.ToLower(e.complaint)
	for _, text := range texts {
		if strings.Contains(said, strings.ToLower(text)) {
			return true
		}
	}
	return false
}

// unreached is what git, curl and ssh say where there was no answer.
var unreached = []string{"Could not resolve", "Failed to connect", "Couldn't connect", "Connection refused", "Connection timed out", "Operation timed out", "Network is unreachable", "No route to host",
	"Operation too slow", "Empty reply from server", "Connection reset", "Connection closed", "early EOF", "hung up unexpectedly", "Recv failure", "GnuTLS recv error", "SSL_ERROR_SYSCALL", "SSL connection timeout", "i/o timeout", "no such host"}

// failing is what git says of a server that has trouble of its own.
var failing = []string{"returned error: 5", "returned error: 429", "HTTP 5", "HTTP 429"}

// passing reports whether another attempt may go better.
func (e *gitError) passing() bool {
	return !e.silent && (e.says(failing...) || e.says(unreached...) && !e.denied())
}

// denied reports whether an SSH server closed the connection because of the login.
func (e *gitError) denied() bool {
	return e.says("Permission denied", "Too many authentication failures", "Host key verification failed")
}

// reason is the last thing that git said that tells why, without its own words of
// what to do.
func (e *gitError) reason() string {
	reason := ""
	for line := range strings.SplitSeq(e.complaint, "\n") {
		line = strings.TrimSpace(line)
		for _, mark := range []string{"fatal: ", "error: ", "remote: ", "ERROR: ", "ssh: "} {
			line = strings.TrimPrefix(line, mark)
		}
		switch {
		case line == "", strings.HasPrefix(line, "Please make sure"), strings.HasPrefix(line, "and the repository exists"), strings.HasPrefix(line, "Could not read from remote"),
			strings.HasPrefix(line, "the remote end hung up"), strings.Trim(line, "=") == "":
			continue
		case reason == "":
			reason = line
		}
	}
	if reason == "" {
		reason = e.err.Error()
	}
	// It may be the server's text.
	reason = strings.Map(func(r rune) rune {
		if unicode.IsControl(r) {
			return ' '
		}
		return r
	}, reason)
	return tokenShape.ReplaceAllString(reason, secret.Mask)
}

// explain returns the problem that a failed git is.
func (r clone) explain(e *gitError) error {
	s := r.source
	found := func(code, detail, remedy string) error {
		return problem.Problem{Code: code, Subject: s.Subject, Detail: s.Name + ": " + detail, Remedy: remedy, Err: e}
	}
	switch {
	case errors.Is(e.err, exec.ErrNotFound):
		return problem.Problem{Code: "apps.git-missing", Subject: s.Host, Err: e,
			Detail: "is no GitHub whose API could be asked, and there is no git on this machine to ask it with", Remedy: "install git; with a GitHub Enterprise Server, set GITHUB_API_URL to https://" + s.Host + "/api/v3 instead"}
	case e.says("unadvertised object"):
		return errUnadvertised
	case e.says("not our ref", "no such remote ref", "couldn't find remote ref"):
		return errNoObject
	case e.says("ssh: not found", "cannot run ssh", "unable to find remote helper"):
		return found("apps.git-missing", "git has no "+strings.SplitN(s.URL, ":", 2)[0]+" here: "+e.reason(), "install git whole, and OpenSSH's client")
	case e.says("Host key verification failed", "REMOTE HOST IDENTIFICATION HAS CHANGED"):
		return found("apps.host-key", "the host key of "+s.Host+" is not among those that are accepted",
			"add it to DEPLOY_KNOWN_HOSTS or DEPLOY_KNOWN_HOSTS_FILE; ssh-keyscan prints it, compare it with what the host publishes")
	case e.says("SSL certificate", "certificate verif", "issuer certificate", "self-signed certificate", "self signed certificate"):
		return found("apps.certificate", "the certificate of "+s.Host+" is not trusted: "+e.reason(), "put the CA that it is of into EXTRA_CA_FILE, on Windows among the system's own")
	case s.SSH() && e.denied():
		return found("apps.token-access", s.Host+" does not take the key "+s.TokenName, "add its public half to the repository's deploy keys, with read access; the login there is "+s.Login())
	case e.says("Authentication failed", "Access denied", "could not read Username", "could not read Password", "returned error: 401", "returned error: 403", "returned error: 404", "not found", "does not exist", "not appear to be a git repository", "could not be found", "don't have permission"):
		return r.notVisible(e)
	case e.silent, e.passing():
		return problem.Problem{Code: "apps.network", Subject: s.Host, Err: e,
			Detail: "can't be reached: " + e.reason(), Remedy: "check the network, the proxy and the address, then try again"}
	}
	return found("apps.git", "git can't read "+s.path()+": "+e.reason(), "try git ls-remote "+s.URL)
}

// notVisible is the problem of a repository that is not there, or may not be read:
// hosts say the same of both.
func (r clone) notVisible(e *gitError) error {
	s := r.source
	p := problem.Problem{Code: "apps.repo-missing", Subject: s.Subject, Err: e,
		Detail: fmt.Sprintf("%s: %s is private or does not exist", s.Name, s.path()),
		Remedy: fmt.Sprintf("check the path; if it is private, put a token placeholder into the url: https://${NAME}@%s/%s", s.Host, s.path())}
	switch {
	case s.SSH():
		p.Detail = fmt.Sprintf("%s: %s does not exist, or the key %s may not read it", s.Name, s.path(), s.TokenName)
		p.Remedy = "check the path; add the key's public half to the repository's deploy keys"
	case s.TokenName != "":
		p.Detail = fmt.Sprintf("%s: %s does not exist, or the token %s may not read it", s.Name, s.path(), s.TokenName)
		p.Remedy = fmt.Sprintf("check the path, and that %s is valid and may read the repository; if the token belongs to a user name, put that in front: https://USER:${%s}@%s/%s", s.TokenName, s.TokenName, s.Host, s.path())
	}
	return p
}

// failed is the problem of an answer that git can't have meant.
func (r clone) failed(err error, what string) error {
	return problem.Problem{Code: "apps.git", Subject: r.source.Subject, Err: err, Detail: r.source.Name + ": " + what, Remedy: "try git ls-remote " + r.source.URL}
}
