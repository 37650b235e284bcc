package effect

import (
	"slices"
	"time"

	"github.com/gti/gtm/pkg/spec"
	"github.com/gti/gtm/pkg/table/compile"
)

// An override can hide what a change does: what is declared beneath it counts again when it has ended. So both states are also looked at
// as of when overrides of what the change concerns end or begin, and the worse of all moments counts.

// Bounds of the moments beside the one as of which a change is told.
const (
	mostMoments  = 4     // the soonest, and the last
	manyServices = 1_000 // a change that concerns more is looked at as of the last alone
)

// moments gives the moments at which both states are looked at, in order. in.At is one of them.
func moments(in *Input, before, after map[spec.Key]*spec.Resource, services int) []time.Time {
	now := in.At
	if !in.Now.IsZero() && in.Now.Before(now) {
		now = in.Now
	}
	var ends []time.Time
	for _, items := range []map[spec.Key]*spec.Resource{before, after} {
		for _, r := range items {
			o, ok := r.Spec.(*spec.Override)
			if !ok {
				continue
			}
			end, _ := o.Expires.Moment()
			for _, t := range []time.Time{o.At(now).Next, end} {
				if t.After(now) && !t.Equal(in.At) {
					ends = append(ends, t)
				}
			}
		}
	}
	slices.SortFunc(ends, time.Time.Compare)
	ends = slices.CompactFunc(ends, time.Time.Equal)
	most := mostMoments
	if services > manyServices {
		most = 1
	}
	if n := len(ends); n > most {
		ends = append(ends[:most-1:most-1], ends[n-1])
	}
	if now.Before(in.At) {
		ends = append(ends, now)
	}
	ends = append(ends, in.At)
	slices.SortFunc(ends, time.Time.Compare)
	return ends
}

// sight is the services in the state before and in the one after.
type sight [2][]seen

// sights looks at both states at each of some moments, which come in order. A compiler does not go back in time, so it goes back and
// forth between the states.
func sights(c *compile.Compiler, times []time.Time, before, after map[spec.Key]*spec.Resource, services []spec.Key) []sight {
	states, out := [2]map[spec.Key]*spec.Resource{before, after}, make([]sight, len(times))
	side, generation := 0, uint64(1)
	for i, t := range times {
		out[i][side] = look(c, t, states[side], services)
		generation++
		c.Apply(compile.Change{Tenants: difference(states[side], states[1-side], generation)})
		side = 1 - side
		out[i][side] = look(c, t, states[side], services)
	}
	return out
}

// Shift is how far the answers of a service are from what they would be without the change.
type Shift struct {
	// Apart is the part that differs at a moment from what it would be then without the change.
	Apart float64
	// Moved is the part of it that counts as moved. Of a change by hand that is no more than what is then otherwise than it is now: so a
	// drain that is prolonged moves nothing.
	Moved float64
	// Stirs: addresses of its pools have other weights, which moves nothing by itself.
	Stirs bool
}

// note keeps how far a service is from what it would be at a moment, of which moved counts.
func (e *Effect) note(at int, s *Service, moved float64) {
	if s.Largest() > least || s.stirs {
		e.shifts[at][s.Key] = Shift{s.Largest(), moved, s.stirs}
	}
}

// Moments are those at which both states were looked at, in order.
func (e *Effect) Moments() []time.Time { return e.moments }

// Shifts gives for each of Moments the services whose answers are apart then, or stirred.
func (e *Effect) Shifts() []map[spec.Key]Shift { return e.shifts }

// Later gives what is worse at another moment than at At, by the moments in order. The At of each says which moment that is.
func (e *Effect) Later() []Service { return e.later }

// bad is how far a change goes in each respect that guards bound; 0: nothing gets worse.
type bad struct{ moved, capacity, sites float64 }

func (s *Service) bad() bad {
	b := bad{moved: s.Largest()}
	if s.Capacity.After < s.Capacity.Before {
		b.capacity = 1 - s.Capacity.After
	}
	if s.SitesUp[1] < s.SitesUp[0] {
		b.sites = 1 / float64(1+s.SitesUp[1])
	}
	return b
}

// beyond reports whether it goes further than another in any respect.
func (b bad) beyond(o bad) bool {
	return b.moved > o.moved+least || b.capacity > o.capacity+least || b.sites > o.sites
}

func (b bad) with(o bad) bad {
	return bad{max(b.moved, o.moved), max(b.capacity, o.capacity), max(b.sites, o.sites)}
}

// compareMoments fills in what is worse at other moments than main. worst is how bad it is there, by service.
func (m *measure) compareMoments(e *Effect, services []spec.Key, all []sight, main int, worst []bad, byHand bool) {
	for i := range all {
		if i == main {
			continue
		}
		for n, k := range services {
			s := Service{Key: k, At: e.moments[i], before: all[i][0][n], after: all[i][1][n]}
			m.service(&s)
			moved := s.Largest()
			var from *Service
			if byHand && i > 0 && moved > least && !s.Gone { // what it is then, beside what it is now
				from = &Service{Key: k, At: s.At, before: all[0][0][n], after: s.after}
				m.service(from)
				moved = min(moved, from.Largest())
			}
			e.note(i, &s, moved)
			if moved < s.Largest() {
				from.Capacity, from.SitesUp = s.Capacity, s.SitesUp
				s = *from
			}
			if b := s.bad(); b.beyond(worst[n]) {
				worst[n] = worst[n].with(b)
				e.later = append(e.later, s)
			}
		}
	}
}
