package answer

import (
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/miekg/dns"

	"github.com/gti/gtm/pkg/spec"
	"github.com/gti/gtm/pkg/table/compile"
	"github.com/gti/gtm/pkg/zone"
)

const namesOrigin = "names.example."

// randomNames makes a zone full of names that lead to each other.
func randomNames(rnd *rand.Rand) (content string, owners []string) {
	labels := []string{"a", "B", "mail", "ns1", "x"}
	name := func() string {
		var parts []string
		for range 1 + rnd.IntN(3) {
			parts = append(parts, labels[rnd.IntN(len(labels))])
		}
		rel := strings.Join(parts, ".")
		switch rnd.IntN(6) {
		case 0:
			return rel + ".other.test."
		case 1:
			return namesOrigin
		}
		return rel + "." + namesOrigin
	}
	var b strings.Builder
	b.WriteString("$TTL 300\n@ SOA ns1.other.test. Host.Master.other.test. 1 2 3 4 60\n@ NS ns1.other.test.\n@ NS a.ns1\n@ NS ns1.a.ns1\n")
	for owner := range uniqueNames(rnd, labels) {
		owners = append(owners, owner+"."+namesOrigin)
		switch rnd.IntN(7) {
		case 0, 1, 2:
			fmt.Fprintf(&b, "%s CNAME %s\n", owner, name())
		case 3:
			for i := range 1 + rnd.IntN(4) {
				fmt.Fprintf(&b, "%s MX %d %s\n", owner, i, name())
			}
		case 4:
			if owner[0] == '*' {
				break
			}
			for range 1 + rnd.IntN(3) {
				fmt.Fprintf(&b, "%s NS %s\n", owner, name())
			}
		case 5:
			fmt.Fprintf(&b, "%s PTR %s\n", owner, name())
		case 6:
			fmt.Fprintf(&b, "%s A 192.0.2.%d\n%s SRV 1 2 3 %s\n", owner, rnd.IntN(200), owner, name())
		}
	}
	return b.String(), append(owners, namesOrigin)
}

func uniqueNames(rnd *rand.Rand, labels []string) map[string]bool {
	names := map[string]bool{}
	for range 30 {
		name := labels[rnd.IntN(len(labels))]
		for range rnd.IntN(3) {
			name += "." + labels[rnd.IntN(len(labels))]
		}
		if rnd.IntN(5) == 0 {
			name = "*." + name
		}
		names[strings.ToLower(name)] = true
	}
	return names
}

// inAnyCase gives a name's letters a random case.
func inAnyCase(rnd *rand.Rand, name string) string {
	b := []byte(name)
	for i, c := range b {
		if rnd.IntN(2) == 0 && 'a' <= c && c <= 'z' {
			b[i] = c - 0x20
		}
	}
	return string(b)
}

// TestShortNamesAreTheZonesNames asks for names of random zones, and compares each record with those of the zone. Bytes are
// compared with what another implementation makes of the same records.
func TestShortNamesAreTheZonesNames(t *testing.T) {
	rnd := rand.New(rand.NewPCG(11, 12))
	chains, saved := 0, 0
	for range 60 {
		content, owners := randomNames(rnd)
		text, _, err := zone.Canonical(namesOrigin, namesOrigin, content, zone.Defaults{})
		if err != nil {
			continue // a CNAME beside other records, or above the names that an NS record needs
		}
		s := newServer(t)
		s.Change(compile.Change{Tenants: []compile.TenantChange{{Tenant: spec.Platform, Head: 42, Put: []compile.Item{{Generation: 42,
			Resource: &spec.Resource{Key: spec.Key{Tenant: spec.Platform, Kind: spec.KindZone, Name: namesOrigin},
				Spec: &spec.Zone{Content: text}}}}}}})
		known := recordsOf(t, text)
		for range 300 {
			name := owners[rnd.IntN(len(owners))]
			if name = strings.TrimPrefix(name, "*."); rnd.IntN(3) == 0 {
				name = "q." + name
			}
			typ := []uint16{dns.TypeA, dns.TypeMX, dns.TypeNS, dns.TypeSOA, dns.TypePTR, dns.TypeCNAME, dns.TypeSRV}[rnd.IntN(7)]
			q := query(t, inAnyCase(rnd, name), dns.TypeToString[typ])
			wire := s.wire(q)
			r := new(dns.Msg)
			if err := r.Unpack(wire); err != nil {
				t.Fatalf("%v\n%x", err, wire)
			}
			checkPointers(t, wire)
			if r.Question[0] != q.Question[0] {
				t.Fatalf("question %v, want %v", r.Question[0], q.Question[0])
			}
			checkRecords(t, known, r)
			r.Compress = true
			stranger := func(rr dns.RR) bool { return rr.Header().Name != q.Question[0].Name }
			if n := r.Len(); len(wire) > n && !slices.ContainsFunc(append(r.Answer, r.Ns...), stranger) {
				t.Fatalf("%d bytes, another makes it %d\n%v", len(wire), n, r)
			}
			if r.Compress = false; r.Len() > len(wire) {
				saved++
			}
			if len(r.Answer) > 2 {
				chains++
			}
		}
	}
	if chains < 200 || saved < 5000 {
		t.Errorf("only %d chains and %d answers that became shorter", chains, saved)
	}
}

