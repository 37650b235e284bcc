package peers

import (
	"fmt"
	"strings"
)

// ttl of every record of the job, in seconds.
const ttl = 60

// WriteGtm writes the job as resources of gtm, in the folder gtm.
func (j Job) WriteGtm() error {
	var b strings.Builder
	fmt.Fprintf(&b, "kind: Zone\ntenant: platform\nname: %s\nspec: {file: %szone, grants: {job: [%s]}}\n", Zone, Zone, Zone)
	for _, pool := range Pools {
		fmt.Fprintf(&b, "---\nkind: Pool\ntenant: job\nname: %s\nspec:\n  endpoints:\n"+
			"    - {name: a, addresses: [%s], weight: 3}\n    - {name: b, addresses: [%s], weight: 1}\n", pool.Name, pool.Addresses[0], pool.Addresses[1])
	}
	for i := range j.Names {
		fmt.Fprintf(&b, "---\nkind: Service\ntenant: job\nname: w%d\nspec:\n  host: w%d.%s\n  ttl: %ds\n  rules:\n", i, i, Zone, ttl)
		for _, pool := range Pools {
			if pool.Continent == "" {
				fmt.Fprintf(&b, "    - {pools: [%s]}\n", pool.Name)
			} else {
				fmt.Fprintf(&b, "    - {when: {geo: [%s]}, pools: [%s]}\n", pool.Continent, pool.Name)
			}
		}
	}
	if err := j.write("gtm/job.yaml", b.String()); err != nil {
		return err
	}
	return j.write("gtm/"+Zone+"zone", j.static("$ORIGIN "+Zone+"\n"))
}

// static is the zone's static content as a master file.
func (j Job) static(head string) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s$TTL %d\n@ SOA ns1 hostmaster 1 7200 1800 1209600 60\n@ NS ns1\nns1 A 127.0.0.1\n", head, ttl)
	for i := range j.Names {
		fmt.Fprintf(&b, "s%d A 10.%d.%d.%d\n", i, i>>16&255, i>>8&255, i&255)
	}
	return b.String()
}

// WriteGdnsd writes the job as a configuration of gdnsd, in the folder gdnsd: one UDP thread at the port of loopback.
func (j Job) WriteGdnsd(port int) error {
	var zone, weighted, dcmap, tree strings.Builder
	zone.WriteString(j.static(""))
	for i := range j.Names {
		fmt.Fprintf(&zone, "w%d DYNA geoip!steered\n", i)
	}
	var names []string
	for _, pool := range Pools {
		names = append(names, pool.Name)
		fmt.Fprintf(&weighted, "    %s => { a => [ %s, 3 ], b => [ %s, 1 ] }\n", pool.Name, pool.Addresses[0], pool.Addresses[1])
		fmt.Fprintf(&dcmap, " %s => %%weighted!%s", pool.Name, pool.Name)
		if pool.Continent == "" {
			fmt.Fprintf(&tree, " default => [%s]", pool.Name)
		} else {
			fmt.Fprintf(&tree, " %s => [%s]", pool.Continent, pool.Name)
		}
	}
	config := fmt.Sprintf(`options => {
  listen => 127.0.0.1, dns_port => %d, udp_threads => 1, tcp_threads => 1, udp_rcvbuf => 1048576
  run_dir => %s/gdnsd-run, state_dir => %s/gdnsd-run
}
plugins => {
  weighted => {
    multi => false, service_types => up
%s  }
  geoip => {
    maps => { continents => { geoip2_db => %s, datacenters => [%s], map => {%s } } }
    resources => { steered => { map => continents, dcmap => {%s } } }
  }
}
`, port, j.Dir, j.Dir, weighted.String(), j.MMDB, strings.Join(names, ", "), tree.String(), dcmap.String())
	if err := j.write("gdnsd-run/.keep", ""); err != nil {
		return err
	}
	if err := j.write("gdnsd/config", config); err != nil {
		return err
	}
	if err := j.write("gdnsd/geoip/.keep", ""); err != nil {
		return err
	}
	return j.write("gdnsd/zones/"+strings.TrimSuffix(Zone, "."), zone.String())
}
