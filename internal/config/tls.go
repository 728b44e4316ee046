package config

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"net/netip"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/desiredeffect/erpnext-pipeline/deploy/compose"
	"github.com/desiredeffect/erpnext-pipeline/internal/secret"
)

func tlsKeys(c *Config) []Key {
	t := &c.Target.TLS
	return []Key{
		{Name: "TLS", Default: compose.TLSOff, parse: text(&t.Mode).where(oneOf("a way to https", compose.TLSOff, compose.TLSACME, compose.TLSDNS, compose.TLSFiles, compose.TLSProxy)),
			Doc: "How the site has https: off for http alone; acme for certificates of Let's Encrypt or another ACME server, which asks at port 80; dns for such certificates by records that are put into the domains' DNS; files for a certificate of your own; proxy where another proxy in front ends TLS."},
		{Name: "SITE_DOMAINS", ReleaseOnly: true, parse: domains(&t.Domains),
			Doc: "Names under which people open the site, separated by commas; links in mails have the first one. Without it SITE_NAME. *.example.com works where TLS is dns or files."},
		{Name: "HTTPS_PORT", Default: "443", ReleaseOnly: true, parse: number(&t.Port, 65535),
			Doc: "Port of the host on which the site answers https. HTTP_PORT leads there."},
		{Name: "HSTS_SECONDS", ReleaseOnly: true, parse: number(&t.HSTS, 10*365*24*60*60),
			Doc: "How long browsers that were on the site keep to https, in seconds, such as 31536000. There is no way back from it until that time is over. Without it they are not told to."},
		{Name: "ACME_EMAIL", ReleaseOnly: true, parse: text(&t.Email).where(email),
			Doc: "Mail address of the account at the ACME server."},
		{Name: "ACME_URL", Default: "https://acme-v02.api.letsencrypt.org/directory", ReleaseOnly: true, parse: text(&t.Directory).where(serverURL),
			Doc: "Directory of the ACME server. To try, Let's Encrypt has https://acme-staging-v02.api.letsencrypt.org/directory, whose certificates no browser takes and which has higher limits."},
		{Name: "ACME_CA_FILE", ReleaseOnly: true, parse: acmeCA(&t.CA),
			Doc: "File with the CAs in PEM that an ACME server of your own is trusted by."},
		{Name: "ACME_DNS_PROVIDER", ReleaseOnly: true, parse: text(&t.DNSProvider).where(dnsProvider),
			Doc: "Who runs the domains' DNS, by the name that lego has for it, such as cloudflare or hetzner: https://go-acme.github.io/lego/dns/. Needed where TLS is dns."},
		{Name: "ACME_DNS_VARIABLES", Secret: true, ReleaseOnly: true, parse: dnsVariables(&t.DNSVariables),
			Doc: "What lego wants to know for that provider, as NAME=value, separated by blanks or line breaks, such as CF_DNS_API_TOKEN=…. Needed where TLS is dns."},
		{Name: "TLS_CERT", ReleaseOnly: true, parse: text(&t.Certificate),
			Doc: "Certificate of the site and those between it and its CA, in PEM, the whole text. Where TLS is files, this or TLS_CERT_FILE is needed."},
		{Name: "TLS_CERT_FILE", Elsewhere: "TLS_CERT", ReleaseOnly: true, parse: tlsFile(&t.Certificate, "TLS_CERT", "the certificate", false),
			Doc: "File with these certificates."},
		{Name: "TLS_KEY", Secret: true, ReleaseOnly: true, parse: secretText(&t.Key),
			Doc: "Private key of that certificate, its whole text. Where TLS is files, this or TLS_KEY_FILE is needed."},
		{Name: "TLS_KEY_FILE", Elsewhere: "TLS_KEY", ReleaseOnly: true, parse: tlsKeyFile(&t.Key),
			Doc: "File with this private key, readable by you alone."},
		{Name: "TRUSTED_PROXIES", ReleaseOnly: true, parse: networks(&t.Trusted),
			Doc: "Addresses or networks of the proxies in front, separated by commas, such as 10.0.0.5 or 10.0.0.0/24: what they say of a visitor's address and of https is believed. Needed where TLS is proxy."},
	}
}

var (
	email       = form(regexp.MustCompile(`^[^\s@,;$]+@[^\s@,;$]+$`).MatchString, "is not a mail address", "write one, for instance it@example.com")
	dnsProvider = form(regexp.MustCompile(`^[a-z0-9-]+$`).MatchString, "can't be lego's name of a provider", "write its code from https://go-acme.github.io/lego/dns/")
	// domainName has a name of at least two parts, the last of which is no number.
	domainName   = regexp.MustCompile(`^(\*\.)?([a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?\.)+[a-z]([a-z0-9-]{0,61}[a-z0-9])?$`)
	variableName = regexp.MustCompile(`^[A-Z][A-Z0-9_]*$`)
)

