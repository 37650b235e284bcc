package answer

import (
	"slices"
	"strings"
	"testing"

	"github.com/miekg/dns"

	"github.com/gti/gtm/pkg/spec"
	"github.com/gti/gtm/pkg/table/compile"
	"github.com/gti/gtm/pkg/zone"
)

const staticHead = "$TTL 60\n@ SOA ns1 h 1 2 3 4 5\n@ NS ns1\nns1 A 192.0.2.1\n"

// staticZones are zones in which the differential test with knotd and nsd (cmd/gtmd/interop) has found faults.
var staticZones = map[string]string{
	"example.org.": staticHead + `
a CNAME b
b CNAME A
self CNAME self
grow DNAME x.grow
back DNAME one.back
ring1 DNAME ring2
ring2 DNAME ring1
to DNAME d.example.
near.child A 192.0.2.9
child NS ns.child
child NS sibling.other
child DS 1 13 2 abababababababababababababababababababababababababababababababab
*.child A 192.0.2.7
other NS sibling.other
sibling.other A 192.0.2.8
*.deleg NS ns1
x.ent.full TXT x
https HTTPS 1 svc
https2 HTTPS 0 svc
https2 HTTPS 1 ns1
svc HTTPS 1 . alpn=h2
svc A 192.0.2.10
srv SRV 1 1 80 ns1
srv SRV 2 1 80 *.wild
srv SRV 2 1 80 q.wild
*.wild AAAA 2001:db8::1
*.w DNAME d.example.
dname DNAME dname2
dname2 DNAME x
`,
	"child.example.org.": staticHead + "www CNAME a.example.org.\n",
}

func newStatic(t *testing.T) *server {
	s := newServer(t)
	tc := compile.TenantChange{Tenant: spec.Platform, Head: 42}
	for name, content := range staticZones {
		text, _, err := zone.Canonical(name, name, content, zone.Defaults{})
		if err != nil {
			t.Fatal(err)
		}
		tc.Put = append(tc.Put, compile.Item{Generation: 42, Resource: &spec.Resource{
			Key: spec.Key{Tenant: spec.Platform, Kind: spec.KindZone, Name: name}, Spec: &spec.Zone{Content: text}}})
	}
	s.Change(compile.Change{Tenants: []compile.TenantChange{tc}})
	return s
}

// brief gives records without TTL and class, and without the origin.
func brief(rrs []dns.RR) string {
	var lines []string
	for _, rr := range rrs {
		if rr.Header().Rrtype == dns.TypeOPT {
			continue
		}
		rdata := strings.TrimPrefix(rr.String(), rr.Header().String())
		if rr.Header().Rrtype == dns.TypeSOA || rr.Header().Rrtype == dns.TypeDS {
			rdata = "..."
		}
		lines = append(lines, strings.ReplaceAll(rr.Header().Name+" "+dns.Type(rr.Header().Rrtype).String()+" "+rdata, ".example.org.", ""))
	}
	slices.Sort(lines)
	return strings.Join(lines, "; ")
}

