package spec

import (
	"cmp"
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Source is where endpoints of a pool are found, beside those that are declared. One of DNS, SRV, File and Pushed says how.
type Source struct {
	Name string `json:"name" yaml:"name"`
	// DNS is a host name: each of its addresses is an endpoint.
	DNS string `json:"dns,omitempty" yaml:"dns,omitempty"`
	// SRV is a name with SRV records (RFC 2782), as in _rtmp._tcp.example.net: each address of their targets is an endpoint.
	SRV string `json:"srv,omitempty" yaml:"srv,omitempty"`
	// File is the name of a file of control, below gtmd --discover-files.
	File string `json:"file,omitempty" yaml:"file,omitempty"`
	// Pushed has the API be told the endpoints.
	Pushed bool `json:"pushed,omitempty" yaml:"pushed,omitempty"`
	// Families are those of which endpoints are taken, and which the pool has whatever is found. Default: ipv4.
	Families []string `json:"families,omitempty" yaml:"families,omitempty"`
	// Resolver is who is asked, as in 192.0.2.53 or [2001:db8::53]:5353. Default: control's resolvers.
	Resolver string `json:"resolver,omitempty" yaml:"resolver,omitempty"`
	// Interval is how often it is looked at, at the soonest; a longer TTL has names asked for later. Default: 30s.
	Interval Duration `json:"interval,omitempty" yaml:"interval,omitempty" zero:"absent"`
	// Weight of the endpoints for which the source says none. Default 1.
	Weight *int `json:"weight,omitempty" yaml:"weight,omitempty"`
	// Most is how many endpoints it may have; a longer list is not taken. Default 64.
	Most int `json:"most,omitempty" yaml:"most,omitempty" zero:"absent"`
	// Empty is keep (default) or take: what a list without endpoints means.
	Empty string `json:"empty,omitempty" yaml:"empty,omitempty"`
}

// The ways to find endpoints, and values of Source.Empty.
const (
	FindDNS    = "dns"
	FindSRV    = "srv"
	FindFile   = "file"
	FindPushed = "pushed"

	EmptyKeep = "keep"
	EmptyTake = "take"
)

// Bounds of sources. A tenant's quota bounds how many it has in all.
const (
	maxSources      = 16 // of a pool
	maxFound        = 1024
	defaultFound    = 64
	minLookInterval = Duration(5 * time.Second)
	maxLookInterval = Duration(time.Hour)
	defaultLook     = Duration(30 * time.Second)
)

// Found are the endpoints that a source had when it was last good.
type Found struct {
	Tenant    string          `json:"tenant"`
	Pool      string          `json:"pool"`
	Source    string          `json:"source"`
	Of        string          `json:"of,omitempty"` // as Source.Of gave it
	Endpoints []FoundEndpoint `json:"endpoints,omitempty"`
	Since     time.Time       `json:"since,omitzero"` // from when on they are those
	// Leaving is how many of them the source names no more, which are kept until it is sure.
	Leaving int `json:"leaving,omitempty"`
	// Notes say what of the list was passed over.
	Notes string `json:"notes,omitempty"`
	// Good is when the source was last good, as of Failed: that changes when it begins to fail, and when it no longer does.
	Good   time.Time `json:"good,omitzero"`
	Failed time.Time `json:"failed,omitzero"` // since when it fails; zero: it does not
	Error  string    `json:"error,omitempty"`
	// By and Expires are of what was pushed: by whom, and until when it holds. Zero: until another list comes.
	By      string    `json:"by,omitempty"`
	Expires time.Time `json:"expires,omitzero"`
}

// FoundEndpoint is one endpoint that a source has.
type FoundEndpoint struct {
	Address netip.Addr `json:"address" yaml:"address"`
	// Port is what is checked in the place of the monitor's. 0: that.
	Port uint16 `json:"port,omitempty" yaml:"port,omitempty"`
	// Weight absent: the source's.
	Weight *int `json:"weight,omitempty" yaml:"weight,omitempty"`
}

// Equal reports whether both are the same endpoint, with the same weight.
func (e FoundEndpoint) Equal(o FoundEndpoint) bool {
	return e.Address == o.Address && e.Port == o.Port && (e.Weight == nil) == (o.Weight == nil) &&
		(e.Weight == nil || *e.Weight == *o.Weight)
}

// How gives which of the ways it is.
func (s *Source) How() string {
	switch {
	case s.DNS != "":
		return FindDNS
	case s.SRV != "":
		return FindSRV
	case s.File != "":
		return FindFile
	}
	return FindPushed
}

// Of says what it is looked up as, as in "dns edge.example.net.".
func (s *Source) Of() string {
	switch s.How() {
	case FindDNS:
		return "dns " + canonicalOr(s.DNS)
	case FindSRV:
		return "srv " + canonicalOr(s.SRV)
	case FindFile:
		return "file " + s.File
	}
	return FindPushed
}

// Effective gives the source with its defaults.
func (s *Source) Effective() Source {
	e := *s
	if len(e.Families) == 0 {
		e.Families = []string{FamilyIPv4}
	}
	e.Interval = cmp.Or(e.Interval, defaultLook)
	e.Most = cmp.Or(e.Most, defaultFound)
	e.Empty = orDefault(e.Empty, EmptyKeep)
	return e
}

// Has reports whether endpoints of an address's family are taken.
func (s *Source) Has(a netip.Addr) bool {
	family := FamilyIPv6
	if a.Is4() {
		family = FamilyIPv4
	}
	if len(s.Families) == 0 {
		return family == FamilyIPv4
	}
	return slices.Contains(s.Families, family)
}

// DiscoverMode tells how Discover acts.
func (p *Pool) DiscoverMode() string {
	return p.mode(len(p.Discover) > 0, func(m *PoolModes) string { return m.Discover })
}

// FoundName names an endpoint by its address, so that what is known of it stays known whatever else comes and goes, and whoever named it.
func FoundName(a netip.Addr) string {
	if a.Is4() {
		return foundPrefix + strings.ReplaceAll(a.String(), ".", "-")
	}
	parts, b := make([]string, 8), a.As16()
	for i := range parts {
		parts[i] = strconv.FormatUint(uint64(b[2*i])<<8|uint64(b[2*i+1]), 16)
	}
	return foundPrefix + strings.Join(parts, "-")
}

const foundPrefix = "ip-"

// MayFind reports whether an endpoint of that name can be found, so that a person may name it before it is, and when it is gone.
func (p *Pool) MayFind(name string) bool {
	digits := strings.TrimPrefix(name, foundPrefix)
	if strings.Count(digits, "-") == 7 {
		digits = strings.ReplaceAll(digits, "-", ":")
	}
	a, err := netip.ParseAddr(strings.ReplaceAll(digits, "-", "."))
	return len(p.Discover) > 0 && err == nil && FoundName(a) == name
}

// isFound reports whether an endpoint is named as what is found is.
func (p *Pool) isFound(name string) bool {
	return len(p.Discover) > 0 && strings.HasPrefix(name, foundPrefix)
}

// With gives the pool with what its sources found: this is the one place where both come together. found gives what a source has, nil: it
// never had anything. An address that is declared, or that a source before has, is not added again. Of what is not to act, or what there
// is nothing of, it changes nothing.
func (p *Pool) With(found func(source string) *Found) *Pool {
	if p.DiscoverMode() != ModeEnforce {
		return p
	}
	with := *p
	with.Endpoints = slices.Clip(p.Endpoints)
	p.eachFound(found, func(_ *Source, e FoundEndpoint) { with.Endpoints = append(with.Endpoints, e.endpoint()) })
	if len(with.Endpoints) == len(p.Endpoints) {
		return p
	}
	return &with
}

// FoundBy gives the source of each found endpoint, by the endpoint's name; of a pool as With gives it, too.
func (p *Pool) FoundBy(found func(source string) *Found) map[string]string {
	by, declared := map[string]string{}, *p
	declared.Endpoints = slices.DeleteFunc(slices.Clone(p.Endpoints), func(e Endpoint) bool { return p.isFound(e.Name) })
	declared.eachFound(found, func(s *Source, e FoundEndpoint) { by[FoundName(e.Address)] = s.Name })
	return by
}

func (p *Pool) eachFound(found func(source string) *Found, fn func(*Source, FoundEndpoint)) {
	has := map[netip.Addr]bool{}
	for i := range p.Endpoints {
		for _, a := range p.Endpoints[i].Addresses {
			has[a] = true
		}
	}
	for i := range p.Discover {
		s := p.Discover[i].Effective()
		f := found(s.Name)
		if f == nil {
			continue
		}
		for n, e := range f.Endpoints {
			if n == s.Most {
				break // it was declared with more before
			}
			if !e.Address.IsValid() || has[e.Address] || !s.Has(e.Address) {
				continue
			}
			if has[e.Address] = true; e.Weight == nil {
				e.Weight = s.Weight
			}
			fn(&s, e)
		}
	}
}

func (e FoundEndpoint) endpoint() Endpoint {
	out := Endpoint{Name: FoundName(e.Address), Addresses: []netip.Addr{e.Address}, Weight: e.Weight}
	if e.Port != 0 {
		out.Probe = netip.AddrPortFrom(e.Address, e.Port).String()
	}
	return out
}

// AtMost gives the endpoints that are declared, and stand-ins for as many as can be found.
func (p *Pool) AtMost() []Endpoint {
	all := slices.Clip(p.Endpoints)
	for i := range p.Discover {
		s := p.Discover[i].Effective()
		e := Endpoint{Name: s.Name, Weight: s.Weight}
		for _, f := range s.Families {
			stand := netip.IPv6Unspecified()
			if f == FamilyIPv4 {
				stand = netip.IPv4Unspecified()
			}
			e.Addresses = append(e.Addresses, stand)
		}
		for range min(s.Most, maxFound) {
			all = append(all, e)
		}
	}
	return all
}

// discover checks where a pool's endpoints are found.
func (c *checker) discover(p *Pool) {
	if n := len(p.Discover); n > maxSources {
		c.fail("spec.discover", "", "has %d sources: it can have at most %d", n, maxSources)
		return
	}
	names, most := map[string]int{}, len(p.Endpoints)
	for i := range p.Discover {
		s, path := &p.Discover[i], indexed("spec.discover", i)
		c.source(path, s)
		if first, twice := names[s.Name]; twice && s.Name != "" {
			c.fail(path+".name", "", "%q stands twice, first at %s", s.Name, indexed("spec.discover", first))
		} else {
			names[s.Name] = i
		}
		e := s.Effective()
		most += max(0, min(e.Most, maxFound))
	}
	if len(p.Discover) == 0 {
		return
	}
	if most > maxEndpoints {
		c.fail("spec.discover", "give its sources less of spec.discover[].most",
			"with all that can be found the pool would have %d endpoints: it can have at most %d", most, maxEndpoints)
	}
	for i := range p.Endpoints {
		e, path := &p.Endpoints[i], indexed("spec.endpoints", i)
		if strings.HasPrefix(e.Name, foundPrefix) {
			c.fail(path+".name", "give it another name", "%q is as what discover finds is named", e.Name)
		}
		if e.Host != "" {
			c.fail(path+".host", "put them into two pools", "goes not with discover, which finds addresses")
		}
	}
}

func (c *checker) source(path string, s *Source) {
	c.label(path+".name", s.Name)
	var ways []string
	for i, is := range []bool{s.DNS != "", s.SRV != "", s.File != "", s.Pushed} {
		if is {
			ways = append(ways, [...]string{FindDNS, FindSRV, FindFile, FindPushed}[i])
		}
	}
	switch len(ways) {
	case 0:
		c.fail(path, "", "wants one of dns, srv, file and pushed")
	case 1:
	default:
		c.fail(path, "make a source of each", "has %s: it can have one of dns, srv, file and pushed", strings.Join(ways, " and "))
	}
	asks := s.DNS != "" || s.SRV != ""
	switch {
	case s.DNS != "":
		c.hostName(path+".dns", s.DNS)
		if _, err := netip.ParseAddr(s.DNS); err == nil {
			c.fail(path+".dns", "declare it in spec.endpoints", "%s is an address, and no name", s.DNS)
		}
	case s.SRV != "":
		c.hostName(path+".srv", s.SRV)
	case s.File != "":
		c.label(path+".file", s.File)
	}
	if s.Resolver != "" {
		if _, err := s.ResolverAddr(); err != nil {
			c.fail(path+".resolver", "", "wants an address as in 192.0.2.53 or [2001:db8::53]:5353, not %q", shorten(s.Resolver))
		}
		if !asks {
			c.fail(path+".resolver", "remove it", "is who is asked for names: it goes with dns and srv")
		}
	}
	if s.Pushed && s.Interval != 0 {
		c.fail(path+".interval", "remove it", "nobody looks at what is pushed")
	} else if s.Interval != 0 && (s.Interval < minLookInterval || s.Interval > maxLookInterval) {
		c.fail(path+".interval", "", "%s is out of range: it can be %s to %s", s.Interval, minLookInterval, maxLookInterval)
	}
	families := map[string]bool{}
	if s.Families != nil && len(s.Families) == 0 {
		c.fail(path+".families", "leave it out for ipv4", "has none: no endpoint could be taken")
	}
	for i, f := range s.Families {
		if c.oneOf(indexed(path+".families", i), f, FamilyIPv4, FamilyIPv6); families[f] {
			c.fail(indexed(path+".families", i), "", "%s stands twice", f)
		}
		families[f] = true
	}
	if s.Weight != nil {
		c.between(path+".weight", *s.Weight, 0, maxWeight)
	}
	if s.Most != 0 {
		c.between(path+".most", s.Most, 1, maxFound)
	}
	if s.Empty != "" {
		c.oneOf(path+".empty", s.Empty, EmptyKeep, EmptyTake)
	}
}

// ResolverAddr gives Resolver, its port 53 where it has none; not valid: there is none.
func (s *Source) ResolverAddr() (netip.AddrPort, error) {
	if s.Resolver == "" {
		return netip.AddrPort{}, nil
	}
	a, err := Peer{Address: s.Resolver}.AddrPort()
	if err == nil && a.Port() == 0 {
		err = fmt.Errorf("it has no port")
	}
	return a, err
}

// CheckFound checks a list as somebody gave it for a source, and gives it in order, with what is passed over: families that the source
// does not take. A list of nothing else is a mistake, and not one without endpoints. The error says what is wrong with the list.
func (s *Source) CheckFound(list []FoundEndpoint) (taken []FoundEndpoint, notes string, err error) {
	e := s.Effective()
	if len(list) > e.Most {
		return nil, "", fmt.Errorf("it has %d endpoints, more than the %d of spec.discover[].most", len(list), e.Most)
	}
	c := &checker{r: &Resource{}}
	seen, other := map[netip.Addr]bool{}, 0
	for i, f := range list {
		path := indexed("endpoints", i)
		c.address(path+".address", f.Address)
		if seen[f.Address] {
			c.fail(path+".address", "", "%s stands twice", f.Address)
		}
		seen[f.Address] = true
		if f.Weight != nil {
			c.between(path+".weight", *f.Weight, 0, maxWeight)
		}
		if !e.Has(f.Address) {
			other++
			continue
		}
		taken = append(taken, f)
	}
	if len(c.errs) > 0 {
		return nil, "", fmt.Errorf("%s %s", c.errs[0].Field, c.errs[0].Msg)
	}
	if families := strings.Join(e.Families, " and "); other > 0 && len(taken) == 0 {
		return nil, "", fmt.Errorf("none of its %d addresses is %s, as spec.discover[].families says", other, families)
	} else if other > 0 {
		notes = fmt.Sprintf("%d of another family than spec.discover[].families passed over", other)
	}
	slices.SortFunc(taken, CompareFound)
	return taken, notes, nil
}

// CompareFound orders found endpoints by their addresses.
func CompareFound(a, b FoundEndpoint) int { return a.Address.Compare(b.Address) }
