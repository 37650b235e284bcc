package answer

import (
	"testing"

	"github.com/gti/gtm/pkg/spec"
	"github.com/gti/gtm/pkg/table/compile"
	"github.com/gti/gtm/pkg/zone"
)

// Zones at a wildcard, of RFC 2317, of odd bytes and the root could not be declared.
func TestZonesOfAnyNameAreAnswered(t *testing.T) {
	s := newServer(t)
	change := compile.TenantChange{Tenant: spec.Platform, Head: 42}
	for name, content := range map[string]string{
		".":                          "@ TXT root\nwww.test A 192.0.2.1\n*.any A 192.0.2.2\naway NS ns.away\nns.away A 192.0.2.3\n",
		"*.test.":                    "@ TXT apex\nwww A 192.0.2.4\n* A 192.0.2.5\n",
		"0/25.2.0.192.in-addr.arpa.": "1 PTR a.test.\n",
		`a\.b.test.`:                 "www A 192.0.2.6\n",
		`\000\ \255.gtm.example.`:    "www A 192.0.2.7\n",
	} {
		text, _, err := zone.Canonical(name, name, content, zone.Defaults{Nameservers: []string{"ns.test."}, Contact: "h.test."})
		if err != nil {
			t.Fatal(err)
		}
		r := &spec.Resource{Key: spec.Key{Tenant: spec.Platform, Kind: spec.KindZone, Name: name}, Spec: &spec.Zone{Content: text}}
		change.Put = append(change.Put, compile.Item{Resource: r, Generation: 42})
	}
	s.Change(compile.Change{Tenants: []compile.TenantChange{change}})
	soa := func(zone string) string { return zone + " 60 SOA ns.test. h.test. 2078000083 7200 1800 1209600 60" }
	for _, tc := range []struct {
		qname, qtype string
		rcode        int
		answer, ns   string
	}{
		{".", "TXT", 0, `. 3600 TXT "root"`, ""},
		{".", "NS", 0, ". 86400 NS ns.test.", ""},
		{".", "A", 0, "", soa(".")},
		{"www.test.", "A", 0, "www.test. 3600 A 192.0.2.1", ""},
		{"test.", "A", 0, "", soa(".")},
		{"nothing.", "A", 3, "", soa(".")},
		{"x.y.any.", "A", 0, "x.y.any. 3600 A 192.0.2.2", ""},
		{"x.away.", "A", 0, "", "away. 3600 NS ns.away."},
		{"static.gtm.example.", "A", 0, "static.gtm.example. 300 A 192.0.2.10", ""},
		{"*.test.", "TXT", 0, `*.test. 3600 TXT "apex"`, ""},
		{"www.*.test.", "A", 0, "www.*.test. 3600 A 192.0.2.4", ""},
		{"x.*.test.", "A", 0, "x.*.test. 3600 A 192.0.2.5", ""},
		{"x.test.", "TXT", 3, "", soa(".")}, // the zone's apex makes nothing beside it
		{"1.0/25.2.0.192.in-addr.arpa.", "PTR", 0, "1.0/25.2.0.192.in-addr.arpa. 3600 PTR a.test.", ""},
		{"2.0/25.2.0.192.in-addr.arpa.", "PTR", 3, "", soa("0/25.2.0.192.in-addr.arpa.")},
		{`www.a\.b.test.`, "A", 0, `www.a\.b.test. 3600 A 192.0.2.6`, ""},
		{`www.a.b.test.`, "A", 3, "", soa(".")},
		{`www.\000\ \255.gtm.example.`, "A", 0, `www.\000\ \255.gtm.example. 3600 A 192.0.2.7`, ""},
	} {
		r := s.ask(query(t, tc.qname, tc.qtype), false)
		if r.Rcode != tc.rcode || text(r.Answer) != tc.answer || text(r.Ns) != tc.ns {
			t.Errorf("%s %s: rcode %d\n%s\n%s", tc.qname, tc.qtype, r.Rcode, text(r.Answer), text(r.Ns))
		}
	}
}
