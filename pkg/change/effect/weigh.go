package effect

import (
	"fmt"
	"math"
	"time"

	"github.com/gti/gtm/pkg/demand"
	"github.com/gti/gtm/pkg/spec"
)

// leastSamples is of how many queries the countries are to be known before they weigh: of a country from which half of them come, the share
// is right to 7 points then, 19 times out of 20.
const leastSamples = 200

// By is by what the clients of a service are weighed.
type By int

// By its own queries, by those of all services of its tenant, or by Internet users.
const (
	ByUsers By = iota
	ByTenant
	ByService
)

var byNames = [...]string{ByUsers: "users", ByTenant: "tenant", ByService: "service"}

func (b By) String() string { return byNames[b] }

// Weighing tells by what the clients of a service are weighed; of queries also how many, at how many edges, and when the last of these
// told so.
type Weighing struct {
	By               By
	Queries, Samples float64
	Edges            int
	Newest           time.Time

	of []float64 // the part of each sample
}

// Enough reports whether there are enough samples to weigh clients by them.
func Enough(t *demand.Total) bool { return t != nil && known(t) >= leastSamples }

// known gives of how many samples the country is known.
func known(t *demand.Total) float64 {
	if t.Queries <= 0 {
		return 0
	}
	return t.Samples * (1 - t.Of(0)/t.Queries)
}

// weighing gives by what a service is weighed: its own queries where there are enough, or else its tenant's. Those of other tenants would
// tell of these, and say little of its own clients.
func (m *measure) weighing(k spec.Key) *Weighing {
	if w := m.weigh(ByService, m.seen.Service(k.Tenant, k.Name)); w != nil {
		return w
	}
	w, ok := m.ofTenants[k.Tenant]
	if !ok {
		if w = m.weigh(ByTenant, m.seen.Tenant(k.Tenant)); w == nil {
			w = m.byUsers
		}
		m.ofTenants[k.Tenant] = w
	}
	return w
}

// weigh gives the part of each sample in some queries; nil: there are too few.
func (m *measure) weigh(by By, t *demand.Total) *Weighing {
	if !Enough(t) {
		return nil
	}
	w := &Weighing{By: by, Queries: t.Queries, Samples: t.Samples, Edges: t.Edges, Newest: t.Newest,
		of: make([]float64, len(m.world.samples))}
	sum := 0.0
	for i := range m.world.samples {
		w.of[i] = t.Of(demand.CountryOf(m.world.samples[i].country))
		sum += w.of[i]
	}
	if sum <= 0 {
		return nil // of countries that this geography does not have
	}
	for i := range w.of {
		w.of[i] /= sum
	}
	return w
}

// Largest is the part of the answers that moves, by whatever more of them does: by what clients are weighed by, or by Internet users.
// Guards go by it, so that queries which somebody makes up let nothing pass that would not pass without them.
func (s *Service) Largest() float64 { return math.Max(s.Moved, s.ByUsers) }

// Tenant is what a change does to the answers of all services of a tenant, as far as their queries are counted by service.
type Tenant struct {
	Name    string
	Queries float64 // of about a day
	Moved   float64 // the part of them that comes from another pool than before, or not at all
}

// tenants sums up what moves, of tenants of which enough queries were seen.
func (e *Effect) tenants(seen *demand.Sum) (list []Tenant) {
	at := map[string]int{}
	for i := range e.all {
		s := &e.all[i]
		all, own := seen.Tenant(s.Key.Tenant), seen.Service(s.Key.Tenant, s.Key.Name)
		if !Enough(all) {
			continue
		}
		n, ok := at[s.Key.Tenant]
		if !ok {
			n = len(list)
			at[s.Key.Tenant] = n
			list = append(list, Tenant{Name: s.Key.Tenant, Queries: all.Queries})
		}
		if own != nil {
			list[n].Moved += s.Moved * min(own.Queries/all.Queries, 1)
		}
	}
	return list
}

// about says by what clients are weighed.
func (e *Effect) about(w *World) string {
	by := UsersSource
	for i := range e.all {
		if e.all[i].Weighing.By != ByUsers {
			by = fmt.Sprintf("the queries that edges saw, where %d of them were sampled, and else by %s", leastSamples, UsersSource)
			break
		}
	}
	return w.about + ", weighed by " + by
}
