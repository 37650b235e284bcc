//go:build interop

package chaos

import (
	"fmt"
	"net/netip"
	"strings"

	"github.com/gti/gtm/cmd/gtmd/interop/rig"
)

// The endpoints of the service of health: two primary ones, and one behind them.
var (
	mainA  = netip.MustParseAddr("10.78.1.1")
	mainB  = netip.MustParseAddr("10.78.1.2")
	backup = netip.MustParseAddr("10.78.2.1")
)

const healthHost = "h.web.gtm.test."

// The tenants whose pools writers change, and the pools of each. Every pool has a service of its own, and one endpoint,
// whose address is the number of the change.
var (
	writerTenants = []string{"t1", "t2"}
	writerPools   = []string{"a", "b"}
)

func writerHost(tenant, pool string) string { return fmt.Sprintf("%s.%s.gtm.test.", pool, tenant) }

// valueOf is the address that change i gives a pool.
func valueOf(i int) netip.Addr {
	return netip.AddrFrom4([4]byte{10, 128 | byte(i>>16), byte(i >> 8), byte(i)})
}

// changeOf is the way back; -1: no change gives that address.
func changeOf(a netip.Addr) int {
	if !a.Is4() || a.As4()[0] != 10 || a.As4()[1] < 128 {
		return -1
	}
	b := a.As4()
	return int(b[1]&127)<<16 | int(b[2])<<8 | int(b[3])
}

// monitor is quick, so that a test sees much in a short time.
const monitor = "spec: {type: http, port: 8080, interval: 1s, timeout: 500ms, rise: 2, fall: 2}\n"

// world is what the tests begin with.
func world() string {
	var b strings.Builder
	b.WriteString("kind: Zone\ntenant: platform\nname: gtm.test.\n" +
		"spec:\n  nameservers: [ns1.example.net.]\n  contact: hostmaster.gtm.test.\n  grants:\n    web: [web.gtm.test.]\n")
	for _, tenant := range writerTenants {
		fmt.Fprintf(&b, "    %s: [%s.gtm.test.]\n", tenant, tenant)
	}
	b.WriteString("---\nkind: Monitor\ntenant: web\nname: quick\n" + monitor)
	b.WriteString(poolYAML("web", "main", "quick", mainA, mainB) + poolYAML("web", "backup", "quick", backup) +
		serviceYAML("web", "h", healthHost, "main", "backup"))
	for _, tenant := range writerTenants {
		for _, pool := range writerPools {
			b.WriteString(poolYAML(tenant, pool, "", valueOf(0)) + serviceYAML(tenant, pool, writerHost(tenant, pool), pool))
		}
	}
	return b.String()
}

func poolYAML(tenant, name, monitor string, addrs ...netip.Addr) string {
	var b strings.Builder
	fmt.Fprintf(&b, "---\nkind: Pool\ntenant: %s\nname: %s\nspec:\n", tenant, name)
	if monitor != "" {
		fmt.Fprintf(&b, "  monitor: %s\n", monitor)
	}
	b.WriteString("  endpoints:\n")
	for i, a := range addrs {
		fmt.Fprintf(&b, "    - {name: e%d, addresses: [%s]}\n", i, a)
	}
	return b.String()
}

func serviceYAML(tenant, name, host string, pools ...string) string {
	return fmt.Sprintf("---\nkind: Service\ntenant: %s\nname: %s\nspec: {host: %s, ttl: 5s, rules: [{name: all, pools: [%s]}]}\n",
		tenant, name, host, strings.Join(pools, ", "))
}

// small is a rig that starts quickly and still has everything twice where that matters.
var small = rig.Size{Control: 1, Edges: 2, Probers: 1}
