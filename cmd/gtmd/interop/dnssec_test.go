//go:build interop

package interop

import (
	"fmt"
	"math/rand/v2"
	"net"
	"net/netip"
	"os/exec"
	"slices"
	"strings"
	"testing"

	"github.com/miekg/dns"
)

// signedKinds is every kind of answer: what is in it, and whether it is secure.
var signedKinds = []struct {
	kind, name, typ string
	answer          string // in the answer section; empty: there is none
	insecure        bool
}{
	{"apex SOA", "gtm.test.", "SOA", "ns1.gtm.test.", false},
	{"apex NS", "gtm.test.", "NS", "ns1.gtm.test.", false},
	{"apex MX", "gtm.test.", "MX", "mail.gtm.test.", false},
	{"apex DNSKEY", "gtm.test.", "DNSKEY", "257 3 13", false},
	{"apex CDS", "gtm.test.", "CDS", " 13 2 ", false},
	{"apex CDNSKEY", "gtm.test.", "CDNSKEY", "257 3 13", false},
	{"apex NODATA", "gtm.test.", "TXT", "", false},
	{"apex alias", "gtm.test.", "A", "198.51.100.1", false},
	{"apex alias, IPv6", "gtm.test.", "AAAA", "2001:db8::1", false},
	{"positive", "www.gtm.test.", "A", "192.0.2.1", false},
	{"several strings", "www.gtm.test.", "TXT", `"several" "strings"`, false},
	{"upper case in the zone", "upper.gtm.test.", "A", "192.0.2.5", false},
	{"CNAME", "to-www.gtm.test.", "A", "192.0.2.1", false},
	{"CNAME asked for", "to-www.gtm.test.", "CNAME", "www.gtm.test.", false},
	{"two CNAMEs", "to-to-www.gtm.test.", "A", "192.0.2.1", false},
	{"CNAME to a steered name", "to-web.gtm.test.", "A", "198.51.100.1", false},
	{"CNAME to NODATA", "to-www.gtm.test.", "MX", "www.gtm.test.", false},
	{"CNAME to nothing", "to-nothing.gtm.test.", "A", "nothing.gtm.test.", false},
	{"NODATA", "www.gtm.test.", "MX", "", false},
	{"NXDOMAIN", "nothing.gtm.test.", "A", "", false},
	{"NXDOMAIN, deep", "a.b.c.nothing.gtm.test.", "A", "", false},
	{"empty non-terminal", "ent.gtm.test.", "A", "", false},
	{"wildcard", "x.w.gtm.test.", "TXT", `"any"`, false},
	{"wildcard, deep", "x.y.z.w.gtm.test.", "TXT", `"any"`, false},
	{"wildcard NODATA", "x.w.gtm.test.", "A", "", false},
	{"beside a wildcard", "known.w.gtm.test.", "TXT", "", false},
	{"the wildcard itself", "*.w.gtm.test.", "TXT", `"any"`, false},
	{"wildcard CNAME", "x.c.gtm.test.", "A", "192.0.2.1", false},
	{"DNAME", "x.old.gtm.test.", "A", "192.0.2.4", false},
	{"DNAME to nothing", "y.old.gtm.test.", "A", "y.new.gtm.test.", false},
	{"DNAME asked for", "old.gtm.test.", "DNAME", "new.gtm.test.", false},
	{"NODATA at a DNAME", "old.gtm.test.", "A", "", false},
	{"ANY", "ns1.gtm.test.", "ANY", "RFC8482", false},
	{"ANY of a CNAME", "to-www.gtm.test.", "ANY", "www.gtm.test.", false},
	{"ANY of nothing", "nothing.gtm.test.", "ANY", "", false},
	{"steered", "all.shop.gtm.test.", "A", "198.51.100.2", false},
	{"steered, IPv6", "all.shop.gtm.test.", "AAAA", "2001:db8::2", false},
	{"steered, drawn", "web.shop.gtm.test.", "A", ".1", false},
	{"steered, HTTPS", "web.shop.gtm.test.", "HTTPS", `alpn="h2,h3"`, false},
	{"steered by a wildcard", "room-7.rtc.shop.gtm.test.", "A", "198.51.100.", false},
	{"steered by a wildcard, deep", "a.b.rtc.shop.gtm.test.", "AAAA", "2001:db8::", false},
	{"steered by a wildcard, NODATA", "room-7.rtc.shop.gtm.test.", "MX", "", false},
	{"above a steered wildcard", "rtc.shop.gtm.test.", "A", "", false},
	{"steered NODATA", "web.shop.gtm.test.", "MX", "", false},
	{"steered NODATA, HTTPS", "all.shop.gtm.test.", "HTTPS", "", false},
	{"steered CNAME", "cdn.shop.gtm.test.", "A", "192.0.2.1", false},
	{"above steered names", "shop.gtm.test.", "A", "", false},
	{"whoami", "whoami.gtm.test.", "TXT", "edge-7", false},
	{"whoami NODATA", "whoami.gtm.test.", "A", "", false},
	{"explanation", "all.shop.gtm.test._explain.gtm.test.", "TXT", "198.51.100", false},
	{"secure delegation", "www.child.gtm.test.", "A", "192.0.2.11", false},
	{"secure delegation, wildcard", "x.w.child.gtm.test.", "A", "192.0.2.12", false},
	{"secure delegation, NXDOMAIN", "nothing.child.gtm.test.", "A", "", false},
	{"secure delegation, apex", "child.gtm.test.", "SOA", "ns1.gtm.test.", false},
	{"DS", "child.gtm.test.", "DS", " 15 2 ", false},
	{"no DS", "open.gtm.test.", "DS", "", false},
	{"DS of another's zone", "safe.gtm.test.", "DS", "12345 13 2", false},
	{"no DS of another's zone", "sub.gtm.test.", "DS", "", false},
	{"insecure delegation", "www.open.gtm.test.", "A", "192.0.2.21", true},
	{"insecure delegation, NXDOMAIN", "nothing.open.gtm.test.", "A", "", true},
}

