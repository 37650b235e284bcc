package answer

import (
	"net/netip"
	"testing"

	"github.com/miekg/dns"
)

// TestScopesWhereTheResolverDecides: on the wire, looked ahead at or not, what a client subnet had no say in has scope 0.
func TestScopesWhereTheResolverDecides(t *testing.T) {
	s := newServer(t)
	s.Put(`
kind: Map
tenant: platform
name: own
spec: {networks: [202.108.22.0/24]}
---
kind: Service
tenant: shop
name: off
spec:
  host: off.shop.gtm.example.
  ecs: off
  rules: [{when: {geo: [EU]}, pools: [eu]}, {pools: [us]}]
---
kind: Service
tenant: shop
name: hashed
spec:
  host: hashed.shop.gtm.example.
  ecs: off
  pick: sticky
  rules: [{when: {geo: [EU]}, pools: [eu]}, {pools: [us]}]
---
kind: Service
tenant: shop
name: own
spec:
  host: own.shop.gtm.example.
  rules: [{when: {resolver: own}, pools: [eu]}, {when: {geo: [EU]}, pools: [us]}, {pools: [us]}]
---
kind: Service
tenant: shop
name: led
spec: {host: led.shop.gtm.example., alias: {to: off.shop.gtm.example}}
`)
	pools := map[string]string{"198.51.100.1": "eu", "198.51.100.2": "eu", "192.0.2.101": "us"}
	const european, other = "91.198.174.9", "202.108.22.5"
	for _, c := range []struct {
		host, resolver, subnet string
		pool                   string
		zero                   bool
	}{
		{"off", european, "8.8.8.0/24", "eu", true},
		{"off", other, "91.198.174.0/24", "us", true},
		{"led", european, "8.8.8.0/24", "eu", true},
		{"led", other, "91.198.174.0/24", "us", true},
		{"hashed", european, "8.8.8.0/24", "eu", true},
		{"hashed", other, "91.198.174.0/24", "us", true},
		{"own", other, "91.198.174.0/24", "us", false},
		{"own", european, "202.108.22.0/24", "us", false},
		{"own", other, "", "eu", true},
		{"own", european, "", "us", true},
	} {
		var opts []string
		if c.subnet != "" {
			opts = append(opts, "ecs="+c.subnet)
		}
		packed, err := query(t, c.host+".shop.gtm.example.", "A", opts...).Pack()
		if err != nil {
			t.Fatal(err)
		}
		s.src = netip.AddrPortFrom(netip.MustParseAddr(c.resolver), 53000)
		alone, _ := s.exchange(packed, Meta{})
		ahead := new(dns.Msg)
		if err := ahead.Unpack(s.prefetched(packed, Meta{})); err != nil {
			t.Fatal(err)
		}
		for way, r := range map[string]*dns.Msg{"alone": alone, "looked ahead at": ahead} {
			if len(r.Answer) != 1 {
				t.Fatalf("%s: %v", c.host, r)
			}
			if pool := pools[r.Answer[0].(*dns.A).A.String()]; pool != c.pool {
				t.Errorf("%s behind %s with %q, %s: from %s, want %s", c.host, c.resolver, c.subnet, way, pool, c.pool)
			}
			scope, has := scopeOf(r)
			if has != (c.subnet != "") || (scope == 0) != c.zero && has {
				t.Errorf("%s behind %s with %q, %s: scope %d (%v)", c.host, c.resolver, c.subnet, way, scope, has)
			}
		}
	}
}

// scopeOf gives the scope of the client subnet in a reply.
func scopeOf(r *dns.Msg) (scope uint8, ok bool) {
	opt := r.IsEdns0()
	if opt == nil {
		return 0, false
	}
	for _, o := range opt.Option {
		if subnet, ok := o.(*dns.EDNS0_SUBNET); ok {
			return subnet.SourceScope, true
		}
	}
	return 0, false
}
