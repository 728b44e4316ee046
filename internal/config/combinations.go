package config

import (
	"strings"

	"github.com/desiredeffect/erpnext-pipeline/ci/apps"
	"github.com/desiredeffect/erpnext-pipeline/deploy"
)

// combinations are what concerns several keys at once. They follow when each
// has been parsed by itself.
var combinations = []func(*loader, *Config){
	(*loader).pairs,
	(*loader).frappe,
	(*loader).downloads,
	(*loader).signing,
	(*loader).pullLogin,
	(*loader).access,
	(*loader).jump,
	(*loader).https,
	(*loader).sandbox,
}

// pairs reports one of two keys that only make sense together.
func (l *loader) pairs(*Config) {
	for _, pair := range [][2]string{
		{"WKHTMLTOPDF_URL", "WKHTMLTOPDF_SHA256"},
		{"REGISTRY_USERNAME", "REGISTRY_PASSWORD"},
		{"RESTIC_REPOSITORY", "RESTIC_PASSWORD"},
	} {
		for i, key := range pair {
			if other := pair[1-i]; l.isSet(key) && !l.isSet(other) && (key != "WKHTMLTOPDF_URL" || l.values[key].text != patched) {
				l.bad(key, "set "+other+" as well, or neither", "is set, but %s is not", other)
			}
		}
	}
}

// notBoth reports a text that is given itself and as a file, and whether it is.
func (l *loader) notBoth(key, fileKey string) bool {
	both := l.isSet(key) && l.isSet(fileKey)
	if both {
		l.bad(key, "keep one of them", "and %s are both set", fileKey)
	}
	return both
}

// frappe leaves the default repository to an apps file without frappe: only
// what was chosen may contradict one with it.
func (l *loader) frappe(c *Config) {
	if !l.isSet("FRAPPE_PATH") && !l.isSet("FRAPPE_BRANCH") {
		c.Apps.Frappe = apps.Fallback{}
	}
}

// sandbox has the configuration of one lead there and nowhere else: the environment and
// flags come before the file that was written for it.
func (l *loader) sandbox(c *Config) {
	if c.Sandbox == "" {
		return
	}
	if _, err := l.sources.Stat(c.Sandbox); err != nil {
		l.bad("SANDBOX", "start another one with pipeline sandbox", "names a sandbox that has ended")
	}
	for _, k := range l.schema {
		for _, name := range []string{k.Name, k.Alias} {
			if v, set := l.values[name]; set && k.PlaceOnly && v.place != place(l.sources.EnvFile, l.file.lines[k.Name]) {
				remedy := "unset " + name
				if strings.HasPrefix(v.place, "-") {
					remedy = "leave " + v.place + " out"
				}
				l.report.Addf("sandbox.elsewhere", v.place, remedy, "%s is set, which comes before the file of the sandbox and leads elsewhere", name)
				break
			}
		}
	}
}

// pullLogin has the host log in to the registry as the pipeline does.
func (l *loader) pullLogin(c *Config) {
	c.Target.Login = deploy.Login{Host: c.Registry.Host, Username: c.Registry.Username, Password: c.Registry.Password}
}
