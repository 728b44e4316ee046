package compose

import (
	"slices"
	"strings"
	"testing"

	"github.com/compose-spec/compose-go/v2/types"

	"github.com/desiredeffect/erpnext-pipeline/internal/secret"
)

// The set with https is one that compose reads, whichever way https comes.
func TestWithTLS(t *testing.T) {
	own, report := ReadFiles(nil)
	if len(report) > 0 {
		t.Fatal(report.Err())
	}
	for _, c := range []struct {
		name    string
		tls     TLS
		command []string // of the proxy, besides
		route   string   // label of the frontend
		files   []string // that are lent to the proxy
		ports   []int
	}{
		{"acme", TLS{Mode: TLSACME, Domains: []string{"a.example.com", "b.example.com"}, Port: 443, Email: "it@example.com", Directory: "https://acme/dir", CA: "PEM", HSTS: 300},
			[]string{"--entrypoints.websecure.http.tls.domains[1].main=b.example.com", "--certificatesresolvers.site.acme.httpchallenge.entrypoint=web",
				"--certificatesresolvers.site.acme.caserver=https://acme/dir", "--certificatesresolvers.site.acme.cacertificates=/run/secrets/acme_ca",
				"--entrypoints.web.http.redirections.entrypoint.to=websecure", "--entrypoints.websecure.transport.respondingtimeouts.readtimeout=600"},
			"traefik.http.routers.site-3.middlewares=site-3-hsts", []string{"acme_ca"}, []int{80, 443}},
		{"dns", TLS{Mode: TLSDNS, Domains: []string{"*.example.com"}, Port: 8443, Directory: "https://acme/dir", DNSProvider: "hetzner", DNSVariables: map[string]secret.Secret{"HETZNER_API_TOKEN": secret.New("t0ken")}},
			[]string{"--certificatesresolvers.site.acme.dnschallenge.provider=hetzner", "--entrypoints.web.http.redirections.entrypoint.to=:8443"},
			"traefik.http.routers.site-3.entrypoints=websecure", []string{"acme_hetzner_api_token"}, []int{80, 8443}},
		{"files", TLS{Mode: TLSFiles, Domains: []string{"a.example.com"}, Port: 443},
			[]string{"--providers.file.directory=/certificates", "--providers.file.watch=true"},
			"traefik.http.routers.site-3.entrypoints=websecure", nil, []int{80, 443}},
		{"proxy", TLS{Mode: TLSProxy, Domains: []string{"a.example.com"}, Port: 443, Trusted: []string{"10.0.0.0/24", "192.0.2.7/32"}},
			[]string{"--entrypoints.web.forwardedheaders.trustedips=10.0.0.0/24,192.0.2.7/32"},
			"traefik.http.routers.site-3.entrypoints=web", nil, []int{80}},
	} {
		t.Run(c.name, func(t *testing.T) {
			files, report := WithTLS(own, c.tls)
			if len(report) > 0 {
				t.Fatal(report.Err())
			}
			values := map[string]string{"IMAGE": "erp@sha256:1", "SITE_NAME": "erp.example.com", "DB_ROOT_PASSWORD": "a", "ADMIN_PASSWORD": "b", "HTTP_PORT": "80", "RELEASE": "3"}
			for name, value := range c.tls.Variables() {
				values[name] = value.Reveal()
			}
			set, report := Load(t.Context(), "erp", files, values)
			if len(report) > 0 || len(set.NotBeside) > 0 {
				t.Fatalf("%v %v", report.Err(), set.NotBeside)
			}
			if !slices.Equal(set.Ports, c.ports) {
				t.Errorf("ports %v", set.Ports)
			}
			documents, _ := parse(files)
			project, report := loadProject(t.Context(), "erp", documents, types.Mapping(values))
			if len(report) > 0 {
				t.Fatal(report.Err())
			}
			proxy := project.Services[proxyService]
			for _, flag := range append(c.command, "--ping=true", "--entrypoints.web.address=:80") {
				if !slices.Contains(proxy.Command, flag) {
					t.Errorf("the proxy is not told %s, but\n%s", flag, strings.Join(proxy.Command, "\n"))
				}
			}
			var lent []string
			for _, one := range proxy.Secrets {
				lent = append(lent, one.Source)
			}
			if !slices.Equal(lent, c.files) {
				t.Errorf("the proxy is lent %q", lent)
			}
			key, value, _ := strings.Cut(c.route, "=")
			if got := project.Services["frontend"].Labels[key]; got != value {
				t.Errorf("%s is %q, want %q", key, got, value)
			}
			if _, kept := project.Volumes["certificates"]; kept != c.tls.Ends() {
				t.Errorf("a volume for certificates: %t", kept)
			}
			if text := string(files[len(files)-1].Data); strings.Contains(text, "t0ken") {
				t.Errorf("a secret is in\n%s", text)
			}
		})
	}
}