// delv validates every kind of answer by itself.
func TestDelvValidates(t *testing.T) {
	s := startSigned(t, 300, "")
	var b strings.Builder
	for _, ds := range s.anchors {
		fmt.Fprintf(&b, "trust-anchors { %s static-ds %d %d %d %q; };\n", ds.Hdr.Name, ds.KeyTag, ds.Algorithm, ds.DigestType, ds.Digest)
	}
	anchors := writeFile(t, t.TempDir(), "anchors", b.String())
	for _, k := range signedKinds {
		output, err := exec.Command("delv", "@127.0.0.1", "-p", port(s.dns), "-a", anchors, "+root=gtm.test", "-t", k.typ,
			k.name).CombinedOutput()
		want := "; fully validated"
		switch {
		case k.insecure && k.answer == "":
			want = "; negative response, unsigned answer"
		case k.insecure:
			want = "; unsigned answer"
		case k.answer == "":
			want = "; negative response, fully validated"
		}
		if !strings.Contains(string(output), want) || !strings.Contains(string(output), k.answer) {
			t.Errorf("%s: %s %s: %v: want %q and %q in\n%s", k.kind, k.name, k.typ, err, want, k.answer, output)
		}
	}
}

// unbound, of each kind, validates every kind of answer, twice: the second from its cache.
func TestUnboundValidates(t *testing.T) {
	s := startSigned(t, 300, "")
	for _, v := range validators {
		t.Run(v.name, func(t *testing.T) {
			at := s.startValidator(t, s.dns, v.modules, v.more)
			for _, pass := range []string{"cold", "warm"} {
				for _, k := range signedKinds {
					r, err := askValidated(at, k.name, dns.StringToType[k.typ], "")
					if err != nil {
						t.Fatalf("%s, %s: %v", k.kind, pass, err)
					}
					bad := r.Rcode != dns.RcodeSuccess && r.Rcode != dns.RcodeNameError || r.AuthenticatedData == k.insecure
					if bad || !strings.Contains(answerText(r), k.answer) || (answerText(r) == "") != (k.answer == "") {
						t.Errorf("%s, %s: want %q, insecure %v:\n%v", k.kind, pass, k.answer, k.insecure, r)
					}
				}
			}
			for client, want := range map[string]string{"81.2.69.0/24": "198.51.100.", "8.8.8.0/24": "203.0.113.",
				"1.1.8.0/24": "203.0.113.", "91.198.174.0/24": "198.51.100."} {
				if !strings.Contains(v.modules, "subnetcache") {
					continue
				}
				for _, typ := range []uint16{dns.TypeA, dns.TypeMX, dns.TypeHTTPS, dns.TypeA} {
					r, err := askValidated(at, "web.shop.gtm.test.", typ, client)
					if err != nil || r.Rcode != dns.RcodeSuccess || !r.AuthenticatedData {
						t.Errorf("%s: %v\n%v", client, err, r)
					} else if typ == dns.TypeA && !strings.Contains(answerText(r), want) {
						t.Errorf("%s: want %s\n%v", client, want, r)
					}
				}
			}
		})
	}
}

