package e2e

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"io"
	"log"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"
)

// mirror is a company's server with everything that a build downloads, behind
// a login and a certificate of the company's own CA. It passes on to the
// public servers.
type mirror struct {
	*httptest.Server
	// downloads is the same at another port: where a download is from is no
	// secret, and the image says it.
	downloads *httptest.Server
	ca        string
	// name is in the CA's certificate and nowhere else.
	name     string
	username string
	password string
	// files need no login, by name.
	files map[string][]byte

	mutex sync.Mutex
	// asked are the paths that were answered, and elsewhere the hosts that
	// an index pointed to.
	asked     []string
	elsewhere map[string]bool
}

// startMirror listens on an address that the engine's containers reach.
func startMirror(t *testing.T, address string) *mirror {
	t.Helper()
	m := &mirror{
		name: "ca-" + rand.Text(), username: "robot", password: "open&sesame@" + rand.Text(),
		files: map[string][]byte{}, elsewhere: map[string]bool{},
	}
	certificate := m.certificate(t, address)
	for _, at := range []**httptest.Server{&m.Server, &m.downloads} {
		listener, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", net.JoinHostPort(address, "0"))
		if err != nil {
			t.Fatal(err)
		}
		server := httptest.NewUnstartedServer(m)
		_ = server.Listener.Close()
		server.Listener = listener
		server.TLS = &tls.Config{Certificates: []tls.Certificate{certificate}}
		server.Config.ErrorLog = log.New(io.Discard, "", 0) // a client without the CA breaks off
		server.StartTLS()
		t.Cleanup(server.Close)
		*at = server
	}
	return m
}

// certificate makes the CA and a certificate for an address.
func (m *mirror) certificate(t *testing.T, address string) tls.Certificate {
	t.Helper()
	sign := func(template, parent *x509.Certificate, by *ecdsa.PrivateKey) ([]byte, *ecdsa.PrivateKey) {
		key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		if by == nil {
			by = key
		}
		template.NotBefore, template.NotAfter = time.Now().Add(-time.Hour), time.Now().Add(time.Hour)
		der, err := x509.CreateCertificate(rand.Reader, template, parent, &key.PublicKey, by)
		if err != nil {
			t.Fatal(err)
		}
		return der, key
	}
	root := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: m.name},
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	rootDER, rootKey := sign(root, root, nil)
	m.ca = string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: rootDER}))
	der, key := sign(&x509.Certificate{
		SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: "mirror"}, IPAddresses: []net.IP{net.ParseIP(address)},
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}, root, rootKey)
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}

// at is a URL with the credentials in it.
func (m *mirror) at(path string) string {
	u := url.URL{Scheme: "https", User: url.UserPassword(m.username, m.password), Host: m.Listener.Addr().String(), Path: path}
	return u.String()
}

// link is an address elsewhere in an index.
var link = regexp.MustCompile(`https://([a-z0-9.-]+)/`)

func (m *mirror) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	file, public := strings.CutPrefix(r.URL.Path, "/files/")
	if username, password, _ := r.BasicAuth(); !public && (username != m.username || password != m.password) {
		w.Header().Set("WWW-Authenticate", `Basic realm="mirror"`)
		w.WriteHeader(http.StatusUnauthorized)
		return
	}
	m.note(r.URL.Path)
	kind, rest, _ := strings.Cut(strings.TrimPrefix(r.URL.Path, "/"), "/")
	var rewrite func(string) string
	target := &url.URL{Scheme: "https"}
	switch kind {
	case "files":
		http.ServeContent(w, r, file, time.Time{}, bytes.NewReader(m.files[file]))
		return
	case "debian", "debian-security":
		target.Scheme, target.Host, rest = "http", "deb.debian.org", kind+"/"+rest
	case "npm":
		target.Host = "registry.npmjs.org"
		rewrite = func(text string) string {
			return strings.ReplaceAll(text, "https://"+target.Host+"/", m.URL+"/npm/")
		}
	case "pypi":
		target.Host = "pypi.org"
		if host, below, _ := strings.Cut(strings.TrimPrefix(rest, "elsewhere/"), "/"); m.known(host) {
			target.Host, rest = host, below
			break
		}
		rewrite = func(text string) string {
			return link.ReplaceAllStringFunc(text, func(found string) string {
				host := link.FindStringSubmatch(found)[1]
				m.know(host)
				return "/pypi/elsewhere/" + host + "/"
			})
		}
	default:
		http.NotFound(w, r)
		return
	}
	target.Path = "/" + rest
	proxy := &httputil.ReverseProxy{
		Rewrite: func(p *httputil.ProxyRequest) {
			p.Out.URL, p.Out.Host = target, target.Host
			p.Out.Header.Del("Authorization")
			if rewrite != nil {
				p.Out.Header.Set("Accept-Encoding", "identity")
			}
		},
		ModifyResponse: func(response *http.Response) error {
			kind := response.Header.Get("Content-Type")
			if rewrite == nil || !strings.Contains(kind, "json") && !strings.Contains(kind, "html") {
				return nil
			}
			text, err := io.ReadAll(response.Body)
			if err != nil {
				return err
			}
			_ = response.Body.Close()
			changed := rewrite(string(text))
			response.Body = io.NopCloser(strings.NewReader(changed))
			response.ContentLength = int64(len(changed))
			response.Header.Set("Content-Length", fmt.Sprint(len(changed)))
			return nil
		},
	}
	proxy.ServeHTTP(w, r)
}

func (m *mirror) note(path string) {
	m.mutex.Lock()
	defer m.mutex.Unlock()
	m.asked = append(m.asked, path)
}

func (m *mirror) know(host string) {
	m.mutex.Lock()
	defer m.mutex.Unlock()
	m.elsewhere[host] = true
}

func (m *mirror) known(host string) bool {
	m.mutex.Lock()
	defer m.mutex.Unlock()
	return m.elsewhere[host]
}

// count returns how many of the paths that were asked for match a pattern.
func (m *mirror) count(pattern string) int {
	m.mutex.Lock()
	defer m.mutex.Unlock()
	expression, n := regexp.MustCompile(pattern), 0
	for _, path := range m.asked {
		if expression.MatchString(path) {
			n++
		}
	}
	return n
}
