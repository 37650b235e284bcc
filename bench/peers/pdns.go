package peers

import (
	"fmt"
	"strings"
)

// WritePowerDNS writes steered and static names of the unsigned zone for PowerDNS's backend geoip, in the folder pdns.
func (j Job) WritePowerDNS(port int) error {
	return j.writeAll(map[string]string{
		"pdns/geo.yaml":  j.pdnsGeo(),
		"pdns/pdns.conf": fmt.Sprintf(pdnsConfig, port, j.Dir, j.MMDB),
	})
}

// pdnsGeo is the zone: a name for each continent, to which each steered name leads.
func (j Job) pdnsGeo() string {
	zone := strings.TrimSuffix(Zone, ".")
	var b strings.Builder
	fmt.Fprintf(&b, "domains:\n- domain: %[1]s\n  ttl: %[2]d\n  records:\n    %[1]s:\n"+
		"      - soa: ns1.%[1]s hostmaster.%[1]s 1 7200 1800 1209600 60\n      - ns: ns1.%[1]s\n", zone, TTL)
	for i := range j.Names {
		fmt.Fprintf(&b, "    s%d.%s:\n      - a: 10.%d.%d.%d\n", i, zone, i>>16&255, i>>8&255, i&255)
	}
	for _, continent := range []string{"na", "eu", "as", "oc", "sa", "af", "an", "unknown"} {
		pool := Pools[len(Pools)-1]
		for _, p := range Pools {
			if strings.EqualFold(p.Continent, continent) {
				pool = p
			}
		}
		fmt.Fprintf(&b, "    %s.pool.%s:\n      - a: {content: %s, weight: 3}\n      - a: {content: %s, weight: 1}\n",
			continent, zone, pool.Addresses[0], pool.Addresses[1])
	}
	b.WriteString("  services:\n")
	for i := range j.Names {
		fmt.Fprintf(&b, "    w%d.%s: '%%cn.pool.%s'\n", i, zone, zone)
	}
	return b.String()
}

const pdnsConfig = `launch=geoip
geoip-database-files=mmdb:%[3]s
geoip-zones-file=%[2]s/pdns/geo.yaml
edns-subnet-processing=yes
local-address=127.0.0.1
local-port=%[1]d
socket-dir=%[2]s/pdns
receiver-threads=1
distributor-threads=1
cache-ttl=20
daemon=no
guardian=no
`
