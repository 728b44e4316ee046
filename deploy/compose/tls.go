package compose

import (
	"bytes"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"

	"go.yaml.in/yaml/v4"

	"github.com/desiredeffect/erpnext-pipeline/internal/problem"
	"github.com/desiredeffect/erpnext-pipeline/internal/secret"
)

// The ways in which a site is reached by https, for [TLS.Mode].
const (
	// TLSOff is http alone.
	TLSOff = "off"
	// TLSACME has the proxy get certificates by HTTP-01, TLSDNS by DNS-01.
	TLSACME = "acme"
	TLSDNS  = "dns"
	// TLSFiles has it use a certificate that is given to it.
	TLSFiles = "files"
	// TLSProxy leaves https to another proxy in front of it.
	TLSProxy = "proxy"
)

// TLS says how a site is reached by https.
type TLS struct {
	// Mode is one of the constants above; empty means TLSOff.
	Mode string `json:"mode,omitempty"`
	// Domains are the names that visitors use, the first one in links.
	Domains []string `json:"domains,omitempty"`
	// Port is the port of the host that answers https.
	Port int `json:"port,omitempty"`
	// HSTS is how long browsers are to keep to https, in seconds; 0 for not at all.
	HSTS int `json:"hsts_seconds,omitempty"`
	// Email is the account's at the ACME server, Directory that server's address,
	// and CA the certificates in PEM that it is trusted by, where it has none of a
	// public CA.
	Email     string `json:"email,omitempty"`
	Directory string `json:"directory,omitempty"`
	CA        string `json:"-"`
	// DNSProvider is lego's name of who runs the domains' DNS, and DNSVariables
	// what that asks for.
	DNSProvider  string                   `json:"dns_provider,omitempty"`
	DNSVariables map[string]secret.Secret `json:"dns_variables,omitempty"`
	// Certificate is the chain in PEM, the site's own first, and Key its private key.
	Certificate string        `json:"-"`
	Key         secret.Secret `json:"-"`
	// Trusted are the networks of the proxies in front, as CIDR.
	Trusted []string `json:"trusted,omitempty"`
}

const (
	// TLSFile is the name of the file that has the proxy answer https, behind the
	// others of the set.
	TLSFile = "compose-tls.yaml"
	// CertificateFile is the name of the file in the set's folder with the
	// certificate that the proxy is given.
	CertificateFile = "certificate.yaml"

	proxyService = "traefik"
	// caVariable holds the CA of the ACME server; the variables of a DNS provider
	// have variablePrefix in front.
	caVariable     = "ACME_CA"
	variablePrefix = "ACME_VARIABLE_"
	// resolver is what the proxy calls the ACME server.
	resolver = "--certificatesresolvers.site.acme."
)

// On reports whether the site is reached by https.
func (t TLS) On() bool { return t.Mode != "" && t.Mode != TLSOff }

// Ends reports whether the proxy of the set itself ends TLS.
func (t TLS) Ends() bool { return t.On() && t.Mode != TLSProxy }

// URLs returns the addresses of the site, the one for links first; none without https.
func (t TLS) URLs() []string {
	if !t.On() {
		return nil
	}
	var urls []string
	for _, domain := range t.Domains {
		url := "https://" + domain
		if t.Ends() && t.Port != 443 {
			url += fmt.Sprintf(":%d", t.Port)
		}
		if !strings.HasPrefix(domain, "*") {
			urls = append(urls, url)
		}
	}
	return urls
}

// Variables returns what the file of [WithTLS] refers to.
func (t TLS) Variables() map[string]secret.Secret {
	values := map[string]secret.Secret{}
	if t.CA != "" {
		values[caVariable] = secret.New(t.CA)
	}
	for name, value := range t.DNSVariables {
		values[variablePrefix+name] = value
	}
	return values
}

// Dynamic returns what the proxy reads a given certificate from: chain and key in one
// file, so that it never sees one without the other.
func (t TLS) Dynamic() ([]byte, error) {
	pair := map[string]string{"certFile": t.Certificate, "keyFile": t.Key.Reveal()}
	text, err := yaml.Marshal(map[string]any{"tls": map[string]any{
		"certificates": []any{pair},
		"stores":       map[string]any{"default": map[string]any{"defaultCertificate": pair}},
	}})
	if err != nil {
		return nil, fmt.Errorf("write %s: %w", CertificateFile, err)
	}
	return text, nil
}

