package answer

import (
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"

	"github.com/gti/gtm/pkg/spec"
	"github.com/gti/gtm/pkg/table/compile"
	"github.com/gti/gtm/pkg/zone"
)

// TestAnyAtASteeredNameOfAPresignedZone: such a name has no set of the zone's own, and ANY with DO was answered with the signature of
// the apex's SOA record in the place of one.
func TestAnyAtASteeredNameOfAPresignedZone(t *testing.T) {
	s := newServer(t)
	content, _, err := zone.Canonical("signed.example.", "signed.example.", `@ 60 SOA ns1 hostmaster 5 60 10 86400 60
@ 60 RRSIG SOA 13 2 60 20270101000000 20260101000000 1 signed.example. MTIzNDU2Nzg5MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTI=
@ 60 NS ns1
ns1 60 A 192.0.2.1
`, zone.Defaults{})
	if err != nil {
		t.Fatal(err)
	}
	key := func(tenant string, kind spec.Kind, name string) spec.Key {
		return spec.Key{Tenant: tenant, Kind: kind, Name: name}
	}
	s.Apply(compile.Change{Tenants: []compile.TenantChange{
		{Tenant: spec.Platform, Head: 42,
			Put: []compile.Item{{Generation: 42, Resource: &spec.Resource{Key: key(spec.Platform, spec.KindZone, "signed.example."),
				Spec: &spec.Zone{Content: content, Grants: map[string][]string{"shop": {"web.signed.example."}}}}}}},
		{Tenant: "shop", Head: 42, Put: []compile.Item{
			{Generation: 42, Resource: &spec.Resource{Key: key("shop", spec.KindService, "signed"),
				Spec: &spec.Service{Host: "web.signed.example.", Rules: []spec.Rule{{Pools: []spec.Target{{Pool: "eu"}}}}}}}}}}})
	v, _, _ := s.Compile(time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)) // which tells, as a problem, that the name has no signatures
	s.View.Store(v)
	r := s.ask(query(t, "web.signed.example.", "ANY", "do"), false)
	if len(r.Answer) != 1 || r.Answer[0].Header().Rrtype != dns.TypeHINFO || !strings.Contains(r.Answer[0].String(), "RFC8482") {
		t.Errorf("want one HINFO record, got:\n%v", r)
	}
	r = s.ask(query(t, "ns1.signed.example.", "ANY", "do"), false)
	if len(r.Answer) != 1 || r.Answer[0].Header().Rrtype != dns.TypeA {
		t.Errorf("want the set that there is, got:\n%v", r)
	}
}
