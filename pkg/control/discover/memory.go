package discover

import (
	"net/netip"
	"slices"
	"time"

	"github.com/gti/gtm/pkg/spec"
)

// surely is how many looks in a row must miss an address before it leaves with more than half of the list.
const surely = 3

// memory is what is known of a source between looks.
type memory struct {
	is     spec.Found
	good   time.Time          // the last good look; zero: none since this control was elected
	missed map[netip.Addr]int // how many looks in a row did not have it
}

// outcome is what one look gave.
type outcome struct {
	list  []spec.FoundEndpoint // sorted
	notes string
	ttl   time.Duration // 0: the list has none
	empty bool          // err says that there are no endpoints, and not that it cannot be known
	err   error
}

// take takes in what a look gave: what is new is taken at once, and what is missing leaves at once as long as that is at most half of the
// list. Where it is more, each leaves when so many looks in a row missed it. A look that failed changes no list, nor whose it is.
func (m *memory) take(s *spec.Source, o *outcome, told string, now time.Time) {
	now = now.UTC().Truncate(time.Second)
	if o.err != nil && !(o.empty && s.Empty == spec.EmptyTake) {
		if m.is.Failed.IsZero() {
			m.is.Failed = now
			if !m.good.IsZero() {
				m.is.Good = m.good
			}
		}
		m.is.Error = told
		return
	}
	list := o.list
	if m.is.Of == s.Of() {
		list = m.keep(s, o.list)
	} else {
		m.missed = nil // it is another question: somebody declared that
	}
	if !slices.EqualFunc(list, m.is.Endpoints, spec.FoundEndpoint.Equal) || m.is.Since.IsZero() {
		m.is.Endpoints, m.is.Since, m.is.Good = list, now, now
	}
	if !m.is.Failed.IsZero() {
		m.is.Good = now
	}
	m.is.By, m.is.Expires = "", time.Time{} // it may have been pushed before
	m.good = now
	m.is.Of, m.is.Leaving, m.is.Notes, m.is.Failed, m.is.Error = s.Of(), len(m.missed), o.notes, time.Time{}, ""
}

// keep adds to a list what is missing from it and has not surely left. There are never more than the source may have: those that were
// missed most often leave first then.
func (m *memory) keep(s *spec.Source, list []spec.FoundEndpoint) []spec.FoundEndpoint {
	has := make(map[netip.Addr]bool, len(list))
	for i := range list {
		has[list[i].Address] = true
	}
	var missing []spec.FoundEndpoint
	missed, fresh, stood := map[netip.Addr]int{}, 0, 0
	for _, e := range m.is.Endpoints {
		before := m.missed[e.Address]
		if before == 0 {
			stood++
		}
		if has[e.Address] || !s.Has(e.Address) {
			continue
		}
		if missed[e.Address] = before + 1; before == 0 {
			fresh++
		}
		missing = append(missing, e)
	}
	m.missed = missed
	few := 2*fresh <= stood
	slices.SortStableFunc(missing, func(a, b spec.FoundEndpoint) int { return missed[a.Address] - missed[b.Address] })
	out := slices.Clone(list)
	for _, e := range missing {
		if n := missed[e.Address]; n < surely && (n > 1 || !few) && len(out) < s.Most {
			out = append(out, e)
		} else {
			delete(missed, e.Address)
		}
	}
	slices.SortFunc(out, spec.CompareFound)
	return out
}
