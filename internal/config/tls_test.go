package config

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"os"
	"slices"
	"strings"
	"testing"
	"time"
)

// pair makes a certificate for names that ends on a day, signed by itself, and its key.
func pair(t *testing.T, ends time.Time, names ...string) (certificate, key string) {
	t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(time.Now().UnixNano()), Subject: pkix.Name{CommonName: "x"}, DNSNames: names,
		NotBefore: ends.Add(-90 * 24 * time.Hour), NotAfter: ends}
	raw, err := x509.CreateCertificate(rand.Reader, template, template, &private.PublicKey, private)
	if err != nil {
		t.Fatal(err)
	}
	rawKey, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		t.Fatal(err)
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: raw})), string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: rawKey}))
}

func TestTLS(t *testing.T) {
	soon, later := time.Now().Add(5*24*time.Hour), time.Now().Add(60*24*time.Hour)
	good, key := pair(t, later, "erp.example.com", "*.shop.example.com")
	old, oldKey := pair(t, time.Now().Add(-time.Hour), "erp.example.com")
	other, otherKey := pair(t, later, "other.example.com")
	ending, endingKey := pair(t, soon, "erp.example.com")
	for _, c := range []struct {
		name string
		set  []string
		want []string // in the report; none where there is to be none
		hint bool     // that the certificate ends soon
	}{
		{"off", nil, nil, false},
		{"another word", []string{"TLS=letsencrypt"}, []string{`TLS is "letsencrypt", which is not a way to https`, "write off, acme, dns, files or proxy"}, false},
		{"acme with the site's name", []string{"TLS=acme"}, nil, false},
		{"acme with a site that has no domain", []string{"TLS=acme", "SITE_NAME=erp"}, []string{`SITE_NAME is "erp", which no certificate can be for`, "set SITE_DOMAINS"}, false},
		{"an address", []string{"TLS=acme", "SITE_DOMAINS=192.0.2.7"}, []string{`has "192.0.2.7", which is an address`}, false},
		{"URLs and blanks", []string{"TLS=acme", "SITE_DOMAINS=https://erp.example.com, ,erp.example.com."}, []string{`has "https://erp.example.com", which is no domain`, `has "", which is no domain`, `has "erp.example.com.", which`}, false},
		{"a name twice", []string{"TLS=acme", "SITE_DOMAINS=erp.example.com,ERP.example.com"}, []string{"has erp.example.com twice"}, false},
		{"a star by HTTP-01", []string{"TLS=acme", "SITE_DOMAINS=*.example.com"}, []string{"has *.example.com: at port 80 no ACME server"}, false},
		{"ports", []string{"TLS=acme", "HTTPS_PORT=80"}, []string{"HTTPS_PORT and HTTP_PORT are both 80"}, false},
		{"mail", []string{"TLS=acme", "ACME_EMAIL=it"}, []string{`ACME_EMAIL is "it", which is not a mail address`}, false},
		{"dns", []string{"TLS=dns", "ACME_DNS_PROVIDER=hetzner", "ACME_DNS_VARIABLES=HETZNER_API_TOKEN=t0=ken HETZNER_TTL=60", "SITE_DOMAINS=*.example.com"}, nil, false},
		{"dns without", []string{"TLS=dns"}, []string{"TLS is dns, which needs ACME_DNS_PROVIDER", "TLS is dns, which needs ACME_DNS_VARIABLES"}, false},
		{"dns with a bare token", []string{"TLS=dns", "ACME_DNS_PROVIDER=hetzner", "ACME_DNS_VARIABLES=A=b s3cret"}, []string{"has something other than NAME=value as its 2. entry"}, false},
		{"proxy", []string{"TLS=proxy", "TRUSTED_PROXIES=10.0.0.5, 2001:db8::/32"}, nil, false},
		{"proxy without", []string{"TLS=proxy"}, []string{"TLS is proxy, which needs TRUSTED_PROXIES"}, false},
		{"proxy that is everybody", []string{"TLS=proxy", "TRUSTED_PROXIES=0.0.0.0/0,proxy"}, []string{"has 0.0.0.0/0, which is everybody", `has "proxy", which is neither an address nor a network`}, false},
		{"files", []string{"TLS=files", "TLS_CERT=" + good, "TLS_KEY=" + key, "SITE_DOMAINS=erp.example.com,a.shop.example.com,*.shop.example.com"}, nil, false},
		{"files from files", []string{"TLS=files", "TLS_CERT_FILE=~/cert.pem", "TLS_KEY_FILE=~/key.pem"}, nil, false},
		{"files without", []string{"TLS=files"}, []string{"needs TLS_CERT or TLS_CERT_FILE", "needs TLS_KEY or TLS_KEY_FILE"}, false},
		{"a file that is not there", []string{"TLS=files", "TLS_CERT_FILE=~/none.pem", "TLS_KEY=" + key}, []string{"none.pem: no such file"}, false},
		{"another key", []string{"TLS=files", "TLS_CERT=" + good, "TLS_KEY=" + otherKey}, []string{"TLS_KEY does not belong to the certificate"}, false},
		{"no key", []string{"TLS=files", "TLS_CERT=" + good, "TLS_KEY=abc"}, []string{"TLS_KEY is not a private key"}, false},
		{"a key with a password", []string{"TLS=files", "TLS_CERT=" + good, "TLS_KEY=" + pemOf("ENCRYPTED PRIVATE KEY")}, []string{"TLS_KEY has a password"}, false},
		{"another name", []string{"TLS=files", "TLS_CERT=" + other, "TLS_KEY=" + otherKey}, []string{"TLS_CERT has a certificate for other.example.com, and not for erp.example.com"}, false},
		{"expired", []string{"TLS=files", "TLS_CERT=" + old, "TLS_KEY=" + oldKey}, []string{"TLS_CERT has a certificate that expired on"}, false},
		{"not a certificate", []string{"TLS=files", "TLS_CERT=abc", "TLS_KEY=" + key}, []string{"TLS_CERT has no certificate in it"}, false},
		{"half of one", []string{"TLS=files", "TLS_CERT=" + good + strings.ReplaceAll(other, "MII", "xyz"), "TLS_KEY=" + key}, []string{"can't be parsed: 1 of 2"}, false},
		{"no chain", []string{"TLS=files", "TLS_CERT=" + good + other, "TLS_KEY=" + key}, []string{"has certificates that are no chain"}, false},
		{"ends soon", []string{"TLS=files", "TLS_CERT=" + ending, "TLS_KEY=" + endingKey}, nil, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := newWorld(t)
			w.write(".env", enough)
			w.write("cert.pem", good)
			w.write("key.pem", key)
			w.environ = append(w.environ, c.set...)
			config, report := w.load(Deploy)
			got := ""
			if len(report) > 0 {
				got = rendered(t, report)
			}
			for _, want := range c.want {
				if !strings.Contains(got, want) {
					t.Errorf("%q is not in\n%s", want, got)
				}
			}
			if len(c.want) == 0 && got != "" {
				t.Errorf("there should be no problem:\n%s", got)
			}
			if strings.Contains(got, "s3cret") || strings.Contains(got, "PRIVATE KEY---") {
				t.Errorf("a secret is in\n%s", got)
			}
			if _, soon := config.CertificateEnds(time.Now()); soon != c.hint && len(c.want) == 0 {
				t.Errorf("ends soon: %t", soon)
			}
			// What only reaches the host reads no certificate.
			w.write("cert.pem", "")
			if _, report := w.load(HostAccess); len(report) > 0 && len(c.want) == 0 {
				t.Errorf("to reach the host, there are problems:\n%s", rendered(t, report))
			}
		})
	}
}

