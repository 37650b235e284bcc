package peers

import (
	"errors"
	"fmt"
	"net/netip"
	"path/filepath"
	"strings"
	"time"

	"github.com/gti/gtm/pkg/spec"
	"github.com/gti/gtm/pkg/store/snapshot"
	"github.com/gti/gtm/pkg/store/state"
	"github.com/gti/gtm/pkg/zone"
)

// tenant owns the pools and services of the job.
const tenant = "job"

// WriteGtm writes the job as resources of gtm, in the folder gtm: what gtmd --apply takes.
func (j Job) WriteGtm() error {
	var b strings.Builder
	for _, zone := range j.zones() {
		signed := map[bool]string{true: ", dnssec: {}"}[zone == SignedZone]
		fmt.Fprintf(&b, "---\nkind: Zone\ntenant: platform\nname: %s\nspec: {file: %szone, grants: {%s: [%s]}%s}\n", zone, zone, tenant, zone, signed)
		if err := j.write("gtm/"+zone+"zone", "$ORIGIN "+zone+"\n"+j.master(zone)); err != nil {
			return err
		}
	}
	b.WriteString("---\nkind: Tenant\ntenant: platform\nname: platform\n" +
		"spec: {limits: {quota: {all: {resources: 10000000, services: 10000000, megabytes: 100000}}}}\n")
	for _, pool := range Pools {
		fmt.Fprintf(&b, "---\nkind: Pool\ntenant: %s\nname: %s\nspec:\n  endpoints:\n"+
			"    - {name: a, addresses: [%s], weight: 3}\n    - {name: b, addresses: [%s], weight: 1}\n", tenant, pool.Name, pool.Addresses[0], pool.Addresses[1])
	}
	for _, zone := range j.zones() {
		for i := range j.Names {
			fmt.Fprintf(&b, "---\nkind: Service\ntenant: %s\nname: %s\nspec:\n  host: w%d.%s\n  ttl: %ds\n  rules:\n", tenant, serviceName(zone, i), i, zone, TTL)
			for _, pool := range Pools {
				when := ""
				if pool.Continent != "" {
					when = fmt.Sprintf("when: {geo: [%s]}, ", pool.Continent)
				}
				fmt.Fprintf(&b, "    - {%spools: [%s]}\n", when, pool.Name)
			}
		}
	}
	return j.write("gtm/job.yaml", b.String())
}

func serviceName(zone string, i int) string {
	return fmt.Sprintf("%s-w%d", strings.Trim(strings.ReplaceAll(zone, ".", "-"), "-"), i)
}

// WriteSnapshot writes the unsigned part of the job as an edge keeps it on disk, in the data folder gtm-edge: gtmd
// --roles edge starts from that without any etcd, which is how so many names come to a server in seconds.
func (j Job) WriteSnapshot() error {
	content, _, err := zone.Canonical(Zone, Zone, "$ORIGIN "+Zone+"\n"+j.master(Zone), zone.Defaults{})
	if err != nil {
		return err
	}
	platform := state.TenantUpdate{Tenant: spec.Platform, Head: 1, Put: []state.Version{
		version(spec.Platform, spec.KindZone, Zone, &spec.Zone{Content: content, Grants: map[string][]string{tenant: {Zone}}})}}
	job := state.TenantUpdate{Tenant: tenant, Head: 1}
	var rules []spec.Rule
	for _, pool := range Pools {
		three, one := 3, 1
		job.Put = append(job.Put, version(tenant, spec.KindPool, pool.Name, &spec.Pool{Endpoints: []spec.Endpoint{
			{Name: "a", Addresses: []netip.Addr{pool.Addresses[0]}, Weight: &three}, {Name: "b", Addresses: []netip.Addr{pool.Addresses[1]}, Weight: &one}}}))
		rule := spec.Rule{Pools: []spec.PoolRef{{Pool: pool.Name}}}
		if pool.Continent != "" {
			rule.When = &spec.When{Geo: []string{pool.Continent}}
		}
		rules = append(rules, rule)
	}
	ttl := spec.Duration(TTL * time.Second)
	for i := range j.Names {
		job.Put = append(job.Put, version(tenant, spec.KindService, serviceName(Zone, i),
			&spec.Service{Host: fmt.Sprintf("w%d.%s", i, Zone), TTL: &ttl, Rules: rules}))
	}
	snapshot, _, err := snapshot.Open(filepath.Join(j.Dir, "gtm-edge", "edge", "snapshot"), nil)
	if err != nil {
		return err
	}
	whole := state.Update{Full: true, Cursor: 1, Cluster: 1, Tenants: []state.TenantUpdate{platform, job}}
	return errors.Join(snapshot.Append(whole), snapshot.Close())
}

func version(tenant string, kind spec.Kind, name string, s spec.Spec) state.Version {
	return state.Version{Generation: 1, Resource: &spec.Resource{Key: spec.Key{Tenant: tenant, Kind: kind, Name: name}, Spec: s}}
}
