package e2e

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/desiredeffect/erpnext-pipeline/internal/cli"
	"github.com/desiredeffect/erpnext-pipeline/internal/sandbox"
	"github.com/desiredeffect/erpnext-pipeline/internal/sandbox/apps"
)

const (
	httpsPort = 8443
	acmePort  = 14000
	// eachHandshake is the time between two requests, which have a handshake each.
	eachHandshake = 4 * visitEvery
)

// TestHTTPS has certificates of a real ACME server, pebble, which runs on the host and
// asks there at the port of http, and one of a CA of its own.
func TestHTTPS(t *testing.T) {
	u := newUser(t, sandbox.Options{Name: "https", HTTPPort: 8086})
	// The engine's network has a DNS server, which knows the host by its name.
	s := &secureSite{user: u, ca: newAuthority(t), roots: x509.NewCertPool(), domain: strings.TrimSpace(u.onHost("hostname"))}
	s.roots.AppendCertsFromPEM(s.ca.pem)
	s.user = u.with("TLS=acme", "SITE_DOMAINS="+s.domain, fmt.Sprintf("HTTPS_PORT=%d", httpsPort), "HSTS_SECONDS=300", "ACME_CA_FILE="+u.write("acme-ca.pem", s.ca.pem),
		fmt.Sprintf("ACME_URL=https://%s:%d/dir", s.address(), acmePort)).
		// The proxy looks each minute for what ends within twenty.
		withOverride("renew.yaml", "services:\n  traefik:\n    command:\n"+renewing)
	list[*secureSite]{
		{"what would keep certificates from coming is said before", (*secureSite).checked},
		{"a first release has a valid chain", (*secureSite).firstRelease},
		// From here on 1.0.0 is live.
		{"a certificate is renewed during a swap", (*secureSite).renewedDuringSwap},
		// From here on 1.1.0 is, and with TEST_HTTPS=all 1.0.0 again.
		{"a certificate of one's own takes the place of it, and its successor in turn", (*secureSite).ownCertificate},
		{"what fits no certificate is refused", (*secureSite).refused},
	}.run(s, t)
}

// renewing is the proxy's command of compose-main.yaml with one more flag.
const renewing = `      - --ping=true
      - --global.checknewversion=false
      - --global.sendanonymoususage=false
      - --providers.providersthrottleduration=100ms
      - --providers.docker=true
      - --providers.docker.exposedbydefault=false
      - --providers.docker.constraints=Label(` + "`com.docker.compose.project`,`${COMPOSE_PROJECT_NAME}`" + `)
      - --entrypoints.web.address=:80
      - --entrypoints.web.transport.respondingtimeouts.readtimeout=600
      - --entrypoints.web.transport.lifecycle.gracetimeout=1
      - --certificatesresolvers.site.acme.certificatesduration=1
`

// secureSite is a site with https, and those who trust it.
type secureSite struct {
	*user
	ca     authority
	roots  *x509.CertPool
	domain string
}

func (s *secureSite) in(t *testing.T) *secureSite {
	other := *s
	other.user = s.user.in(t)
	return &other
}

// address is the host's in its network.
func (s *secureSite) address() string {
	s.t.Helper()
	name, _, err := net.SplitHostPort(s.siteAddress())
	if err != nil {
		s.t.Fatal(err)
	}
	return name
}

// checked: the ACME server is not there yet, the domain leads nowhere, and a port is
// taken. Then all of it is put right.
func (s *secureSite) checked(*testing.T) {
	s.onHost("sh", "-c", fmt.Sprintf("setsid socat TCP-LISTEN:%d,fork,reuseaddr - >/dev/null 2>&1 </dev/null & echo $! >socat.pid", httpsPort))
	nowhere := s.with("SITE_DOMAINS=" + s.domain + ",erp.nowhere.invalid")
	nowhere.fails(nowhere.command("check", "1.0.0", apps.Version1()), cli.ExitUsage,
		fmt.Sprintf("port %d of the host: is taken by another program", httpsPort),
		"domain erp.nowhere.invalid: leads nowhere", "ACME server https://", "does not answer the host")
	s.onHost("sh", "-c", "kill $(cat socat.pid)")
	s.startPebble()
	s.must(s.command("check", "1.0.0", apps.Version1())...)
}

