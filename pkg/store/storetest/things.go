package storetest

import (
	"fmt"
	"strings"
	"time"

	"github.com/gti/gtm/pkg/health"
	"github.com/gti/gtm/pkg/spec"
	"github.com/gti/gtm/pkg/zone/dnssec"
)

var Time = time.Date(2026, 2, 3, 4, 5, 6, 0, time.UTC)

func Site(tenant, name, region string) *spec.Resource {
	return &spec.Resource{Key: spec.Key{Tenant: tenant, Kind: spec.KindSite, Name: name}, Spec: &spec.Site{Region: region}}
}

func Zone(name, content string) *spec.Resource {
	return &spec.Resource{Key: spec.Key{Tenant: spec.Platform, Kind: spec.KindZone, Name: name}, Spec: &spec.Zone{Content: content}}
}

// zoneText makes canonical content of n names.
func ZoneText(n int, changed map[int]string) string {
	var b strings.Builder
	b.WriteString("big.example.\t3600\tIN\tSOA\tns. host. 1 2 3 4 5\n")
	for i := range n {
		value := changed[i]
		if value == "" {
			value = fmt.Sprintf("10.%d.%d.%d", i>>16&255, i>>8&255, i&255)
		}
		fmt.Fprintf(&b, "host%07d.big.example.\t300\tIN\tA\t%s\n", i, value)
		fmt.Fprintf(&b, "host%07d.big.example.\t300\tIN\tTXT\t\"some text of host %d\"\n", i, i)
	}
	return b.String()
}

func VerdictOf(tenant, pool string, score float64) health.Verdict {
	return health.Verdict{Pool: health.PoolID{Tenant: tenant, Pool: pool},
		Endpoints: map[string]health.Finding{"a": {State: health.Up, Score: score, Since: Time}}, Judge: "p1"}
}

func Resources(rs ...*spec.Resource) []*spec.Resource { return rs }

func KeysetOf(zone string, serial uint64) dnssec.Keyset {
	at := time.Date(2026, 3, 4, 5, 6, 7, 0, time.UTC)
	return dnssec.Keyset{Zone: zone, Serial: serial, Until: at,
		Sets:  []dnssec.SignedSet{{Type: 48, TTL: 3600, Data: [][]byte{{1, 1, 3, 13}}, Sigs: [][]byte{{0, 48}}}},
		ZSKs:  []dnssec.ZSK{{Tag: 7, Algorithm: 13, Public: []byte{1, 0, 3, 13}, Sealed: []byte("sealed"), Active: true}},
		State: dnssec.State{Signed: at, Keys: []dnssec.KeyState{{Tag: 7, Algorithm: 13, Created: at}}}}
}
