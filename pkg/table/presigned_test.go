package table

import (
	"testing"

	"github.com/gti/gtm/pkg/dnswire"
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

// TestPresignedKeepsItsSerial: the SOA record is signed as it came, though names in the zone are granted.
func TestPresignedKeepsItsSerial(t *testing.T) {
	const declared = `kind: Zone
tenant: platform
name: gtm.example.
spec:
  grants: {shop: [gtm.example.]}
  content: |
    @ 60 SOA ns1 hostmaster 5 60 10 86400 60
    @ 60 RRSIG SOA 13 2 60 20270101000000 20260101000000 1 gtm.example. MTIzNDU2Nzg5MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTI=
    @ 60 NS ns1
    @ 60 NS ns2
    ns1 60 A 192.0.2.1
    ns2 60 A 192.0.2.2
`
	h := newHarness(t, declared)
	if z := h.view.Zones()[0]; !z.Presigned() || z.Serial != 5 || len(z.Problems) > 0 {
		t.Errorf("presigned %v, serial %d, %v", z.Presigned(), z.Serial, z.Problems)
	}
	h = newHarness(t, declared+testPools+service("web", "  rules: [{pools: [eu]}]\n"))
	if z := h.view.Zones()[0]; z.Serial != 5 || len(z.Problems) != 1 {
		t.Errorf("with a steered name: serial %d, %v", z.Serial, z.Problems)
	}
}
