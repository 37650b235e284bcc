//go:build interop

package differential

import (
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/miekg/dns"
)

// oddLabels are what an apex may be made of that no host name is: asterisks, escapes, bytes of all kinds, and the shortest and longest.
var oddLabels = []string{"*", "*", `\*`, `\*\*`, `\000`, `\.`, `x\.y`, `\\`, `\032`, `a\032b`, `\"`, `\;`, `\@`,
	`\$`, `\(`, `\)`, `\010`, `\009`, `\127`,
	`\255`, `\255\000`, "_", "-", "0", "a", "B", "0-31", "1/2", `\035`, strings.Repeat("l", 63), strings.Repeat(`\200`, 63)}

// newOddCluster is newCluster for zones whose apexes are odd: one label or more, one apex below another, and up to 255 bytes long.
func newOddCluster(seed uint64, perZone int) *cluster {
	g := &generator{Rand: rand.New(rand.NewPCG(seed, 4)), owners: map[string][]string{}}
	g.top = "o" + strconv.FormatUint(seed, 36) + "."
	g.odd = g.chance(30)
	apexes := []string{""}
	for range 4 {
		above := ""
		if g.chance(40) {
			above = pick(g, apexes)
		}
		apex := strings.TrimSuffix(g.under(pick(g, oddLabels), above+g.top), g.top)
		if g.chance(30) {
			apex = strings.TrimSuffix(g.under("a", apex+g.top), g.top) // the odd one is inside
		}
		if g.chance(5) {
			apex = strings.TrimSuffix(g.long(apex+g.top), g.top)
		}
		// one way of writing, so that one tells by the text which lies below which
		if apex = strings.TrimSuffix(inConfig(key(apex+g.top)), g.top); !slices.Contains(apexes, apex) {
			apexes = append(apexes, apex)
			g.odd = g.odd || strings.HasPrefix(apex, "*.") // delegated at a wildcard, or not at all
		}
	}
	return g.cluster(seed, perZone, apexes)
}

// oddBatches is how many starts of the servers there are, each with batch clusters.
const oddBatches = 2

// A zone's apex may be any name (RFC 2181, 11; RFC 4592, 4.2): zones below asterisks, bytes that need escapes, and at names of any
// length were refused once, and are answered as knotd and NSD do.
func TestOddApexesAreAnswered(t *testing.T) {
	seeds := rand.New(rand.NewPCG(usualSeed, 2))
	done := 0
	for range oddBatches {
		var clusters []*cluster
		for range batch {
			clusters = append(clusters, newOddCluster(seeds.Uint64(), perZone))
		}
		done += runBatch(t, clusters)
	}
	t.Logf("%d cases", done)
}

// TestOddApexesAreOdd guards the generator: what it is for must come.
func TestOddApexesAreOdd(t *testing.T) {
	seeds := rand.New(rand.NewPCG(usualSeed, 2))
	first, inside, longest, one, most := 0, 0, 0, 0, 0
	bytesSeen := map[byte]bool{}
	for range batch * oddBatches {
		for _, z := range newOddCluster(seeds.Uint64(), 0).zones {
			if strings.HasPrefix(z.origin, "*.") {
				first++
			} else if strings.Contains(z.origin, ".*.") {
				inside++
			}
			if wireLen(z.origin) == 255 {
				longest++
			}
			var wire [256]byte
			n, err := dns.PackDomainName(z.origin, wire[:], 0, nil, false)
			if err != nil {
				t.Fatalf("%s: %v", z.origin, err)
			}
			for at := 0; wire[at] != 0; at += 1 + int(wire[at]) {
				if wire[at] == 1 {
					one++
				}
				if wire[at] == 63 {
					most++
				}
			}
			for _, c := range wire[:n] {
				bytesSeen[c] = true
			}
		}
	}
	if first < 20 || inside < 20 || longest < 3 || one < 20 || most < 20 {
		t.Errorf("asterisks first %d and inside %d, of 255 bytes %d, labels of 1 byte %d, of 63 bytes %d", first, inside,
			longest, one, most)
	}
	for _, c := range []byte("\x00.\\ \";@\xff$()\n\t\x7f*") {
		if !bytesSeen[c] {
			t.Errorf("no apex has the byte %q", c)
		}
	}
}
