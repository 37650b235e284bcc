package transfer

import (
	"testing"

	"github.com/miekg/dns"

	"github.com/gti/gtm/pkg/zone"
)

// FuzzIncoming: whatever a primary sends in two messages, for a zone that is there and one that is not, taking it ends in an error or
// in content whose text is read again.
func FuzzIncoming(f *testing.F) {
	pack := func(lines ...string) []byte {
		m := new(dns.Msg)
		m.SetAxfr("gtm.example.")
		m.Response = true
		for _, l := range lines {
			rr, err := dns.NewRR(l)
			if err != nil {
				f.Fatal(err)
			}
			m.Answer = append(m.Answer, rr)
		}
		b, err := m.Pack()
		if err != nil {
			f.Fatal(err)
		}
		return b
	}
	soa := func(serial string) string { return "gtm.example. 60 IN SOA a. b. " + serial + " 1 1 1 1" }
	f.Add(pack(soa("2"), "gtm.example. 60 IN NS a.", "version.gtm.example. 0 IN TXT 2"), pack(soa("2")))
	f.Add(pack(soa("2"), soa("1"), "www.gtm.example. 60 IN A 192.0.2.1", soa("2"), "www.gtm.example. 60 IN A 192.0.2.2", soa("2")),
		[]byte{})
	f.Add(pack(soa("1")), pack("*.gtm.example. 60 IN TYPE65280 \\# 3 010203", soa("1")))
	f.Fuzz(func(t *testing.T, first, second []byte) {
		for _, text := range []string{"", "gtm.example. 60 IN SOA a. b. 1 1 1 1 1\ngtm.example. 60 IN NS a.\nwww.gtm.example. 60 IN A " +
			"192.0.2.1\n"} {
			in := &incoming{zone: "gtm.example."}
			if text != "" {
				have, err := parseContent(in.zone, text)
				if err != nil {
					t.Fatal(err)
				}
				in.have, in.serial = have, have.soa().Serial
			}
			take(t, in, first, second)
		}
	})
}

func take(t *testing.T, in *incoming, messages ...[]byte) {
	t.Helper()
	for _, b := range messages {
		m := new(dns.Msg)
		if m.Unpack(b) != nil || in.message(m) != nil {
			return
		}
	}
	if !in.done || in.result == nil {
		return
	}
	if _, err := in.result.members(); err != nil && err.Error() == "" {
		t.Error("an error without words")
	}
	text, _, err := zone.Canonical(in.zone, "", in.result.text(), zone.Defaults{})
	if err != nil {
		return
	}
	if _, err := parseContent(in.zone, text); err != nil {
		t.Fatalf("what came in cannot be read again: %v\n%s", err, text)
	}
}