func TestWithTLSOff(t *testing.T) {
	own, _ := ReadFiles(nil)
	for _, mode := range []string{"", TLSOff} {
		if files, report := WithTLS(own, TLS{Mode: mode, Domains: []string{"a.example.com"}}); len(files) != 1 || len(report) > 0 {
			t.Errorf("%q: %d files, %v", mode, len(files), report.Err())
		}
	}
}

// A proxy that could not be told of https is said to be none.
func TestWithTLSWithoutProxy(t *testing.T) {
	for name, text := range map[string]string{
		"no service traefik":    "services:\n  nginx:\n    image: nginx\n",
		"a command as a text":   "services:\n  traefik:\n    command: --entrypoints.web.address=:80\n",
		"another entry point":   "services:\n  traefik:\n    command: [--entrypoints.http.address=:80]\n",
		"configured by a file":  "services:\n  traefik:\n    image: traefik\n",
		"a service with labels": "services:\n  frontend:\n    labels: {traefik.enable: \"true\"}\n",
	} {
		_, report := WithTLS([]File{{Path: "company.yaml", Name: "company.yaml", Data: []byte(text)}}, TLS{Mode: TLSACME})
		if len(report) != 1 || !strings.Contains(report[0].Detail, "TLS is acme") || !strings.Contains(report[0].Remedy, "TLS=proxy") {
			t.Errorf("%s: %v", name, report.Err())
		}
	}
}

// Routes of a company's own, and what they pass through, come along.
func TestWithTLSMovesRoutes(t *testing.T) {
	text := "services:\n  traefik:\n    command: [--entrypoints.web.address=:80]\n    labels:\n      traefik.http.routers.board.entrypoints: web\n" +
		"  shop:\n    labels:\n      - traefik.http.routers.shop.entrypoints=web\n      - traefik.http.routers.shop.middlewares=login\n      - traefik.http.routers.inner.entrypoints=inner\n"
	files, report := WithTLS([]File{{Path: "a.yaml", Name: "a.yaml", Data: []byte(text)}}, TLS{Mode: TLSFiles, Port: 443, HSTS: 5})
	if len(report) > 0 {
		t.Fatal(report.Err())
	}
	got := string(files[1].Data)
	for _, want := range []string{"routers.board.entrypoints=websecure", "routers.shop.entrypoints=websecure", "routers.shop.middlewares=login,shop-hsts", "--providers.file.watch=true"} {
		if !strings.Contains(got, want) {
			t.Errorf("%s is not in\n%s", want, got)
		}
	}
	if strings.Contains(got, "inner") {
		t.Errorf("a route of another entry point is moved:\n%s", got)
	}
}

func TestURLs(t *testing.T) {
	for want, tls := range map[string]TLS{
		"":                                  {Mode: TLSOff, Domains: []string{"a.example.com"}, Port: 443},
		"https://a.example.com":             {Mode: TLSACME, Domains: []string{"a.example.com"}, Port: 443},
		"https://a.example.com:8443":        {Mode: TLSDNS, Domains: []string{"*.example.com", "a.example.com"}, Port: 8443},
		"https://a.example.com https://b.c": {Mode: TLSProxy, Domains: []string{"a.example.com", "b.c"}, Port: 8443},
	} {
		if got := strings.Join(tls.URLs(), " "); got != want {
			t.Errorf("%+v: %q, want %q", tls, got, want)
		}
	}
}
