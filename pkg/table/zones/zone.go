// Package zones is zones as answers are read from, and how they are made: of static sets and of the services that stand in them, whole
// or from an old form. It knows no Compiler.
package zones

import (
	"sync/atomic"

	"github.com/gti/gtm/pkg/spec"
	"github.com/gti/gtm/pkg/table/names"
	"github.com/gti/gtm/pkg/table/rr"
)

// Zone is one compiled zone. It is immutable but for its counters.
type Zone struct {
	Name   string // absolute, lower case
	Serial uint32
	Spec   *spec.Zone // as declared; not to be changed
	Day    int64      // since 1970, on which the serial was given
	labels int
	names  names.Table
	nodes  []Node // 0 is the apex
	sets   []set
	extras []setExtra
	data   []byte
	seed   uint64
	pre    *presigned // nil: it brings no signatures
	sigs   *zoneSigs  // nil: not signed
	soa    Set        // for negative answers: TTL is the lesser of the SOA's TTL and its MINIMUM (RFC 2308, 5)
	Counts *ZoneCounts
	// Problems names static sets that are not served because a service stands at their name.
	Problems []string
	// Void tells that the zone is declared and has no content that may be served: it was never copied, has expired, or is broken without
	// an earlier form. All of its names are SERVFAIL, and not what the zone above says of them.
	Void bool
	// What the next form needs to be made from this one: see Remade.
	ordinary bool // as Input.ordinary
	debug    bool // with debugging names
	waste    int  // bytes of data that belonged to sets which have been replaced since
}

// NewVoid makes a zone that has nothing to serve. apex is its name in wire form.
func NewVoid(name, apex string, seed uint64) *Zone {
	return &Zone{Name: name, Void: true, labels: names.NewKey([]byte(apex), seed).Labels, names: names.New(0), seed: seed}
}

// ZoneCounts counts the answers of a zone by RCODE, one row a worker. Each worker writes its own row alone.
type ZoneCounts struct {
	Zone string
	Rows [][16]counter // the last column counts every RCODE above 14
}

type counter = atomic.Uint64

// NewZoneCounts makes counters for a number of workers.
func NewZoneCounts(zone string, rows int) *ZoneCounts {
	return &ZoneCounts{Zone: zone, Rows: make([][16]counter, max(1, rows))}
}

// Node is one name of a zone.
type Node struct {
	first   uint32 // of its sets
	count   uint16
	kind    nodeKind
	labels  uint8
	served  rr.FamilySet // of a steered name: the families that exist
	cut     uint32       // the node at or above which delegates (kindCut) or renames (kindDNAME); 0: none
	wild    uint32       // the node *.name; 0: none
	service uint32       // 1 + place in View.Services; 0: not steered
}

type nodeKind uint8

const (
	plain nodeKind = iota
	whoami
	explain // names below it ask for explanations
)

// set is one RRset: records whose owner points at offset 12.
type set struct {
	typ, count uint16
	off, size  uint32
	extra      uint32 // 1 + place in Zone.extras; 0: none
}

// glueType marks the pseudo set of a delegation that holds the addresses of the name servers in it. Their owners are as those of
// Additional.
const glueType = 0

// apexCut marks names below a DNAME at the apex.
const apexCut = 0xFFFFFFFF
