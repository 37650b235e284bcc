package peers

import (
	"fmt"
	"strings"
)

// WriteGdnsd writes the unsigned part of the job as a configuration of gdnsd, in the folder gdnsd: one UDP thread at the
// port of loopback. gdnsd does not sign.
func (j Job) WriteGdnsd(port int) error {
	var zone, weighted, dcmap, tree strings.Builder
	zone.WriteString(j.master(Zone))
	for i := range j.Names {
		fmt.Fprintf(&zone, "w%d DYNA geoip!steered\n", i)
	}
	var names []string
	for _, pool := range Pools {
		names = append(names, pool.Name)
		fmt.Fprintf(&weighted, "    %s => { a => [ %s, 3 ], b => [ %s, 1 ] }\n", pool.Name, pool.Addresses[0], pool.Addresses[1])
		fmt.Fprintf(&dcmap, " %s => %%weighted!%s", pool.Name, pool.Name)
		key := pool.Continent
		if key == "" {
			key = "default"
		}
		fmt.Fprintf(&tree, " %s => [%s]", key, pool.Name)
	}
	return j.writeAll(map[string]string{
		"gdnsd-run/.keep":   "",
		"gdnsd/geoip/.keep": "",
		"gdnsd/config": fmt.Sprintf(gdnsdConfig, port, j.Dir, weighted.String(), j.MMDB, strings.Join(names, ", "), tree.String(),
			dcmap.String()),
		"gdnsd/zones/" + strings.TrimSuffix(Zone, "."): zone.String(),
	})
}

const gdnsdConfig = `options => {
  listen => 127.0.0.1, dns_port => %[1]d, udp_threads => 1, tcp_threads => 1, udp_rcvbuf => 1048576
  run_dir => %[2]s/gdnsd-run, state_dir => %[2]s/gdnsd-run
}
plugins => {
  weighted => {
    multi => false, service_types => up
%[3]s  }
  geoip => {
    maps => { continents => { geoip2_db => %[4]s, datacenters => [%[5]s], map => {%[6]s } } }
    resources => { steered => { map => continents, dcmap => {%[7]s } } }
  }
}
`
