package compile

import (
	"testing"
)

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
