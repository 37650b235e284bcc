package answer

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"testing"
)

// steered has services by policies of every kind: what looking ahead leads to is a group, a nested choice, one that is hashed, a leaf.
const steered = `
---
{kind: Site, tenant: platform, name: fra, spec: {location: {lat: 50.11, lon: 8.68}, region: EU-DE}}
---
{kind: Site, tenant: platform, name: iad, spec: {location: {lat: 38.95, lon: -77.45}, region: NA-US-VA}}
---
kind: Pool
tenant: shop
name: e
spec: {site: fra, endpoints: [{name: a, addresses: [198.51.100.7]}, {name: b, addresses: [198.51.100.8]}]}
---
{kind: Pool, tenant: shop, name: u, spec: {site: iad, endpoints: [{name: a, addresses: [192.0.2.7]}]}}
---
kind: Service
tenant: shop
name: band
spec: {host: band.shop.gtm.example., metrics: true, rules: [{ttl: 7s, pools: [{nearest: [e, {pool: u, weight: 2}], band: 900%}]}]}
---
kind: Service
tenant: shop
name: nested
spec:
  host: nested.shop.gtm.example.
  metrics: true
  rules:
    - {when: {geo: [EU]}, ttl: 3s, pools: [{split: [{nearest: [e, u], weight: 9}, {pool: u, weight: 1}]}]}
    - {pools: [{split: [{nearest: [e, u], weight: 1}, {pool: u, weight: 9}]}]}
---
kind: Service
tenant: shop
name: same
spec: {host: same.shop.gtm.example., coherent: true, rules: [{pools: [{nearest: [e, u], band: 900%}]}]}
---
kind: Service
tenant: shop
name: split
spec: {host: split.shop.gtm.example., rules: [{pools: [{pool: e, weight: 3}, {pool: u, weight: 1}]}]}
---
kind: Service
tenant: shop
name: near
spec: {host: near.shop.gtm.example., rules: [{pools: [{nearest: [u, e]}]}]}
`

// TestLookingAheadAtPolicies: replies are the same bytes under equal seeds, alone or looked ahead at, whoever asks, while pools fail; and
// those without DO are answered directly.
func TestLookingAheadAtPolicies(t *testing.T) {
	ahead, plain := newServer(t), newServer(t)
	for _, s := range []*server{ahead, plain} {
		s.Put(steered)
	}
	rnd := rand.New(rand.NewPCG(13, 1))
	seen, direct := map[string]int{}, 0
	for i := range 6000 {
		host := []string{"band", "nested", "same", "split", "near"}[rnd.IntN(5)]
		opts := []string{fmt.Sprintf("ecs=%d.%d.%d.0/24", 1+rnd.IntN(223), rnd.IntN(256), rnd.IntN(256))}
		if n := rnd.IntN(8); n == 0 {
			opts = nil
		} else if n == 1 {
			opts = append(opts, "do")
		}
		msg, err := query(t, host+".shop.gtm.example.", "A", opts...).Pack()
		if err != nil {
			t.Fatal(err)
		}
		got, want := make([]byte, 4096), make([]byte, 4096)
		ahead.a.Parse(0, msg, ahead.src)
		ahead.a.Prefetch(1)
		before := ahead.a.rng
		ahead.a.parsedQuery = &ahead.a.queries[0]
		ahead.a.view = ahead.a.window
		if _, ok := ahead.a.direct(append(make([]byte, 0, 4096), msg...)[:4096], &Meta{Source: ahead.src}); ok {
			direct++
		}
		ahead.a.rng = before
		og := ahead.a.Answer(got, copy(got, msg), &Meta{Source: ahead.src, Prefetched: 1})
		ow := plain.a.Answer(want, copy(want, msg), &Meta{Source: plain.src})
		if og != ow || !bytes.Equal(got[:og.Size], want[:ow.Size]) {
			t.Fatalf("%s %v:\nprefetched: %+v %x\notherwise: %+v %x", host, opts, og, got[:og.Size], ow, want[:ow.Size])
		}
		seen[host+string(got[og.Size-30:og.Size-20])]++
		if i%1500 == 1499 {
			pool := []string{"e", "u"}[rnd.IntN(2)]
			ahead.down(pool)
			plain.down(pool)
		}
	}
	if direct < 2000 || len(seen) < 10 {
		t.Errorf("%d of 6000 were answered directly; %d different replies", direct, len(seen))
	}
}
