//go:build interop

package differential

import (
	"fmt"
	"math/rand/v2"
	"strconv"
	"strings"

	"github.com/miekg/dns"
)

// A cluster is a few zones that refer to one another, and questions about them. It is a function of its seed, and
// its names lie below a name of its own, so that many clusters fit one server.
type cluster struct {
	seed      uint64
	odd       bool // see generator
	zones     []*masterFile
	questions []question
}

// masterFile is one zone as text.
type masterFile struct {
	origin string
	text   string
}

type question struct {
	name         string
	typ, class   uint16
	wanted, edns bool // RD; an OPT record with DO
}

func (q question) String() string {
	return fmt.Sprintf("%s %s %s rd=%v edns=%v", q.name, dns.Class(q.class), dns.Type(q.typ), q.wanted, q.edns)
}

// generator makes one cluster.
type generator struct {
	*rand.Rand
	top string
	// odd clusters have delegations at wildcards, and zones with names that lie in another zone of the cluster. There
	// knotd and nsd differ much, and each from the RFCs, so that less can be said.
	odd     bool
	origins []string
	owners  map[string][]string // by origin
	all     []string
}

// The labels that names are made of: few, so that names meet.
var labels = []string{"a", "a", "b", "b", "c", "*", "*", "B", "d", "_x", `\000`, `x\.y`, `\*`, `\255\032`,
	strings.Repeat("l", 63), "0", "-"}

// plainApexes are those of zones, below the cluster's name.
var plainApexes = []string{"", "a.", "b.a.", "d.", strings.Repeat("l", 63) + ".", "c.b.a."}

func newCluster(seed uint64, perZone int) *cluster {
	g := &generator{Rand: rand.New(rand.NewPCG(seed, 3)), owners: map[string][]string{}}
	g.top = "c" + strconv.FormatUint(seed, 36) + "."
	g.odd = g.chance(15)
	return g.cluster(seed, perZone, plainApexes)
}

// cluster makes zones at some of the apexes.
func (g *generator) cluster(seed uint64, perZone int, apexes []string) *cluster {
	for _, prefix := range apexes {
		if g.chance(45) {
			g.origins = append(g.origins, prefix+g.top)
		}
	}
	if len(g.origins) == 0 {
		g.origins = []string{g.top}
	}
	for _, origin := range g.origins {
		for range 2 + g.IntN(9) {
			g.owners[origin] = append(g.owners[origin], g.owner(origin))
		}
		g.all = append(append(g.all, origin), g.owners[origin]...)
	}
	c := &cluster{seed: seed, odd: g.odd}
	for _, origin := range g.origins {
		z := &zoneWriter{generator: g, origin: origin, types: map[string][]uint16{}}
		c.zones = append(c.zones, &masterFile{origin, z.write()})
	}
	for _, origin := range g.origins {
		for range perZone {
			c.questions = append(c.questions, g.question(origin))
		}
	}
	return c
}

func (g *generator) chance(percent int) bool { return g.IntN(100) < percent }

func pick[T any](g *generator, from []T) T { return from[g.IntN(len(from))] }

// owner gives a name at or below a zone's apex.
func (g *generator) owner(origin string) string {
	below := origin
	if have := g.owners[origin]; len(have) > 0 && g.chance(45) {
		below = pick(g, have)
	}
	switch n := g.IntN(100); {
	case n < 5:
		return origin
	case n < 9:
		return g.long(below)
	}
	name := below
	for range 1 + g.IntN(2) + g.IntN(2) {
		name = g.under(pick(g, labels), name)
	}
	return name
}

// under puts a label before a name if there is room.
func (g *generator) under(label, name string) string {
	longer := label + "." + name
	if wireLen(longer) > 255 {
		return name
	}
	return longer
}

// long gives a name of nearly or exactly 255 bytes.
func (g *generator) long(below string) string {
	for room := 255 - wireLen(below); room > 1; room = 255 - wireLen(below) {
		below = strings.Repeat("y", min(63, room-1, 20+g.IntN(44))) + "." + below
		if g.chance(10) {
			break
		}
	}
	return below
}

func wireLen(name string) int {
	var buf [1024]byte
	n, err := dns.PackDomainName(name, buf[:], 0, nil, false)
	if err != nil {
		return 1000
	}
	return n
}

// target gives a name for RDATA.
func (g *generator) target() string {
	switch n := g.IntN(100); {
	case n < 55:
		return pick(g, g.all)
	case n < 68:
		return g.under(pick(g, labels), pick(g, g.all))
	case n < 88:
		return g.owner(pick(g, g.origins))
	case n < 90:
		return "."
	case n < 92:
		return g.long(pick(g, g.origins))
	}
	return "outside.example."
}

// question asks for something in or near a zone.
func (g *generator) question(origin string) question {
	name := pick(g, g.all)
	if g.chance(70) {
		name = pick(g, append(g.owners[origin], origin))
	}
	switch n := g.IntN(100); {
	case n < 40:
	case n < 65:
		for range 1 + g.IntN(3) {
			name = g.under(pick(g, labels), name)
		}
	case n < 80:
		if i, end := dns.NextLabel(name, 0); !end {
			name = name[i:]
		}
	case n < 90:
		if i, end := dns.NextLabel(name, 0); !end {
			name = g.under(pick(g, labels), name[i:])
		}
	case n < 94:
		name = g.long(name)
	default:
		name = g.owner(origin)
	}
	if g.chance(5) {
		name = flipCase(g, name)
	}
	return question{name: name, typ: g.queryType(), class: g.queryClass(), wanted: g.chance(10), edns: g.chance(30)}
}

func flipCase(g *generator, name string) string {
	b := []byte(name)
	for i, c := range b {
		if ('a' <= c && c <= 'z' || 'A' <= c && c <= 'Z') && g.chance(50) {
			b[i] = c ^ 0x20
		}
	}
	return string(b)
}

// Not NSEC and NSEC3: both servers make exceptions for them where a wildcard stands, even in zones that are not signed.
var oddTypes = []uint16{0, 3, 10, 41, 46, 51, 55, 99, 128, 249, 250, 253, 254, 256, 65280, 65535}

func (g *generator) queryType() uint16 {
	switch n := g.IntN(100); {
	case n < 35:
		return dns.TypeA
	case n < 75:
		return pick(g, dataTypes)
	case n < 80:
		return dns.TypeCNAME
	case n < 84:
		return dns.TypeNS
	case n < 89:
		return dns.TypeDS
	case n < 92:
		return dns.TypeANY
	case n < 94:
		return dns.TypeSOA
	case n < 96:
		return dns.TypeDNAME
	}
	return pick(g, oddTypes)
}

func (g *generator) queryClass() uint16 {
	if g.chance(97) {
		return dns.ClassINET
	}
	return pick(g, []uint16{0, 2, 3, 4, 254, 255, 77, 65535})
}
