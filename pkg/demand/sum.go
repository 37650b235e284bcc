package demand

import (
	"cmp"
	"maps"
	"slices"
	"time"
)

// Word is what an edge counted, in the form of Encode, as of when it said so.
type Word struct {
	Edge string
	At   time.Time
	Data []byte
}

// allCountries is more than there are codes.
const allCountries = 26*26 + 1

// mostSummed is how many services a Sum has; a quarter may be one tenant's.
const mostSummed = 4 * MostServices

// Sum is what all edges counted. It is immutable, and nil is an empty one.
type Sum struct {
	tenants  map[string]*sumOf
	services int
}

type sumOf struct {
	all      Total
	services map[string]*Total
}

// Total is what edges counted of one thing.
type Total struct {
	Counts
	Edges  int       // that counted any of it
	Newest time.Time // when the last of them said so
	edge   string    // that was added last
}

// Add sums up words as of now. Bytes that cannot be read count for nothing.
func Add(now time.Time, words []Word) *Sum {
	s := &Sum{tenants: map[string]*sumOf{}}
	for _, w := range slices.SortedStableFunc(slices.Values(words), func(a, b Word) int { return cmp.Compare(a.Edge, b.Edge) }) {
		if Check(w.Data) != nil {
			continue
		}
		_ = visit(w.Data, func(tenant, service string, c *Counts) {
			if to := s.total(tenant, service); to != nil {
				to.add(&w, c, worth(now.Sub(w.At)))
			}
		})
	}
	return s
}

// total gives where something is added up; nil: there is no room.
func (s *Sum) total(tenant, service string) *Total {
	t := s.tenants[tenant]
	if t == nil {
		if len(s.tenants) >= 4*MostTenants {
			return nil
		}
		t = &sumOf{services: map[string]*Total{}}
		s.tenants[tenant] = t
	}
	if service == "" {
		return &t.all
	}
	of := t.services[service]
	if of == nil && s.services < mostSummed && len(t.services) < mostSummed/4 {
		of = &Total{}
		t.services[service] = of
		s.services++
	}
	return of
}

func (t *Total) add(w *Word, c *Counts, worth float64) {
	t.join(c, worth, allCountries)
	if t.edge != w.Edge {
		t.edge = w.Edge
		t.Edges++
	}
	if w.At.After(t.Newest) {
		t.Newest = w.At
	}
}

// Service gives what was asked for a service; nil: nothing is known.
func (s *Sum) Service(tenant, name string) *Total {
	if s == nil || s.tenants[tenant] == nil {
		return nil
	}
	return s.tenants[tenant].services[name]
}

// Tenant gives what was asked for all services of a tenant; nil: nothing is known.
func (s *Sum) Tenant(name string) *Total {
	if s == nil || s.tenants[name] == nil {
		return nil
	}
	return &s.tenants[name].all
}

// Tenants lists those of which something is known, by name.
func (s *Sum) Tenants() []string {
	if s == nil {
		return nil
	}
	return slices.Sorted(maps.Keys(s.tenants))
}

// ServicesOf lists the services of a tenant of which something is known, most queries first.
func (s *Sum) ServicesOf(tenant string) []string {
	if s == nil || s.tenants[tenant] == nil {
		return nil
	}
	of := s.tenants[tenant].services
	return slices.SortedFunc(maps.Keys(of), func(a, b string) int {
		return cmp.Or(cmp.Compare(of[b].Queries, of[a].Queries), cmp.Compare(a, b))
	})
}
