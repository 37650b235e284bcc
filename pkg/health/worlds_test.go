package health

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gti/gtm/pkg/gtmtest"
)

// A virtual world: endpoints and vantages in regions, checks every few seconds, a judge who knows what the vantages told it, and faults.
// What decides is Threshold, Judge and Brake as they are; the world knows the truth, and compares.
type virtual struct {
	rng      *rand.Rand
	now      int // seconds
	regions  int
	interval int // of checks, in seconds
	limits   Limits
	servers  []*server
	probers  []*observer
	tenants  []*virtualTenant
	quorum   int
	census   map[string]map[string]Census // by region, and tenant
	regional bool                         // pools are judged for each region
	cut      map[[2]int]bool              // regions whose clients and vantages do not reach each other
}

// server is one endpoint.
type server struct {
	pool   PoolID
	name   string
	region int
	dead   bool
	died   int
	slow   float64 // the part of checks that time out
	flaps  int     // it dies and lives again every so many seconds; 0: it does not
	began  int     // when that began
}

// observer is one vantage, with what it knows, and what the judge has heard of it.
type observer struct {
	name, network string
	region        int
	blind, mute   bool
	muteSince     int
	cut           map[int]bool                      // regions that it does not reach
	lies          func(s *server, passed bool) bool // nil: it does not
	seen          map[*server]*Threshold
	phase         map[*server]int
	told          map[*server]Sight
	toldAt        map[*server]int // when that changed
}

type virtualTenant struct {
	name     string
	pools    map[PoolID][]*server
	rules    [][]PoolID
	verdicts map[PoolID]Verdict
	regions  map[string]map[PoolID]Verdict // for clients of regions, where they are judged
	frozen   bool
}

// leaseTime is how long the judge takes a vantage for alive that fell silent.
const leaseTime = 10

// newVirtual makes a world of some regions, with tenants that have a pool in most of them, and rules that lead through these.
func newVirtual(rng *rand.Rand, vantages int, regional bool) *virtual {
	most := 3
	if regional {
		most = 2 // so that several vantages stand in one
	}
	w := &virtual{rng: rng, regional: regional, regions: 2 + rng.IntN(most), interval: 2 + rng.IntN(4),
		limits: Limits{Rise: 1 + rng.IntN(2), Fall: 2},
		quorum: vantages/2 + 1, census: map[string]map[string]Census{}, cut: map[[2]int]bool{}}
	for i := range 1 + rng.IntN(3) {
		t := &virtualTenant{name: fmt.Sprint("t", i), pools: map[PoolID][]*server{}, verdicts: map[PoolID]Verdict{},
			regions: map[string]map[PoolID]Verdict{}}
		var ids []PoolID
		for region := range w.regions {
			id := PoolID{t.name, fmt.Sprint("r", region)}
			ids = append(ids, id)
			for e := range 1 + rng.IntN(6) {
				s := &server{pool: id, name: fmt.Sprint("e", e), region: region}
				t.pools[id] = append(t.pools[id], s)
				w.servers = append(w.servers, s)
			}
		}
		for range 1 + rng.IntN(3) {
			order := rng.Perm(len(ids))
			var rule []PoolID
			for _, at := range order[:1+rng.IntN(len(order))] {
				rule = append(rule, ids[at])
			}
			t.rules = append(t.rules, rule)
		}
		w.tenants = append(w.tenants, t)
	}
	for v := range vantages {
		o := &observer{name: fmt.Sprint("v", v), network: fmt.Sprint("net", v), region: v % w.regions, cut: map[int]bool{},
			seen: map[*server]*Threshold{}, phase: map[*server]int{}, told: map[*server]Sight{}, toldAt: map[*server]int{}}
		for _, s := range w.servers {
			o.seen[s], o.phase[s] = &Threshold{}, rng.IntN(w.interval)
		}
		w.probers = append(w.probers, o)
	}
	return w
}

// span is how long it takes at most until a change is seen by all, in seconds.
func (w *virtual) span() int { return max(w.limits.Fall, w.limits.Rise) * w.interval }

