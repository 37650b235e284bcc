package zones

import (
	"testing"

	"github.com/gti/gtm/pkg/dnswire"
	"github.com/gti/gtm/pkg/table/names"
	"github.com/gti/gtm/pkg/zone"
)

// FuzzPresigned: whatever signatures and chains a zone brings, it compiles or is refused with an error, and every name of it can be
// looked up and denied.
func FuzzPresigned(f *testing.F) {
	const sig = " 13 2 60 20270101000000 20260101000000 1 pre.example. AAAA\n"
	f.Add("@ RRSIG SOA" + sig + "@ RRSIG NSEC" + sig + "@ NSEC www NS SOA RRSIG NSEC\nwww NSEC @ A RRSIG NSEC\nwww RRSIG NSEC" + sig)
	f.Add("@ RRSIG SOA" + sig + "@ NSEC3PARAM 1 0 5 aabb\n0p9mhaveqvm6t7vbl5lop2u3t2rp3tom NSEC3 1 1 5 aabb " +
		"2t7b4g4vsa5smi47k61mv5bv1a22bojr A RRSIG\n")
	f.Add("@ RRSIG SOA" + sig + "@ NSEC3PARAM 1 0 65535 -\n00 NSEC3 1 1 65535 - 2t7b A\n")
	f.Fuzz(func(t *testing.T, lines string) {
		if len(lines) > 2000 {
			return
		}
		text, _, err := zone.Canonical("pre.example.", "f",
			"$TTL 60\n@ SOA ns h 1 2 3 4 5\n@ NS ns.example.net.\nwww A 192.0.2.1\n*.w TXT x\nsub NS ns.example.net.\n"+lines,
			zone.Defaults{})
		if err != nil {
			return
		}
		static, err := zone.Parse("pre.example.", text)
		if err != nil {
			t.Fatal(err)
		}
		z, err := New(&Input{Static: static, Counts: NewZoneCounts("pre.example.", 1), Seed: 7})
		if err != nil || !z.Presigned() {
			return
		}
		var proofs Proofs
		for _, name := range []string{"pre.example.", "www.pre.example.", "none.pre.example.", "a.b.c.none.pre.example.",
			"x.w.pre.example.", "y.sub.pre.example."} {
			wire, err := names.Wire(name)
			if err != nil {
				t.Fatal(err)
			}
			k := names.NewKey([]byte(wire), 7)
			q := k.Query(dnswire.TypeA)
			m := z.Lookup(q, &k.Hashes)
			for _, given := range []bool{false, true} {
				z.Prove(&proofs, q, m, given)
			}
			for i := range z.sets {
				z.Presignature(Set{at: uint32(i)})
			}
		}
	})
}
