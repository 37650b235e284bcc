package main

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/spf13/pflag"

	"github.com/gti/gtm/cmd/gtmd/door"
	"github.com/gti/gtm/pkg/spec"
	"github.com/gti/gtm/pkg/store/link"
)

// flags are the command line as given.
type flags struct {
	data, http, id, vantage, log, level string
	latency                             string
	roles, dns, etcd, geo, explain      []string
	resolvers                           []string
	apply, maps                         []string
	etcdCA, etcdCert, etcdKey           string
	demo, applyOnce                     bool
	demoPort                            uint16
	workers                             int
	tsigKeys                            string
	control, httpNames                  []string
	edgeNetworks                        []string
	observeOnly                         bool
	history                             time.Duration
	auditMiB                            int
	events                              eventFlags
	discover                            discoverFlags
	signing                             signing
	serve                               serveFlags
	probe                               probeFlags
	door                                door.Flags
}

func (f *flags) register(s *pflag.FlagSet) {
	s.StringVar(&f.data, "data", "data", "folder for etcd, snapshot and token")
	s.StringSliceVar(&f.roles, "roles", []string{roleEdge, roleControl, roleProber}, "roles to play")
	s.StringSliceVar(&f.dns, "dns", []string{"127.0.0.1:5300"}, "addresses to answer DNS on, UDP and TCP")
	s.StringVar(&f.http, "http", "127.0.0.1:8053", "address of API, status and metrics")
	s.StringSliceVar(&f.httpNames, "http-name", nil, "names by which --http is reached, beside addresses, localhost and the host's name")
	s.StringSliceVar(&f.etcd, "etcd", nil, "URLs of an etcd cluster (default: an etcd of its own)")
	s.StringVar(&f.etcdCA, "etcd-ca", "", "PEM file of the authority that signed etcd's certificates")
	s.StringVar(&f.etcdCert, "etcd-cert", "", "PEM file of the client certificate for etcd")
	s.StringVar(&f.etcdKey, "etcd-key", "", "PEM file of its key")
	s.StringArrayVar(&f.geo, "geo", nil, "MMDB file (City, Country or ASN layout; repeatable; default: built-in countries)")
	s.StringArrayVar(&f.maps, "maps", nil, "file of the networks of maps with fromFiles: lines of a network and a name (repeatable)")
	s.StringVar(&f.latency, "latency", "", "latency table (MMDB file of gtmctl latency build), for services that steer by it")
	s.StringArrayVar(&f.apply, "apply", nil, "file or folder of resources to put into the store at every start, where they differ; what "+
		"others changed since is set back, and logged")
	s.BoolVar(&f.applyOnce, "apply-once", false, "put the resources of --apply only into a store that is empty")
	s.BoolVar(&f.demo, "demo", false, "start the demo's HTTP endpoints on 127.0.2.1 to 127.0.4.2, port 8080")
	s.Uint16Var(&f.demoPort, "demo-port", 8080, "port of the demo's endpoints; their monitor must check the same")
	_ = s.MarkHidden("demo-port") // it exists: the line above made it
	s.StringVar(&f.id, "id", "", "name of this edge, as in id.server (default: the host's name)")
	s.StringVar(&f.vantage, "vantage", "", "name of this prober's vantage (default: as --id)")
	s.StringSliceVar(&f.explain, "explain-from", []string{"127.0.0.0/8", "::1/128"}, "networks that may ask _explain names")
	s.StringSliceVar(&f.control, "control", nil,
		"URLs of servers with the role control, for an edge without it: they get updates and NOTIFY; of one with a certificate of its "+
			"own, as in https://10.0.0.21:8053#sha256:PIN")
	s.StringSliceVar(&f.resolvers, "resolver", nil,
		"resolvers for aliases of hosts outside and for endpoints that are found by name, as in 192.0.2.1 or [2001:db8::1]:5353 "+
			"(default: those of /etc/resolv.conf)")
	s.StringVar(&f.tsigKeys, "tsig-keys", "", "file of TSIG keys (mode 0600) as tsig-keygen prints them; read again when it changes")
	s.StringSliceVar(&f.edgeNetworks, "edge-networks", nil,
		"networks in which control asks edges (default: all but loopback, link-local and addresses of this machine, "+
			"which must be named by themselves)")
	s.DurationVar(&f.history, "history", 24*time.Hour, "for how long control can tell what a client would have got; 0: not at all")
	s.IntVar(&f.auditMiB, "audit-mib", 4096, "how large control's audit log gets, in MiB: then its oldest entries go")
	f.events.register(s)
	f.discover.register(s)
	s.BoolVar(&f.observeOnly, "observe-only", false, "a prober that never judges, and needs no right to write verdicts")
	f.signing.register(s)
	f.serve.register(s)
	f.probe.register(s)
	f.door.Register(s)
	s.StringVar(&f.log, "log", "text", "form of the log on standard error: text or json")
	s.StringVar(&f.level, "log-level", "info", "debug, info, warn or error")
	s.IntVar(&f.workers, "workers", 0, "UDP workers for each address (default: one for each CPU)")
}

