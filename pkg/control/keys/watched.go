package keys

import (
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/gti/gtm/pkg/spec"
	"github.com/gti/gtm/pkg/store/state"
	"github.com/gti/gtm/pkg/zone/dnssec"
)

// watched is what the declared state says of zones. It looks at everything when something was declared anew.
type watched struct {
	heads  map[string]state.Generation
	zones  map[string]*declared
	states []state.TenantState // whose services' TTLs are not in zones yet; they are needed for signed zones alone
}

// declared is one zone, and the longest TTLs in it.
type declared struct {
	resource *spec.Resource
	services time.Duration
	content  time.Duration // read once, when first needed; negative: not yet
}

func (w *watched) update(m *state.Mirror) {
	heads := map[string]state.Generation{}
	states := map[string]state.TenantState{}
	for _, tenant := range m.Tenants() {
		states[tenant] = m.Tenant(tenant)
		heads[tenant] = states[tenant].Head
	}
	if w.heads != nil && maps.Equal(heads, w.heads) {
		return
	}
	zones := map[string]*declared{}
	for key, v := range states[spec.Platform].Resources.All() {
		if key.Kind != spec.KindZone {
			continue
		}
		d := &declared{resource: v.Resource, content: -1}
		if old := w.zones[key.Name]; old != nil && old.resource == v.Resource {
			d.content = old.content
		}
		zones[key.Name] = d
	}
	w.heads, w.zones, w.states = heads, zones, slices.Collect(maps.Values(states))
}

// addServices takes the TTLs of services and aliases into the zones in which they stand. An alias without a TTL of its own has that of the
// service to which it leads, wherever that stands.
func (w *watched) addServices() {
	var aliases []*spec.Service
	for _, d := range w.zones {
		for _, r := range spec.AliasServices(d.resource) {
			aliases = append(aliases, r.Spec.(*spec.Service))
		}
	}
	longest := map[string]uint32{} // seconds, by host
	for _, state := range w.states {
		for _, v := range state.Resources.All() {
			s, ok := v.Resource.Spec.(*spec.Service)
			switch {
			case !ok:
			case s.Alias != nil:
				aliases = append(aliases, s)
			default:
				longest[w.add(s.Host, s.LongestTTLSeconds())] = s.LongestTTLSeconds()
			}
		}
	}
	for _, a := range aliases {
		ttl := a.TTLSeconds()
		if to, err := spec.CanonicalName(a.Alias.To); err == nil && a.TTL == nil {
			ttl = max(ttl, longest[to])
		}
		w.add(a.Host, ttl)
	}
	w.states = nil
}

// add takes a TTL, in seconds, into the zones above a host, and gives its canonical form; "": it is no name.
func (w *watched) add(host string, ttl uint32) (canonical string) {
	canonical, err := spec.CanonicalHost(host)
	if err != nil {
		return ""
	}
	for name := canonical; ; name = spec.Parent(name) {
		if d, ok := w.zones[name]; ok { // and on: which of nested zones it stands in does not matter here
			d.services = max(d.services, time.Duration(ttl)*time.Second)
		}
		if name == "." {
			return canonical
		}
	}
}

// policy gives what is declared of a zone. Of a zone that is not declared at all, or in a way that this program does
// not know, there is none: its keys are left as they are, for it may come back.
func (w *watched) policy(name string) (dnssec.Policy, bool) {
	d := w.zones[name]
	if d == nil {
		return dnssec.Policy{}, false
	}
	if w.states != nil {
		w.addServices()
	}
	z := d.resource.Spec.(*spec.Zone)
	if d.content < 0 {
		d.content = longestTTL(z.Content)
	}
	p, ok := policyOf(z)
	p.MaxTTL = max(d.content, d.services)
	return p, ok
}

// policyOf gives all but MaxTTL.
func policyOf(z *spec.Zone) (dnssec.Policy, bool) {
	sign := z.DNSSEC != nil
	if !sign {
		z = &spec.Zone{DNSSEC: &spec.DNSSEC{}} // how its keys live on until the DS is gone
	}
	d := z.Effective().DNSSEC
	alg, err := dnssec.ParseAlgorithm(d.Algorithm)
	return dnssec.Policy{
		Sign: sign, Algorithm: alg,
		ZSKLifetime: time.Duration(*d.ZSKLifetime), KSKLifetime: time.Duration(*d.KSKLifetime),
		Propagation: time.Duration(d.Propagation), KeyTTL: time.Duration(d.KeyTTL), ParentTTL: time.Duration(d.ParentTTL),
		Validity: validity,
	}, err == nil
}

// signed lists the declared zones that are to be signed, or are, sorted.
func (w *watched) signed(keysets map[string]dnssec.Keyset) []string {
	var names []string
	for name, d := range w.zones {
		if _, is := keysets[name]; is || d.resource.Spec.(*spec.Zone).DNSSEC != nil {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names
}

// longestTTL reads canonical content: owner, TTL, class, type and RDATA in each line.
func longestTTL(content string) time.Duration {
	longest := uint64(0)
	for line := range strings.Lines(content) {
		_, rest, _ := strings.Cut(line, "\t")
		field, _, _ := strings.Cut(rest, "\t")
		if ttl, err := strconv.ParseUint(field, 10, 31); err == nil {
			longest = max(longest, ttl)
		}
	}
	return time.Duration(longest) * time.Second
}
