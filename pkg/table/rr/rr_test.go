package rr

import (
	"testing"

	"github.com/miekg/dns"
)

// TestRecordsAgainstTheOracle: what Append writes is what miekg/dns reads, and Data gives back.
func TestRecordsAgainstTheOracle(t *testing.T) {
	wire := Append(Append(nil, dns.TypeA, 300, []byte{192, 0, 2, 1}), dns.TypeA, 300, []byte{192, 0, 2, 2})
	m := new(dns.Msg).SetQuestion("web.example.", dns.TypeA)
	packed, err := m.Pack()
	if err != nil {
		t.Fatal(err)
	}
	packed[7] = 2 // ANCOUNT
	if err := m.Unpack(append(packed, wire...)); err != nil || len(m.Answer) != 2 {
		t.Fatal(err, m)
	}
	for i, want := range []string{"web.example.\t300\tIN\tA\t192.0.2.1", "web.example.\t300\tIN\tA\t192.0.2.2"} {
		if got := m.Answer[i].String(); got != want {
			t.Errorf("%s, want %s", got, want)
		}
		if data := Data(wire)[i]; len(data) != 4 || data[3] != byte(i+1) {
			t.Errorf("RDATA %v", data)
		}
	}
	if got := Uint32([]byte{1, 2, 3, 4}); got != 0x01020304 {
		t.Errorf("%#x", got)
	}
}

// TestFamilySets: a set holds what all of its families are needed for, and what nothing is needed for.
func TestFamilySets(t *testing.T) {
	s := FamilySet(1<<IPv4 | 1<<MX)
	if !s.Has(IPv4) || s.Has(IPv6) || !s.Holds(0) || !s.Holds(1<<MX) || s.Holds(1<<IPv4|1<<IPv6) {
		t.Errorf("%b", s)
	}
	for f, want := range map[Family]uint16{IPv4: dns.TypeA, IPv6: dns.TypeAAAA, CNAME: dns.TypeCNAME, HTTPS: dns.TypeHTTPS,
		SVCB: dns.TypeSVCB, SRV: dns.TypeSRV, MX: dns.TypeMX} {
		if f.Type() != want {
			t.Errorf("family %d has type %d, want %d", f, f.Type(), want)
		}
	}
}