// domains takes names that people open the site under.
func domains(field *[]string) parser {
	return func(l *loader, key, list string) {
		if list == "" {
			return
		}
		for _, domain := range strings.Split(list, ",") {
			domain = strings.ToLower(strings.TrimSpace(domain))
			_, err := netip.ParseAddr(domain)
			switch {
			case err == nil:
				l.bad(key, "name a domain that leads to that address", "has %s, which is an address: certificates are for names", quote(domain))
			case len(domain) > 253 || !domainName.MatchString(domain):
				l.bad(key, "write names such as erp.example.com, separated by single commas, without https:// and port; others than Latin letters as xn--…", "has %s, which is no domain", quote(domain))
			case slices.Contains(*field, domain):
				l.bad(key, "name it once", "has %s twice", domain)
			default:
				*field = append(*field, domain)
			}
		}
	}
}

// networks takes addresses and networks, as traefik has them.
func networks(field *[]string) parser {
	return func(l *loader, key, list string) {
		if list == "" {
			return
		}
		for _, network := range strings.Split(list, ",") {
			network = strings.TrimSpace(network)
			prefix, err := netip.ParsePrefix(network)
			if address, wrong := netip.ParseAddr(network); err != nil && wrong == nil {
				prefix, err = netip.PrefixFrom(address, address.BitLen()), nil
			}
			switch {
			case err != nil:
				l.bad(key, "write addresses or networks such as 10.0.0.0/24, separated by single commas", "has %s, which is neither an address nor a network", quote(network))
			case prefix.Bits() == 0:
				l.bad(key, "name the networks that the proxies are in", "has %s, which is everybody: each visitor could claim to be another", network)
			default:
				*field = append(*field, prefix.Masked().String())
			}
		}
	}
}

// dnsVariables takes lines of NAME=value.
func dnsVariables(field *map[string]secret.Secret) parser {
	return func(l *loader, key, list string) {
		for i, pair := range strings.Fields(list) {
			name, value, ok := strings.Cut(pair, "=")
			if !ok || value == "" || !variableName.MatchString(name) {
				// It may have a password in it.
				l.bad(key, "write NAME=value for each, separated by blanks or line breaks", "has something other than NAME=value as its %d. entry", i+1)
				continue
			}
			if strings.HasSuffix(name, "_FILE") || strings.HasPrefix(name, "AWS_") {
				l.bad(key, "take a provider, or a way to log in to it, whose variables lego reads from NAME_FILE as well", "has %s: the proxy gets each variable as a file that NAME_FILE names, and lego does not read this one so", name)
				continue
			}
			if *field == nil {
				*field = map[string]secret.Secret{}
			}
			(*field)[name] = secret.New(value)
		}
	}
}

// tlsFile reads a file that is needed only where a certificate is put live, and none where its text is given.
func tlsFile(field *string, textKey, what string, private bool) parser {
	return func(l *loader, key, file string) {
		file = l.expand(key, file)
		if file == "" || l.need&(Deploy|Certificate) == 0 || l.isSet(textKey) || l.values["TLS"].text != compose.TLSFiles {
			return
		}
		if data, ok := l.contents(key, file, what, "", private); ok {
			*field = string(data)
		}
	}
}

func tlsKeyFile(field *secret.Secret) parser {
	return func(l *loader, key, file string) {
		var text string
		tlsFile(&text, "TLS_KEY", "the private key", true)(l, key, file)
		if text != "" {
			*field = secret.New(text)
		}
	}
}

// acmeCA reads the CAs of an ACME server.
func acmeCA(field *string) parser {
	return func(l *loader, key, file string) {
		if file = l.expand(key, file); file != "" && l.need&Deploy != 0 {
			*field = l.fileCAs(key, file)
		}
	}
}

// https looks whether all is there that the way to https needs, and whether what is
// given fits together.
func (l *loader) https(c *Config) {
	t := &c.Target.TLS
	if !t.On() {
		*t = compose.TLS{}
		return
	}
	if l.need&(Deploy|Certificate) == 0 {
		*t = compose.TLS{Mode: t.Mode, Port: t.Port}
		return
	}
	if len(t.Domains) == 0 && !l.isSet("SITE_DOMAINS") && len(c.Target.Sites) > 0 {
		name := strings.ToLower(c.Target.Sites[0])
		if !domainName.MatchString(name) || strings.HasPrefix(name, "*") {
			l.bad("TLS", "set SITE_DOMAINS to the names that people open the site under", "is %s, and SITE_NAME is %s, which no certificate can be for", t.Mode, quote(name))
		} else {
			t.Domains = []string{name}
		}
	}
	// Line breaks of Windows would not be read by the proxy.
	t.Certificate = strings.ReplaceAll(t.Certificate, "\r\n", "\n")
	if t.Key.IsSet() {
		t.Key = secret.New(strings.ReplaceAll(t.Key.Reveal(), "\r\n", "\n"))
	}
	needs := func(keys ...string) {
		if !slices.ContainsFunc(keys, l.isSet) {
			l.bad("TLS", "set "+strings.Join(keys, " or ")+", or another TLS", "is %s, which needs %s", t.Mode, strings.Join(keys, " or "))
		}
	}
	switch t.Mode {
	case compose.TLSDNS:
		needs("ACME_DNS_PROVIDER")
		needs("ACME_DNS_VARIABLES")
	case compose.TLSProxy:
		needs("TRUSTED_PROXIES")
	case compose.TLSFiles:
		needs("TLS_CERT", "TLS_CERT_FILE")
		needs("TLS_KEY", "TLS_KEY_FILE")
		l.givenCertificate(*t)
	case compose.TLSACME:
		for _, domain := range t.Domains {
			if strings.HasPrefix(domain, "*") {
				l.bad("SITE_DOMAINS", "name each domain, or set TLS=dns", "has %s: at port 80 no ACME server can be shown that all its names are yours", domain)
			}
		}
	}
	if t.Ends() && t.Port == c.Target.HTTPPort {
		l.bad("HTTPS_PORT", "set another one", "and HTTP_PORT are both %d", t.Port)
	}
	l.notBoth("TLS_CERT", "TLS_CERT_FILE")
	l.notBoth("TLS_KEY", "TLS_KEY_FILE")
}

