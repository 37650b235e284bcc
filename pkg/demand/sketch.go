package demand

import (
	"maps"
	"time"
)

// Bounds of a Sketch. All in all it takes some 18 MB at most; a quarter of its services may be one tenant's.
const (
	MostServices = 16_384
	MostOfTenant = MostServices / 4
	MostTenants  = 1024
)

// faint is so few samples that a service leaves the sketch: what one sample is worth after two days and a third.
const faint = 0.1

// Sketch counts queries by tenant, service and country. A service for which there is no room counts with its tenant alone; a tenant for
// which there is none, not at all. It is not safe for concurrent use.
type Sketch struct {
	at       time.Time // as of when its counts are
	services int
	tenants  map[string]*ofTenant
}

type ofTenant struct {
	all      Counts
	services map[string]*Counts
}

// NewSketch makes an empty one.
func NewSketch(now time.Time) *Sketch { return &Sketch{at: now, tenants: map[string]*ofTenant{}} }

// Services gives how many services it counts by themselves.
func (s *Sketch) Services() int { return s.services }

// Add counts a sample, which stands for so many queries.
func (s *Sketch) Add(tenant, service string, country Country, queries float64) {
	t := s.tenant(tenant)
	if t == nil {
		return
	}
	t.all.add(country, queries, MostCountries)
	t.all.Samples++
	if c := s.service(t, service); c != nil {
		c.add(country, queries, MostCountries)
		c.Samples++
	}
}

// tenant gives what is counted of a tenant; nil: there is no room.
func (s *Sketch) tenant(name string) *ofTenant {
	t := s.tenants[name]
	if t == nil && len(s.tenants) < MostTenants {
		t = &ofTenant{services: map[string]*Counts{}}
		s.tenants[name] = t
	}
	return t
}

// service gives what is counted of a service; nil: there is no room.
func (s *Sketch) service(t *ofTenant, name string) *Counts {
	c := t.services[name]
	if c == nil && s.services < MostServices && len(t.services) < MostOfTenant {
		c = &Counts{}
		t.services[name] = c
		s.services++
	}
	return c
}

// Age has it be as of now. What is hardly there any more leaves.
func (s *Sketch) Age(now time.Time) {
	if !now.After(s.at) {
		return
	}
	worth := worth(now.Sub(s.at))
	s.at = now
	for name, t := range s.tenants {
		t.all.age(worth)
		maps.DeleteFunc(t.services, func(_ string, c *Counts) bool {
			c.age(worth)
			if c.Samples >= faint {
				return false
			}
			s.services--
			return true
		})
		if t.all.Samples < faint && len(t.services) == 0 {
			delete(s.tenants, name)
		}
	}
}

// join adds what was counted elsewhere.
func (c *Counts) join(other *Counts, worth float64, most int) {
	for _, each := range other.cells {
		c.add(each.country, each.queries*worth, most)
	}
	c.Samples += other.Samples * worth
}
