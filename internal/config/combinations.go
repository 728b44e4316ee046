package config

import (
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

// frappe leaves the default repository to an apps file without frappe: only
// what was chosen may contradict one with it.
func (l *loader) frappe(c *Config) {
	if !l.isSet("FRAPPE_PATH") && !l.isSet("FRAPPE_BRANCH") {
		c.Apps.Frappe = apps.Fallback{}
	}
}

// pullLogin has the host log in to the registry as the pipeline does.
func (l *loader) pullLogin(c *Config) {
	c.Target.Login = deploy.Login{Host: c.Registry.Host, Username: c.Registry.Username, Password: c.Registry.Password}
}
