package compile

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/gti/gtm/pkg/dnswire"
	"github.com/gti/gtm/pkg/health"
	"github.com/gti/gtm/pkg/spec"
	"github.com/gti/gtm/pkg/steer"
	"github.com/gti/gtm/pkg/table"
	"github.com/gti/gtm/pkg/table/draws"
	"github.com/gti/gtm/pkg/table/names"
	"github.com/gti/gtm/pkg/table/rr"
)

// plainHash hashes what a sticky service goes by, and tells how many bits of the client's network that takes, and for how many seconds it
// holds; 0: as long as nothing changes.
func plainHash(s *spec.Service, c *table.Client, resolver bool) (hash uint64, bits uint8, left uint64) {
	if s.Sticky != nil && s.Sticky.By == "label" {
		return c.Label, 0, 0
	}
	of, family := c.Subnet, uint64(6)
	if resolver {
		of = c.Resolver
	}
	if bits = 48; of.V4 {
		bits, family = 24, 4
	}
	hash = steer.Hash(table.NetOf(of.Addr(), bits).Hi, family)
	if s.Sticky != nil && s.Sticky.Period > 0 {
		period := uint64(time.Duration(s.Sticky.Period) / time.Second)
		since := uint64(c.Now) + hash%period
		return steer.Hash(hash, since/period), bits, period - since%period
	}
	return hash, bits, 0
}

// plainRef is a pool of a row, and the slow twin of nodes: steps of pools, walked from the beginning for each query.
type plainRef struct {
	draw   *draws.Draw
	weight uint32
	last   bool // of its step
}

// plainRows gives the rows of a service as it was declared.
func (h *harness) plainRows(s *table.Service) (rows [][]plainRef) {
	form, err := formOf(s.Spec)
	if err != nil {
		h.t.Fatal(err)
	}
	for _, pools := range rowsOf(s.Spec) {
		var row []plainRef
		for i, p := range pools {
			draw := h.c.pools[health.PoolID{Tenant: s.Tenant, Pool: p.Pool}].draws[form].draw
			row = append(row, plainRef{draw, uint32(max(1, p.Weight)), p.Weight == 0 || i+1 == len(pools) || pools[i+1].Weight == 0})
		}
		rows = append(rows, row)
	}
	return rows
}

// plainChoice is what a walk comes to.
type plainChoice struct {
	draw     *draws.Draw
	set      int
	fallback table.Fallback
	hashed   bool
	ttl      uint32
}

// plainTTL reads from the declaration what TTL a row has.
func plainTTL(s *spec.Service, row int) uint32 {
	ttl := s.TTL
	if row < len(s.Rules) && s.Rules[row].TTL != nil {
		ttl = s.Rules[row].TTL
	}
	return uint32(time.Duration(*ttl) / time.Second)
}

// plainWalk is the walk of one query.
type plainWalk struct {
	s       *table.Service
	f       rr.Family
	r, hash uint64
}

func (w *plainWalk) walk(rows [][]plainRef, row int) (c plainChoice) {
	last := len(rows) - 1
	from := last
	switch {
	case row != last && w.steps(&c, rows[row], false):
		from = row
	case w.steps(&c, rows[last], false):
		c.fallback = table.LastResort
	case w.s.Spec.AllDown == "servfail":
		c.fallback = table.Refuse
	case w.steps(&c, rows[last], true):
		c.fallback = table.AsIfUp
	case w.steps(&c, rows[row], true):
		c.fallback, from = table.AsIfUp, row
	default:
		c.fallback = table.Refuse
	}
	if c.draw != nil {
		c.ttl = plainTTL(w.s.Spec, from)
	}
	return c
}

