package config

import (
	"maps"
	"slices"
	"strings"
	"testing"
)

// A workflow has no file of this machine: it gets the text of each that a key names.
func TestFileKeys(t *testing.T) {
	files := fileKeys(Schema())
	for _, k := range Schema() {
		if strings.HasSuffix(k.Name, "_FILE") && k.Elsewhere != "" && k.Name != "APPS_FILE" && files[k.Name].Name != strings.TrimSuffix(k.Name, "_FILE") {
			t.Errorf("the text of %s is for %q", k.Name, files[k.Name].Name)
		}
	}
	if got, want := slices.Sorted(maps.Keys(files)), []string{"DEPLOY_KNOWN_HOSTS_FILE", "DEPLOY_SSH_KEY_FILE", "SIGNING_KEY_FILE", "TLS_CERT_FILE", "TLS_KEY_FILE"}; !slices.Equal(got, want) {
		t.Errorf("files are %q, want %q", got, want)
	}
}

func TestWorkflowSettings(t *testing.T) {
	const needed = "IMAGE_NAME=acme/erp\nSITE_NAME=erp.example.com\nDEPLOY_HOST=erp.example.com\nDEPLOY_USER=deploy\nCOMPOSE_PROJECT_NAME=erp\n" +
		"ADMIN_PASSWORD=a\nDB_ROOT_PASSWORD=b\nDEPLOY_SSH_KEY=key\nDEPLOY_KNOWN_HOSTS=keys\n"
	for name, test := range map[string]struct {
		env     string
		missing []string
	}{
		"http alone":             {"", nil},
		"files without a file":   {"TLS=files\n", []string{"TLS_CERT", "TLS_KEY"}},
		"files":                  {"TLS=files\nTLS_CERT_FILE=FOLDER/cert.pem\nTLS_KEY_FILE=FOLDER/key.pem\n", nil},
		"files of another way":   {"TLS=acme\nTLS_CERT_FILE=FOLDER/none.pem\nTLS_KEY_FILE=FOLDER/none.pem\n", nil},
		"dns without a provider": {"TLS=dns\n", []string{"ACME_DNS_PROVIDER", "ACME_DNS_VARIABLES"}},
		"proxy without networks": {"TLS=proxy\n", []string{"TRUSTED_PROXIES"}},
		"CAs":                    {"EXTRA_CA_FILE=ca.pem\n", nil},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			w.write("cert.pem", "the certificate\n")
			w.write("key.pem", "the key\n")
			w.write(".env", needed+strings.ReplaceAll(test.env, "FOLDER", w.path(".")))
			got, report := WorkflowSettings(w.path(".env"), nil, nil)
			if len(report) > 0 || !slices.Equal(got.Missing, test.missing) {
				t.Errorf("%v; missing are %q, want %q", report.Err(), got.Missing, test.missing)
			}
			cert, key := got.Variables["TLS_CERT"], got.Secrets["TLS_KEY"].Reveal()
			if name == "files" != (cert == "the certificate\n" && key == "the key\n") {
				t.Errorf("the certificate is %q, its key %q", cert, key)
			}
			if name == "CAs" != maps.Equal(got.Paths, map[string]string{"EXTRA_CA_FILE": "ca.pem"}) {
				t.Errorf("files of the repository are %v", got.Paths)
			}
		})
	}
}
