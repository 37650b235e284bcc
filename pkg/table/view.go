package table

import (
	"context"
	"time"

	"github.com/gti/gtm/pkg/dnswire"
	"github.com/gti/gtm/pkg/geo"
	"github.com/gti/gtm/pkg/table/chunks"
	"github.com/gti/gtm/pkg/table/names"
	"github.com/gti/gtm/pkg/table/zones"
)

const specialClass = geo.SpecialClass

// View is all that answers are read from, at one moment. It never changes, and is safe for concurrent use.
type View struct {
	Serial    uint64 // counts the views of a process
	Published time.Time
	Heads     map[string]uint64 // the generation of each tenant; not to be changed
	Atlas     *geo.Atlas
	Maps      []geo.Map

	Seed      uint64        // of the hashes of names
	Top       names.Table   // the names of zones, to ZoneList
	Depths    [2]uint64     // bit n: there is a zone of n labels
	ZoneList  []*zones.Zone // those that are served first, void ones behind them
	Served    int           // how many those are
	Services  chunks.List[Service]
	Nodes     chunks.List[Node]
	PartList  []*geo.Partition // nil where none is any more
	Distances []Distances      // of the classes of each of PartList, where nodes choose by that

	Serving int              // services; see ServiceCount
	Counted []*ServiceCounts // of the services that ask for series
	Acts    map[Act]int      // how many pools each moves, or would; not to be changed
	Held    Held
}

// Held counts services that are held, and pools of these that would answer otherwise.
type Held struct{ Services, Apart int }

// Act is something that moves a pool's traffic by itself, as in steer.ActDepends, and how it acts: enforce or observe.
type Act struct{ What, Mode string }

// Find gives the zone that q's name belongs to, nil when there is none, and fills h with the hashes of the name's suffixes.
func (v *View) Find(q *dnswire.Query, h *names.Hashes) *zones.Zone {
	names.HashSuffixes(h, &q.Name, &q.LabelOff, q.Labels, q.NameLen, v.Seed)
	for i := 0; i <= q.Labels; i++ {
		if n := q.Labels - i; v.Depths[n>>6]>>(n&63)&1 == 0 {
			continue
		}
		if l := v.Top.Find(names.Suffix(q, i), h[i]); l != nil {
			return v.ZoneList[l.Value]
		}
	}
	return nil
}

// FindAbove gives the closest zone above z, whose name q's is; h holds the hashes of q's name.
func (v *View) FindAbove(z *zones.Zone, q *dnswire.Query, h *names.Hashes) *zones.Zone {
	for i := q.Labels - z.Labels() + 1; i <= q.Labels; i++ {
		if l := v.Top.Find(names.Suffix(q, i), h[i]); l != nil {
			return v.ZoneList[l.Value]
		}
	}
	return nil
}

// Service gives the service that stands where a name was found, nil when none does.
func (v *View) Service(m zones.Match) *Service {
	if m.Service == 0 {
		return nil
	}
	return v.Services.Ref(m.Service - 1)
}

// distances tells how far clients of a class of a service are from sites; nil: no node of it asks.
func (v *View) distances(s *Service, class Class) []float32 {
	if d := &v.Distances[s.ResolverPart]; d.Columns > 0 { // a policy's partition: Part is the same, or tells nothing (ecs: off)
		return d.of(class.Index)
	}
	return nil
}

// Place tells where the view holds an address to be, and the network over which that is the same.
func (v *View) Place(n Net) (geo.Place, uint8) {
	p, net := geo.PlaceAt(v.Atlas, v.Maps, n.Addr())
	return p, uint8(net.Bits())
}

// Zones lists the zones by name, without void ones.
func (v *View) Zones() []*zones.Zone { return v.ZoneList[:v.Served:v.Served] }

// Void lists the zones that are declared and have nothing to serve.
func (v *View) Void() []*zones.Zone { return v.ZoneList[v.Served:] }

// Parts gives how many partitions the view holds, and their size in bytes.
func (v *View) Parts() (n, size int) {
	for _, p := range v.PartList {
		if p != nil {
			n++
			size += p.Bytes()
		}
	}
	return n, size
}

// FindService gives the service that stands at a host name, nil when none does. For explanations: it allocates.
func (v *View) FindService(host string) *Service {
	wire, err := names.Wire(host)
	if err != nil {
		return nil
	}
	k := names.NewKey([]byte(wire), v.Seed)
	q := k.Query(dnswire.TypeA)
	var h names.Hashes
	z := v.Find(q, &h)
	if z == nil {
		return nil
	}
	if m := z.Lookup(q, &h); m.Kind == zones.Exact || m.Kind == zones.Wildcard {
		return v.Service(m)
	}
	return nil
}

// ServiceCount gives how many services the view serves.
func (v *View) ServiceCount() int { return v.Serving }

// ServiceCounts gives the counters of the services that ask for series.
func (v *View) ServiceCounts() []*ServiceCounts { return v.Counted }

// FillTables writes down the tables of sticky draws that the view is among the first to have: it answers the same before, but more
// slowly. What it shares with the view before that was filled (nil: there is none) it leaves out: looking through all draws would
// drive from the caches what queries need. It ends early with ctx.
func (v *View) FillTables(ctx context.Context, before *View) {
	var known chunks.List[Node]
	if before != nil {
		known = before.Nodes
	}
	for n := range v.Nodes.Since(&known) {
		if n.Draw != nil && !n.Draw.FillTables(ctx) {
			return
		}
	}
}
