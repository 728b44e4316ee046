// Package apps reads apps.json and turns every ref in it into a commit.
//
// apps.json is a list of {"url", "branch"}: one Frappe app each, where branch
// is a tag, a branch or a commit, and the url may carry a placeholder for a
// token, https://${NAME}@github.com/owner/repo, or for a deploy key,
// ssh://${NAME}@git.example.com/owner/repo. [Load] reads the file and looks the
// placeholders up, without any network; [Resolve] asks the hosts, all apps side by
// side: GitHub by its API ([GitHub]), others with git ([Git]). Both collect every
// problem with its place and remedy. What a commit holds, [Servers.Tree] lists and
// [Servers.Read] reads without fetching the rest of it.
//
// A credential is never part of a URL here, of a problem or of a log line: a
// [Source] carries its token as a [secret.Secret] beside a clean URL.
package apps