// The roles.
const (
	roleEdge    = "edge"
	roleControl = "control"
	roleProber  = "prober"
)

// config is the command line, checked.
type config struct {
	data, http, id, vantage string
	tsigKeys                string
	control, httpNames      []string
	edgeNetworks            []netip.Prefix
	observeOnly             bool
	history                 time.Duration
	auditMiB                int
	events                  eventing
	discover                discovering
	signing                 signing
	roles                   map[string]bool
	dns                     []netip.AddrPort
	etcd                    []string
	etcdCerts               *link.Certs
	geo, maps, apply        []string
	latency                 string
	explain                 []netip.Prefix
	resolvers               []netip.AddrPort // nil: the system's
	demo, applyOnce         bool
	demoPort                uint16
	workers                 int
	logger                  *slog.Logger
	serving                 serving
	probing                 probing
	door                    door.Config
	forward                 *http.Client // to control
}

// config checks everything, and tells all that is wrong at once.
func (f *flags) config() (*config, error) {
	c := &config{httpNames: f.httpNames, tsigKeys: f.tsigKeys,
		data: f.data, http: f.http, id: f.id, vantage: f.vantage, etcd: f.etcd, geo: f.geo, maps: f.maps, latency: f.latency,
		apply: f.apply, demo: f.demo, demoPort: f.demoPort, observeOnly: f.observeOnly, history: f.history,
		auditMiB: f.auditMiB,
		workers:  f.workers, roles: map[string]bool{}}
	var errs []error
	fail := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }
	for _, r := range f.roles {
		if r = strings.TrimSpace(r); !slices.Contains([]string{roleEdge, roleControl, roleProber}, r) {
			fail("--roles: %q is not a role; there are edge, control and prober", r)
		}
		c.roles[r] = true
	}
	if len(f.roles) == 0 {
		fail("--roles: give at least one of edge, control and prober")
	}
	f.networks(c, fail)
	if c.applyOnce = f.applyOnce; c.applyOnce && len(f.apply) == 0 {
		fail("--apply-once goes with --apply")
	}
	if len(c.dns) == 0 && len(f.dns) == 0 && c.roles[roleEdge] {
		fail("--dns: an edge needs at least one address, as in 127.0.0.1:5300")
	}
	if _, _, err := net.SplitHostPort(f.http); err != nil {
		fail("--http: %q is not an address with a port, as in 127.0.0.1:8053", f.http)
	}
	for _, n := range f.httpNames {
		if name := canonicalHost(n); name == "" || strings.ContainsAny(name, "/: \t\n") {
			fail("--http-name: %q is not a name, as in gtm.example.org", n)
		}
	}
	f.names(c, fail)
	if f.workers < 0 || f.workers > 1024 {
		fail("--workers: %d is not between 0 and 1024", f.workers)
	}
	if f.history < 0 {
		fail("--history: %s is less than nothing; 0 keeps nothing", f.history)
	}
	if f.auditMiB < 256 {
		fail("--audit-mib: %d is less than 256, four files of the log", f.auditMiB)
	}
	c.events = f.events.check(fail)
	c.discover = f.discover.check(fail)
	c.signing = f.signing.within(c.data)
	c.serving = f.serve.check(fail)
	c.probing = f.probe.check(fail)
	c.door = f.door.Check(f.http, c.roles[roleControl], fail)
	var err error
	if c.control, c.forward, err = door.Pinned(f.control); err != nil {
		fail("--control: %v", err)
	}
	errs = append(errs, f.logging(c), f.tls(c))
	return c, errors.Join(errs...)
}

