package zones

import (
	"fmt"
	"slices"
	"testing"

	"github.com/gti/gtm/pkg/dnswire"
	"github.com/gti/gtm/pkg/zone"
	"github.com/gti/gtm/pkg/zone/dnssec"
)

// TestWhatIsCompiledFromItsBeginning has a zone made from an old form, or given something else than what the old form knows of.
func TestWhatIsCompiledFromItsBeginning(t *testing.T) {
	content := "gtm.example.\t300\tIN\tSOA\tns1.gtm.example. h.gtm.example. 1 2 3 4 5\ngtm.example.\t300\tIN\tNS\tns1.gtm.example.\n" +
		"ns1.gtm.example.\t300\tIN\tA\t192.0.2.53\n"
	for i := range maxRefers + 2 {
		content += fmt.Sprintf("x%d.gtm.example.\t300\tIN\tMX\t1 mail.gtm.example.\n", i)
	}
	static, err := zone.Parse("gtm.example.", content)
	if err != nil {
		t.Fatal(err)
	}
	key, err := dnssec.Generate(dnssec.Ed25519, false)
	if err != nil {
		t.Fatal(err)
	}
	input := func() *Input { return &Input{Static: static, Debug: true, Seed: 1} }
	signed := func(in *Input) {
		in.Keys = &ZoneKeys{Keys: []*dnssec.Key{key}}
		in.Signer = NewSigner(static.Apex, in.Keys.Keys, 1)
	}
	catalog := func(in *Input) { in.Catalog = true }
	presigned := func(in *Input) {
		more := *static
		rrsig := zone.RRset{Owner: static.Apex, Type: dnswire.TypeRRSIG, Data: [][]byte{{0, byte(dnswire.TypeSOA)}}}
		more.Sets = slices.Insert(slices.Clone(static.Sets), 2, rrsig)
		in.Static = &more
	}
	names := func(n int) map[string]bool {
		m := map[string]bool{}
		for i := range n {
			m[fmt.Sprintf("\x03%03d\x03gtm\x07example\x00", i)] = true
		}
		return m
	}
	owner := map[string]bool{"\x03ns1\x03gtm\x07example\x00": true}
	mail := map[string]bool{"\x04mail\x03gtm\x07example\x00": true}
	for _, c := range []struct {
		name    string
		old     func(*Input)
		in      func(*Input)
		touched Touched
		waste   int
		ok      bool
	}{
		{name: "nothing", ok: true},
		{name: "an owner", touched: Touched{owners: owner}, ok: true},
		{name: "as many hosts as may be", touched: Touched{hosts: names(maxTouched)}, ok: true},
		{name: "more", touched: Touched{hosts: names(maxTouched), owners: owner}},
		{name: "nobody knows where", touched: Touched{All: true}},
		{name: "much waste, and more to come", touched: Touched{owners: owner}, waste: 1 << 20},
		{name: "much waste, and no more", touched: Touched{hosts: names(1)}, waste: 1 << 20, ok: true},
		{name: "without debugging names", in: func(in *Input) { in.Debug = false }},
		{name: "it is signed now", in: signed},
		{name: "it was signed", old: signed},
		{name: "it is a catalog now", in: catalog},
		{name: "it was a catalog", old: catalog},
		{name: "it brings signatures now", in: presigned},
		{name: "a host that many name", touched: Touched{owners: mail}, in: func(in *Input) {
			more := *static
			more.Sets = slices.Insert(slices.Clone(static.Sets), 2, zone.RRset{Owner: []byte("\x04mail\x03gtm\x07example\x00"),
				Type: dnswire.TypeA, TTL: 300, Data: [][]byte{{192, 0, 2, 9}}})
			in.Static = &more
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			before, after := input(), input()
			if c.old != nil {
				c.old(before)
			}
			old, err := New(before)
			if err != nil {
				t.Fatal(err)
			}
			old.waste = c.waste
			if c.in != nil {
				c.in(after)
			}
			if _, ok := old.Remade(after, &c.touched); ok != c.ok {
				t.Errorf("made from its old form: %v", ok)
			}
		})
	}
	if _, ok := (*Zone)(nil).Remade(input(), &Touched{}); ok {
		t.Error("made from no old form")
	}
}
