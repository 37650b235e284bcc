package latency

import (
	"bufio"
	"encoding/binary"
	"errors"
	"io"
	"sort"
	"time"

	"github.com/gti/gtm/pkg/geo"
)

// tree is the search tree of an MMDB file.
type tree struct {
	nodes [][2]uint32 // records
	four  []network   // those of IPv4
}

// What a record is: the index of a node, or (dataBit) where data stands, or nothing.
const (
	dataBit = 1 << 31
	nothing = 1<<32 - 1
)

var errTooLarge = errors.New("there are too many networks, or too many that differ, for one file")

// newTree makes the tree of networks, sorted by address and length.
func newTree(networks []network) *tree {
	four := sort.Search(len(networks), func(i int) bool { return networks[i].hi != 0 || networks[i].lo>>32 != 0 })
	first := 0
	for first < four && networks[first].bits < 96 { // of IPv6, from its first address on
		first++
	}
	t := &tree{four: networks[first:four]}
	six := append(append([]network(nil), networks[:first]...), networks[four:]...)
	t.descend(six, 0, true, nothing)
	return t
}

// descend makes what hangs from a prefix of depth bits, which holds the networks; zero: it is that of address zero, where IPv4 hangs.
// around is the record of the networks around it.
func (t *tree) descend(networks []network, depth int, zero bool, around uint32) (record uint32) {
	if zero && depth == 96 {
		networks, zero, around = t.four, false, nothing
	}
	if len(networks) > 0 && int(networks[0].bits) == depth {
		around, networks = networks[0].record|dataBit, networks[1:]
	}
	if len(networks) == 0 && !zero {
		return around
	}
	middle := sort.Search(len(networks), func(i int) bool { return networks[i].bit(depth) })
	at := len(t.nodes)
	t.nodes = append(t.nodes, [2]uint32{})
	left := t.descend(networks[:middle], depth+1, zero, around)
	right := t.descend(networks[middle:], depth+1, false, around)
	if left == right && len(t.nodes) == at+1 && at > 0 { // the same throughout
		t.nodes = t.nodes[:at]
		return left
	}
	t.nodes[at] = [2]uint32{left, right}
	return uint32(at)
}

// bit reports whether a bit of the first address is set.
func (p *prefix) bit(i int) bool {
	if i < 64 {
		return p.hi>>(63-i)&1 != 0
	}
	return p.lo>>(127-i)&1 != 0
}

const separator = 16 // zero bytes between tree and data

// write writes the file.
func (t *table) write(w io.Writer, networks []network, measured time.Time) error {
	tree := newTree(networks)
	nodes := uint64(len(tree.nodes))
	most := nodes + separator + uint64(len(t.data)) // for a record
	if nodes >= dataBit || len(t.data) >= dataBit || most >= 1<<32 {
		return errTooLarge
	}
	bits := 32
	switch {
	case most < 1<<24:
		bits = 24
	case most < 1<<28:
		bits = 28
	}
	out := bufio.NewWriterSize(w, 1<<16)
	var buf [8]byte
	for _, n := range tree.nodes {
		_, _ = out.Write(appendNode(buf[:0], bits, recordOf(n[0], uint32(nodes)), recordOf(n[1], uint32(nodes)))) // Flush gives the error
	}
	_, _ = out.Write(make([]byte, separator))
	_, _ = out.Write(t.data)
	_, _ = out.Write(appendMetadata(nil, uint32(nodes), bits, measured))
	return out.Flush()
}

// recordOf gives a record as it stands in a file of so many nodes.
func recordOf(record, nodes uint32) uint32 {
	switch {
	case record == nothing:
		return nodes
	case record&dataBit != 0:
		return record&^dataBit + nodes + separator
	}
	return record
}

// appendNode appends two records of 24, 28 or 32 bits.
func appendNode(b []byte, bits int, left, right uint32) []byte {
	switch bits {
	case 24:
		return append(b, byte(left>>16), byte(left>>8), byte(left), byte(right>>16), byte(right>>8), byte(right))
	case 28:
		return append(b, byte(left>>16), byte(left>>8), byte(left), byte(left>>20&0xf0|right>>24),
			byte(right>>16), byte(right>>8), byte(right))
	}
	return binary.BigEndian.AppendUint32(binary.BigEndian.AppendUint32(b, left), right)
}

func appendMetadata(b []byte, nodes uint32, bits int, measured time.Time) []byte {
	b = append(b, "\xAB\xCD\xEFMaxMind.com"...)
	b = appendHead(b, kindMap, 9)
	b = appendNumber(appendString(b, "binary_format_major_version"), kindUint16, 2)
	b = appendNumber(appendString(b, "binary_format_minor_version"), kindUint16, 0)
	b = append(appendString(b, "build_epoch"), kindExtended|8, extendedUint64)
	b = binary.BigEndian.AppendUint64(b, uint64(measured.Unix()))
	b = appendString(appendString(b, "database_type"), geo.LatencyType)
	b = appendHead(appendString(b, "description"), kindMap, 1)
	b = appendString(appendString(b, "en"), "Latency of sites by network, for gtmd --latency")
	b = appendNumber(appendString(b, "ip_version"), kindUint16, 6)
	b = append(appendString(b, "languages"), kindExtended, extendedArray)
	b = appendNumber(appendString(b, "node_count"), kindUint32, nodes)
	return appendNumber(appendString(b, "record_size"), kindUint16, uint32(bits))
}