// WithTLS returns the files of a set with one more that has its proxy answer https. It
// goes by what the proxy is told and by which routes there are, so a set of a
// company's own can have it too, if its proxy is a traefik as that of compose-main.yaml.
func WithTLS(files []File, t TLS) ([]File, problem.Report) {
	if !t.On() {
		return files, nil
	}
	documents, report := parse(files)
	if len(report) > 0 {
		return files, nil // for [Load] to say
	}
	command, wrong := documents.proxyCommand(t)
	if wrong != nil {
		return files, problem.Report{*wrong}
	}
	services := documents.movedRoutes(t)
	overlay := map[string]any{"services": services}
	proxy := services.of(proxyService)
	proxy["command"] = append(command, t.flags(command)...)
	if t.Ends() {
		proxy["ports"] = []string{fmt.Sprintf("%d:443", t.Port)}
		proxy["volumes"] = []string{"certificates:/certificates"}
		overlay["volumes"] = map[string]any{"certificates": nil}
		t.lend(proxy, overlay)
	}
	// gunicorn believes the proxy's word for https from these addresses alone: nothing
	// but the frontend gets to it.
	services.of("backend")["environment"] = map[string]string{"FORWARDED_ALLOW_IPS": "*"}

	var text bytes.Buffer
	fmt.Fprintf(&text, "# Written by the pipeline for TLS=%s, on top of the other files.\n", t.Mode)
	encoder := yaml.NewEncoder(&text)
	encoder.SetIndent(2)
	if err := encoder.Encode(overlay); err != nil {
		return files, problem.Report{{Code: "compose.tls", Subject: TLSFile, Detail: err.Error(), Err: err}}
	}
	return append(slices.Clone(files), File{Path: "the program's " + TLSFile, Name: TLSFile, Data: text.Bytes()}), nil
}

// proxyCommand returns what the proxy of the set is told, as it is written there.
func (d documents) proxyCommand(t TLS) ([]string, *problem.Problem) {
	const remedy = "take the service " + proxyService + " of compose-main.yaml, with its command as a list; or end TLS in a proxy of your own and set TLS=proxy, or TLS=off"
	place, node, depth := d.find("services", proxyService, "command")
	if depth < 3 || node.Kind != yaml.SequenceNode {
		return nil, &problem.Problem{Code: "compose.tls", Subject: place, Remedy: remedy,
			Detail: fmt.Sprintf("TLS is %s, and there is no service %s with a command as a list, to which it could be told", t.Mode, proxyService)}
	}
	var command []string
	web := false
	for _, item := range node.Content {
		command = append(command, item.Value)
		web = web || strings.HasPrefix(strings.ToLower(item.Value), "--entrypoints.web.address=")
	}
	if !web {
		return nil, &problem.Problem{Code: "compose.tls", Subject: place, Remedy: remedy,
			Detail: fmt.Sprintf("TLS is %s, and the service %s has no entry point web (--entrypoints.web.address) that could lead to https", t.Mode, proxyService)}
	}
	return command, nil
}

// flags returns what the proxy is told besides.
func (t TLS) flags(command []string) []string {
	if !t.Ends() {
		return []string{"--entrypoints.web.forwardedheaders.trustedips=" + strings.Join(t.Trusted, ","),
			// The last address in the list is then the one that the proxy in front
			// has seen, which the frontend takes for the visitor's.
			"--entrypoints.web.forwardedheaders.notappendxforwardedfor=true"}
	}
	to := "websecure"
	if t.Port != 443 {
		to = fmt.Sprintf(":%d", t.Port)
	}
	flags := []string{"--entrypoints.websecure.address=:443", "--entrypoints.websecure.http.tls=true",
		"--entrypoints.web.http.redirections.entrypoint.to=" + to, "--entrypoints.web.http.redirections.entrypoint.scheme=https",
		// Browsers keep a permanent one: there would be no way back to http.
		fmt.Sprintf("--entrypoints.web.http.redirections.entrypoint.permanent=%t", t.HSTS > 0)}
	for _, flag := range command {
		if name, ok := strings.CutPrefix(flag, "--entrypoints.web."); ok && !strings.HasPrefix(name, "address=") {
			flags = append(flags, "--entrypoints.websecure."+name)
		}
	}
	if t.Mode == TLSFiles {
		return append(flags, "--providers.file.directory=/certificates", "--providers.file.watch=true")
	}
	flags = append(flags, "--entrypoints.websecure.http.tls.certresolver=site", resolver+"storage=/certificates/acme.json", resolver+"caserver="+t.Directory,
		// The default, RSA with 4096 bits, takes many times as long for each handshake.
		resolver+"keytype=EC256")
	// A certificate each: where one name fails the others have theirs.
	for i, domain := range t.Domains {
		flags = append(flags, fmt.Sprintf("--entrypoints.websecure.http.tls.domains[%d].main=%s", i, domain))
	}
	if t.Email != "" {
		flags = append(flags, resolver+"email="+t.Email)
	}
	if t.CA != "" {
		flags = append(flags, resolver+"cacertificates=/run/secrets/acme_ca", resolver+"casystemcertpool=true")
	}
	if t.Mode == TLSDNS {
		return append(flags, resolver+"dnschallenge.provider="+t.DNSProvider)
	}
	return append(flags, resolver+"httpchallenge.entrypoint=web")
}

