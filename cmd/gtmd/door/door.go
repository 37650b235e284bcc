// Package door is what stands between the network and the API: certificates, and who is let in.
package door

import (
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strings"
	"time"

	"github.com/spf13/pflag"

	"github.com/gti/gtm/pkg/control/identity"
	"github.com/gti/gtm/pkg/control/secure"
	"github.com/gti/gtm/pkg/store/state"
)

// Flags are those of the command line.
type Flags struct {
	cert, key, clientCA    string
	plain, private, open   bool
	issuer, clientID       string
	audiences, scopes      []string
	userClaim, groupsClaim string
}

// Register adds the flags.
func (f *Flags) Register(s *pflag.FlagSet) {
	s.StringVar(&f.cert, "http-cert", "", "PEM file of the certificate of --http, read again when it changes (default, for control off "+
		"loopback: one of its own in the data folder, whose pin is printed)")
	s.StringVar(&f.key, "http-key", "", "PEM file of its key")
	s.StringVar(&f.clientCA, "http-client-ca", "", "PEM file of authorities by whose client certificates one can come in, too")
	s.BoolVar(&f.plain, "http-plain", false, "no TLS for control off loopback: only where something before it does that")
	s.BoolVar(&f.private, "http-private", false, "/edge/ of control wants a role in the platform too, as /metrics does, but from this "+
		"machine and from --edge-networks: they tell of all tenants")
	s.BoolVar(&f.open, "metrics-open", false, "/metrics of control is open to whoever reaches the port (default: to this machine, to "+
		"--edge-networks, and to who has a role in the platform)")
	s.StringVar(&f.issuer, "oidc-issuer", "", "URL of the OIDC issuer whose logins the API takes")
	s.StringVar(&f.clientID, "oidc-client-id", "", "client as which gtmctl login asks it")
	s.StringSliceVar(&f.audiences, "oidc-audience", nil, "audiences of tokens that are taken beside --oidc-client-id")
	s.StringSliceVar(&f.scopes, "oidc-scope", []string{"openid", "profile", "email", "offline_access"}, "scopes that gtmctl login asks for")
	s.StringVar(&f.userClaim, "oidc-user-claim", "sub", "claim that names a user; email counts where it is verified")
	s.StringVar(&f.groupsClaim, "oidc-groups-claim", "groups", "claim that lists a user's groups")
}

// Config is what the flags say, checked.
type Config struct {
	// TLS: --http speaks it.
	TLS                 bool
	cert, key, clientCA string
	private, open       bool
	oidc                identity.OIDCConfig
}

// Check tells all that is wrong. http is the address that is listened at, control whether the API is there.
func (f *Flags) Check(http string, control bool, fail func(format string, args ...any)) Config {
	c := Config{cert: f.cert, key: f.key, clientCA: f.clientCA, private: f.private, open: f.open,
		oidc: identity.OIDCConfig{Issuer: f.issuer, ClientID: f.clientID, Audiences: f.audiences, Scopes: f.scopes, UserClaim: f.userClaim,
			GroupsClaim: f.groupsClaim}}
	c.TLS = f.cert != "" || control && !f.plain && !loopback(http)
	switch {
	case (f.cert == "") != (f.key == ""):
		fail("--http-cert and --http-key go together")
	case f.plain && f.cert != "":
		fail("--http-plain does not go with --http-cert")
	case f.clientCA != "" && !c.TLS:
		fail("--http-client-ca: client certificates come by TLS alone, which --http %s does not speak: give it --http-cert and --http-key",
			http)
	}
	if f.private && !control {
		fail("--http-private goes with the role control, which knows who asks")
	}
	if f.open && !control {
		fail("--metrics-open goes with the role control: /metrics of others is open")
	}
	if f.issuer == "" && (f.clientID != "" || len(f.audiences) > 0) {
		fail("--oidc-client-id and --oidc-audience go with --oidc-issuer")
	}
	if f.issuer != "" {
		if f.clientID == "" {
			fail("--oidc-issuer needs --oidc-client-id")
		}
		if u, err := url.Parse(f.issuer); err != nil || u.Host == "" || u.Scheme != "https" && (u.Scheme != "http" || !loopback(u.Host)) {
			fail("--oidc-issuer: %q is not a URL as in https://login.example.org", f.issuer)
		}
		if f.userClaim == "" || f.groupsClaim == "" {
			fail("--oidc-user-claim and --oidc-groups-claim cannot be empty")
		}
	}
	return c
}

// loopback reports whether an address, with a port or without, is reached from this machine alone.
func loopback(address string) bool {
	host := address
	if h, _, err := net.SplitHostPort(address); err == nil {
		host = h
	}
	a, err := netip.ParseAddr(strings.Trim(host, "[]"))
	return err == nil && a.IsLoopback() || host == "localhost"
}

// Open gives what --http shows; nil: it does not speak TLS.
func (c *Config) Open(dir string, names []string, logger *slog.Logger) (*secure.Server, error) {
	if !c.TLS {
		return nil, nil
	}
	return secure.Open(secure.Config{Cert: c.cert, Key: c.key, Dir: dir, Names: names, ClientCA: c.clientCA, Logger: logger})
}

// Book gives who is known.
func (c *Config) Book(token func() string, mirror *state.Mirror, tokens *identity.Tokens, logger *slog.Logger) *identity.Book {
	b := identity.Config{Token: token, Mirror: mirror, Tokens: tokens, Logger: logger, Now: time.Now}
	if c.oidc.Issuer != "" {
		o := c.oidc
		o.Logger, o.Now = logger, time.Now
		b.OIDC = identity.NewOIDC(o)
	}
	return identity.NewBook(b)
}

// Pinned reads URLs of controls, each with or without a pin behind #, as in https://10.0.0.21:8053#sha256:9f86.... It gives them without,
// and a client that believes each by its pin.
func Pinned(urls []string) (plain []string, client *http.Client, err error) {
	by := pinned{}
	for _, given := range urls {
		u, err := url.Parse(given)
		if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" {
			return nil, nil, fmt.Errorf("%q is not a URL as in http://10.0.0.21:8053 or https://10.0.0.21:8053#sha256:PIN", given)
		}
		if pin := u.Fragment; pin != "" {
			if err := secure.CheckPin(pin); err != nil {
				return nil, nil, err
			}
			if u.Scheme != "https" {
				return nil, nil, fmt.Errorf("%s: a pin goes with https", given)
			}
			by[u.Host] = &http.Transport{TLSClientConfig: secure.Pinned(pin), TLSHandshakeTimeout: 5 * time.Second,
				IdleConnTimeout: time.Minute}
		}
		u.Fragment = ""
		plain = append(plain, u.String())
	}
	return plain, &http.Client{Transport: by, Timeout: 10 * time.Second}, nil
}

// pinned are the transports of hosts that are known by a pin.
type pinned map[string]*http.Transport

func (p pinned) RoundTrip(r *http.Request) (*http.Response, error) {
	if t := p[r.URL.Host]; t != nil {
		return t.RoundTrip(r)
	}
	return http.DefaultTransport.RoundTrip(r)
}