// steps draws from the first step of a row that has a pool to give.
func (w *plainWalk) steps(c *plainChoice, row []plainRef, asIfUp bool) bool {
	for len(row) > 0 {
		end := 1 + slices.IndexFunc(row, func(r plainRef) bool { return r.last })
		var giving []plainRef
		for _, r := range row[:end] {
			if w.gives(r.draw, asIfUp) {
				giving = append(giving, r)
			}
		}
		if len(giving) > 0 {
			hashes := w.s.Spec.Coherent || w.s.Pick == draws.Sticky
			if end > 1 && !asIfUp && !hashes && w.atOnce(c, giving) {
				return true
			}
			c.draw = giving[w.split(giving, hashes)].draw
			p := c.draw.From(w.f, asIfUp)
			c.set = p.Choose(uint32(w.r), w.hash)
			c.hashed = hashes && (len(giving) > 1 || p.Sticky())
			return true
		}
		row = row[end:]
	}
	return false
}

func (w *plainWalk) gives(d *draws.Draw, asIfUp bool) bool {
	if d.From(w.f, asIfUp) == nil {
		return false
	}
	for f := range rr.Families {
		if (w.s.Spec.Coherent || w.s.Pick == draws.Sticky) && !asIfUp && w.s.Serves(f) && d.From(f, false) == nil {
			return false
		}
	}
	return true
}

// atOnce draws from all pools that give, unless they have too many sets.
func (w *plainWalk) atOnce(c *plainChoice, giving []plainRef) bool {
	var s draws.Split
	var list []draws.Part
	total := 0.0
	for _, r := range giving {
		total += float64(r.weight)
	}
	for _, r := range giving {
		list = append(list, draws.Part{Draw: r.draw, Share: float64(r.weight) / total})
	}
	if !s.Put(w.f, 0, list) {
		return false
	}
	all, _ := s.From(w.f)
	part, set := s.Part(w.f, all.Choose(uint32(w.r), 0))
	c.draw, c.set = part.Draw, set
	return true
}

func (w *plainWalk) split(giving []plainRef, hashes bool) (at int) {
	total := uint64(0)
	best := steer.Lowest
	for i, r := range giving {
		total += uint64(r.weight)
		if score := steer.Rendezvous(w.hash, steer.NameID(r.draw.Pool.ID.String()), float64(r.weight)); hashes && score > best {
			best, at = score, i
		}
	}
	if hashes {
		return at
	}
	left := (w.r >> 32) * total >> 32
	for left >= uint64(giving[at].weight) {
		left -= uint64(giving[at].weight)
		at++
	}
	return at
}

// TestNodesChooseAsStepsDo compares queries, what looking ahead leads to, and explanations with the plain walk, under equal seeds.
func TestNodesChooseAsStepsDo(t *testing.T) {
	rnd := rand.New(rand.NewPCG(131, 1))
	seen := map[string]int{}
	for n := range 130 {
		h := newHarness(t, randomPolicy(rnd))
		if len(h.last) > 0 {
			t.Fatal(n, h.last)
		}
		for range 6 {
			h.randomVerdicts(rnd)
			s := h.service("web.shop.gtm.example.") // which a wildcard may stand for
			rows := h.plainRows(s)
			for _, subnet := range []string{berlin, beijing, kansas, "10.7.1.0/24", "91.198.174.0/20", "resolver 127.0.0.1",
				"resolver 81.2.69.7", "resolver 202.108.22.5"} {
				for _, f := range s.Families() {
					c := clientAt(subnet)
					c.Label, c.Now = rnd.Uint64(), rnd.Uint32()
					h.compareWalks(t, s, rows, f, c, rnd, seen)
				}
			}
		}
	}
	for what, least := range map[string]int{"": 3000, "hashed": 300, table.LastResort.String(): 100, table.AsIfUp.String(): 100,
		table.Refuse.String(): 100, "direct": 300, "direct from lastResort": 20, "direct from a later step": 20, "coherent, direct": 5,
		"direct, of several pools": 100,
		"a rule's TTL":             500, "hashed by label": 50, "hashed by network": 50, "cut by the period": 5,
		"lastResort's TTL for a rule that has one": 20} {
		if seen[what] < least {
			t.Errorf("%q: %d queries, want %d at least; %v", what, seen[what], least, seen)
		}
	}
}

