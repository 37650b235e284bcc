package edge

import (
	"net/netip"
	"testing"

	"github.com/gti/gtm/pkg/gtmtest/declared"
	"github.com/gti/gtm/pkg/health"
	"github.com/gti/gtm/pkg/spec"
	"github.com/gti/gtm/pkg/store/state"
)

const foundYAML = `kind: Pool
tenant: shop
name: found
spec: {discover: [{name: names, dns: edge.example, families: [ipv4, ipv6]}]}
---
kind: Pool
tenant: shop
name: behind
spec: {endpoints: [{name: a, addresses: [203.0.113.77]}]}
---
kind: Service
tenant: shop
name: alone
spec: {host: alone.shop.gtm.example., rules: [{pools: [found]}]}
---
kind: Service
tenant: shop
name: backed
spec: {host: backed.shop.gtm.example., rules: [{pools: [found, behind]}]}
`

func found(addresses ...string) state.Values {
	f := spec.Found{Tenant: "shop", Pool: "found", Source: "names"}
	for _, a := range addresses {
		f.Endpoints = append(f.Endpoints, spec.FoundEndpoint{Address: netip.MustParseAddr(a)})
	}
	return state.Discovered.Put(f)
}

// A pool answers with what its source has, and where that is nothing yet, the rule's next pool does: never "there is no such type". What is
// known of an address is known whichever list names it, and all of it outlives a restart without the store.
func TestAnswersFromWhatWasFound(t *testing.T) {
	t.Parallel()
	const alone, backed = "alone.shop.gtm.example.", "backed.shop.gtm.example."
	dir := t.TempDir()
	r := start(t, dir, nil)
	u := delta(t, 1, declared.Resources(t, platformYAML, shopYAML, otherYAML, foundYAML)...)
	u.Full = true
	r.tell(u)
	r.ready()
	r.expect(alone, "A", "", "SERVFAIL")
	r.expect(alone, "AAAA", "", "SERVFAIL")
	r.expect(backed, "A", "", "NOERROR 203.0.113.77")

	r.tell(state.Update{Cursor: 110, Cluster: 7, Values: found("198.51.100.41")})
	r.expect(alone, "A", "", "NOERROR 198.51.100.41")
	r.expect(alone, "AAAA", "", "SERVFAIL") // its type is promised, and nothing of it was found
	r.expect(backed, "A", "", "NOERROR 198.51.100.41")

	values := found("198.51.100.42")
	values[state.Verdicts] = state.Verdicts.Put(health.Verdict{Pool: health.PoolID{Tenant: "shop", Pool: "found"},
		Endpoints: map[string]health.Finding{"ip-198-51-100-41": {State: health.Down, Of: "198.51.100.41", Reason: "status 503"},
			"ip-198-51-100-42": {State: health.Up, Score: 1, Of: "198.51.100.42"}}})[state.Verdicts]
	r.tell(state.Update{Cursor: 111, Cluster: 7, Values: values})
	r.expect(backed, "A", "", "NOERROR 198.51.100.42")
	r.tell(state.Update{Cursor: 112, Cluster: 7, Values: found("198.51.100.41")}) // which is still known to be down
	r.expect(backed, "A", "", "NOERROR 203.0.113.77")
	r.tell(state.Update{Cursor: 113, Cluster: 7, Values: found("198.51.100.42", "2001:db8::42")})
	r.expect(backed, "A", "", "NOERROR 198.51.100.42")
	r.expect(alone, "AAAA", "", "NOERROR 2001:db8::42")
	r.stop()

	again := start(t, dir, nil)
	again.ready() // though the store is silent
	again.always(backed, "A", "", "NOERROR 198.51.100.42")
	again.always(alone, "AAAA", "", "NOERROR 2001:db8::42")
	<-again.store.from
	again.tell(delta(t, 2, declared.Resources(t, `kind: Pool
tenant: shop
name: found
spec: {discover: [{name: names, dns: edge.example}], modes: {discover: observe}, endpoints: [{name: own, addresses: [198.51.100.49]}]}
`)...))
	again.expect(alone, "A", "", "NOERROR 198.51.100.49")
}
