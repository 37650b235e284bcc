package sim

import (
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"time"

	"github.com/gti/gtm/pkg/geo"
	"github.com/gti/gtm/pkg/health"
	"github.com/gti/gtm/pkg/spec"
	"github.com/gti/gtm/pkg/table"
	"github.com/gti/gtm/pkg/table/compile"
	"github.com/gti/gtm/pkg/table/rr"
	"github.com/gti/gtm/pkg/zone"
)

// world is what edges know: what is declared and judged, compiled into the view that answers are read from.
type world struct {
	host       string
	compiler   *compile.Compiler
	declared   spec.Set
	generation uint64 // of what was put last
	view       *table.View
	service    *table.Service
	byAddr     map[[4]byte]uint16 // endpoints of Run.Endpoints by their address
	room       []byte
}

func newWorld(host string, atlas *geo.Atlas, seed uint64, endpoints []Endpoint) *world {
	w := &world{host: host, compiler: compile.New(compile.Config{Seed: seed, Workers: 1}, atlas), declared: spec.Set{},
		byAddr: map[[4]byte]uint16{}}
	for i := range endpoints {
		w.byAddr[endpoints[i].addr.As4()] = uint16(i)
	}
	return w
}

// read decodes resources, and makes the content of zones canonical, as gtmctl and control do.
func read(yaml string) ([]*spec.Resource, error) {
	resources, err := spec.Decode("scenario", []byte(yaml))
	if err != nil {
		return nil, err
	}
	for _, r := range resources {
		if z, ok := r.Spec.(*spec.Zone); ok {
			e := z.Effective()
			defaults := zone.Defaults{Nameservers: e.Nameservers, Contact: e.Contact}
			if z.Content, _, err = zone.Canonical(r.Name, r.Name, z.Content, defaults); err != nil {
				return nil, err
			}
		}
	}
	return resources, nil
}

// put declares resources, as the next generation of their tenants. What a change would be refused for is an error.
func (w *world) put(resources []*spec.Resource) error {
	var faults []error
	for _, r := range resources {
		w.declared[r.Key] = r
		faults = append(faults, spec.Validate(r))
	}
	if err := errors.Join(faults...); err != nil {
		return err
	}
	if _, err := spec.ValidateSet(w.declared, resources, nil); err != nil {
		return err
	}
	w.generation++
	tenants := map[string][]compile.Item{}
	for _, r := range resources {
		tenants[r.Tenant] = append(tenants[r.Tenant], compile.Item{Resource: r, Generation: w.generation})
	}
	var change compile.Change
	for _, tenant := range slices.Sorted(maps.Keys(tenants)) {
		change.Tenants = append(change.Tenants, compile.TenantChange{Tenant: tenant, Head: w.generation, Put: tenants[tenant]})
	}
	w.compiler.Apply(change)
	return nil
}

// tell has the edges hear of verdicts.
func (w *world) tell(verdicts []health.Verdict) { w.compiler.Apply(compile.Change{Verdicts: verdicts}) }

// compile makes the view of all that was told, and gives when it is to be made anew though nothing is told; zero: never.
func (w *world) compile(now time.Time) (next time.Time, err error) {
	view, broken, next := w.compiler.Compile(now)
	if len(broken) > 0 {
		return next, fmt.Errorf("%s is not served as declared: %w", broken[0].Key, broken[0].Err)
	}
	w.view, w.service = view, view.FindService(w.host)
	if w.service == nil {
		return next, fmt.Errorf("no service stands at %s", w.host)
	}
	return next, nil
}

// none stands for an answer that names no endpoint: SERVFAIL.
const none = ^uint16(0)

// ask gives the endpoint that gtm's answer to a query for A records names first, how long it may be kept, and the scope.
func (w *world) ask(c *table.Client, random uint64) (endpoint uint16, ttl time.Duration, scope uint8) {
	var d table.Decision
	w.view.Decide(&d, w.service, rr.IPv4, c, w.view.Classify(w.service, c), random)
	if d.Draw == nil {
		return none, 0, 0
	}
	records, count := d.Records(&w.room)
	record := records[:len(records)/int(count)]
	return w.byAddr[[4]byte(record[len(record)-4:])], time.Duration(d.TTL) * time.Second, d.Scope
}

// explain tells how an answer comes about.
func (w *world) explain(c *table.Client) *table.Explanation {
	return w.view.Explain(w.service, rr.IPv4, c, 0)
}

// Endpoint is one endpoint of the pools, and what becomes of it.
type Endpoint struct {
	Pool, Name, Site string

	addr   netip.Addr
	id     health.PoolID
	alive  bool
	state  health.State  // as edges know it
	active uint32        // sessions
	idle   time.Duration // since when it has no session
}

// endpointsOf lists the endpoints of pools.
func endpointsOf(resources []*spec.Resource) (all []Endpoint, err error) {
	for _, r := range resources {
		p, ok := r.Spec.(*spec.Pool)
		if !ok {
			continue
		}
		for i := range p.Endpoints {
			e := &p.Endpoints[i]
			at := slices.IndexFunc(e.Addresses, netip.Addr.Is4)
			if at < 0 {
				return nil, fmt.Errorf("%s: endpoint %s has no IPv4 address: clients here ask for A records", r.Key, e.Name)
			}
			all = append(all, Endpoint{Pool: r.Name, Name: e.Name, Site: p.Site, addr: e.Addresses[at],
				id: health.PoolID{Tenant: r.Tenant, Pool: r.Name}, alive: true})
		}
	}
	slices.SortStableFunc(all, func(a, b Endpoint) int { return a.addr.Compare(b.addr) })
	for i := 1; i < len(all); i++ {
		if all[i].addr == all[i-1].addr {
			return nil, fmt.Errorf("two endpoints have the address %s: an answer would not tell which one it names", all[i].addr)
		}
	}
	return all, nil
}
