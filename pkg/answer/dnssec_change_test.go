package answer

import (
	"os"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"

	"github.com/gti/gtm/pkg/spec"
	"github.com/gti/gtm/pkg/zone"
	"github.com/gti/gtm/pkg/zone/dnssec"
)

// edit changes the content of zone gtm.example. by replacing text.
func (s *server) edit(old, fresh string) {
	s.t.Helper()
	data, err := os.ReadFile("testdata/zone.yaml")
	if err != nil {
		s.t.Fatal(err)
	}
	resources, err := spec.Decode("zone.yaml", data)
	if err != nil {
		s.t.Fatal(err)
	}
	for _, r := range resources {
		z, ok := r.Spec.(*spec.Zone)
		if !ok || r.Name != "gtm.example." {
			continue
		}
		if !strings.Contains(z.Content, old) {
			s.t.Fatalf("there is no %q in the zone", old)
		}
		z.Content, _, err = zone.Canonical(r.Name, r.Name, strings.Replace(z.Content, old, fresh, 1), zone.Defaults{})
		if err != nil {
			s.t.Fatal(err)
		}
		s.PutResources(r)
	}
}

// TestChangesOfSignedWildcards: what was signed for names that a wildcard makes does not outlive the wildcard's content, though
// the keys stay.
func TestChangesOfSignedWildcards(t *testing.T) {
	const wild = `*.wild TXT "wild"`
	for _, tc := range []struct{ name, fresh, types string }{
		{"content", `*.wild TXT "tame"`, "TXT RRSIG NSEC"},
		{"TTL", `*.wild 77 TXT "wild"`, "TXT RRSIG NSEC"},
		{"types", wild + "\n*.wild AAAA 2001:db8::1", "TXT AAAA RRSIG NSEC"},
		{"names before it", wild + "\n@ TXT \"more\"\n*.wald TXT \"wald\"\n*.w.wald A 192.0.2.1", "TXT RRSIG NSEC"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			s := newServer(t)
			keys := s.sign(dnssec.ECDSAP256)
			check := func(types string) {
				t.Helper()
				for _, qtype := range []string{"TXT", "MX"} {
					r := s.askSigned(query(t, "any.wild.gtm.example.", qtype, "do"))
					verify(t, r.Answer, keys, time.Unix(int64(s.now), 0))
					verify(t, r.Ns, keys, time.Unix(int64(s.now), 0))
					for _, rr := range r.Ns {
						if n, ok := rr.(*dns.NSEC); ok && !strings.HasSuffix(n.String(), " "+types) {
							t.Errorf("%v, want the types %s", n, types)
						}
					}
				}
			}
			check("TXT RRSIG NSEC")
			s.edit(wild, tc.fresh)
			check(tc.types)
			s.edit(wild, wild)
			check("TXT RRSIG NSEC")
		})
	}
}

// TestChangeOfNegativeTTLIsSigned: denials take the negative TTL of the SOA record as it is now.
func TestChangeOfNegativeTTLIsSigned(t *testing.T) {
	s := newServer(t)
	keys := s.sign(dnssec.ECDSAP256)
	for _, ttl := range []uint32{60, 30} {
		if ttl != 60 {
			s.edit("1209600 60", "1209600 30")
		}
		for _, name := range []string{"static.gtm.example.", "nothing.gtm.example.", "any.wild.gtm.example."} {
			r := s.askSigned(query(t, name, "MX", "do"))
			verify(t, r.Ns, keys, time.Unix(int64(s.now), 0))
			for _, rr := range r.Ns {
				if rr.Header().Ttl != ttl {
					t.Errorf("%v, want TTL %d", rr, ttl)
				}
			}
		}
	}
}

// TestExplanationsAreNotDenied: a name below _explain has TXT, and the denial of another type must not hide that.
func TestExplanationsAreNotDenied(t *testing.T) {
	s := newServer(t)
	s.sign(dnssec.ECDSAP256)
	r := s.askSigned(query(t, "web.shop.gtm.example._explain.gtm.example.", "A", "do"))
	for _, rr := range r.Ns {
		if n, ok := rr.(*dns.NSEC); ok && strings.HasSuffix(n.String(), " TXT RRSIG NSEC") {
			return
		}
	}
	t.Errorf("no denial with TXT in\n%v", r)
}

// TestMidnightDeniesNoWildcard: a zone that is renumbered when the day turns goes on telling what a wildcard makes from what was
// denied before there was one.
func TestMidnightDeniesNoWildcard(t *testing.T) {
	s := newServer(t)
	s.sign(dnssec.ECDSAP256)
	denied := func() string {
		for _, rr := range s.askSigned(query(t, "any.new.gtm.example.", "MX", "do")).Ns {
			if n, ok := rr.(*dns.NSEC); ok {
				return n.String()
			}
		}
		return ""
	}
	if got := denied(); !strings.HasSuffix(got, " NXNAME") {
		t.Fatalf("before: %q", got)
	}
	const wild = `*.wild TXT "wild"`
	s.edit(wild, wild+"\n*.new TXT \"new\"")
	v, broken, _ := s.Compile(time.Date(2026, 11, 24, 0, 0, 1, 0, time.UTC))
	if len(broken) > 0 {
		t.Fatalf("broken: %v", broken)
	}
	s.View.Store(v)
	if got := denied(); !strings.HasSuffix(got, " TXT RRSIG NSEC") {
		t.Errorf("after: %q", got)
	}
}