// step lets one second pass.
func (w *virtual) step() {
	w.now++
	for _, s := range w.servers {
		if s.flaps > 0 && (w.now-s.began)%s.flaps == 0 {
			if s.dead = !s.dead; s.dead {
				s.died = w.now
			}
		}
	}
	news := map[string]bool{}
	for _, o := range w.probers {
		for _, s := range w.servers {
			if (w.now+o.phase[s])%w.interval == 0 {
				passed := !s.dead && !o.blind && !o.cut[s.region] && w.rng.Float64() >= s.slow
				if o.lies != nil {
					passed = o.lies(s, passed)
				}
				o.seen[s].Add(passed, "timeout", at(w.now), w.limits)
			}
			if sight := o.seen[s].Sight(); !o.mute && sight != o.told[s] {
				o.told[s], o.toldAt[s], news[s.pool.Tenant] = sight, w.now, true
			}
		}
	}
	for _, t := range w.tenants { // all of them now and then, as the judge sweeps
		if news[t.name] || w.now%10 == 0 {
			w.judge(t)
		}
	}
}

func (o *observer) alive(now int) bool { return !o.mute || now-o.muteSince < leaseTime }

// judge judges a tenant by what was told.
func (w *virtual) judge(t *virtualTenant) {
	about, alive := map[string]Vantage{}, map[string]bool{}
	var names []string
	for _, o := range w.probers {
		names = append(names, o.name)
		if alive[o.name] = o.alive(w.now); alive[o.name] {
			sees := 0
			for _, s := range w.servers {
				if o.told[s].State == Up {
					sees++
				}
			}
			about[o.name] = Vantage{Network: o.network, Sees: sees, Region: continents[o.region]}
		}
	}
	d := Docket{Previous: t.verdicts, Proposed: map[PoolID]Verdict{}, Pools: map[PoolID]Declared{}, Now: at(w.now)}
	regional := map[string]map[PoolID]Case{}
	for id, servers := range t.pools {
		c := Case{Pool: id, Previous: t.verdicts[id], Vantages: names, Alive: alive, About: about, Now: at(w.now),
			Observations: map[string]Observation{}}
		for _, o := range w.probers {
			sights := map[string]Sight{}
			for _, s := range servers {
				sights[s.name] = o.told[s]
			}
			c.Observations[o.name] = Observation{Endpoints: sights}
		}
		for _, s := range servers {
			c.Endpoints = append(c.Endpoints, s.name)
		}
		declared := Declared{Size: len(servers), Span: time.Duration(w.span()) * time.Second}
		for i, rule := range t.rules {
			if slices.Contains(rule, id) {
				declared.Rows = append(declared.Rows, Row{Name: fmt.Sprint("rule ", i), Pools: rule})
			}
		}
		d.Proposed[id], d.Pools[id] = Judge(c), declared
		if !w.regional {
			continue
		}
		for region, c := range c.Regions(t.inRegions(id)) {
			if regional[region] == nil {
				regional[region] = map[PoolID]Case{}
			}
			regional[region][id] = c
		}
	}
	t.verdicts, t.frozen = w.brake(t, "", d)
	before := t.regions
	t.regions = map[string]map[PoolID]Verdict{}
	for region, cases := range regional {
		t.regions[region], _ = w.brake(t, region, d.ForRegion(cases, t.verdicts))
	}
	for region := range before {
		if t.regions[region] == nil {
			delete(w.census, region)
		}
	}
}

// inRegions gives what was found of a pool for regions.
func (t *virtualTenant) inRegions(id PoolID) map[string]Verdict {
	found := map[string]Verdict{}
	for region, verdicts := range t.regions {
		found[region] = verdicts[id]
	}
	return found
}

// brake applies it to a docket for a region, or for all.
func (w *virtual) brake(t *virtualTenant, region string, d Docket) (map[PoolID]Verdict, bool) {
	for other, c := range w.census[region] {
		if other != t.name {
			d.Others = d.Others.Plus(c, 1)
		}
	}
	verdicts, tally := Brake{}.Apply(d)
	if w.census[region] == nil {
		w.census[region] = map[string]Census{}
	}
	w.census[region][t.name] = tally.Census
	return verdicts, tally.Frozen
}

// continents are where the regions of a world are.
var continents = []string{"EU", "AS", "NA", "SA"}

