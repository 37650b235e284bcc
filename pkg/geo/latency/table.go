package latency

import (
	"crypto/sha256"
	"encoding/binary"
)

// table makes the data of an MMDB file (https://maxmind.github.io/MaxMind-DB/). Why not mmdbwriter: docs/decisions/0147.
type table struct {
	sites   []string
	data    []byte              // records one behind the other; a name or value that stands in one already is pointed to
	records map[[16]byte]uint32 // where a record stands, by the hash of its rows
	names   []uint32            // where the name of a site stands, and one more; 0: nowhere yet
	values  map[value]uint32    // where the numbers of a site stand
	key     []byte              // of the record that is made
}

// value is the numbers of a site.
type value struct{ ms, samples uint32 }

// The types of fields, as in the upper three bits of their first byte. Extended ones are told by the next byte.
const (
	kindPointer  = 1 << 5
	kindString   = 2 << 5
	kindUint16   = 5 << 5
	kindUint32   = 6 << 5
	kindMap      = 7 << 5
	kindExtended = 0

	extendedUint64 = 9 - 7
	extendedArray  = 11 - 7
)

func newTable(sites []string) *table {
	return &table{sites: sites, records: map[[16]byte]uint32{}, names: make([]uint32, len(sites)), values: map[value]uint32{}}
}

// record gives where the data of a network stands.
func (t *table) record(rows []row) uint32 {
	t.key = t.key[:0]
	for _, r := range rows {
		t.key = binary.BigEndian.AppendUint16(t.key, r.site)
		t.key = binary.BigEndian.AppendUint32(t.key, uint32(r.ms))
		t.key = binary.BigEndian.AppendUint32(t.key, uint32(r.samples))
	}
	sum := sha256.Sum256(t.key)
	key := [16]byte(sum[:])
	if at, ok := t.records[key]; ok {
		return at
	}
	at := uint32(len(t.data))
	t.records[key] = at
	t.data = appendHead(t.data, kindMap, len(rows))
	for _, r := range rows {
		if name := t.names[r.site]; name != 0 {
			t.data = appendPointer(t.data, name-1)
		} else {
			t.names[r.site] = uint32(len(t.data)) + 1
			t.data = appendString(t.data, t.sites[r.site])
		}
		v := value{uint32(r.ms), uint32(r.samples)}
		if at, ok := t.values[v]; ok {
			t.data = appendPointer(t.data, at)
			continue
		}
		t.values[v] = uint32(len(t.data))
		t.data = appendHead(t.data, kindMap, 2)
		t.data = appendNumber(appendString(t.data, "ms"), kindUint32, v.ms)
		t.data = appendNumber(appendString(t.data, "n"), kindUint32, v.samples)
	}
	return at
}

// appendHead appends the first bytes of a field of at most 284 bytes or members.
func appendHead(b []byte, kind byte, size int) []byte {
	if size < 29 {
		return append(b, kind|byte(size))
	}
	return append(b, kind|29, byte(size-29))
}

func appendString(b []byte, s string) []byte { return append(appendHead(b, kindString, len(s)), s...) }

// appendNumber appends a number in as few bytes as it has.
func appendNumber(b []byte, kind byte, n uint32) []byte {
	size := 0
	for m := n; m > 0; m >>= 8 {
		size++
	}
	b = append(b, kind|byte(size))
	for i := size - 1; i >= 0; i-- {
		b = append(b, byte(n>>(8*i)))
	}
	return b
}

// appendPointer appends a pointer to what stands at an offset.
func appendPointer(b []byte, at uint32) []byte {
	switch {
	case at < 2048:
		return append(b, kindPointer|byte(at>>8), byte(at))
	case at < 2048+1<<19:
		at -= 2048
		return append(b, kindPointer|1<<3|byte(at>>16), byte(at>>8), byte(at))
	case at < 2048+1<<19+1<<27:
		at -= 2048 + 1<<19
		return append(b, kindPointer|2<<3|byte(at>>24), byte(at>>16), byte(at>>8), byte(at))
	}
	return binary.BigEndian.AppendUint32(append(b, kindPointer|3<<3), at)
}