// lend gives the proxy what must not be in its environment, as files.
func (t TLS) lend(proxy, overlay map[string]any) {
	var names []string
	secrets, environment := map[string]any{}, map[string]string{}
	add := func(name, variable string) {
		names = append(names, name)
		secrets[name] = map[string]string{"environment": variable}
	}
	if t.CA != "" {
		add("acme_ca", caVariable)
	}
	for _, name := range slices.Sorted(maps.Keys(t.DNSVariables)) {
		file := "acme_" + strings.ToLower(name)
		add(file, variablePrefix+name)
		// Whoever asks for NAME reads the file that NAME_FILE names.
		environment[name+"_FILE"] = "/run/secrets/" + file
	}
	if len(names) > 0 {
		proxy["secrets"], overlay["secrets"] = names, secrets
	}
	if len(environment) > 0 {
		proxy["environment"] = environment
	}
}

var routerLabel = regexp.MustCompile(`^traefik\.http\.routers\.(.+)\.(entrypoints|middlewares)$`)

// services are those of a file.
type services map[string]map[string]any

// of returns what a service has, to add to it.
func (s services) of(name string) map[string]any {
	if s[name] == nil {
		s[name] = map[string]any{}
	}
	return s[name]
}

// movedRoutes has the routes of http lead from https.
func (d documents) movedRoutes(t TLS) services {
	moved := services{}
	for _, service := range d.keys("services") {
		entries, middlewares := map[string]bool{}, map[string]string{}
		for _, doc := range d {
			for _, label := range doc.labels(service) {
				key, value, _ := strings.Cut(label, "=")
				switch m := routerLabel.FindStringSubmatch(key); {
				case m == nil:
				case m[2] == "middlewares":
					middlewares[m[1]] = value + ","
				default:
					entries[m[1]] = value == "web"
				}
			}
		}
		var labels []string
		for _, router := range slices.Sorted(maps.Keys(entries)) {
			if !entries[router] {
				continue
			}
			if at := "traefik.http.routers." + router; t.Ends() {
				labels = append(labels, at+".entrypoints=websecure")
			}
			if t.HSTS > 0 {
				labels = append(labels,
					fmt.Sprintf("traefik.http.middlewares.%s-hsts.headers.stsseconds=%d", router, t.HSTS),
					"traefik.http.middlewares."+router+"-hsts.headers.forcestsheader=true",
					"traefik.http.routers."+router+".middlewares="+middlewares[router]+router+"-hsts")
			}
		}
		if len(labels) > 0 {
			moved.of(service)["labels"] = labels
		}
	}
	return moved
}

// labels returns the labels of a service as the file has them.
func (d document) labels(service string) []string {
	at := d.root
	for _, key := range []string{"services", service, "labels"} {
		if at, _ = child(at, key); at == nil {
			return nil
		}
	}
	var labels []string
	switch at.Kind {
	case yaml.SequenceNode:
		for _, item := range at.Content {
			labels = append(labels, item.Value)
		}
	case yaml.MappingNode:
		for i := 0; i+1 < len(at.Content); i += 2 {
			labels = append(labels, at.Content[i].Value+"="+at.Content[i+1].Value)
		}
	}
	return labels
}