// named gives the servers that a rule answers clients of a region with: those that are not down of the first pool that has any, or else all
// of the first. Region -1 is that of clients whose place nobody knows.
func (t *virtualTenant) named(rule []PoolID, region int) (named []*server) {
	verdicts := t.verdicts
	if region >= 0 && t.regions[continents[region]] != nil {
		verdicts = t.regions[continents[region]]
	}
	for _, id := range rule {
		for _, s := range t.pools[id] {
			if verdicts[id].Endpoints[s.name].State != Down {
				named = append(named, s)
			}
		}
		if len(named) > 0 {
			return named
		}
	}
	return t.pools[rule[0]]
}

// sees reports whether a quorum of vantages that are heard says so of a server, and since when, no other quorum denying it: of those of a
// region, where enough stand there.
func (w *virtual) sees(s *server, state State, region int) (since int, is bool) {
	var times, there []int
	stand := 0
	for _, o := range w.probers {
		if o.region == region {
			stand++
		}
		if o.alive(w.now) && o.told[s].State == state {
			if times = append(times, o.toldAt[s]); o.region == region {
				there = append(there, o.toldAt[s])
			}
		}
	}
	quorum := w.quorum
	if w.regional && stand >= 2 {
		times, quorum = there, stand/2+1
	}
	if len(times) < quorum {
		return 0, false
	}
	slices.Sort(times)
	return times[quorum-1], true
}

// lost reports whether clients of a region do not reach a server.
func (w *virtual) lost(s *server, region int) bool { return s.dead || w.cut[[2]int{region, s.region}] }

// clients are the regions of clients.
func (w *virtual) clients() []int {
	all := []int{-1}
	for region := range w.regions {
		if w.regional {
			all = append(all, region)
		}
	}
	return all
}

// calm is how long nothing changed for what a rule leads to, as far as vantages told, but for what flaps: that is news at first.
func (w *virtual) calm(t *virtualTenant, rule []PoolID) int {
	last := 0
	for _, id := range rule {
		for _, s := range t.pools[id] {
			for _, o := range w.probers {
				told := o.toldAt[s]
				if s.flaps > 0 {
					told = min(told, s.began+3*s.flaps+4*w.span())
				}
				last = max(last, told)
				if o.mute {
					last = max(last, min(w.now, o.muteSince+leaseTime))
				}
			}
		}
	}
	return w.now - last
}

// bound is how long an answer may name a server that is dead, from when the last of the vantages has told what it sees: at once where
// vantages of several networks say so, for the window where only one does, and for another window where one pool waits for the next.
func (w *virtual) bound() int {
	window := max(60, w.span())
	return 2*window + 10
}

// wrong gives what answers name that clients do not reach, longer than the bound, while something that they reach was known: it is seen up.
func (w *virtual) wrong() string {
	for _, t := range w.tenants {
		for _, rule := range t.rules {
			calm := w.calm(t, rule)
			if calm <= w.bound() {
				continue
			}
			for _, clients := range w.clients() {
				if wrong := w.wrongFor(t, rule, clients); wrong != "" {
					return wrong
				}
			}
		}
	}
	return ""
}

func (w *virtual) wrongFor(t *virtualTenant, rule []PoolID, clients int) string {
	living := ""
	for _, id := range rule {
		for _, s := range t.pools[id] {
			if since, is := w.sees(s, Up, clients); !w.lost(s, clients) && is && w.now-since > w.bound() {
				living = s.pool.String() + "/" + s.name
			}
		}
	}
	for _, s := range t.named(rule, clients) {
		if since, is := w.sees(s, Down, clients); living != "" && w.lost(s, clients) && is && w.now-since > w.bound() &&
			w.now-s.died > w.bound() {
			return fmt.Sprintf("%ds: %s rule %v names %s/%s for clients of region %d, dead since %d, seen down since %d; %s lives\n%s",
				w.now, t.name, rule, s.pool, s.name, clients, s.died, since, living, t)
		}
	}
	return ""
}

func (t *virtualTenant) String() string {
	var text strings.Builder
	fmt.Fprintln(&text, "rules", t.rules)
	for _, id := range slices.SortedFunc(maps.Keys(t.verdicts), func(a, b PoolID) int { return strings.Compare(a.Pool, b.Pool) }) {
		fmt.Fprintf(&text, "%s %q\n", id, t.verdicts[id].Cause)
		for _, s := range t.pools[id] {
			f := t.verdicts[id].Endpoints[s.name]
			fmt.Fprintf(&text, "  %s dead %v: %s since %s proven %v %q\n", s.name, s.dead, f.State, f.Since.Sub(at(0)), f.Proven, f.Reason)
			for region, verdicts := range t.regions {
				f := verdicts[id].Endpoints[s.name]
				fmt.Fprintf(&text, "    %s %s since %s proven %v %q\n", region, f.State, f.Since.Sub(at(0)), f.Proven, f.Reason)
			}
		}
	}
	return text.String()
}

