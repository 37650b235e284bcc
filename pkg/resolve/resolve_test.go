package resolve

import (
	"math/rand/v2"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/miekg/dns"
)

const host = "www.cdn.example."

func TestIPv4InIPv6FormIsRefused(t *testing.T) {
	if why := Unfit(netip.MustParseAddr("::ffff:127.0.0.1")); why == "" {
		t.Error("it is taken")
	}
}

func TestCaseIsRandom(t *testing.T) {
	c := &Client{Random: rand.Uint64}
	seen := map[string]bool{}
	for range 50 {
		m := c.message(Question{Host: host, Type: dns.TypeA})
		if !strings.EqualFold(m.Question[0].Name, host) {
			t.Fatalf("name %s", m.Question[0].Name)
		}
		seen[m.Question[0].Name] = true
	}
	if len(seen) < 10 {
		t.Errorf("only %d ways to write it", len(seen))
	}
}

func FuzzAddresses(f *testing.F) {
	m := new(dns.Msg)
	m.SetQuestion(host, dns.TypeA)
	m.Response = true
	for _, text := range []string{host + " 5 CNAME a.example.", "a.example. 5 A 192.0.2.1"} {
		rr, err := dns.NewRR(text)
		if err != nil {
			f.Fatal(err)
		}
		m.Answer = append(m.Answer, rr)
	}
	packed, err := m.Pack()
	if err != nil {
		f.Fatal(err)
	}
	f.Add(packed)
	f.Fuzz(func(t *testing.T, data []byte) {
		m := new(dns.Msg)
		if m.Unpack(data) != nil {
			return
		}
		for _, qtype := range []uint16{dns.TypeA, dns.TypeAAAA} {
			addresses, _ := Addresses(m, host, qtype)
			for _, a := range addresses {
				if a.Is4() != (qtype == dns.TypeA) {
					t.Errorf("%v for %s", a, dns.TypeToString[qtype])
				}
			}
		}
	})
}

func TestSystemResolvers(t *testing.T) {
	file := filepath.Join(t.TempDir(), "resolv.conf")
	if err := os.WriteFile(file, []byte("search example\nnameserver 192.0.2.53\nnameserver 2001:db8::53\noptions edns0\n"),
		0o600); err != nil {
		t.Fatal(err)
	}
	got, err := System(file)
	if want := []netip.AddrPort{netip.MustParseAddrPort("192.0.2.53:53"), netip.MustParseAddrPort("[2001:db8::53]:53")}; err != nil ||
		!slices.Equal(got, want) {
		t.Errorf("%v, %v", got, err)
	}
	if _, err := System(filepath.Join(t.TempDir(), "none")); err == nil {
		t.Error("no file, no error")
	}
}
