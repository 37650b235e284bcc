package steer

import (
	"encoding/binary"
	"math"
	"math/rand/v2"
	"slices"
)

// MaxSets bounds how many sets of several endpoints are made for one pool, so that each can be rendered,
// and later signed, once. A pool of more endpoints has as many sets as endpoints, or some would never be named.
const MaxSets = 64

// Buckets is the length of a sticky table.
const Buckets = 1 << 15

// MaxAnswers is how many items a bucket of a sticky table names at most.
const MaxAnswers = 64

// Item is an endpoint that takes part in a draw.
type Item struct {
	ID     uint64 // stays the same as long as the endpoint keeps its name
	Index  int    // among the pool's candidates
	Weight float64
}

// Choice is the outcome of compiling a draw: sets of items, and how a set is drawn.
type Choice struct {
	Sets    [][]int   // indexes as in Item.Index, in the order in which they are answered
	Weights []float64 // of each set; nil with Table
	Table   *Table    // for sticky: bucket to sets of one item; nil otherwise
}

// All names every item in one set, as declared.
func All(items []Item) Choice {
	set := make([]int, len(items))
	for i, it := range items {
		set[i] = it.Index
	}
	return Choice{Sets: [][]int{set}, Weights: []float64{1}}
}

// Rotated names every item in each set. Each item comes first in one, which is drawn in proportion to its weight; the others follow as
// declared. More than MaxSets items, which fit into no datagram, are All.
func Rotated(items []Item) Choice {
	n := len(items)
	if n > MaxSets {
		return All(items)
	}
	c := Choice{Sets: make([][]int, n), Weights: make([]float64, n)}
	for first, it := range items {
		c.Weights[first] = it.Weight
		for i := range n {
			c.Sets[first] = append(c.Sets[first], items[(first+i)%n].Index)
		}
	}
	return c
}

// Weighted draws n items without putting back, so that each is named in proportion to its weight
// (an item whose share would exceed every answer is in every answer).
//
// With n = 1 each item is a set. Otherwise the sets come from systematic sampling over several shuffled
// orders: within one order the inclusion probabilities are exact, and it gives at most one set per item. Which item of a set comes
// first is chosen so that over all sets each does so in proportion to its weight, as near as they allow.
func Weighted(items []Item, n int) Choice {
	if n >= len(items) && n > 1 {
		return Rotated(items)
	}
	if n <= 1 {
		c := Choice{Sets: singles(items), Weights: make([]float64, len(items))}
		for i, it := range items {
			c.Weights[i] = it.Weight
		}
		return c
	}
	seed := uint64(n)
	for _, it := range items {
		seed = mix(seed ^ it.ID)
	}
	rnd := rand.New(rand.NewPCG(seed, 1))
	share := inclusion(items, n)
	orders := max(1, MaxSets/len(items))
	var c Choice
	order := make([]int, len(items))
	for i := range order {
		order[i] = i
	}
	for range orders {
		rnd.Shuffle(len(order), func(i, j int) { order[i], order[j] = order[j], order[i] })
		systematic(&c, items, share, order, n, 1/float64(orders))
	}
	c.repeat(max(MaxSets, len(items)) / len(c.Sets))
	for _, s := range c.Sets {
		rnd.Shuffle(len(s), func(i, j int) { s[i], s[j] = s[j], s[i] })
	}
	c.putFirst(items)
	return c
}

// repeat makes several sets of each, which differ in who comes first.
func (c *Choice) repeat(times int) {
	for i, n := 0, len(c.Sets); i < n; i++ {
		c.Weights[i] /= float64(times)
		for range times - 1 {
			c.Sets, c.Weights = append(c.Sets, slices.Clone(c.Sets[i])), append(c.Weights, c.Weights[i])
		}
	}
}

// putFirst gives each set a first member. In turn, each takes that which lacks most; looking again finds where others lack more by now.
func (c *Choice) putFirst(items []Item) {
	lacks, total, sum := make(map[int]float64, len(items)), 0.0, 0.0
	for _, it := range items {
		total += it.Weight
	}
	for i, s := range c.Sets {
		lacks[s[0]] -= c.Weights[i]
		sum += c.Weights[i]
	}
	for _, it := range items {
		lacks[it.Index] += it.Weight / total * sum
	}
	for range firstRounds {
		for i, s := range c.Sets {
			lacks[s[0]] += c.Weights[i]
			most := 0
			for at, member := range s {
				if lacks[member] > lacks[s[most]] {
					most = at
				}
			}
			s[0], s[most] = s[most], s[0]
			lacks[s[0]] -= c.Weights[i]
		}
	}
}

// firstRounds is how often putFirst goes through the sets. More rounds bring little.
const firstRounds = 8

// singles gives a set of each item.
func singles(items []Item) [][]int {
	flat, sets := make([]int, len(items)), make([][]int, len(items))
	for i, it := range items {
		flat[i], sets[i] = it.Index, flat[i:i+1:i+1]
	}
	return sets
}

