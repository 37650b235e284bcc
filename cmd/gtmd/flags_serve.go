package main

import (
	"fmt"
	"net/netip"
	"strings"

	"github.com/spf13/pflag"

	"github.com/gti/gtm/pkg/serve"
)

// serveFlags are how an edge serves beside plain DNS.
type serveFlags struct {
	tls, https, quic, certs []string
	xdp                     []string
	rate, slip              int
	rateDry                 bool
	rateExempt              []string
	cookieSecrets           string
	requireCookies          bool
}

func (f *serveFlags) register(s *pflag.FlagSet) {
	s.StringSliceVar(&f.tls, "tls", nil, "addresses for DNS over TLS, as in 192.0.2.53:853")
	s.StringSliceVar(&f.https, "https", nil, "addresses for DNS over HTTPS (/dns-query, HTTP/2 and HTTP/3), as in 192.0.2.53:443")
	s.StringSliceVar(&f.quic, "quic", nil, "addresses for DNS over QUIC, as in 192.0.2.53:853")
	s.StringArrayVar(&f.certs, "cert", nil, "certificate and key, as PEM files: CERT,KEY (repeatable; read again when they change)")
	s.StringSliceVar(&f.xdp, "xdp", nil, "interfaces from which UDP queries for --dns are taken past the kernel's network stack "+
		"(AF_XDP), as in eth0")
	s.IntVar(&f.rate, "rate-limit", 0, "replies a second by UDP to one address; networks get multiples of it (0: no limit)")
	s.IntVar(&f.slip, "rate-slip", 1, "of the replies that are too many, every Nth is sent truncated, the others not at all (0: none "+
		"is sent)")
	s.BoolVar(&f.rateDry, "rate-dry-run", false, "count what --rate-limit would hold back, and send it")
	s.StringSliceVar(&f.rateExempt, "rate-exempt", []string{"127.0.0.0/8", "::1/128"}, "networks without a rate limit")
	s.StringVar(&f.cookieSecrets, "cookie-secrets", "",
		"file with the secrets of DNS cookies, the same on all edges of an address (default: its own)")
	s.BoolVar(&f.requireCookies, "require-cookies", false, "answer BADCOOKIE over UDP to clients that know cookies and show none of ours")
}

// serving is serveFlags, checked.
type serving struct {
	tls, https, quic []netip.AddrPort
	certs            []serve.CertificateFiles
	xdp              []string
	rate             *serve.RateLimit
	cookieSecrets    string
	requireCookies   bool
}

// check tells all that is wrong through fail.
func (f *serveFlags) check(fail func(format string, args ...any)) serving {
	c := serving{xdp: f.xdp, cookieSecrets: f.cookieSecrets, requireCookies: f.requireCookies}
	for _, l := range []struct {
		flag string
		in   []string
		out  *[]netip.AddrPort
	}{{"--tls", f.tls, &c.tls}, {"--https", f.https, &c.https}, {"--quic", f.quic, &c.quic}} {
		for _, s := range l.in {
			a, err := netip.ParseAddrPort(strings.TrimSpace(s))
			if err != nil {
				fail("%s: %q is not an address with a port, as in 127.0.0.1:8853 or [::1]:8853", l.flag, s)
				continue
			}
			*l.out = append(*l.out, a)
		}
	}
	for _, s := range f.certs {
		cert, key, ok := strings.Cut(s, ",")
		if !ok || cert == "" || key == "" {
			fail("--cert: %q is not CERT,KEY, as in fullchain.pem,privkey.pem", s)
			continue
		}
		c.certs = append(c.certs, serve.CertificateFiles{Cert: cert, Key: key})
	}
	if len(c.tls)+len(c.https)+len(c.quic) > 0 && len(f.certs) == 0 {
		fail("--tls, --https and --quic need --cert CERT,KEY")
	}
	c.rate = f.rateLimit(fail)
	return c
}

func (f *serveFlags) rateLimit(fail func(format string, args ...any)) *serve.RateLimit {
	if f.rate < 0 || f.slip < 0 {
		fail("--rate-limit and --rate-slip cannot be below 0")
	}
	exempt := []netip.Prefix{}
	for _, s := range f.rateExempt {
		p, err := netip.ParsePrefix(strings.TrimSpace(s))
		if err != nil {
			fail("--rate-exempt: %q is not a network, as in 192.0.2.0/24", s)
			continue
		}
		exempt = append(exempt, p)
	}
	if f.rate <= 0 {
		return nil
	}
	return &serve.RateLimit{Rate: f.rate, Slip: f.slip, DryRun: f.rateDry, Exempt: exempt}
}

// lines tells of the encrypted transports, for people.
func (c *serving) lines(addrs func(serve.Transport) []netip.AddrPort) string {
	var b strings.Builder
	for _, t := range []serve.Transport{serve.TLS, serve.HTTPS, serve.QUIC} {
		for _, a := range addrs(t) {
			fmt.Fprintf(&b, "  DNS      %s (%s)\n", a, t)
		}
	}
	return b.String()
}
