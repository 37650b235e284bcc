package main

import (
	"net"
	"net/netip"
	"net/url"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/pflag"

	"github.com/gti/gtm/pkg/control/discover"
	"github.com/gti/gtm/pkg/control/events"
	"github.com/gti/gtm/pkg/geo"
	"github.com/gti/gtm/pkg/prober"
	"github.com/gti/gtm/pkg/resolve"
	"github.com/gti/gtm/pkg/spec"
)

// probeFlags are what a prober's checks may reach, and what they may know.
type probeFlags struct {
	allow, deny     []string
	secrets         string
	region, network string
}

func (f *probeFlags) register(s *pflag.FlagSet) {
	s.StringSliceVar(&f.allow, "probe-allow", nil,
		"networks that checks may reach although they are private, loopback or otherwise special, as in "+
			"10.20.0.0/16; this machine by an address of its own, as in 192.0.2.7/32")
	s.StringSliceVar(&f.deny, "probe-deny", nil, "networks that checks may not reach, whatever is allowed")
	s.StringVar(&f.region, "vantage-region", "", "where this prober is, as in EU-DE: monitors can ask for vantages of a region")
	s.StringVar(&f.network, "vantage-network", "", "what this prober shares with those that fail with it, as in AS64500 or a provider's "+
		"name: a failure that vantages of several networks see passes the brake")
	s.StringVar(&f.secrets, "probe-secrets", "",
		"folder of the secrets that monitors name, for headers and as client certificates: DIR/TENANT/NAME, mode 0600; read at each check")
}

// probing is probeFlags, checked.
type probing struct {
	allow, deny     []netip.Prefix
	secrets         string
	region, network string
}

// check tells all that is wrong through fail.
func (f *probeFlags) check(fail func(format string, args ...any)) probing {
	p := probing{secrets: f.secrets, region: f.region, network: f.network}
	if _, err := geo.ParsePlace(f.region); f.region != "" && err != nil {
		fail("--vantage-region: %v", err)
	}
	if len(f.network) > 255 || strings.ContainsAny(f.network, "/ \t\n") {
		fail("--vantage-network: %q must have at most 255 characters, and neither spaces nor slashes", f.network)
	}
	for _, l := range []struct {
		flag string
		in   []string
		out  *[]netip.Prefix
	}{{"--probe-allow", f.allow, &p.allow}, {"--probe-deny", f.deny, &p.deny}} {
		for _, s := range l.in {
			n, err := netip.ParsePrefix(strings.TrimSpace(s))
			switch {
			case err != nil:
				fail("%s: %q is not a network, as in 10.20.0.0/16", l.flag, s)
			case n != n.Masked() || n.Addr().Is4In6():
				a := n.Addr().Unmap()
				fail("%s: %s has bits set behind its length; write %s", l.flag, n, netip.PrefixFrom(a, min(n.Bits(), a.BitLen())).Masked())
			case l.flag == "--probe-allow" && !n.IsSingleIP() && !spec.CanOpen(n):
				fail("--probe-allow: %s opens nothing: it lies in no network that is closed; to open private ones, write 10.0.0.0/8 and "+
					"the like", n)
			default:
				*l.out = append(*l.out, n)
			}
		}
	}
	checkFolder("--probe-secrets", p.secrets, fail)
	return p
}

func checkFolder(flag, dir string, fail func(format string, args ...any)) {
	if dir == "" {
		return
	}
	if info, err := os.Stat(dir); err != nil || !info.IsDir() {
		fail("%s: %s is not a folder that can be read", flag, dir)
	}
}

// eventFlags are what control keeps of events, and what webhooks of tenants may reach, and know.
type eventFlags struct {
	keep     time.Duration
	networks []string
	secrets  string
}

func (f *eventFlags) register(s *pflag.FlagSet) {
	s.DurationVar(&f.keep, "events", events.KeepFor, "for how long control keeps what changed of health, 100,000 events at most; 0: none")
	s.StringSliceVar(&f.networks, "events-networks", nil,
		"networks that webhooks of tenants may reach although they are private, loopback or otherwise special, as in 10.20.0.0/16; "+
			"those of the platform go anywhere")
	s.StringVar(&f.secrets, "events-secrets", "",
		"folder of the secrets that targets of events name: DIR/TENANT/NAME, mode 0600; read at each message")
}

// eventing is eventFlags, checked.
type eventing struct {
	keep     time.Duration
	networks []netip.Prefix
	secrets  string
}