// startPebble runs the ACME server on the host. Certificates end after nineteen
// minutes, so that the proxy renews them at each look.
func (s *secureSite) startPebble() {
	s.t.Helper()
	program := filepath.Join(s.t.TempDir(), "pebble")
	build := exec.CommandContext(s.t.Context(), "go", "build", "-modfile=../../tools/pebble.mod", "-o", program, "github.com/letsencrypt/pebble/v2/cmd/pebble")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		s.t.Fatalf("build pebble: %v\n%s", err, out)
	}
	text, err := os.ReadFile(program)
	if err != nil {
		s.t.Fatal(err)
	}
	chain, key := s.ca.issue(s.t, s.address())
	config := fmt.Sprintf(`{"pebble": {"listenAddress": "0.0.0.0:%d", "managementListenAddress": "0.0.0.0:15000", "certificate": "/pebble/cert.pem", "privateKey": "/pebble/key.pem",
		"httpPort": %s, "tlsPort": 5001, "retryAfter": {"authz": 1, "order": 1}, "keyAlgorithm": "ecdsa", "profiles": {"default": {"description": "ends soon", "validityPeriod": 1140}}}}`,
		acmePort, s.env("HTTP_PORT"))
	for name, content := range map[string]string{"pebble": string(text), "cert.pem": chain, "key.pem": key, "config.json": config} {
		s.onHostWith(content, "sh", "-c", "mkdir -p pebble && cat >pebble/"+name+" && chmod 755 pebble/"+name)
	}
	s.onHost("docker", "run", "--detach", "--name", "pebble", "--network", "host", "--volume", "/home/"+s.env("DEPLOY_USER")+"/pebble:/pebble",
		"--env", "PEBBLE_VA_NOSLEEP=1", "--env", "PEBBLE_WFE_NONCEREJECT=0", "debian:bookworm-slim", "/pebble/pebble", "-config", "/pebble/config.json")
	s.eventually("pebble", func() error {
		root, err := s.fetch("https://"+net.JoinHostPort(s.address(), "15000")+"/roots/0", "")
		if err == nil && !s.roots.AppendCertsFromPEM([]byte(root)) {
			err = errors.New("its root can't be read: " + root)
		}
		return err
	})
}

// client asks as a browser does that trusts the roots; what it is led to is answered by
// the host.
func (s *secureSite) client(name string) *http.Client {
	return &http.Client{Timeout: answerTime, Transport: &http.Transport{
		DialContext: func(ctx context.Context, network, address string) (net.Conn, error) {
			_, port, err := net.SplitHostPort(address)
			if err != nil {
				return nil, err
			}
			return s.connect().DialHost(ctx, network, net.JoinHostPort(s.address(), port))
		},
		TLSClientConfig: &tls.Config{RootCAs: s.roots, ServerName: name}, DisableKeepAlives: true,
	}}
}

func (s *secureSite) fetch(url, name string) (string, error) {
	request, err := http.NewRequestWithContext(s.t.Context(), http.MethodGet, url, nil)
	if err != nil {
		return "", err
	}
	response, err := s.client(name).Do(request)
	if err != nil {
		return "", err
	}
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	if err == nil && response.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s: %s", response.Status, text)
	}
	return string(text), err
}

// served is the certificate that visitors get, verified.
func (s *secureSite) served() *x509.Certificate {
	s.t.Helper()
	response, err := s.client("").Get(s.url("/api/method/ping"))
	if err != nil {
		s.t.Fatal(err)
	}
	_ = response.Body.Close()
	return response.TLS.PeerCertificates[0]
}

func (s *secureSite) url(path string) string {
	return fmt.Sprintf("https://%s:%d%s", s.domain, httpsPort, path)
}

