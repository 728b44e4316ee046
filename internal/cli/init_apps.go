package cli

import (
	"encoding/json"
	"strings"

	"github.com/desiredeffect/erpnext-pipeline/ci/apps"
	"github.com/desiredeffect/erpnext-pipeline/internal/problem"
	"github.com/desiredeffect/erpnext-pipeline/internal/starter"
)

// usualApps are the apps of a new apps.json.
var usualApps = []string{"https://github.com/frappe/frappe", "https://github.com/frappe/erpnext"}

// usualApp reports whether an app has the branches version-15 and version-16.
func usualApp(url string) bool { return url == usualApps[0] || url == usualApps[1] }

// appList returns frappe, erpnext and the apps of --app, without the refs that are to
// be looked up. FRAPPE_PATH and FRAPPE_BRANCH give the file's frappe where they are
// set, because they must agree.
func (o initOptions) appList(s start) ([]starter.App, problem.Report) {
	var report problem.Report
	list := []starter.App{{URL: usualApps[0]}, {URL: usualApps[1]}}
	if path := s.known.Apps.Frappe.URL; path != "" {
		list[0].URL = path
	}
	list[0].Ref = s.known.Apps.Frappe.Ref
	for _, text := range o.apps {
		url, ref, _ := strings.Cut(text, "=")
		if isRepository(url) {
			url = "https://github.com/" + url
		}
		name, fault := appName(url)
		if fault != nil {
			report.Add(problem.Problem{Code: fault.Code, Subject: "--app", Detail: fault.Detail, Remedy: fault.Remedy})
			continue
		}
		app := starter.App{URL: url, Ref: ref}
		switch name {
		case "frappe":
			list[0] = app
		case "erpnext":
			list[1] = app
		default:
			list = append(list, app)
		}
	}
	return list, report
}

// appName returns the name of the app at an address, as apps.json takes it.
func appName(url string) (string, *problem.Problem) {
	one, err := json.Marshal([]starter.App{{URL: url, Ref: "main"}})
	if err != nil {
		return "", &problem.Problem{Code: "init.app", Detail: err.Error()}
	}
	entries, report := apps.Parse("--app", one)
	if len(report) > 0 {
		return "", &report[0]
	}
	return entries[0].App(), nil
}

// isRepository reports whether a text has the form OWNER/NAME.
func isRepository(text string) bool {
	owner, name, found := strings.Cut(text, "/")
	return found && owner != "" && name != "" && !strings.ContainsAny(text, "@:$ ") && !strings.Contains(name, "/")
}
