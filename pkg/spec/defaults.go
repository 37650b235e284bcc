package spec

import (
	"fmt"
	"math"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/gti/gtm/pkg/geo"
)

// Defaults of what is absent.
const (
	defaultTTL      = Duration(30 * time.Second)
	defaultInterval = Duration(10 * time.Second)
	defaultTimeout  = Duration(2 * time.Second)
	defaultRise     = 2
	defaultFall     = 3
)

// Values of fields that are one of a few words.
const (
	PickWeighted = "weighted"
	PickSticky   = "sticky"
	PickAll      = "all"

	ByNetwork = "network"
	ByLabel   = "label"

	AllDownAnswer   = "answer"
	AllDownServfail = "servfail"

	ECSOn  = "on"
	ECSOff = "off"

	StateUp    = "up"
	StateDown  = "down"
	StateDrain = "drain"
)

// Effective gives the zone with names in canonical form, Debug set, and the defaults of DNSSEC filled in. What is stored stays as declared.
func (z *Zone) Effective() Zone {
	e := *z
	e.Nameservers = make([]string, len(z.Nameservers))
	for i, n := range z.Nameservers {
		e.Nameservers[i] = canonicalOr(n)
	}
	e.Grants = make(map[string][]string, len(z.Grants))
	for tenant, names := range z.Grants {
		for _, n := range names {
			e.Grants[tenant] = append(e.Grants[tenant], canonicalZoneOr(n))
		}
	}
	if z.Debug == nil {
		debug := len(z.Grants) > 0
		e.Debug = &debug
	}
	e.Aliases = slices.Clone(z.Aliases)
	for i := range e.Aliases {
		e.Aliases[i].To = canonicalOr(e.Aliases[i].To)
	}
	if z.DNSSEC != nil {
		d := z.DNSSEC.effective()
		e.DNSSEC = &d
	}
	return e
}

// Effective gives the monitor with its defaults filled in.
func (m *Monitor) Effective() Monitor {
	e := *m
	e.Interval = orDefault(m.Interval, defaultInterval)
	e.Timeout = orDefault(m.Timeout, min(defaultTimeout, e.Interval))
	e.Recheck = orDefault(m.Recheck, e.Interval/5)
	e.Score = orDefault(m.Score, ScoreGraded)
	rise, fall := defaultRise, defaultFall
	if m.Type == TypeSignal { // who says something means it
		rise, fall = 1, 1
	}
	e.Rise = orDefault(m.Rise, rise)
	e.Fall = orDefault(m.Fall, fall)
	e.Port = orDefault(m.Port, monitorTypes[m.Type].port)
	switch m.Type {
	case TypeSignal:
		e.Silent = orDefault(m.Silent, SilentHold)
		return e
	case "dns":
		q := Question{}
		if m.DNS != nil {
			q = *m.DNS
		}
		q.Name = canonicalOr(q.Name)
		q.Type = orDefault(q.Type, "A")
		q.Transport = orDefault(q.Transport, "udp")
		q.Rcode = orDefault(q.Rcode, "NOERROR")
		if q.Transport == "tls" {
			e.Port = orDefault(m.Port, 853)
		}
		e.DNS = &q
		return e
	case "websocket":
		if m.TLS {
			e.Port = orDefault(m.Port, 443)
		}
		e.Path = orDefault(m.Path, "/")
		return e
	case "http", "https":
	default:
		return e
	}
	e.Path = orDefault(m.Path, "/")
	e.Method = orDefault(m.Method, "GET")
	if len(m.Status) == 0 {
		e.Status = []string{"200-299"}
	}
	return e
}

// Effective gives the pool with every endpoint's weight set and host in canonical form.
func (p *Pool) Effective() Pool {
	e := *p
	e.Endpoints = make([]Endpoint, len(p.Endpoints))
	for i, end := range p.Endpoints {
		if end.Weight == nil {
			one := 1
			end.Weight = &one
		}
		if end.Host != "" {
			end.Host = canonicalOr(end.Host)
		}
		e.Endpoints[i] = end
	}
	return e
}

// Effective gives the service with its defaults filled in (TTL is never nil), its host in canonical form, and
// rules without a name named by their number, from 1.
func (s *Service) Effective() Service {
	e := *s
	e.Host = canonicalHostOr(s.Host)
	if s.TTL == nil {
		ttl := defaultTTL
		e.TTL = &ttl
	}
	e.Answers = orDefault(s.Answers, 1)
	e.Pick = orDefault(s.Pick, PickWeighted)
	e.AllDown = orDefault(s.AllDown, AllDownAnswer)
	e.ECS = orDefault(s.ECS, ECSOn)
	e.Rules = titled(s.Rules)
	if s.Alias != nil {
		e.Alias = &Alias{canonicalOr(s.Alias.To), s.Alias.By}
	}
	return e
}