func (h *harness) compareWalks(t *testing.T, s *table.Service, rows [][]plainRef, f rr.Family, c *table.Client, rnd *rand.Rand,
	seen map[string]int) {
	t.Helper()
	d := table.Decision{TTL: 77} // of a query before, which must not shine through
	class, r := h.view.Classify(s, c), rnd.Uint64()
	hash, bits, left := plainHash(s.Spec, c, class.Resolver)
	w := plainWalk{s, f, r, hash}
	want := w.walk(rows, rowOf(rows, class))
	declared := want.ttl
	if want.hashed && left > 0 && left < uint64(want.ttl) {
		for want.ttl = 1; uint64(want.ttl)*2 <= left; {
			want.ttl *= 2
		}
		seen["cut by the period"]++
	}
	scope := class.Scope
	if want.hashed && !class.Resolver {
		scope = max(scope, bits)
	}
	h.view.Decide(&d, s, f, c, class, r)
	if d.Draw != want.draw || d.Set != want.set || d.Fallback != want.fallback || inside(d, "hashed").Bool() != want.hashed ||
		d.Scope != scope ||
		d.TTL != want.ttl {
		t.Fatalf("%s %s: %+v, want %+v scope %d", s.Spec.Host, f.Noun(), d, want, scope)
	}
	seen[d.Fallback.String()]++
	if declared != plainTTL(s.Spec, len(s.Spec.Rules)) && want.draw != nil {
		seen["a rule's TTL"]++
	}
	if want.fallback == table.LastResort && declared != plainTTL(s.Spec, rowOf(rows, class)) {
		seen["lastResort's TTL for a rule that has one"]++
	}
	if want.hashed {
		seen["hashed"]++
	}
	if sticky := s.Spec.Sticky; want.hashed && sticky != nil {
		seen["hashed by "+sticky.By]++
	}
	e := h.view.Explain(s, f, c, r)
	chosen := 0
	for _, p := range e.Pools {
		if p.Chosen {
			if chosen++; p.Pool != want.draw.Pool || p.Share == 0 {
				t.Fatalf("the explanation says %s, share %v", p.Pool.ID, p.Share)
			}
		}
	}
	if chosen != 1 && want.draw != nil {
		t.Fatalf("%d pools are told to be chosen", chosen)
	}
	h.compareDirect(t, s, rowOf(rows, class), f, c, r, &d, seen)
}

// compareDirect follows a query's path, and holds what can be answered straight from there against the decision.
func (h *harness) compareDirect(t *testing.T, s *table.Service, row int, f rr.Family, c *table.Client, r uint64, d *table.Decision,
	seen map[string]int) {
	t.Helper()
	var p table.Path
	var q dnswire.Query
	var hashes names.Hashes
	msg := append([]byte{0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0}, "\x03web\x04shop\x03gtm\x07example\x00\x00\x01\x00\x01"...)
	msg[len(msg)-3] = byte(f.Type())
	q.Parse(msg)
	follow(&p, h.view, &q, c, &hashes)
	leads, direct := p.Direct()
	if leads != s {
		t.Fatal("the path does not lead to the service")
	}
	straight, step := false, int(inside(d, "step").Int())
	if _, placed := p.ClassFor(s); placed && (d.Fallback == table.Normal || d.Fallback == table.LastResort) {
		n := h.view.Nodes.Ref(s.Steps[step].Node)
		straight = n.Kind == table.LeafNode && !n.Draw.From(f, false).Sticky()
		if n.Split != nil {
			all, _ := n.Split.From(f)
			straight = straight || all != nil
		}
	}
	if direct != straight {
		t.Fatalf("direct %v, straight %v", direct, straight)
	}
	if !direct {
		return
	}
	set := p.Draw(r)
	records, count := p.Records(set)
	decided, n := d.Records(new([]byte))
	if draw := p.Leaf(set); draw != d.Draw || !bytes.Equal(records, decided) || count != n || p.TTL != d.TTL || p.Class.Scope != d.Scope {
		t.Fatalf("the path leads to %s set %d TTL %d, the decision is %+v", draw.Pool.ID, set, p.TTL, d)
	}
	seen["direct"]++
	if h.view.Nodes.Ref(s.Steps[step].Node).Split != nil {
		seen["direct, of several pools"]++
	}
	if from, _ := s.Row(row); d.Fallback == table.LastResort {
		seen["direct from lastResort"]++
	} else if step > from {
		seen["direct from a later step"]++
	}
	if s.Need != 0 {
		seen["coherent, direct"]++
	}
}