func (s *secureSite) firstRelease(t *testing.T) {
	s.must(s.command("release", "1.0.0", apps.Version1(), "--yes")...)
	s.has(s.onHost("sh", "-c", "cat "+s.env("DEPLOY_DIR")+"/runs/*/log"), s.domain+" has a certificate")
	response, err := s.client("").Get(s.url("/login"))
	if err != nil {
		t.Fatal(err)
	}
	_ = response.Body.Close()
	if response.StatusCode != http.StatusOK || response.Header.Get("Strict-Transport-Security") != "max-age=300" {
		t.Errorf("%s %v", response.Status, response.Header)
	}
	// A visitor of http is led there, by the name that was used.
	if response, err = s.client("").Get("http://" + net.JoinHostPort(s.domain, s.env("HTTP_PORT")) + "/login?a=b"); err != nil {
		t.Fatal(err)
	}
	_ = response.Body.Close()
	if got := response.Request.URL.String(); got != s.url("/login?a=b") {
		t.Errorf("led to %s", got)
	}
	if config := s.onHost("docker", "exec", s.container("backend"), "cat", "sites/"+sandbox.Site+"/site_config.json"); !strings.Contains(config, `"host_name": "`+s.url("")+`"`) {
		t.Errorf("links begin otherwise: %s", config)
	}
	if opened, err := s.fetch(s.url("/socket.io/?EIO=4&transport=polling"), ""); err != nil || !strings.Contains(opened, "websocket") {
		t.Errorf("live updates: %v %s", err, opened)
	}
	s.webSocketOverTLS(t)
	if record := s.record("1.0.0"); record.TLS != "acme" || len(record.URLs) != 1 || record.URLs[0] != s.url("") {
		t.Errorf("recorded are %q %q", record.TLS, record.URLs)
	}
}

// webSocketOverTLS opens the connection of a browser for live updates.
func (s *secureSite) webSocketOverTLS(t *testing.T) {
	request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, s.url("/socket.io/?EIO=4&transport=websocket"), nil)
	if err != nil {
		t.Fatal(err)
	}
	for name, value := range map[string]string{"Connection": "Upgrade", "Upgrade": "websocket", "Sec-WebSocket-Version": "13", "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==", "Origin": s.url("")} {
		request.Header.Set(name, value)
	}
	response, err := s.client("").Transport.RoundTrip(request)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusSwitchingProtocols {
		t.Errorf("a WebSocket is answered with %s", response.Status)
	}
}

// secure is the user whose visitors come by https.
func (s *secureSite) secure() *user {
	other := *s.user
	other.https = &tls.Config{RootCAs: s.roots, ServerName: s.domain}
	return &other
}

// allOfHTTPS says that more releases are made than what happens to every user takes.
func allOfHTTPS() bool { return os.Getenv("TEST_HTTPS") == "all" }

// renewedDuringSwap: the proxy renews the certificate while one release takes the place
// of the other, and goes back, and visitors notice nothing of it.
func (s *secureSite) renewedDuringSwap(t *testing.T) {
	s.alone(func() { s.renewed(t) })
}

func (s *secureSite) renewed(t *testing.T) {
	before := s.served().SerialNumber
	v := s.secure().visitEach(eachHandshake)
	s.must(s.command("release", "1.1.0", apps.Version1(), "--yes", "--strategy", "swap", "--skip-smoke-test")...)
	if allOfHTTPS() {
		s.must("rollback", "--yes", "--strategy", "swap")
	}
	s.eventually("renewal", func() error {
		if s.served().SerialNumber.Cmp(before) == 0 {
			return errors.New("the certificate is the same")
		}
		return nil
	})
	if o := v.leave(time.Time{}); o.failed > 0 {
		t.Errorf("%d of %d requests failed: %s", o.failed, o.asked, o.kinds())
	}
}

// ownCertificate: another way to https is another proxy. Then one certificate takes the
// place of the other while it runs.
func (s *secureSite) ownCertificate(t *testing.T) {
	if !allOfHTTPS() {
		t.Skip("takes two more releases: TEST_HTTPS=all")
	}
	s.alone(func() { s.replaced(t) })
}

