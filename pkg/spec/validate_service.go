package spec

import (
	"encoding/base64"
	"maps"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Bounds of pools and services.
const (
	maxWeight    = 65535
	maxAnswers   = 64
	maxEndpoints = 4096
	maxRules     = 1000
)

// MaxAddresses is how many addresses an endpoint may have. Each check of it opens a connection to every one; so many of a family fit into
// an answer of 512 bytes.
const MaxAddresses = 16

func (c *checker) pool(p *Pool) {
	if p.Site != "" {
		c.label("spec.site", p.Site)
	}
	c.checks(p)
	if count, _, err := parseMinHealthy(p.MinHealthy); err != nil {
		c.fail("spec.minHealthy", "", "%v", err)
	} else if n := len(p.Split().Endpoints) + len(p.AtMost()) - len(p.Endpoints); n > 0 && count > n {
		c.fail("spec.minHealthy", "", "%d of %d endpoints can never be healthy", count, n)
	}
	c.discover(p)
	if n := len(p.Endpoints); n == 0 && len(p.Discover) == 0 || n > maxEndpoints {
		c.fail("spec.endpoints", "", "wants 1 to %d endpoints, not %d", maxEndpoints, n)
	}
	names, addresses := map[string]int{}, map[netip.Addr]string{}
	hosts := 0
	for i := range p.Endpoints {
		e, path := &p.Endpoints[i], indexed("spec.endpoints", i)
		c.endpoint(path, e)
		if first, twice := names[e.Name]; twice && e.Name != "" {
			c.fail(path+".name", "", "%q stands twice, first at %s", e.Name, indexed("spec.endpoints", first))
		} else {
			names[e.Name] = i
		}
		for j, a := range e.Addresses {
			if first, twice := addresses[a]; twice && a.IsValid() {
				c.fail(indexed(path+".addresses", j), "to send it more clients, give it more weight",
					"%s stands twice, first in endpoint %s", a, first)
			}
			addresses[a] = e.Name
		}
		if e.Host != "" {
			hosts++
		}
	}
	if hosts > 0 && hosts < len(p.Endpoints) {
		c.fail("spec.endpoints", "put them into two pools", "has endpoints with addresses and endpoints with host names")
	}
	if p.Apart && !slices.ContainsFunc(p.Endpoints, isOfBoth) {
		c.fail("spec.apart", "remove it", "no endpoint has addresses of both families, and no probe")
	}
	if p.Regions && !p.IsMonitored() {
		c.fail("spec.regions", "give it a monitor", "nobody checks it from any region")
	}
	c.standby(p)
}

func (c *checker) endpoint(path string, e *Endpoint) {
	c.label(path+".name", e.Name)
	switch {
	case e.Host != "" && len(e.Addresses) > 0:
		c.fail(path, "make two endpoints of it, in two pools", "has both addresses and a host")
	case e.Host == "" && len(e.Addresses) == 0:
		c.fail(path, "", "needs addresses or a host")
	case e.Host != "":
		c.hostName(path+".host", e.Host)
	}
	if n := len(e.Addresses); n > MaxAddresses {
		c.fail(path+".addresses", "make several endpoints of them", "has %d addresses: an endpoint can have at most %d", n, MaxAddresses)
	}
	for i, a := range e.Addresses {
		c.address(indexed(path+".addresses", i), a)
	}
	if e.Weight != nil {
		c.between(path+".weight", *e.Weight, 0, maxWeight)
	}
	a, _, err := e.ProbeTarget()
	if err != nil {
		c.fail(path+".probe", "", "%v", err)
	} else if e.Probe != "" {
		c.address(path+".probe", a)
	}
}

func (c *checker) service(s *Service) {
	c.named("spec.host", s.Host, CanonicalHost)
	c.ttl("spec.ttl", s.TTL)
	c.ttl("spec.ttlUnsure", s.TTLUnsure)
	if s.Alias != nil {
		c.alias("spec.alias", canonicalHostOr(s.Host), s.Alias)
		c.onlyAlias(s)
		return
	}
	if t := s.TTLUnsure; t != nil && t.WholeSeconds() >= s.LongestTTLSeconds() {
		c.fail("spec.ttlUnsure", "make it shorter", "%s does nothing: no TTL of the service is longer", *t)
	}
	if s.Answers != 0 {
		c.between("spec.answers", s.Answers, 1, maxAnswers)
	}
	if s.Pick != "" {
		c.oneOf("spec.pick", s.Pick, PickWeighted, PickSticky, PickAll)
	}
	if s.ECS != "" {
		c.oneOf("spec.ecs", s.ECS, ECSOn, ECSOff)
	}
	c.sticky(s)
	if s.AllDown != "" {
		c.oneOf("spec.allDown", s.AllDown, AllDownAnswer, AllDownServfail)
	}
	families := map[string]bool{}
	for i, f := range s.Families {
		c.oneOf(indexed("spec.families", i), f, FamilyIPv4, FamilyIPv6)
		if families[f] {
			c.fail(indexed("spec.families", i), "", "%s stands twice", f)
		}
		families[f] = true
	}
	c.extraRecords(s)
	c.rules(s)
	c.members(s)
	c.fence("spec.fence", s.Fence)
	c.targets("spec.lastResort", s.LastResort, 0)
}

// Bounds of a sticky service's period: clients need time to come back, and a month is as good as for ever.
const (
	minPeriod = 10 * time.Minute
	maxPeriod = 30 * 24 * time.Hour
)

// sticky checks what a sticky service goes by.
func (c *checker) sticky(s *Service) {
	if s.Sticky == nil {
		return
	}
	if s.Pick != PickSticky {
		c.fail("spec.sticky", "add pick: sticky, or remove it", "says what pick sticky goes by")
	}
	by, period := s.Sticky.By, time.Duration(s.Sticky.Period)
	if by != "" {
		c.oneOf("spec.sticky.by", by, ByNetwork, ByLabel)
	}
	if by == ByLabel && !strings.HasPrefix(s.Host, "*.") {
		c.fail("spec.sticky.by", "have the host begin with *.", "label is what a wildcard stands for, and %q has none", shorten(s.Host))
	}
	switch {
	case period == 0:
	case by == ByLabel:
		c.fail("spec.sticky.period", "remove it", "goes with by: network; a label keeps its endpoint, since its clients are to meet there")
	case period < minPeriod || period > maxPeriod:
		c.fail("spec.sticky.period", "", "%s is out of range: it can be 10m to 720h", s.Sticky.Period)
	case period%time.Second != 0:
		c.fail("spec.sticky.period", "", "%s is not a whole number of seconds", s.Sticky.Period)
	}
}

// extraRecords checks https, svcb, srv and mx.
func (c *checker) extraRecords(s *Service) {
	c.svcb("spec.https", s.HTTPS)
	c.svcb("spec.svcb", s.SVCB)
	if s.SRV != nil && s.SRV.Port == 0 {
		c.fail("spec.srv.port", "", "is missing: the port on which the endpoints serve, from 1 to 65535")
	}
	if (s.SRV != nil || s.MX != nil) && (s.HTTPS != nil || s.SVCB != nil) {
		c.fail("spec", "make two services of it", "https and svcb go with endpoints that have addresses, srv and mx with host names")
	}
}

func (c *checker) svcb(path string, r *SVCB) {
	if r == nil {
		return
	}
	for i, id := range r.ALPN {
		if id == "" || len(id) > 255 {
			c.fail(indexed(path+".alpn", i), "", "wants a protocol of 1 to 255 bytes, as in h2, not %q", id)
		}
	}
	ech, err := base64.StdEncoding.DecodeString(r.ECH)
	switch {
	case err != nil:
		c.fail(path+".ech", "", "is not base64: %v", err)
	case r.ECH != "" && (len(ech) < 6 || int(ech[0])<<8|int(ech[1]) != len(ech)-2): // RFC 9849, 4: a list behind its length
		c.fail(path+".ech", "copy the ECHConfigList whole, as the server's operator gives it",
			"is no ECHConfigList: its length does not fit")
	}
}

func (c *checker) rules(s *Service) {
	c.ruleList(s.Rules)
	if !s.OnlyPools() {
		c.noResolvers(s.Rules, "in a service whose rules name pools alone, without a fence")
	}
	catchAll := slices.ContainsFunc(s.Rules, func(r Rule) bool { return r.MatchesAll() })
	if len(s.Rules) > 0 && !catchAll && len(s.LastResort) == 0 {
		c.fail("spec.rules", "add a last rule without when, or lastResort", "no rule matches the clients that the others leave")
	}
}

// noResolvers refuses conditions on resolvers where rows are made for places: a place says nothing of who asks.
func (c *checker) noResolvers(rules []Rule, where string) {
	for i := range rules {
		if w := rules[i].When; w != nil && len(w.Resolver) > 0 {
			c.fail(indexed("spec.rules", i)+".when.resolver", "make a service of its own for these rules", "is possible only %s", where)
		}
	}
}

// ruleList checks the rules of a service or a policy.
func (c *checker) ruleList(rules []Rule) {
	if n := len(rules); n == 0 || n > maxRules {
		c.fail("spec.rules", "", "wants 1 to %d rules, not %d", maxRules, n)
		return
	}
	names := map[string]int{}
	for i := range rules {
		r, path := &rules[i], indexed("spec.rules", i)
		if r.Name != "" {
			c.label(path+".name", r.Name)
			if first, twice := names[r.Name]; twice {
				c.fail(path+".name", "", "%q stands twice, first at %s", r.Name, indexed("spec.rules", first))
			} else {
				names[r.Name] = i
			}
		}
		if r.When != nil {
			c.when(path+".when", r.When)
		}
		c.ttl(path+".ttl", r.TTL)
		c.fence(path+".fence", r.Fence)
		if len(r.Pools) == 0 {
			c.fail(path+".pools", "", "needs at least one pool")
		}
		c.targets(path+".pools", r.Pools, 0)
	}
}

func (c *checker) when(path string, w *When) {
	for i, g := range w.Geo {
		c.place(indexed(path+".geo", i), g)
	}
	for i, a := range w.ASN {
		if a == 0 {
			c.fail(indexed(path+".asn", i), "", "0 is not the number of a network")
		}
	}
	for i, m := range w.Map {
		c.label(indexed(path+".map", i), m)
	}
	for i, m := range w.Resolver {
		c.label(indexed(path+".resolver", i), m)
	}
}

// maxMonitors is how many monitors a pool can have.
const maxMonitors = 8

// Values of Checks.Need that are no number.
const (
	NeedAll = "all"
	NeedAny = "any"
)

// Monitors gives the names of all monitors that check the pool, in the order in which Checks names them.
func (p *Pool) Monitors() []string {
	switch {
	case p.Checks != nil:
		return slices.Concat(p.Checks.Of, p.Checks.Critical, p.Checks.Watch)
	case p.Monitor != "":
		return []string{p.Monitor}
	}
	return nil
}

// IsMonitored reports whether checks decide about the pool's endpoints.
func (p *Pool) IsMonitored() bool {
	return p.Monitor != "" || p.Checks != nil && len(p.Checks.Of)+len(p.Checks.Critical) > 0
}

// namedList is a list of monitors with its path.
type namedList struct {
	path  string
	names []string
}

// lists gives the three; c may be nil.
func (c *Checks) lists() []namedList {
	if c == nil {
		return nil
	}
	return []namedList{{"spec.checks.of", c.Of}, {"spec.checks.critical", c.Critical}, {"spec.checks.watch", c.Watch}}
}

// Needed is how many of Of must pass. What cannot be read counts as all.
func (c *Checks) Needed() int {
	n, err := strconv.Atoi(c.Need)
	switch {
	case c.Need == NeedAny:
		return min(1, len(c.Of))
	case err == nil && n >= 1 && n <= len(c.Of):
		return n
	}
	return len(c.Of)
}

// checks checks which monitors a pool has, and how they are combined.
func (c *checker) checks(p *Pool) {
	if p.Monitor != "" {
		c.label("spec.monitor", p.Monitor)
	}
	k := p.Checks
	if k == nil {
		return
	}
	if p.Monitor != "" {
		c.fail("spec.monitor", "put it into spec.checks.of", "a pool has one monitor or checks, and not both")
	}
	all := p.Monitors()
	if n := len(all); n == 0 || n > maxMonitors {
		c.fail("spec.checks", "", "wants 1 to %d monitors, not %d", maxMonitors, n)
	}
	seen := map[string]bool{}
	for _, list := range k.lists() {
		for i, name := range list.names {
			c.label(indexed(list.path, i), name)
			if seen[name] {
				c.fail(indexed(list.path, i), "", "%s stands twice", shorten(name))
			}
			seen[name] = true
		}
	}
	if k.Need == "" || k.Need == NeedAll || k.Need == NeedAny {
		return
	}
	if n, err := strconv.Atoi(k.Need); err != nil || n < 1 || n > len(k.Of) {
		c.fail("spec.checks.need", "", "wants all, any, or a number from 1 to the %d of spec.checks.of, not %q", len(k.Of), shorten(k.Need))
	}
}

// checks wants the monitors of a pool to ask the same vantages: what each of them says of an endpoint is combined there.
func (v *setChecker) checks(r *Resource, p *Pool) {
	names := p.Monitors()
	for i := 1; i < len(names); i++ {
		first, _ := specOf[*Monitor](v.after, Key{r.Tenant, KindMonitor, names[0]})
		m, _ := specOf[*Monitor](v.after, Key{r.Tenant, KindMonitor, names[i]})
		if first == nil || m == nil {
			continue // that is told already
		}
		if !slices.Equal(first.Vantages, m.Vantages) || first.Quorum != m.Quorum || !maps.Equal(first.Agree, m.Agree) {
			v.fail(r, "spec.checks", "give both the same vantages, quorum and agree",
				"monitors %s and %s do not ask the same vantages, which combine what they see of an endpoint", names[0], names[i])
			return
		}
	}
}

// regional gives a pool of a service that is judged for each continent; empty: none is. Its clients have rows of their places then, which
// say nothing of who asks.
func (v *setChecker) regional(r *Resource, s *Service) (pool string) {
	for _, name := range s.AllPools() {
		if p, ok := specOf[*Pool](v.after, Key{r.Tenant, KindPool, name}); ok && p.Regions {
			pool = name
			break
		}
	}
	for i := range s.Rules {
		if w := s.Rules[i].When; pool != "" && w != nil && len(w.Resolver) > 0 {
			v.fail(r, indexed("spec.rules", i)+".when.resolver", "make a service of its own for these rules, with a pool without regions",
				"is not possible beside pool %s, which has regions: true", pool)
		}
	}
	return pool
}
