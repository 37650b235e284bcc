package zones

import (
	"strings"
	"testing"

	"github.com/gti/gtm/pkg/dnswire"
	"github.com/gti/gtm/pkg/zone"
)

// TestDenialsAreBoundedWork: a zone from elsewhere that has deep names, and no NSEC3 records for what is above them, does not have each
// query hash all of them.
func TestDenialsAreBoundedWork(t *testing.T) {
	for _, c := range []struct {
		depth int // labels between the apex and the name that is denied
		found bool
	}{{2, true}, {5, true}, {maxAbove, true}, {maxAbove + 20, false}, {100, false}} {
		q := &dnswire.Query{}
		for i := range c.depth + 1 { // the apex is "z."
			q.LabelOff[i] = uint8(2 * i)
			copy(q.Name[2*i:], "\x01z")
		}
		q.Labels, q.NameLen = c.depth+1, 2*(c.depth+1)+1
		p := &presigned{hashed: true}
		apex := p.hash([]byte("\x01z\x00"))
		p.chain = []link{{key: apex[:], Sig: Sig{Count: 1}}}
		var out Proofs
		p.encloser(&out, q, 1, 1)
		if found := out.Count > 0; found != c.found {
			t.Errorf("%d labels above the name: an encloser was found: %v, want %v", c.depth, found, c.found)
		}
	}
}

// TestOnlyASignedSOAMakesAZonePresigned, and what its chain of NSEC3 records cannot be read by is refused, not passed over.
func TestOnlyASignedSOAMakesAZonePresigned(t *testing.T) {
	const (
		sig   = " 13 2 60 20270101000000 20260101000000 1 pre.example. AAAA\n"
		soa   = "@ RRSIG SOA" + sig
		chain = "0p9mhaveqvm6t7vbl5lop2u3t2rp3tom NSEC3 1 1 5 aabb 2t7b4g4vsa5smi47k61mv5bv1a22bojr A RRSIG\n"
	)
	for _, tc := range []struct {
		what, lines string
		presigned   bool
		hashed      int // links of the chain
		err         string
	}{
		{"nothing signed", "", false, 0, ""},
		{"another set is signed", "@ RRSIG NS" + sig, false, 0, ""},
		{"a record that begins as that signature does", "@ TYPE65280 \\# 4 00060000\n", false, 0, ""},
		{"signed", soa, true, 0, ""},
		{"hashed", soa + "@ NSEC3PARAM 1 0 5 aabb\n" + chain, true, 1, ""},
		{"hashed by something else", soa + "@ NSEC3PARAM 2 0 5 aabb\n" + chain, true, 0,
			"NSEC3PARAM record is of a hash that is not known"},
		{"another chain beside", soa + "@ NSEC3PARAM 1 0 5 aabb\n" + chain +
			"1p9mhaveqvm6t7vbl5lop2u3t2rp3tom NSEC3 1 1 6 aabb 2t7b4g4vsa5smi47k61mv5bv1a22bojr A RRSIG\n" +
			"2p9mhaveqvm6t7vbl5lop2u3t2rp3tom NSEC3 1 1 5 aacc 2t7b4g4vsa5smi47k61mv5bv1a22bojr A RRSIG\n", true, 1, ""},
		{"a hash that is too short", soa + "@ NSEC3PARAM 1 0 5 aabb\n0p9mhave NSEC3 1 1 5 aabb 2t7b4g4vsa5smi47k61mv5bv1a22bojr A\n", true,
			0, "0p9mhave.pre.example. is no hash"},
		{"no hash at all", soa + "@ NSEC3PARAM 1 0 5 aabb\nx-y NSEC3 1 1 5 aabb 2t7b4g4vsa5smi47k61mv5bv1a22bojr A\n", true, 0,
			"x-y.pre.example. is no hash"},
	} {
		text, _, err := zone.Canonical("pre.example.", "f", "$TTL 60\n@ SOA ns h 1 2 3 4 5\n@ NS ns.example.net.\n"+tc.lines,
			zone.Defaults{})
		if err != nil {
			t.Fatal(tc.what, err)
		}
		static, err := zone.Parse("pre.example.", text)
		if err != nil {
			t.Fatal(tc.what, err)
		}
		z, err := New(&Input{Static: static, Counts: NewZoneCounts("pre.example.", 1), Seed: 7})
		if tc.err != "" {
			if err == nil || !strings.Contains(err.Error(), tc.err) {
				t.Errorf("%s: got %v, want %s", tc.what, err, tc.err)
			}
			continue
		}
		if err != nil || z.Presigned() != tc.presigned {
			t.Errorf("%s: presigned %v, want %v (%v)", tc.what, z.Presigned(), tc.presigned, err)
		} else if tc.hashed > 0 && (!z.pre.hashed || len(z.pre.chain) != tc.hashed || len(z.pre.hidden) < tc.hashed) {
			t.Errorf("%s: %d links, want %d", tc.what, len(z.pre.chain), tc.hashed)
		}
	}
}
