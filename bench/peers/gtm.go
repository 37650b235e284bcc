package peers

import (
	"bufio"
	"errors"
	"fmt"
	"iter"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
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
	all, err := j.resources()
	if err != nil {
		return err
	}
	return WriteYAML(filepath.Join(j.Dir, "gtm"), all)
}

// WriteSnapshot writes the unsigned part of the job as an edge keeps it on disk, in the data folder gtm-edge: gtmd
// --roles edge starts from that without any etcd, which is how so many names come to a server in seconds.
func (j Job) WriteSnapshot() error {
	j.Large = true
	all, err := j.resources()
	if err != nil {
		return err
	}
	return WriteSnapshot(filepath.Join(j.Dir, "gtm-edge"), slices.Values(all))
}

// resources are the job's, those of the platform first.
func (j Job) resources() (all []*spec.Resource, err error) {
	for _, name := range j.zones() {
		z := &spec.Zone{Grants: map[string][]string{tenant: {name}}}
		if z.Content, _, err = zone.Canonical(name, name, "$ORIGIN "+name+"\n"+j.master(name), zone.Defaults{}); err != nil {
			return nil, err
		}
		if name == SignedZone {
			z.DNSSEC = &spec.DNSSEC{}
		}
		all = append(all, Resource(spec.Platform, spec.KindZone, name, z))
	}
	all = append(all, Unbounded())
	rules := make([]spec.Rule, len(Pools))
	for i, pool := range Pools {
		three, one := 3, 1
		all = append(all, Resource(tenant, spec.KindPool, pool.Name, &spec.Pool{Endpoints: []spec.Endpoint{
			{Name: "a", Addresses: []netip.Addr{pool.Addresses[0]}, Weight: &three},
			{Name: "b", Addresses: []netip.Addr{pool.Addresses[1]}, Weight: &one}}}))
		rules[i].Pools = []spec.Target{{Pool: pool.Name}}
		if pool.Continent != "" {
			rules[i].When = &spec.When{Geo: []string{pool.Continent}}
		}
	}
	ttl := spec.Duration(TTL * time.Second)
	for _, name := range j.zones() {
		label := strings.Trim(strings.ReplaceAll(name, ".", "-"), "-")
		for i := range j.Names {
			all = append(all, Resource(tenant, spec.KindService, fmt.Sprintf("%s-w%d", label, i),
				&spec.Service{Host: fmt.Sprintf("w%d.%s", i, name), TTL: &ttl, Rules: rules}))
		}
	}
	return all, nil
}

// Resource makes a resource.
func Resource(tenant string, kind spec.Kind, name string, s spec.Spec) *spec.Resource {
	return &spec.Resource{Key: spec.Key{Tenant: tenant, Kind: kind, Name: name}, Spec: s}
}

// Unbounded lets tenants have as much as anyone wants.
func Unbounded() *spec.Resource {
	const most = 1_000_000_000
	q := &spec.Quotas{All: &spec.Quota{Resources: most, Services: most, Endpoints: most, Overrides: most, Checks: most, Megabytes: most}}
	return Resource(spec.Platform, spec.KindTenant, spec.Platform, &spec.Tenant{Limits: &spec.Limits{Quota: q}})
}

// WriteSnapshot writes resources, those of one tenant together, as an edge keeps them in its data folder, which has none yet.
func WriteSnapshot(data string, resources iter.Seq[*spec.Resource]) error {
	u := state.Update{Full: true, Cursor: 1, Cluster: 1}
	for r := range resources {
		if n := len(u.Tenants); n == 0 || u.Tenants[n-1].Tenant != r.Tenant {
			u.Tenants = append(u.Tenants, state.TenantUpdate{Tenant: r.Tenant, Head: 1})
		}
		of := &u.Tenants[len(u.Tenants)-1]
		of.Put = append(of.Put, state.Version{Resource: r, Generation: 1})
	}
	return WriteUpdate(data, u)
}

// SnapshotOf is where the snapshot is in an edge's data folder.
func SnapshotOf(data string) string { return filepath.Join(data, "edge", "snapshot") }

// WriteUpdate is WriteSnapshot of a whole state.
func WriteUpdate(data string, u state.Update) error {
	s, _, err := snapshot.Open(SnapshotOf(data), nil)
	if err != nil {
		return err
	}
	return errors.Join(s.Append(u), s.Close())
}

// inOneFile is how many resources a file of YAML has.
const inOneFile = 10_000

// WriteYAML writes resources as a folder of files.
func WriteYAML(dir string, all []*spec.Resource) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	i := 0
	for part := range slices.Chunk(all, inOneFile) {
		if err := writeYAML(filepath.Join(dir, fmt.Sprintf("%04d.yaml", i)), part); err != nil {
			return err
		}
		i++
	}
	return nil
}

func writeYAML(file string, part []*spec.Resource) error {
	f, err := os.Create(file)
	if err != nil {
		return err
	}
	defer f.Close()
	w := bufio.NewWriter(f)
	for _, r := range part {
		text, err := spec.EncodeYAML([]*spec.Resource{r})
		if err != nil {
			return err
		}
		fmt.Fprintf(w, "---\n%s", text)
	}
	return w.Flush()
}