// wire gives the bytes of an answer over a stream.
func (s *server) wire(q *dns.Msg) []byte {
	packed, err := q.Pack()
	if err != nil {
		s.t.Fatal(err)
	}
	buf := make([]byte, 65535)
	o := s.a.Answer(buf, copy(buf, packed), &Meta{Source: netip.MustParseAddrPort("127.0.0.1:4444"), Stream: true})
	return buf[:o.Size]
}

// recordsOf gives the records of canonical text by owner and type.
func recordsOf(t *testing.T, text string) map[string][]string {
	known := map[string][]string{}
	p := dns.NewZoneParser(strings.NewReader(text), ".", "")
	for rr, ok := p.Next(); ok; rr, ok = p.Next() {
		k := rr.Header().Name + dns.Type(rr.Header().Rrtype).String()
		known[k] = append(known[k], dataText(rr))
	}
	if p.Err() != nil {
		t.Fatal(p.Err())
	}
	return known
}

func dataText(rr dns.RR) string {
	return strings.ToLower(strings.TrimPrefix(rr.String(), rr.Header().String()))
}

// checkRecords looks whether each set of a reply is one of the zone, whole; that of a wildcard may stand under any name it covers.
func checkRecords(t *testing.T, known map[string][]string, r *dns.Msg) {
	t.Helper()
	sets := map[string][]string{}
	for _, rr := range slices.Concat(r.Answer, r.Ns, r.Extra) {
		k := strings.ToLower(rr.Header().Name) + dns.Type(rr.Header().Rrtype).String()
		sets[k] = append(sets[k], dataText(rr))
	}
	for k, got := range sets {
		want := known[k]
		for name := k; want == nil && name != ""; {
			_, name, _ = strings.Cut(name, ".")
			want = known["*."+name]
		}
		slices.Sort(got)
		want = slices.Sorted(slices.Values(want))
		if !slices.Equal(got, want) {
			t.Fatalf("%s: %q, want %q\n%v", k, got, want, r)
		}
	}
}

// checkPointers walks the names of a message: each pointer must lead to a label that was written before it.
func checkPointers(t *testing.T, msg []byte) {
	t.Helper()
	labels := map[int]bool{}
	at := 12
	name := func() {
		for {
			c := int(msg[at])
			if c >= 0xC0 {
				to := (c&0x3F)<<8 | int(msg[at+1])
				if !labels[to] {
					t.Fatalf("a pointer at %d leads to %d, where no name is\n%x", at, to, msg)
				}
				labels[at] = true
				at += 2
				return
			}
			labels[at] = true
			at += 1 + c
			if c == 0 {
				return
			}
		}
	}
	name()
	at += 4
	n := 0
	for i := 6; i < 12; i += 2 {
		n += int(binary.BigEndian.Uint16(msg[i:]))
	}
	for range n {
		name()
		typ, end := binary.BigEndian.Uint16(msg[at:]), at+10+int(binary.BigEndian.Uint16(msg[at+8:]))
		at += 10
		switch typ {
		case dns.TypeNS, dns.TypeCNAME, dns.TypePTR:
			name()
		case dns.TypeMX:
			at += 2
			name()
		case dns.TypeSRV:
			at += 6
			name()
		case dns.TypeSOA:
			name()
			name()
			at += 20
		default:
			at = end
		}
		if at != end {
			t.Fatalf("a record ends at %d, not %d\n%x", at, end, msg)
		}
	}
	if at != len(msg) {
		t.Fatalf("the message ends at %d, not %d\n%x", len(msg), at, msg)
	}
}

// TestManyNameServersAreNotCut: over a stream, a delegation to so many that no pointer reaches the last ones has the addresses of the
// others, and is not truncated: there is no larger reply to ask for.
func TestManyNameServersAreNotCut(t *testing.T) {
	var b strings.Builder
	b.WriteString("$TTL 300\n@ SOA ns1.other.test. host.other.test. 1 2 3 4 60\n@ NS ns1.other.test.\n")
	const servers = 400
	for i := range servers {
		host := fmt.Sprintf("n%d-%s.cut", i, strings.Repeat("x", 50))
		fmt.Fprintf(&b, "cut NS %s\n%s A 192.0.2.%d\n", host, host, i%250)
	}
	text, _, err := zone.Canonical(namesOrigin, namesOrigin, b.String(), zone.Defaults{})
	if err != nil {
		t.Fatal(err)
	}
	s := newServer(t)
	s.Change(compile.Change{Tenants: []compile.TenantChange{{Tenant: spec.Platform, Head: 42, Put: []compile.Item{{Generation: 42,
		Resource: &spec.Resource{Key: spec.Key{Tenant: spec.Platform, Kind: spec.KindZone, Name: namesOrigin},
			Spec: &spec.Zone{Content: text}}}}}}})
	wire, r := s.wire(query(t, "www.cut."+namesOrigin, "A")), new(dns.Msg)
	if err := r.Unpack(wire); err != nil {
		t.Fatal(err)
	}
	checkPointers(t, wire)
	if r.Truncated || len(r.Ns) != servers || len(r.Extra) < 200 || len(r.Extra) >= servers {
		t.Errorf("truncated %v, %d name servers, %d addresses", r.Truncated, len(r.Ns), len(r.Extra))
	}
}