// rowOf gives the row that answers a class: the last one is lastResort's.
func rowOf(rows [][]plainRef, class table.Class) int { return min(int(class.Index), len(rows)-1) }

// follow takes all steps of a path.
func follow(p *table.Path, v *table.View, q *dnswire.Query, c *table.Client, h *names.Hashes) {
	p.Begin(v, q, h)
	p.Name(v, q, h)
	p.Near(v, q, c)
	if _, open := p.Set(c); open == 1 {
		p.Cell(c)
		p.Deep(c)
		p.Run(c)
	}
	p.Classify(v, c)
	p.Pool()
}

// randomPolicy is a service over pools that have both families, or one.
func randomPolicy(rnd *rand.Rand) string {
	var b strings.Builder
	b.WriteString(testZone)
	b.WriteString("---\nkind: Map\ntenant: platform\nname: m\nspec: {networks: [81.2.69.0/25, \"2001:db8:7::/48\"]}\n" + resolverMap)
	for i := range 4 {
		fmt.Fprintf(&b, "---\nkind: Pool\ntenant: shop\nname: p%d\nspec:\n  endpoints:\n", i)
		for j := range 1 + rnd.IntN(3) {
			addresses := fmt.Sprintf("198.51.100.%d", 10*i+j)
			if i == 0 || rnd.IntN(4) > 0 { // else the pool lacks a family once others are down
				addresses += fmt.Sprintf(", \"2001:db8:%d::%d\"", i, j+1)
			}
			fmt.Fprintf(&b, "    - {name: e%d, addresses: [%s], weight: %d}\n", j, addresses, 1+rnd.IntN(4))
		}
	}
	picks := []string{"", "  coherent: true\n", "  pick: sticky\n", "  pick: sticky\n  answers: 2\n", "  pick: all\n", "  answers: 2\n",
		"  pick: sticky\n  sticky: {by: network, period: 10m}\n", "  pick: sticky\n  sticky: {by: label}\n",
		"  pick: sticky\n  answers: 2\n  sticky: {by: label}\n"}
	more := picks[rnd.IntN(len(picks))]
	host := "web.shop.gtm.example."
	if strings.Contains(more, "label") || rnd.IntN(5) == 0 {
		host = `"*.shop.gtm.example."`
	}
	if rnd.IntN(4) == 0 {
		more += "  https: {alpn: [h2]}\n"
	}
	b.WriteString(strings.Replace(service("web", more+randomRules(rnd)), "web.shop.gtm.example.", host, 1))
	return b.String()
}

// randomVerdicts has about half of the endpoints of some pools down.
func (h *harness) randomVerdicts(rnd *rand.Rand) {
	var ch Change
	for i := range 4 {
		id := health.PoolID{Tenant: "shop", Pool: fmt.Sprint("p", i)}
		v := health.Verdict{Pool: id, Endpoints: map[string]health.Finding{}}
		mostly := rnd.IntN(3)
		for _, e := range h.c.pools[id].spec.Endpoints {
			v.Endpoints[e.Name] = health.Finding{State: health.Up, Score: 1}
			if rnd.IntN(3) < mostly {
				v.Endpoints[e.Name] = health.Finding{State: health.Down}
			}
		}
		ch.Verdicts = append(ch.Verdicts, v)
	}
	h.apply(ch)
}