// keyOf returns which of two keys has a value.
func (l *loader) keyOf(text, file string) string {
	if l.isSet(text) {
		return text
	}
	return file
}

// givenCertificate looks whether a certificate can be used for the domains.
func (l *loader) givenCertificate(t compose.TLS) {
	if t.Certificate == "" || !t.Key.IsSet() {
		return // was said
	}
	key := l.keyOf("TLS_CERT", "TLS_CERT_FILE")
	chain, broken := parseCertificates([]byte(t.Certificate))
	switch {
	case broken > 0:
		l.bad(key, "give each in PEM, with its first and last line and its line breaks", "has certificates in it that can't be parsed: %d of %d", broken, len(chain)+broken)
		return
	case len(chain) == 0:
		l.bad(key, "give it in PEM, beginning with -----BEGIN CERTIFICATE-----", "has no certificate in it")
		return
	}
	own, now := chain[0], l.sources.Now()
	switch {
	case now.After(own.NotAfter):
		l.bad(key, "give its successor", "has a certificate that expired on %s", own.NotAfter.UTC().Format(time.DateOnly))
	case now.Before(own.NotBefore):
		l.bad(key, "set this machine's clock right, or wait", "has a certificate that begins on %s", own.NotBefore.UTC().Format(time.DateOnly))
	}
	for _, domain := range t.Domains {
		if !covers(own, domain) {
			l.bad(key, "give one that has all of SITE_DOMAINS, or leave that name out", "has a certificate for %s, and not for %s", strings.Join(own.DNSNames, ", "), domain)
		}
	}
	for i := range chain[1:] {
		if chain[i].CheckSignatureFrom(chain[i+1]) != nil {
			l.bad(key, "put the site's certificate first, and behind each the one that has signed it", "has certificates that are no chain: %s is not signed by %s", quote(chain[i].Subject.String()), quote(chain[i+1].Subject.String()))
		}
	}
	block, _ := pem.Decode([]byte(t.Key.Reveal()))
	switch _, err := tls.X509KeyPair([]byte(t.Certificate), []byte(t.Key.Reveal())); {
	case err == nil:
	case block == nil:
		l.bad(l.keyOf("TLS_KEY", "TLS_KEY_FILE"), "give the private key in PEM, with its first and last line and its line breaks", "is not a private key")
	case strings.Contains(block.Type, "ENCRYPTED") || block.Headers["DEK-Info"] != "":
		l.bad(l.keyOf("TLS_KEY", "TLS_KEY_FILE"), "take the password away: openssl pkey -in KEY -out OPEN", "has a password, which the proxy could not be told")
	default:
		// The parser's words quote nothing of the key.
		l.bad(l.keyOf("TLS_KEY", "TLS_KEY_FILE"), "give the key that the certificate was made with", "does not belong to the certificate: %s", strings.TrimPrefix(err.Error(), "tls: "))
	}
}

// covers reports whether a certificate is for a domain; one with a star is for that
// alone.
func covers(c *x509.Certificate, domain string) bool {
	if strings.HasPrefix(domain, "*") {
		return slices.Contains(c.DNSNames, domain)
	}
	return c.VerifyHostname(domain) == nil
}

// endsSoon is how long before its end a certificate is warned of.
const endsSoon = 14 * 24 * time.Hour

// CertificateEnds returns when the certificate that was given ends, if that is soon.
func (c Config) CertificateEnds(now time.Time) (time.Time, bool) {
	chain, _ := parseCertificates([]byte(c.Target.TLS.Certificate))
	if c.Target.TLS.Mode != compose.TLSFiles || len(chain) == 0 {
		return time.Time{}, false
	}
	ends := chain[0].NotAfter
	return ends, ends.Sub(now) < endsSoon
}