func (w *virtual) kill(s *server) { s.dead, s.died = true, w.now }

// regionDies takes the servers of a region, and the vantages in it, which leave their last words.
func (w *virtual) regionDies(region int) {
	for _, s := range w.servers {
		if s.region == region {
			w.kill(s)
		}
	}
	for _, o := range w.probers {
		if o.region == region && len(w.probers) > 1 {
			o.mute, o.muteSince = true, w.now
		}
	}
}

// heal ends all faults.
func (w *virtual) heal() {
	for _, s := range w.servers {
		s.dead, s.slow, s.flaps = false, 0, 0
	}
	for _, o := range w.probers {
		o.blind, o.mute, o.lies = false, false, nil
		clear(o.cut)
	}
	clear(w.cut)
}

// fault is something that happens to a world.
type fault struct {
	name string
	do   func(w *virtual)
}

var faults = []fault{
	{"a dead region", func(w *virtual) { w.regionDies(w.rng.IntN(w.regions)) }},
	{"a dead observer", func(w *virtual) { w.probers[w.rng.IntN(len(w.probers))].blind = true }},
	{"a cut between regions", func(w *virtual) {
		a, b := w.rng.IntN(w.regions), w.rng.IntN(w.regions)
		for _, o := range w.probers {
			if o.region == a && a != b {
				o.cut[b] = true
			}
			if o.region == b && a != b {
				o.cut[a] = true
			}
		}
		if a != b {
			w.cut[[2]int{a, b}], w.cut[[2]int{b, a}] = true, true
		}
	}},
	{"a lying vantage", func(w *virtual) {
		part, word := w.rng.Float64(), w.rng.IntN(2) == 0
		lies := map[*server]bool{}
		for _, s := range w.servers {
			lies[s] = w.rng.Float64() < part
		}
		w.probers[w.rng.IntN(len(w.probers))].lies = func(s *server, passed bool) bool { return !lies[s] && passed || lies[s] && word }
	}},
	{"a partition among probers", func(w *virtual) {
		for _, o := range w.probers {
			if w.rng.IntN(2) == 0 && !o.mute {
				o.mute, o.muteSince = true, w.now
			}
		}
	}},
	{"a slow everything", func(w *virtual) {
		slow := 0.3 + 0.7*w.rng.Float64()
		for _, s := range w.servers {
			s.slow = slow
		}
	}},
	{"recovery in waves", func(w *virtual) {
		for _, s := range w.servers {
			s.slow = 0
			if w.rng.IntN(3) == 0 {
				s.dead = false
			}
		}
	}},
	{"some flap", func(w *virtual) {
		for _, s := range w.servers {
			if w.rng.IntN(4) == 0 {
				s.flaps, s.began = 5+w.rng.IntN(50), w.now
			}
		}
	}},
	{"some servers die", func(w *virtual) {
		part := w.rng.Float64()
		for _, s := range w.servers {
			if w.rng.Float64() < part {
				w.kill(s)
			}
		}
	}},
}

// worldsOf is how many random worlds a test plays for each number of vantages.
func worldsOf(full int) int {
	if testing.Short() {
		return full / 10
	}
	return full
}

// inWorlds plays random worlds with 1, 3 and 5 vantages, which know all servers to be up when it begins.
func inWorlds(t *testing.T, full int, play func(t *testing.T, w *virtual)) {
	inWorldsOf(t, full, false, play)
}

// inRegionalWorlds plays such with two regions or three, for whose clients pools are judged where two vantages stand or more.
func inRegionalWorlds(t *testing.T, full int, play func(t *testing.T, w *virtual)) {
	inWorldsOf(t, full, true, play)
}