// networks reads the addresses and the networks.
func (f *flags) networks(c *config, fail func(format string, args ...any)) {
	c.dns = each(f.dns, netip.ParseAddrPort, fail, "--dns: %q is not an address with a port, as in 127.0.0.1:5300 or [::1]:5300")
	c.explain = each(f.explain, netip.ParsePrefix, fail, "--explain-from: %q is not a network, as in 192.0.2.0/24")
	c.edgeNetworks = each(f.edgeNetworks, netip.ParsePrefix, fail,
		"--edge-networks: %q is not a network, as in 10.0.0.0/16 or 127.0.0.1/32")
	resolver := func(s string) (netip.AddrPort, error) {
		a, err := (spec.Peer{Address: s}).AddrPort()
		if err == nil && a.Port() == 0 {
			err = errors.New("it has no port")
		}
		return a, err
	}
	c.resolvers = each(f.resolvers, resolver, fail, "--resolver: %q is not an address, as in 192.0.2.1 or [2001:db8::1]:5353")
}

// each reads the values of a flag; those that cannot be read are told as fault says, and left out.
func each[T any](values []string, parse func(string) (T, error), fail func(format string, args ...any), fault string) (read []T) {
	for _, value := range values {
		v, err := parse(strings.TrimSpace(value))
		if err != nil {
			fail(fault, value)
			continue
		}
		read = append(read, v)
	}
	return read
}

// names checks who this is.
func (f *flags) names(c *config, fail func(format string, args ...any)) {
	if c.id == "" {
		host, err := os.Hostname()
		if err != nil {
			fail("--id: the host has no name (%v): give one", err)
		}
		c.id = host
	}
	if len(c.id) > 255 || strings.ContainsAny(c.id, "/ \t\n") {
		fail("--id: %q must have at most 255 characters, and neither spaces nor slashes", c.id)
	}
	if c.vantage == "" {
		c.vantage = c.id
	}
	if strings.ContainsAny(c.vantage, "/ \t\n") {
		fail("--vantage: %q must have neither spaces nor slashes", c.vantage)
	}
}

func (f *flags) logging(c *config) error {
	var errs []error
	var level slog.Level
	if err := level.UnmarshalText([]byte(f.level)); err != nil {
		errs = append(errs, fmt.Errorf("--log-level: %q is not debug, info, warn or error", f.level))
	}
	if c.logger = newLogger(f.log, os.Stderr, level); c.logger == nil {
		errs = append(errs, fmt.Errorf("--log: %q is neither text nor json", f.log))
	}
	return errors.Join(errs...)
}

// newLogger gives a logger of that form, nil where it is neither text nor json. slog quotes in text what terminals would obey.
func newLogger(form string, out io.Writer, level slog.Level) *slog.Logger {
	opts := &slog.HandlerOptions{Level: level}
	switch form {
	case "text":
		return slog.New(slog.NewTextHandler(screened{out}, opts))
	case "json":
		return slog.New(slog.NewJSONHandler(screened{out}, opts))
	}
	return nil
}

// tls reads the files for etcd.
func (f *flags) tls(c *config) error {
	if f.etcdCA == "" && f.etcdCert == "" && f.etcdKey == "" {
		return nil
	}
	if len(f.etcd) == 0 {
		return errors.New("--etcd-ca, --etcd-cert and --etcd-key go with --etcd")
	}
	var err error
	c.etcdCerts, err = link.LoadCerts(f.etcdCA, f.etcdCert, f.etcdKey)
	return err
}