func (f *eventFlags) check(fail func(format string, args ...any)) eventing {
	e := eventing{keep: f.keep, secrets: f.secrets}
	if f.keep < 0 {
		fail("--events: %s is less than nothing; 0 keeps none", f.keep)
	}
	e.networks = each(f.networks, netip.ParsePrefix, fail, "--events-networks: %q is not a network, as in 10.20.0.0/16")
	for _, n := range e.networks {
		if n != n.Masked() || n.Addr().Is4In6() {
			fail("--events-networks: %s has bits set behind its length", n)
		}
	}
	checkFolder("--events-secrets", e.secrets, fail)
	return e
}

// demoNets is what --demo lets checks reach: its endpoints, which are loopback, and private networks, where first services stand.
var demoNets = func() (nets []netip.Prefix) {
	for _, s := range []string{"127.0.2.0/24", "127.0.3.0/24", "127.0.4.0/24", "10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16",
		"fc00::/7"} {
		nets = append(nets, netip.MustParsePrefix(s))
	}
	return nets
}()

func (s *server) proberConfig() prober.Config {
	cfg := prober.Config{ID: s.cfg.vantage, Region: s.cfg.probing.region, Network: s.cfg.probing.network,
		ObserveOnly: s.cfg.observeOnly, Store: s.store, Allow: s.cfg.probing.allow,
		Deny: s.cfg.probing.deny, OwnPorts: s.ownPorts(), Secrets: s.cfg.probing.secrets, Logger: s.cfg.logger, Registerer: s.registry}
	if s.cfg.demo {
		cfg.Allow = append(cfg.Allow, demoNets...)
	}
	return cfg
}

// ownPorts are those that this gtmd listens on, and those of its etcd.
func (s *server) ownPorts() (ports []uint16) {
	for _, l := range [][]netip.AddrPort{s.cfg.dns, s.cfg.serving.tls, s.cfg.serving.https, s.cfg.serving.quic} {
		for _, a := range l {
			ports = append(ports, a.Port())
		}
	}
	if a, ok := s.web.Addr().(*net.TCPAddr); ok {
		ports = append(ports, uint16(a.Port))
	}
	for _, e := range s.cfg.etcd {
		if u, err := url.Parse(e); err == nil {
			if port, err := strconv.ParseUint(u.Port(), 10, 16); err == nil {
				ports = append(ports, uint16(port))
			}
		}
	}
	return ports
}

// systemResolvers is where the system names its own.
const systemResolvers = "/etc/resolv.conf"

// discoverFlags are where control finds endpoints of pools.
type discoverFlags struct {
	files    string
	networks []string
}

func (f *discoverFlags) register(s *pflag.FlagSet) {
	s.StringVar(&f.files, "discover-files", "",
		"folder of the files in which pools' endpoints are found: DIR/TENANT/NAME, the same at each control")
	s.StringSliceVar(&f.networks, "discover-networks", nil,
		"networks in which endpoints that are found by name, and resolvers that pools name, may lie although they are private, "+
			"loopback or otherwise special, as in 10.20.0.0/16; --demo opens private networks and those of its endpoints")
}

// discovering is discoverFlags, checked.
type discovering struct {
	files    string
	networks []netip.Prefix
}

func (f *discoverFlags) check(fail func(format string, args ...any)) discovering {
	d := discovering{files: f.files}
	d.networks = each(f.networks, netip.ParsePrefix, fail, "--discover-networks: %q is not a network, as in 10.20.0.0/16")
	for _, n := range d.networks {
		if n != n.Masked() || n.Addr().Is4In6() {
			fail("--discover-networks: %s has bits set behind its length", n)
		}
	}
	checkFolder("--discover-files", d.files, fail)
	return d
}

// openFinder has control look for endpoints.
func (s *server) openFinder() (err error) {
	cfg := discover.Config{ID: s.cfg.id, Store: s.store, Mirror: s.mirror, Resolvers: s.cfg.resolvers, Files: s.cfg.discover.files,
		Networks: s.cfg.discover.networks, OwnPorts: s.ownPorts(), Logger: s.cfg.logger, Registerer: s.registry}
	if s.cfg.demo {
		cfg.Networks = append(cfg.Networks, demoNets...)
	}
	if cfg.Resolvers == nil {
		if cfg.Resolvers, err = resolve.System(systemResolvers); err != nil {
			s.cfg.logger.Warn("endpoints of pools cannot be found by name", "error", err)
		}
	}
	s.finder, err = discover.New(cfg)
	return err
}