// ByPlace reports whether where clients are has a say in what they get: by rules, or by what these name.
func (s *Service) ByPlace() bool {
	if len(s.Rules) != 1 || !s.Rules[0].MatchesAll() {
		return true
	}
	fixed := func(list []Target) bool {
		return eachTarget(list, "", func(_ string, t *Target) bool {
			more := t.More()
			return more.Nearest == nil && more.Fastest == nil && more.Policy == ""
		})
	}
	return !fixed(s.Rules[0].Pools) || !fixed(s.LastResort)
}

// titled gives rules that all have a name: those without one, their number.
func titled(rules []Rule) []Rule {
	out := make([]Rule, len(rules))
	for i, r := range rules {
		r.Name = orDefault(r.Name, strconv.Itoa(i+1))
		out[i] = r
	}
	return out
}

func orDefault[T comparable](v, otherwise T) T {
	var zero T
	if v == zero {
		return otherwise
	}
	return v
}

// TTLSeconds gives the TTL of answers that no rule with a TTL of its own gives, as it stands in them.
func (s *Service) TTLSeconds() uint32 {
	ttl := defaultTTL
	if s.TTL != nil {
		ttl = *s.TTL
	}
	return ttl.WholeSeconds()
}

// RuleTTLSeconds gives the TTL of the answers of a rule, counted from 0: its own, or else the service's.
func (s *Service) RuleTTLSeconds(i int) uint32 {
	if ttl := s.Rules[i].TTL; ttl != nil {
		return ttl.WholeSeconds()
	}
	return s.TTLSeconds()
}

// LongestTTLSeconds gives the longest TTL that answers of the service may have.
func (s *Service) LongestTTLSeconds() uint32 {
	longest := s.TTLSeconds()
	for i := range s.Rules {
		longest = max(longest, s.RuleTTLSeconds(i))
	}
	return longest
}

// WholeSeconds gives a TTL as records have it.
func (d Duration) WholeSeconds() uint32 {
	return uint32(min(max(time.Duration(d)/time.Second, 0), math.MaxInt32))
}

// Needs gives how many of n endpoints must be healthy for the pool to count as up: at least 1.
// A part of an endpoint counts as a whole one; a MinHealthy that cannot be read counts as absent.
func (p *Pool) Needs(n int) int {
	count, percent, err := parseMinHealthy(p.MinHealthy)
	if err != nil {
		return 1
	}
	return max(1, min(count, n), (percent*n+99)/100)
}

func parseMinHealthy(s string) (count, percent int, err error) {
	if s == "" {
		return 1, 0, nil
	}
	digits, isPercent := strings.CutSuffix(s, "%")
	v, err := strconv.ParseUint(digits, 10, 16)
	if err != nil || v == 0 || (isPercent && v > 100) {
		return 0, 0, fmt.Errorf("wants a share as in 50%% or a number of endpoints as in 2, not %q", shorten(s))
	}
	if isPercent {
		return 0, int(v), nil
	}
	return int(v), 0, nil
}

// ParseStatus reads an expected status, as in 200 or 200-399, as an inclusive range.
func ParseStatus(s string) (low, high int, err error) {
	from, to, isRange := strings.Cut(s, "-")
	if !isRange {
		to = from
	}
	l, err1 := strconv.ParseUint(from, 10, 16)
	h, err2 := strconv.ParseUint(to, 10, 16)
	if err1 != nil || err2 != nil || l < 100 || h > 599 || l > h {
		return 0, 0, fmt.Errorf("wants a status from 100 to 599 or a range as in 200-399, not %q", shorten(s))
	}
	return int(l), int(h), nil
}

// ProbeTarget gives the address, and the port if there is one (else 0), that Probe names. The address is the zero Addr without Probe.
func (e *Endpoint) ProbeTarget() (netip.Addr, uint16, error) {
	if e.Probe == "" {
		return netip.Addr{}, 0, nil
	}
	if a, err := netip.ParseAddr(e.Probe); err == nil {
		return a, 0, nil
	}
	ap, err := netip.ParseAddrPort(e.Probe)
	if err != nil || ap.Port() == 0 {
		return netip.Addr{}, 0, fmt.Errorf("wants an address, or one with a port as in 192.0.2.1:8080 or [2001:db8::1]:8080, not %q",
			shorten(e.Probe))
	}
	return ap.Addr(), ap.Port(), nil
}

// MatchesAll reports whether the rule takes every client.
func (r *Rule) MatchesAll() bool {
	return r.When == nil || (len(r.When.Geo) == 0 && len(r.When.ASN) == 0 && len(r.When.Map) == 0 && len(r.When.Resolver) == 0)
}

// Point gives where a site is: its location, or else the centroid of its region; unknown where it has neither, or a continent as region.
func (s *Site) Point() geo.Point {
	if s.Location != nil {
		return s.Location.Point()
	}
	return geo.PointOfPlace(s.Region)
}

// Point gives the location in the form of geo.
func (l *Location) Point() geo.Point { return geo.PointOf(l.Lat, l.Lon) }