func (s *secureSite) replaced(t *testing.T) {
	given := func(strategy, version string) {
		chain, key := s.ca.issue(t, s.domain)
		own := s.with("TLS=files", "TLS_CERT="+chain, "TLS_KEY="+key)
		own.must(own.command("release", version, apps.Version1(), "--yes", "--skip-smoke-test", "--strategy", strategy)...)
		block, _ := pem.Decode([]byte(chain))
		if wanted, err := x509.ParseCertificate(block.Bytes); err != nil || !s.served().Equal(wanted) {
			t.Errorf("%s: another certificate is served: %v", version, err)
		}
		for _, file := range []string{"release.json", "compose-tls.yaml", ".env"} {
			if text := s.onHost("cat", s.env("DEPLOY_DIR")+"/releases/"+version+"/"+file); strings.Contains(text, "PRIVATE KEY") {
				t.Errorf("%s has the key in it", file)
			}
		}
	}
	given("cycle", "1.2.0")
	v := s.secure().visitEach(eachHandshake)
	given("swap", "1.3.0")
	chain, key := s.ca.issue(t, s.domain)
	own := s.with("TLS=files", "TLS_CERT="+chain, "TLS_KEY="+key)
	s.has(own.must("certificate"), s.domain+" has a certificate")
	block, _ := pem.Decode([]byte(chain))
	if wanted, err := x509.ParseCertificate(block.Bytes); err != nil || !s.served().Equal(wanted) {
		t.Errorf("another certificate is served: %v", err)
	}
	if o := v.leave(time.Time{}); o.failed > 0 {
		t.Errorf("%d of %d requests failed: %s", o.failed, o.asked, o.kinds())
	}
}

func (s *secureSite) refused(t *testing.T) {
	chain, key := s.ca.issue(t, "other.example.com")
	_, otherKey := s.ca.issue(t, "other.example.com")
	files := s.with("TLS=files", "TLS_CERT="+chain, "TLS_KEY="+otherKey)
	files.fails(files.command("check", "9.0.0", apps.Version1()), cli.ExitUsage, "does not belong to the certificate", "and not for "+s.domain)
	files = files.with("TLS_KEY=" + key)
	files.fails(files.command("check", "9.0.0", apps.Version1()), cli.ExitUsage, "and not for "+s.domain)
	// There is no way back to http but one that was asked for.
	off := s.with("SITE_DOMAINS=10.0.0.1,a_b.example.com")
	off.fails(off.command("check", "9.0.0", apps.Version1()), cli.ExitUsage, `has "10.0.0.1", which is an address`, `has "a_b.example.com", which is no domain`)
}

// authority is a CA.
type authority struct {
	certificate *x509.Certificate
	key         *ecdsa.PrivateKey
	pem         []byte
}

func newAuthority(t *testing.T) authority {
	t.Helper()
	a := authority{certificate: &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "The company's CA"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(24 * time.Hour), IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign}}
	var err error
	if a.key, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader); err != nil {
		t.Fatal(err)
	}
	raw, err := x509.CreateCertificate(rand.Reader, a.certificate, a.certificate, &a.key.PublicKey, a.key)
	if err != nil {
		t.Fatal(err)
	}
	a.pem = pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: raw})
	return a
}

// issue makes a certificate for a name or an address, with its key, both in PEM.
func (a authority) issue(t *testing.T, name string) (chain, key string) {
	t.Helper()
	own, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	serial, err := rand.Int(rand.Reader, big.NewInt(1<<62))
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: serial, Subject: pkix.Name{CommonName: name}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(20 * 24 * time.Hour),
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}}
	if ip := net.ParseIP(name); ip != nil {
		template.IPAddresses = []net.IP{ip}
	} else {
		template.DNSNames = []string{name}
	}
	raw, err := x509.CreateCertificate(rand.Reader, template, a.certificate, &own.PublicKey, a.key)
	if err != nil {
		t.Fatal(err)
	}
	rawKey, err := x509.MarshalPKCS8PrivateKey(own)
	if err != nil {
		t.Fatal(err)
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: raw})), string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: rawKey}))
}