// inclusion gives each item's probability of being among n: proportional to weight, at most 1.
func inclusion(items []Item, n int) []float64 {
	p := make([]float64, len(items))
	sure := make([]bool, len(items))
	left := float64(n)
	for {
		total := 0.0
		for i, it := range items {
			if !sure[i] {
				total += it.Weight
			}
		}
		again := false
		for i, it := range items {
			if sure[i] {
				continue
			}
			if p[i] = left * it.Weight / total; p[i] >= 1 {
				p[i], sure[i], again = 1, true, true
			}
		}
		if !again {
			return p
		}
		left = float64(n)
		for i := range sure {
			if sure[i] {
				left--
			}
		}
		if left < 1e-9 {
			return p
		}
	}
}

// systematic lays the items end to end, each as long as its share, and takes those under n pegs one apart.
// As the pegs slide by one unit the set changes only where an item's edge passes a peg.
func systematic(c *Choice, items []Item, share []float64, order []int, n int, weight float64) {
	edges := edgesOf(share, order)
	ends, sum := make([]float64, len(order)), 0.0
	for at, i := range order {
		sum += share[i]
		ends[at] = sum
	}
	under := make([]int, n) // each peg's item, as a place in order: it only ever moves on
	for k := 1; k < len(edges); k++ {
		width := edges[k] - edges[k-1]
		if width < 1e-9 {
			continue
		}
		set := make([]int, 0, n)
		peg, after := (edges[k]+edges[k-1])/2, 0
		for j := range under {
			at := max(under[j], after)
			for at < len(ends) && ends[at] <= peg {
				at++
			}
			if under[j] = at; at == len(ends) {
				break // by rounding alone
			}
			set = append(set, items[order[at]].Index)
			after = at + 1
			peg++
		}
		c.Sets = append(c.Sets, set)
		c.Weights = append(c.Weights, width*weight)
	}
}

// edgesOf gives where items end between two pegs, and the pegs, sorted.
func edgesOf(share []float64, order []int) []float64 {
	edges := make([]float64, 0, len(order)+2)
	sum := 0.0
	for _, i := range order {
		sum += share[i]
		edges = append(edges, sum-math.Floor(sum))
	}
	edges = append(edges, 0, 1)
	slices.Sort(edges)
	return edges
}

// Sticky draws by weighted rendezvous: each bucket ranks the items by their scores, and names the first n of them in that order. So
// each item comes first in proportion to its weight; and when one is lost, only the buckets that named it change: what was behind it
// moves up, and the next of the ranking comes last. The sets are of one item each, and the Table tells which of them, in which order.
func Sticky(items []Item, n int) Choice {
	n = max(1, min(n, len(items), MaxAnswers))
	return Choice{Sets: singles(items), Table: &Table{race: newRace(items), items: items, answers: n}}
}

// Exact draws as Sticky does, but with a bucket for each hash. So shares are those of the weights, however many items there are, and what
// one item gains or loses is all that moves.
func Exact(items []Item, n int) Choice {
	c := Sticky(items, n)
	c.Table.exact = true
	return c
}

// Rendezvous is the score of id for h: the highest score wins, in proportion to weight (the logarithmic method of
// weighted rendezvous hashing). It is negative; closer to zero is higher.
func Rendezvous(h, id uint64, weight float64) float64 {
	return math.Log(unitOf(mix(h^id))) / weight
}

// Hash mixes a client network into the number that sticky draws use.
func Hash(hi, lo uint64) uint64 { return mix(mix(hi) ^ lo) }

// HashLabels mixes labels of a name, in folded wire form, into such a number.
func HashLabels(wire []byte) uint64 {
	h := uint64(len(wire))
	for ; len(wire) >= 8; wire = wire[8:] {
		h = mix(h ^ binary.LittleEndian.Uint64(wire))
	}
	last := uint64(0)
	for i, c := range wire {
		last |= uint64(c) << (8 * i)
	}
	return mix(h ^ last)
}

// InPeriod turns a network's hash into that of the period in which second now lies, and tells how many seconds are left of it. Periods
// begin at another time for each hash, so that never all clients move at once.
func InPeriod(hash uint64, now, period uint32) (of uint64, left uint32) {
	at := uint64(now) + hash%uint64(period)
	number := at / uint64(period)
	return Hash(hash, number), period - uint32(at-number*uint64(period))
}

// mix is the finalizer of splitmix64: a bijection whose bits all depend on all bits.
func mix(x uint64) uint64 {
	x += 0x9e3779b97f4a7c15
	x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
	x = (x ^ x>>27) * 0x94d049bb133111eb
	return x ^ x>>31
}

// NameID is the lasting ID of an endpoint or a pool: FNV-1a of its name, mixed.
func NameID(name string) uint64 {
	h := uint64(14695981039346656037)
	for i := range len(name) {
		h = (h ^ uint64(name[i])) * 1099511628211
	}
	return mix(h)
}

// Lowest is below every score.
var Lowest = math.Inf(-1)

// Outscores gives the score of id for h, as Rendezvous does, if it is higher than best.
func Outscores(best float64, h, id uint64, weight float64) (score float64, ok bool) {
	u := unitOf(mix(h ^ id))
	if u-1 <= best*weight {
		return best, false // since ln(u) < u-1
	}
	score = math.Log(u) / weight
	return score, score > best
}
