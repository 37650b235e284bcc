package answer

import (
	"errors"
	"testing"
	"time"

	"github.com/miekg/dns"

	"github.com/gti/gtm/pkg/spec"
	"github.com/gti/gtm/pkg/table/compile"
)

const children = `
kind: Zone
tenant: platform
name: copied.gtm.example.
spec:
  primaries: [{address: 192.0.2.53}]
  content: |
    copied.gtm.example. 60 IN SOA ns1.gtm.example. h.gtm.example. 1 7200 1800 1209600 60
    copied.gtm.example. 60 IN NS ns1.gtm.example.
    www.copied.gtm.example. 60 IN A 192.0.2.7
---
kind: Zone
tenant: platform
name: never.gtm.example.
spec: {primaries: [{address: 192.0.2.53}]}
`

// A zone that is declared here and has nothing to serve was answered from the zone above, with AA: NXDOMAIN for what exists.
func TestVoidZoneIsNotAnsweredByTheZoneAbove(t *testing.T) {
	s := newServer(t)
	resources, err := spec.Decode("children.yaml", []byte(children))
	if err != nil {
		t.Fatal(err)
	}
	put := func(change func(*spec.Zone)) {
		tc := compile.TenantChange{Tenant: spec.Platform, Head: 42}
		for _, r := range resources {
			z := *r.Spec.(*spec.Zone)
			change(&z)
			tc.Put = append(tc.Put, compile.Item{Resource: &spec.Resource{Key: r.Key, Spec: &z}, Generation: 42})
		}
		tc.Broken = []compile.Broken{{Key: spec.Key{Tenant: spec.Platform, Kind: spec.KindZone, Name: "unread.gtm.example."},
			Err: errors.New("unread")}}
		s.Apply(compile.Change{Tenants: []compile.TenantChange{tc}})
		v, _, _ := s.Compile(time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)) // what is broken is what this is about
		s.View.Store(v)
	}
	void := func(name, typ string) {
		t.Helper()
		for _, stream := range []bool{false, true} {
			q := query(t, name, typ, "do")
			packed, err := q.Pack()
			if err != nil {
				t.Fatal(err)
			}
			buf := append(make([]byte, 0, 4096), packed...)[:4096]
			s.a.Parse(0, buf[:len(packed)], s.src)
			s.a.Prefetch(1)
			o := s.a.Answer(buf, len(packed), &Meta{Source: s.src, Stream: stream, Prefetched: 1})
			r := new(dns.Msg)
			if err := r.Unpack(buf[:o.Size]); err != nil {
				t.Fatal(err)
			}
			if plain := s.ask(q, stream); plain.String() != r.String() {
				t.Errorf("prefetched: %v, and plainly: %v", r, plain)
			}
			ede := ""
			for _, o := range r.IsEdns0().Option {
				if e, ok := o.(*dns.EDNS0_EDE); ok && e.InfoCode == dns.ExtendedErrorCodeInvalidData {
					ede = e.ExtraText
				}
			}
			if r.Rcode != dns.RcodeServerFailure || r.Authoritative || len(r.Answer)+len(r.Ns) > 0 || ede == "" {
				t.Errorf("%s %s: %v", name, typ, r)
			}
		}
	}
	put(func(*spec.Zone) {})
	for _, name := range []string{"never.gtm.example.", "www.never.gtm.example.", "unread.gtm.example.", "a.b.unread.gtm.example."} {
		void(name, "A")
		void(name, "SOA")
	}
	if r := s.ask(query(t, "www.copied.gtm.example.", "A"), false); len(r.Answer) != 1 {
		t.Fatalf("a zone that was copied: %v", r)
	}
	if r := s.ask(query(t, "never.gtm.example.", "DS"), false); r.Rcode == dns.RcodeServerFailure || !r.Authoritative {
		t.Errorf("a DS record is the zone's above: %v", r)
	}
	put(func(z *spec.Zone) { z.Expired = true })
	void("www.copied.gtm.example.", "A")
	if n := len(s.View.Load().Void()); n != 3 {
		t.Errorf("%d zones are void", n)
	}
	put(func(*spec.Zone) {})
	if r := s.ask(query(t, "www.copied.gtm.example.", "A"), false); len(r.Answer) != 1 {
		t.Errorf("it was copied again: %v", r)
	}
}
