package demand

import (
	"cmp"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"slices"
	"time"
)

// MostBytes is how long an encoded sketch is at most.
const MostBytes = 1 << 20

// format is the first byte of what Encode writes. What follows are entries, each of them
//
//	a length and the name of the tenant, a length and the name of the service (none: all of the tenant's)
//	queries, samples in sixteenths, and how many countries follow: two letters (or zeros) and their queries each
//
// with numbers as of encoding/binary's Uvarint.
const format = 1

// mostQueries is more than an edge answers in a day: who says so is not believed.
const mostQueries = 1 << 45

// Encode gives the sketch's bytes: tenants, and then services, those with most queries first, as far as there is room. What it counts
// stays as it is.
func (s *Sketch) Encode() []byte { return s.encode(MostBytes) }

// encode gives so many bytes at most.
func (s *Sketch) encode(most int) []byte {
	type entry struct {
		tenant, service string
		counts          *Counts
	}
	var entries []entry
	for tenant, t := range s.tenants {
		entries = append(entries, entry{tenant, "", &t.all})
		for service, c := range t.services {
			entries = append(entries, entry{tenant, service, c})
		}
	}
	slices.SortFunc(entries, func(a, b entry) int {
		if whole := a.service == ""; whole != (b.service == "") {
			return map[bool]int{true: -1, false: 1}[whole]
		}
		return cmp.Or(cmp.Compare(b.counts.Queries, a.counts.Queries), cmp.Compare(a.tenant, b.tenant), cmp.Compare(a.service, b.service))
	})
	out := []byte{format}
	for i := range entries {
		e := &entries[i]
		longer := appendEntry(out, e.tenant, e.service, e.counts)
		if len(longer) > most {
			break
		}
		out = longer
	}
	return out
}

func appendEntry(b []byte, tenant, service string, c *Counts) []byte {
	b = append(binary.AppendUvarint(b, uint64(len(tenant))), tenant...)
	b = append(binary.AppendUvarint(b, uint64(len(service))), service...)
	b = binary.AppendUvarint(b, whole(c.Queries))
	b = binary.AppendUvarint(b, whole(c.Samples*16))
	b = binary.AppendUvarint(b, uint64(len(c.cells)))
	for _, each := range c.cells {
		b = binary.BigEndian.AppendUint16(b, uint16(each.country))
		b = binary.AppendUvarint(b, whole(each.queries))
	}
	return b
}

func whole(n float64) uint64 { return uint64(math.Round(min(max(n, 0), mostQueries))) }

var errFormat = errors.New("these are no counts of queries that this gtmd can read")

// visit reads what Encode wrote, which may be anybody's bytes. What each is given holds until it returns.
func visit(data []byte, each func(tenant, service string, c *Counts)) error {
	if len(data) == 0 || data[0] != format {
		return errFormat
	}
	if len(data) > MostBytes {
		return fmt.Errorf("%w: more than %d bytes", errFormat, MostBytes)
	}
	r := &reader{data: data[1:]}
	var c Counts
	for len(r.data) > 0 && !r.broken {
		tenant, service := r.name(), r.name()
		queries := r.number()
		c = Counts{Samples: float64(r.number()) / 16, cells: c.cells[:0]}
		countries := r.number()
		if countries > MostCountries {
			return errFormat
		}
		for range countries {
			c.add(r.country(), float64(r.number()), MostCountries)
		}
		if r.broken || tenant == "" || queries > mostQueries || c.Queries > mostQueries || c.Samples > mostQueries {
			return errFormat
		}
		each(tenant, service, &c)
	}
	if r.broken {
		return errFormat
	}
	return nil
}

// reader takes things off the front of its data.
type reader struct {
	data   []byte
	broken bool
}

func (r *reader) number() uint64 {
	n, size := binary.Uvarint(r.data)
	if size <= 0 {
		r.broken, r.data = true, nil
		return 0
	}
	r.data = r.data[size:]
	return n
}

// mostName is longer than the name of any tenant or service.
const mostName = 255

func (r *reader) name() string {
	n := r.number()
	if n > mostName || n > uint64(len(r.data)) {
		r.broken, r.data = true, nil
		return ""
	}
	name := string(r.data[:n])
	r.data = r.data[n:]
	return name
}

func (r *reader) country() Country {
	if len(r.data) < 2 {
		r.broken, r.data = true, nil
		return 0
	}
	c := CountryOf(string(r.data[:2]))
	r.data = r.data[2:]
	return c
}

// Check reports whether bytes can be read.
func Check(data []byte) error { return visit(data, func(string, string, *Counts) {}) }

// Fold gives the bytes, so many at most, of a sketch that has what several words had, as of now. Words that cannot be read are left out.
func Fold(now time.Time, most int, words ...Word) []byte {
	s := NewSketch(now)
	for _, w := range words {
		worth := worth(now.Sub(w.At))
		_ = visit(w.Data, func(tenant, service string, c *Counts) {
			t := s.tenant(tenant)
			switch {
			case t == nil:
			case service == "":
				t.all.join(c, worth, MostCountries)
			default:
				if of := s.service(t, service); of != nil {
					of.join(c, worth, MostCountries)
				}
			}
		})
	}
	s.Age(now)
	return s.encode(min(most, MostBytes))
}