func inWorldsOf(t *testing.T, full int, regional bool, play func(t *testing.T, w *virtual)) {
	for _, vantages := range []int{1, 3, 5} {
		t.Run(fmt.Sprint(vantages), func(t *testing.T) {
			t.Parallel()
			rng := gtmtest.Random(t)
			for n := 0; n < worldsOf(full) && !t.Failed(); n++ {
				w := newVirtual(rng, vantages, regional)
				w.run(3 * w.span())
				play(t, w)
			}
		})
	}
}

func (w *virtual) run(seconds int) {
	for range seconds {
		w.step()
	}
}

// unwell tells what is not up, or held, though all is well.
func (w *virtual) unwell() string {
	for _, t := range w.tenants {
		of := map[string]map[PoolID]Verdict{"": t.verdicts}
		maps.Copy(of, t.regions)
		for region, verdicts := range of {
			for id, v := range verdicts {
				for name, f := range v.Endpoints {
					if f.State != Up || f.Proven || v.Frozen {
						return fmt.Sprintf("%s%s/%s is %+v\n%s", id, region, name, f, t)
					}
				}
			}
		}
	}
	return ""
}

// TestWorlds lets faults come in any order, together and apart. No answer names what is dead for longer than its bound while something that
// lives is known; and when all faults have passed all is up again, and nothing is held.
func TestWorlds(t *testing.T) { haveFaults(t, inWorlds, 500) }

// TestRegionalWorlds has faults come where pools are judged for the clients of each region: no answer names for them what they do not
// reach, be it dead or cut off, for longer than the bound while something that they reach is known.
func TestRegionalWorlds(t *testing.T) { haveFaults(t, inRegionalWorlds, 300) }

func haveFaults(t *testing.T, in func(*testing.T, int, func(*testing.T, *virtual)), worlds int) {
	var mu sync.Mutex
	happened := map[string]int{}
	t.Run("with", func(t *testing.T) {
		in(t, worlds, func(t *testing.T, w *virtual) {
			var story []string
			for range 1 + w.rng.IntN(4) {
				f := faults[w.rng.IntN(len(faults))]
				f.do(w)
				mu.Lock()
				happened[f.name]++
				mu.Unlock()
				story = append(story, fmt.Sprintf("%ds %s", w.now, f.name))
				for range 1 + w.rng.IntN(2*w.bound()) {
					w.step()
					if wrong := w.wrong(); wrong != "" {
						t.Fatalf("%s\n%s", strings.Join(story, ", "), wrong)
					}
				}
			}
			w.heal()
			for i := 0; i < 40*w.span() && w.unwell() != ""; i++ { // what fell often needs more good checks
				w.step()
			}
			if unwell := w.unwell(); unwell != "" {
				t.Fatalf("%s; all is well again, and %s", strings.Join(story, ", "), unwell)
			}
		})
	})
	for _, f := range faults {
		if happened[f.name] == 0 {
			t.Errorf("there was never %s", f.name)
		}
	}
}

// answers gives what all rules answer.
func (w *virtual) answers() map[string][]*server {
	all := map[string][]*server{}
	for _, t := range w.tenants {
		for i, rule := range t.rules {
			for _, clients := range w.clients() {
				all[fmt.Sprint(t.name, " rule ", i, " for ", clients)] = t.named(rule, clients)
			}
		}
	}
	return all
}

// A blind observer, alone or with all others, of its network or of several, moves traffic for no longer than it takes until it has lost
// all, and until it has all back when it sees again: then all of it is where it was. Where others see, it moves none.
func TestWorldsBlindObserver(t *testing.T) {
	moved, alone := 0, 0
	var mu sync.Mutex
	t.Run("with", func(t *testing.T) {
		inWorlds(t, 120, func(t *testing.T, w *virtual) {
			if len(w.servers) < 4 {
				return // so few can always fail: B3
			}
			before := w.answers()
			all := len(w.probers) == 1 || w.rng.IntN(2) == 0 // all lose what they share
			one := w.rng.IntN(2) == 0                        // which is known, for their networks are one
			for i, o := range w.probers {
				if o.blind = all || i == 0; all && one {
					o.network = "net"
				}
			}
			for i := range w.span() + 15 + w.rng.IntN(200) {
				w.step()
				same := maps.EqualFunc(before, w.answers(), slices.Equal)
				if !same {
					mu.Lock()
					moved++
					mu.Unlock()
				}
				if !same && (i > w.span()+12 || !all) {
					t.Fatalf("all %v, %d s after the observer went blind, answers are not as before: %v", all, i, w.tenants)
				}
			}
			mu.Lock()
			alone++
			mu.Unlock()
			for _, o := range w.probers {
				o.blind = false
			}
			for i := range 10 * w.span() {
				w.step()
				if i > w.span()+12 && !maps.EqualFunc(before, w.answers(), slices.Equal) {
					t.Fatalf("all %v, it sees again, and answers are not as before: %v", all, w.tenants)
				}
			}
			if unwell := w.unwell(); unwell != "" {
				t.Fatalf("it sees again, and %s", unwell)
			}
		})
	})
	if moved == 0 || alone == 0 {
		t.Errorf("nothing was tried: %d, %d", moved, alone)
	}
}

