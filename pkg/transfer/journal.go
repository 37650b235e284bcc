package transfer

import (
	"slices"
	"sync"

	"github.com/gti/gtm/pkg/dnswire"
	"github.com/gti/gtm/pkg/table"
)

// journal keeps what a zone holds now, as secondaries get it, and how it came to be so.
type journal struct {
	mu      sync.Mutex
	current *version
	steps   []step // oldest first; each goes on where the one before ended
}

// version is a zone at one serial. It is immutable.
type version struct {
	zone    *table.Zone
	serial  uint32
	soa     rr
	records []rr // sorted; the SOA record among them
	size    int
	made    map[string]madeSig // nil: the zone is not signed here
}

// step leads from one version to the next.
type step struct {
	from, to   rr // the SOA records
	gone, come []rr
}

func (s *step) serial() uint32 { return soaSerial(s.from.data) }

func (s *step) records() int { return len(s.gone) + len(s.come) }

// Bounds of a journal: so many steps, and fewer records in them than the zone holds, but a few in any case.
const (
	maxSteps   = 100
	minRecords = 1000
)

// at gives the version of a zone as a view holds it.
func (j *journal) at(v *table.View, z *table.Zone) (*version, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	if old := j.current; old != nil && (old.zone == z || newer(old.serial, z.Serial)) {
		return old, nil // newer: an older view than the last one's asks, a moment late
	}
	fresh, err := newVersion(v, z, j.current)
	if err != nil {
		return nil, err
	}
	j.keep(fresh)
	return fresh, nil
}

func newVersion(v *table.View, z *table.Zone, old *version) (*version, error) {
	sets := v.Records(z)
	fresh := &version{zone: z, serial: z.Serial}
	if len(z.Keys()) > 0 {
		var made map[string]madeSig
		if old != nil {
			made = old.made
		}
		var err error
		if sets, fresh.made, err = signZone(z, sets, made); err != nil {
			return nil, err
		}
	}
	fresh.records = flatten(sets)
	slices.SortFunc(fresh.records, func(a, b rr) int { return a.compare(&b) })
	for i := range fresh.records {
		r := &fresh.records[i]
		fresh.size += r.size()
		if r.typ == dnswire.TypeSOA {
			fresh.soa = *r
		}
	}
	return fresh, nil
}

// keep makes fresh the current version, and forgets what is too old or too much.
func (j *journal) keep(fresh *version) {
	old := j.current
	j.current = fresh
	if old == nil || old.serial == fresh.serial {
		if old != nil && !slices.EqualFunc(old.records, fresh.records, func(a, b rr) bool { return a.compare(&b) == 0 }) {
			j.steps = nil // the same serial for something else: no step leads on from what others may have
		}
		return
	}
	gone, come := diff(old.records, fresh.records)
	j.steps = append(j.steps, step{old.soa, fresh.soa, gone, come})
	total := 0
	for i := len(j.steps) - 1; i >= 0; i-- {
		if total += j.steps[i].records(); len(j.steps)-i > maxSteps || total > max(minRecords, len(fresh.records)) {
			j.steps = slices.Clone(j.steps[i+1:])
			break
		}
	}
}

// since gives the steps that lead from a serial to the present; nil: they are not known, or more than the zone itself.
func (j *journal) since(serial uint32, to *version) []step {
	j.mu.Lock()
	defer j.mu.Unlock()
	if to != j.current {
		return nil
	}
	for i := range j.steps {
		if j.steps[i].serial() != serial {
			continue
		}
		size := 0
		for k := range j.steps[i:] {
			for _, r := range slices.Concat(j.steps[i+k].gone, j.steps[i+k].come) {
				size += r.size()
			}
		}
		if size > to.size {
			return nil
		}
		return slices.Clone(j.steps[i:])
	}
	return nil
}

// soaSerial reads the serial of an SOA record's RDATA.
func soaSerial(data []byte) uint32 {
	at := data[len(data)-20:]
	return uint32(at[0])<<24 | uint32(at[1])<<16 | uint32(at[2])<<8 | uint32(at[3])
}