// What is told of https gets to the target, and what is secret of it is known as such.
func TestTLSFillsTarget(t *testing.T) {
	w := newWorld(t)
	certificate, key := pair(t, time.Now().Add(60*24*time.Hour), "erp.example.com")
	w.write(".env", enough+"TLS=files\nTLS_CERT_FILE=~/cert.pem\nTLS_KEY_FILE=~/key.pem\nHSTS_SECONDS=300\nTRUSTED_PROXIES=10.1.2.3/8,10.0.0.5\nACME_DNS_VARIABLES='A_TOKEN=t0ken B=c'\n")
	w.write("cert.pem", certificate)
	w.write("key.pem", key)
	config, report := w.load(Deploy)
	if len(report) > 0 {
		t.Fatal(rendered(t, report))
	}
	tls := config.Target.TLS
	if tls.Certificate != certificate || tls.Key.Reveal() != key || tls.HSTS != 300 || tls.Port != 443 || !slices.Equal(tls.Domains, []string{"erp.example.com"}) || !slices.Equal(tls.Trusted, []string{"10.0.0.0/8", "10.0.0.5/32"}) {
		t.Errorf("%+v", tls)
	}
	var secrets []string
	for _, one := range config.Secrets() {
		secrets = append(secrets, one.Reveal())
	}
	for _, want := range []string{key, "t0ken"} {
		if !slices.Contains(secrets, want) {
			t.Errorf("%q is not taken for a secret", want)
		}
	}
	// Others could read the key.
	if err := os.Chmod(w.path("key.pem"), 0o644); err != nil {
		t.Fatal(err)
	}
	if _, report := w.load(Deploy); !strings.Contains(rendered(t, report), "which others can get at (mode 0644)") {
		t.Errorf("%v", report.Err())
	}
}