// Where vantages of several networks say that a region is dead, and see others, it goes down at once, whatever else its tenants have:
// nothing of it is held once the last vantage has told, or lost its lease.
func TestWorldsDeadRegion(t *testing.T) {
	lost := 0
	var mu sync.Mutex
	t.Run("with", func(t *testing.T) {
		inWorlds(t, 80, func(t *testing.T, w *virtual) {
			region, dead := w.rng.IntN(w.regions), 0
			w.regionDies(region)
			for _, s := range w.servers {
				if s.dead {
					dead++
				}
			}
			left := 0
			for _, o := range w.probers {
				if !o.mute {
					left++
				}
			}
			if left < max(2, w.quorum) || 10*dead > 9*len(w.servers) {
				return // one observer alone, a quorum lost with the region, or nearly everything: B3, R3 and B2
			}
			w.run(w.span() + 2*w.interval + leaseTime)
			for _, tenant := range w.tenants {
				for id, servers := range tenant.pools {
					for _, s := range servers {
						f := tenant.verdicts[id].Endpoints[s.name]
						if (f.State == Down) != s.dead || f.Proven != s.dead {
							t.Fatalf("region %d died, and %s/%s is %+v\n%s", region, id, s.name, f, tenant)
						}
					}
				}
			}
			mu.Lock()
			lost += dead
			mu.Unlock()
		})
	})
	if lost == 0 {
		t.Error("nothing died")
	}
}

// The vantages of one region go blind, one of them or all, and those of others see: it moves traffic of that region's clients for no longer
// than it takes until they have lost all, and nobody else's; when they see again all is where it was.
func TestRegionalWorldsBlind(t *testing.T) {
	judged, moved := 0, 0
	var mu sync.Mutex
	t.Run("with", func(t *testing.T) {
		inRegionalWorlds(t, 120, func(t *testing.T, w *virtual) {
			region := w.rng.IntN(w.regions)
			var there []*observer
			for _, o := range w.probers {
				if o.region == region {
					there = append(there, o)
				}
			}
			if len(w.servers) < 4 || len(there) >= w.quorum || len(there) == 0 {
				return // so few can always fail: B3; or they are a quorum of all
			}
			one := w.rng.IntN(2) == 0
			for i, o := range there {
				o.blind = !one || i == 0
			}
			before := w.answers()
			for i := range w.span() + 15 + w.rng.IntN(200) {
				w.step()
				for of, named := range w.answers() {
					same := slices.Equal(named, before[of])
					theirs := strings.HasSuffix(of, fmt.Sprint(" for ", region))
					mu.Lock()
					if !same {
						moved++
					} else if theirs && len(there) > 1 {
						judged++
					}
					mu.Unlock()
					if !same && (i > w.span()+12 || !theirs || one || len(there) == 1) {
						t.Fatalf("one %v, %d s after region %d went blind, answers of %s are not as before: %v", one, i, region, of,
							w.tenants)
					}
				}
			}
			for _, o := range there {
				o.blind = false
			}
			for i := range 10 * w.span() {
				w.step()
				if i > w.span()+12 && !maps.EqualFunc(before, w.answers(), slices.Equal) {
					t.Fatalf("region %d sees again, and answers are not as before: %v", region, w.tenants)
				}
			}
			if unwell := w.unwell(); unwell != "" {
				t.Fatalf("it sees again, and %s", unwell)
			}
		})
	})
	if moved == 0 || judged == 0 {
		t.Errorf("nothing was tried: %d, %d", moved, judged)
	}
}