// answerText gives the records of the answer section without TTL and signatures, sorted.
func answerText(r *dns.Msg) string {
	var lines []string
	for _, rr := range r.Answer {
		if typ := rr.Header().Rrtype; typ != dns.TypeRRSIG && typ != dns.TypeNSEC {
			rr = dns.Copy(rr)
			rr.Header().Ttl = 0
			rr.Header().Name = strings.ToLower(rr.Header().Name)
			lines = append(lines, rr.String())
		}
	}
	slices.Sort(lines)
	return strings.Join(lines, "\n")
}

// aggressiveNames are names of which some exist, some are made, and some do neither.
func aggressiveNames(random *rand.Rand, n int) []string {
	labels := strings.Fields("a b www w c x y ns1 ent old new child open shop web all nothing mail known to-www zz *")
	below := strings.Fields("gtm.test. w.gtm.test. ent.gtm.test. c.gtm.test. old.gtm.test. new.gtm.test. shop.gtm.test. child.gtm.test. " +
		"w.child.gtm.test. open.gtm.test. nothing.gtm.test. all.shop.gtm.test.")
	names := []string{}
	for _, k := range signedKinds {
		switch k.name {
		case "whoami.gtm.test.", "all.shop.gtm.test._explain.gtm.test.", "web.shop.gtm.test.": // they differ each time
		case "sub.gtm.test.", "safe.gtm.test.": // nobody serves these zones
		case "cdn.shop.gtm.test.": // directly there is its CNAME alone
		default:
			names = append(names, k.name)
		}
	}
	for len(names) < n {
		name := labels[random.IntN(len(labels))] + "." + below[random.IntN(len(below))]
		for random.IntN(3) == 0 {
			name = labels[random.IntN(len(labels))] + "." + name
		}
		if name != "web.shop.gtm.test." {
			names = append(names, name)
		}
	}
	return names
}

// Through a resolver that concludes from denials in its cache, every name must have what it has directly, whatever was asked
// before: nothing is denied that exists.
func TestAggressiveCacheDeniesNothingElse(t *testing.T) {
	seed := runSeed(t)
	random := rand.New(rand.NewPCG(seed, 9))
	s := startSigned(t, 300, "")
	between := startRelay(t, s.dns)
	at := s.startValidator(t, between.front.LocalAddr().(*net.UDPAddr).AddrPort(), validators[2].modules, validators[2].more)

	types := []uint16{dns.TypeA, dns.TypeAAAA, dns.TypeTXT, dns.TypeMX, dns.TypeHTTPS, dns.TypeCNAME, dns.TypeNS, dns.TypeDS, dns.TypeSRV,
		dns.TypeDNAME, dns.TypeCAA}
	type question struct {
		name string
		typ  uint16
	}
	want, asked, wrong := map[question]string{}, 0, 0
	before := between.count.Load()
	for _, name := range aggressiveNames(random, 300) {
		for _, typ := range types {
			if typ == dns.TypeDS && name == "gtm.test." { // it is the business of a parent that is not there
				continue
			}
			// unbound 1.17 wants the unsigned CNAME that a DNAME made to be signed, where it is what was asked for
			if strings.HasSuffix(name, ".old.gtm.test.") && (typ == dns.TypeCNAME || typ == dns.TypeDNAME) {
				continue
			}
			want[question{name, typ}] = ""
		}
	}
	questions := []question{}
	for q := range want {
		questions = append(questions, q)
		want[q] = outcome(t, s.dns, q.name, q.typ)
	}
	for range 3 {
		random.Shuffle(len(questions), func(i, j int) { questions[i], questions[j] = questions[j], questions[i] })
		for _, q := range questions {
			asked++
			if got := outcome(t, at, q.name, q.typ); got != want[q] {
				if wrong++; wrong <= 10 {
					t.Errorf("%s %s: %s\ndirectly: %s", q.name, dns.Type(q.typ), got, want[q])
				}
			}
		}
	}
	upstream := between.count.Load() - before
	t.Logf("%d questions through one cache, %d of them different, %d wrong; unbound asked us %d times", asked, len(questions),
		wrong, upstream)
	if upstream > int64(len(questions))*3/4 {
		t.Errorf("unbound asked %d times for %d questions: it did not conclude from denials", upstream, len(questions))
	}
}

// outcome is what a resolver's user gets: what exists, or that nothing does.
func outcome(t *testing.T, at netip.AddrPort, name string, typ uint16) string {
	t.Helper()
	r, err := askValidated(at, name, typ, "")
	if err != nil {
		t.Fatalf("%s %s: %v", name, dns.Type(typ), err)
	}
	return dns.RcodeToString[r.Rcode] + "\n" + answerText(r)
}
