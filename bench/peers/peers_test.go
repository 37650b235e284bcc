package peers

import (
	"encoding/binary"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/miekg/dns"

	"github.com/gti/gtm/pkg/store/snapshot"
)

func TestQuery(t *testing.T) {
	for _, c := range []struct {
		name, subnet string
		do           bool
		raw          []byte
	}{
		{"w7.gtm.test.", "81.2.69.0/24", false, Query("w7.gtm.test.", 81<<24|2<<16|69<<8|160, false)},
		{"w7.sig.test.", "81.2.69.0/24", true, Query("w7.sig.test.", 81<<24|2<<16|69<<8|160, true)},
		{"s7.gtm.test.", "", false, Query("s7.gtm.test.", 0, false)},
	} {
		m := new(dns.Msg)
		if err := m.Unpack(c.raw); err != nil {
			t.Fatalf("%s: %v", c.name, err)
		}
		if q := m.Question[0]; q.Name != c.name || q.Qtype != dns.TypeA || q.Qclass != dns.ClassINET || m.Response {
			t.Errorf("%s: %v", c.name, m)
		}
		opt := m.IsEdns0()
		if opt == nil || opt.UDPSize() != 1232 || opt.Do() != c.do {
			t.Fatalf("%s: no EDNS of 1232 bytes, DO %v: %v", c.name, c.do, m)
		}
		var subnet string
		for _, option := range opt.Option {
			if s, ok := option.(*dns.EDNS0_SUBNET); ok {
				network := net.IPNet{IP: s.Address, Mask: net.CIDRMask(int(s.SourceNetmask), 32)}
				subnet = network.String()
			}
		}
		if subnet != c.subnet {
			t.Errorf("%s: subnet %q, want %q", c.name, subnet, c.subnet)
		}
	}
}

func TestWriteQueries(t *testing.T) {
	dir := t.TempDir()
	var ranges strings.Builder
	ranges.WriteString("# made for this test\n")
	for i := range 2000 {
		start := 16777216 + i*1024
		country := []string{"AU", "??"}[i%2]
		fmt.Fprintf(&ranges, "%d,%d,%s\n", start, start+1023, country)
	}
	file := filepath.Join(dir, "geoip")
	if err := os.WriteFile(file, []byte(ranges.String()), 0o644); err != nil {
		t.Fatal(err)
	}
	job := Job{Dir: dir, Names: 3}
	if err := job.WriteQueries(file); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{Steered, Static, Mixed, SteeredDO, SteeredSigned, StaticSigned} {
		text, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		count := 0
		for ; len(text) > 0; count++ {
			size := int(binary.BigEndian.Uint16(text))
			if err := new(dns.Msg).Unpack(text[2 : 2+size]); err != nil {
				t.Fatalf("%s, query %d: %v", name, count, err)
			}
			text = text[2+size:]
		}
		if count != perFile {
			t.Errorf("%s has %d queries, want %d", name, count, perFile)
		}
	}
}

func TestReadQueries(t *testing.T) {
	file := filepath.Join(t.TempDir(), "q")
	for _, c := range []struct {
		text string
		most int
		want []string // none: an error
	}{
		{"\x00\x02ab\x00\x01c", 9, []string{"ab", "c"}},
		{"\x00\x02ab\x00\x01c", 1, []string{"ab"}},
		{"\x00\x02ab\x00\x02c", 9, nil},
		{"\x00\x02ab\x00", 9, nil},
		{"", 9, nil},
	} {
		if err := os.WriteFile(file, []byte(c.text), 0o644); err != nil {
			t.Fatal(err)
		}
		queries, err := ReadQueries(file, c.most)
		if (err != nil) != (c.want == nil) || len(queries) != len(c.want) {
			t.Errorf("%q: %q, %v", c.text, queries, err)
		}
		for i := range queries {
			if string(queries[i]) != c.want[i] {
				t.Errorf("%q: %q", c.text, queries)
			}
		}
	}
}

// TestWriteGtm reads back what gtm is given: both zones, the quotas, the pools and the services; and of the snapshot the unsigned part.
func TestWriteGtm(t *testing.T) {
	job := Job{Dir: t.TempDir(), Names: 3}
	if err := job.WriteGtm(); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(filepath.Join(job.Dir, "gtm", "0000.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	for part, want := range map[string]int{"---\n": 2 + 1 + 4 + 6, "kind: Zone": 2, "dnssec: {}": 1, "kind: Pool": 4, "kind: Service": 6,
		"weight: 3": 4} {
		if got := strings.Count(string(text), part); got != want {
			t.Errorf("%d times %q, want %d:\n%s", got, part, want, text)
		}
	}
	if err := job.WriteSnapshot(); err != nil {
		t.Fatal(err)
	}
	s, u, err := snapshot.Open(SnapshotOf(filepath.Join(job.Dir, "gtm-edge")), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if u == nil || len(u.Tenants) != 2 || len(u.Tenants[0].Put) != 4+3 || len(u.Tenants[1].Put) != 1+1 {
		t.Errorf("the snapshot has %+v", u)
	}
}
