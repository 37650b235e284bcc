package peers

import (
	"fmt"
	"strings"
)

// Ports are where the other peers listen, on 127.0.0.1.
type Ports struct{ Knot, NSD, PowerDNS, BIND int }

// WriteOthers writes the job for peers that can do part of it: Knot (no weights: the heavier address only) and
// PowerDNS steer; NSD and BIND serve the static names, and each steered name with the address for everyone else.
func (j Job) WriteOthers(ports Ports) error {
	zone := j.static("$ORIGIN " + Zone + "\n")
	for i := range j.Names {
		zone += fmt.Sprintf("w%d A %s\n", i, Pools[len(Pools)-1].Addresses[0])
	}
	for name, text := range map[string]string{
		"flat.zone":      zone,
		"knot-run/.keep": "",
		"knot.geo":       j.knotGeo(),
		"knot.conf":      fmt.Sprintf(knotConfig, ports.Knot, j.Dir, j.MMDB),
		"nsd.conf":       fmt.Sprintf(nsdConfig, ports.NSD, j.Dir),
		"pdns-geo.yaml":  j.pdnsGeo(),
		"pdns.conf":      fmt.Sprintf(pdnsConfig, ports.PowerDNS, j.Dir, j.MMDB),
		"named.conf":     fmt.Sprintf(bindConfig, ports.BIND, j.Dir),
	} {
		if err := j.write(name, text); err != nil {
			return err
		}
	}
	return nil
}

// knotGeo is the table of Knot's module geoip, in mode geodb.
func (j Job) knotGeo() string {
	var b strings.Builder
	for i := range j.Names {
		fmt.Fprintf(&b, "w%d.%s:\n", i, Zone)
		for _, pool := range Pools {
			continent := pool.Continent
			if continent == "" {
				continent = "*"
			}
			fmt.Fprintf(&b, "  - geo: %q\n    A: %s\n", continent, pool.Addresses[0])
		}
	}
	return b.String()
}

// pdnsGeo is the zone of PowerDNS's backend geoip: a name for each continent, to which each steered name leads.
func (j Job) pdnsGeo() string {
	zone := strings.TrimSuffix(Zone, ".")
	var b strings.Builder
	fmt.Fprintf(&b, "domains:\n- domain: %[1]s\n  ttl: %[2]d\n  records:\n    %[1]s:\n"+
		"      - soa: ns1.%[1]s hostmaster.%[1]s 1 7200 1800 1209600 60\n      - ns: ns1.%[1]s\n", zone, ttl)
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

const knotConfig = `server:
    listen: 127.0.0.1@%[1]d
    rundir: %[2]s/knot-run
    udp-workers: 1
    tcp-workers: 1
    background-workers: 1
    edns-client-subnet: on
database:
    storage: %[2]s/knot-run
mod-geoip:
  - id: job
    config-file: %[2]s/knot.geo
    ttl: 60
    mode: geodb
    geodb-file: %[3]s
    geodb-key: [ continent/code ]
zone:
  - domain: gtm.test
    storage: %[2]s
    file: flat.zone
    module: mod-geoip/job
`

const nsdConfig = `server:
    ip-address: 127.0.0.1@%[1]d
    server-count: 1
    zonesdir: %[2]s
    pidfile: %[2]s/nsd.pid
    database: ""
    xfrdfile: %[2]s/xfrd.state
    zonelistfile: %[2]s/zone.list
    username: ""
    rrl-ratelimit: 0
    rrl-whitelist-ratelimit: 0
    minimal-responses: yes
remote-control:
    control-enable: no
zone:
    name: gtm.test
    zonefile: flat.zone
`

const pdnsConfig = `launch=geoip
geoip-database-files=mmdb:%[3]s
geoip-zones-file=%[2]s/pdns-geo.yaml
edns-subnet-processing=yes
local-address=127.0.0.1
local-port=%[1]d
socket-dir=%[2]s
receiver-threads=1
distributor-threads=1
cache-ttl=20
daemon=no
guardian=no
`

const bindConfig = `options {
	directory "%[2]s"; listen-on port %[1]d { 127.0.0.1; }; listen-on-v6 { none; };
	recursion no; pid-file "%[2]s/named.pid"; minimal-responses yes;
};
zone "gtm.test" { type primary; file "flat.zone"; };
controls { };
`