func TestStaticAnswers(t *testing.T) {
	s := newStatic(t)
	for _, tc := range []struct {
		name, qname, qtype, head string
		answer, ns, extra        string
	}{
		{"a loop is told once", "a", "A", "NOERROR aa", "a CNAME b; b CNAME A", "", ""},
		{"a loop of one", "self", "A", "NOERROR aa", "self CNAME self", "", ""},
		{"a DNAME that leads into itself", "q.grow", "A", "NOERROR aa", "grow DNAME x.grow; q.grow CNAME q.x.grow", "", ""},
		{"a ring of DNAMEs", "q.ring1", "A", "NOERROR aa",
			"q.ring1 CNAME q.ring2; q.ring2 CNAME q.ring1; ring1 DNAME ring2; ring2 DNAME ring1", "", ""},
		{"a synthesized CNAME is one (RFC 6672, 3.2)", "q.to", "CNAME", "NOERROR aa", "q.to CNAME q.d.example.; to DNAME d.example.", "",
			""},
		{"a DNAME that leads into itself, asked for DNAME", "q.back", "DNAME", "NOERROR aa", "back DNAME one.back; q.back CNAME q.one.back",
			"", ""},
		{"nothing is made from a delegation (RFC 4592, 4.2)", "q.deleg", "A", "NXDOMAIN aa", "", "example.org. SOA ...", ""},
		{"DS above the cut", "child", "DS", "NOERROR aa", "child DS ...", "", ""},
		{"no DS above the cut", "other", "DS", "NOERROR aa", "", "example.org. SOA ...", ""},
		{"the zone itself, though a delegation leads there", "near.child", "A", "NXDOMAIN aa", "", "child SOA ...", ""},
		{"across zones", "www.child", "A", "NOERROR aa", "a CNAME b; b CNAME A; www.child CNAME a", "", ""},
		{"sibling glue", "x.other", "A", "NOERROR", "", "other NS sibling.other", "sibling.other A 192.0.2.8"},
		{"ANY where nothing stands", "ent.full", "ANY", "NOERROR aa", "", "example.org. SOA ...", ""},
		{"NS", ".", "NS", "NOERROR aa", "example.org. NS ns1", "", "ns1 A 192.0.2.1"},
		{"SRV, by a wildcard too", "srv", "SRV", "NOERROR aa", "srv SRV 1 1 80 ns1; srv SRV 2 1 80 *.wild; srv SRV 2 1 80 q.wild", "",
			"*.wild AAAA 2001:db8::1; ns1 A 192.0.2.1; q.wild AAAA 2001:db8::1"},
		{"HTTPS", "https", "HTTPS", "NOERROR aa", "https HTTPS 1 svc", "", `svc A 192.0.2.10; svc HTTPS 1 . alpn="h2"`},
		{"HTTPS, an alias hides the others", "https2", "HTTPS", "NOERROR aa", "https2 HTTPS 0 svc; https2 HTTPS 1 ns1", "",
			`svc A 192.0.2.10; svc HTTPS 1 . alpn="h2"`},
		{"a DNAME made by a wildcard", "q.w", "DNAME", "NOERROR aa", "q.w DNAME d.example.", "", ""},
	} {
		t.Run(tc.name, func(t *testing.T) {
			s.t = t
			q := query(t, strings.TrimPrefix(tc.qname+".example.org.", ".."), tc.qtype)
			r := s.ask(q, true)
			head := dns.RcodeToString[r.Rcode]
			if r.Authoritative {
				head += " aa"
			}
			if got := brief(r.Answer); head != tc.head || got != tc.answer {
				t.Errorf("%s, answer %s\nwant %s, %s", head, got, tc.head, tc.answer)
			}
			if got := brief(r.Ns); got != tc.ns {
				t.Errorf("authority %s\nwant %s", got, tc.ns)
			}
			if got := brief(r.Extra); got != tc.extra {
				t.Errorf("additional %s\nwant %s", got, tc.extra)
			}
		})
	}
}

func TestClassAnyIsNotAuthoritative(t *testing.T) {
	s := newStatic(t)
	for name, want := range map[string]string{"ns1.example.org.": "ns1 A 192.0.2.1", "nothing.example.org.": ""} {
		q := query(t, name, "A")
		q.Question[0].Qclass = dns.ClassANY
		r := s.ask(q, true)
		if got := brief(r.Answer); r.Authoritative || got != want || len(r.Ns) > 0 {
			t.Errorf("%s: %v", name, r)
		}
	}
}

func TestNameTooLongIsYXDOMAIN(t *testing.T) {
	s := newStatic(t)
	name := strings.Repeat(strings.Repeat("y", 49)+".", 4) + "dname.example.org." // 219 bytes; the DNAME makes it one longer
	for pad, want := range map[int]struct {
		rcode  int
		answer int
	}{34: {dns.RcodeNameError, 4}, 35: {dns.RcodeYXDomain, 1}} { // 254 bytes are renamed twice, 255 never
		r := s.ask(query(t, strings.Repeat("z", pad)+"."+name, "A"), true)
		if r.Rcode != want.rcode || len(r.Answer) != want.answer {
			t.Errorf("%d bytes: %s, %d records, want %v", 220+pad, dns.RcodeToString[r.Rcode], len(r.Answer), want)
		}
	}
}
