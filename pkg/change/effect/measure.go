package effect

import (
	"cmp"
	"fmt"
	"math"
	"reflect"
	"slices"

	"github.com/gti/gtm/pkg/demand"
	"github.com/gti/gtm/pkg/geo"
	"github.com/gti/gtm/pkg/policy"
	"github.com/gti/gtm/pkg/steer"
	"github.com/gti/gtm/pkg/table"
)

// measure compares services.
type measure struct {
	world    *World
	groups   map[pairing][]group
	renewals map[renewal]renewed

	seen      *demand.Sum
	byUsers   *Weighing
	ofTenants map[string]*Weighing // by what services are weighed of which too few queries were seen
}

func newMeasure(in *Input) *measure {
	m := &measure{world: in.World, groups: map[pairing][]group{}, renewals: map[renewal]renewed{}, seen: in.Seen, byUsers: &Weighing{},
		ofTenants: map[string]*Weighing{}}
	for i := range in.World.samples {
		m.byUsers.of = append(m.byUsers.of, in.World.samples[i].weight)
	}
	return m
}

// pairing is where clients of a service are looked up, before and after. Services with equal conditions share it.
type pairing struct{ before, resolverBefore, after, resolverAfter *geo.Partition }

// group is the samples that are of one class before, and of one after.
type group struct {
	before, after table.Class
	users         float64 // of all Internet users
	weight        float64 // as the service is weighed
	samples       []int
}

// groupsOf gives the groups of a service, which is there before and after.
func (m *measure) groupsOf(s *Service) []group {
	b, a := &s.before, &s.after
	key := pairing{b.view.PartList[b.service.Part], b.view.PartList[b.service.ResolverPart],
		a.view.PartList[a.service.Part], a.view.PartList[a.service.ResolverPart]}
	if known, ok := m.groups[key]; ok {
		return known
	}
	at := map[[2]table.Class]int{}
	var groups []group
	for i := range m.world.samples {
		c := &m.world.samples[i]
		was, is := b.view.Classify(b.service, &c.client), a.view.Classify(a.service, &c.client)
		was.Scope, is.Scope = 0, 0
		n, ok := at[[2]table.Class{was, is}]
		if !ok {
			n = len(groups)
			at[[2]table.Class{was, is}] = n
			groups = append(groups, group{before: was, after: is})
		}
		groups[n].users += c.weight
		groups[n].samples = append(groups[n].samples, i)
	}
	m.groups[key] = groups
	return groups
}

// weighed gives the groups with the weights by which a service goes.
func weighed(groups []group, w *Weighing) []group {
	out := slices.Clone(groups)
	for i := range out {
		g := &out[i]
		for _, at := range g.samples {
			g.weight += w.of[at]
		}
	}
	return out
}

// service fills in what becomes of a service.
func (m *measure) service(s *Service) {
	s.Weighing = *m.weighing(s.Key)
	declared, taking := s.before.capacity()
	_, left := s.after.capacity()
	if declared > 0 {
		s.Capacity.Before, s.Capacity.After = taking/declared, left/declared
	}
	s.SitesUp = [2]int{s.before.sitesUp(), s.after.sitesUp()}
	b, a := s.before.service, s.after.service
	switch {
	case b == nil || b.Is.Has(table.Pending):
		return // it answers nothing before
	case a == nil:
		s.Moved, s.ByUsers, s.Gone = 1, 1, true
		return
	case b.Spec.Host != a.Spec.Host:
		s.Moved, s.ByUsers, s.Gone = 1, 1, true
		s.Notes = append(s.Notes, fmt.Sprintf("%s answers no more, %s does", b.Spec.Host, a.Spec.Host))
		return
	case a.Is.Has(table.Pending):
		s.Notes = append(s.Notes, "it leads outside now: where its answers go is not known")
		return
	}
	groups := weighed(m.groupsOf(s), &s.Weighing)
	var most *tally
	for _, f := range b.Families() {
		t := m.tally(s, groups, f)
		s.ByUsers = math.Max(s.ByUsers, math.Min(t.users, 1))
		if most == nil || t.moved > most.moved+least {
			most = t
		}
	}
	most.put(m, s)
	m.unweighed(s, groups)
}

// parts are the pools that answers come from, with their parts.
type parts []part

type part struct {
	pool *steer.Pool
	of   float64
}

func (p *parts) add(pool *steer.Pool, share float64) {
	for i := range *p {
		if (*p)[i].pool.ID == pool.ID {
			(*p)[i].of += share
			return
		}
	}
	*p = append(*p, part{pool, share})
}

func (p parts) share(pool *steer.Pool) float64 {
	if found := p.find(pool); found != nil {
		return found.of
	}
	return 0
}

// find gives the part that comes from a pool; nil: none does.
func (p parts) find(pool *steer.Pool) *part {
	for i := range p {
		if p[i].pool.ID == pool.ID {
			return &p[i]
		}
	}
	return nil
}

// total is 1, or 0 of clients that get no answer.
func (p parts) total() (t float64) {
	for i := range p {
		t += p[i].of
	}
	return t
}

// sharesOf gives what clients of a class get.
func (s *seen) sharesOf(f table.Family, class table.Class) (parts, table.Fallback) {
	if !s.service.Serves(f) {
		return nil, table.Refuse
	}
	var p parts
	fallback := s.view.EachShare(s.service, f, class, p.add)
	return p, fallback
}

// moved gives the part of the answers that come from another pool, or not at all; see within for those of the same.
func moved(before, after parts) float64 {
	apart := math.Abs(before.total() - after.total())
	for i := range before {
		apart += math.Abs(before[i].of - after.share(before[i].pool))
	}
	for i := range after {
		if before.share(after[i].pool) == 0 {
			apart += after[i].of
		}
	}
	return apart / 2
}

// tally is what becomes of the answers of one family.
type tally struct {
	family        table.Family
	groups        []group
	before, after []parts // of each group
	falls         []table.Fallback
	each          []float64 // how much moves of each group
	within        []float64 // the part of that which stays in its pools
	moved         float64
	users         float64 // the same, by Internet users
}

func (m *measure) tally(s *Service, groups []group, f table.Family) *tally {
	t := &tally{family: f, groups: groups, before: make([]parts, len(groups)), after: make([]parts, len(groups)),
		falls: make([]table.Fallback, len(groups)), each: make([]float64, len(groups)), within: make([]float64, len(groups))}
	for i := range groups {
		var was, is table.Fallback
		t.before[i], was = s.before.sharesOf(f, groups[i].before)
		t.after[i], is = s.after.sharesOf(f, groups[i].after)
		if is > was {
			t.falls[i] = is
		}
		var stirs bool
		t.within[i], stirs = m.within(t.before[i], t.after[i], f)
		s.stirs = s.stirs || stirs
		t.each[i] = moved(t.before[i], t.after[i]) + t.within[i]
		t.moved += groups[i].weight * t.each[i]
		t.users += groups[i].users * t.each[i]
	}
	return t
}

// put writes it down for people.
func (t *tally) put(m *measure, s *Service) {
	s.Type, s.Moved = t.family, math.Min(t.moved, 1)
	pools, sites, moves := map[string]*Share{}, map[string]*Share{}, map[[2]string]float64{}
	falls, weights := map[table.Fallback]*Fall{}, map[string]float64{}
	for i := range t.groups {
		g := &t.groups[i]
		for _, p := range t.before[i] {
			named(pools, p.pool.ID.Pool).Before += g.weight * p.of
			named(sites, p.pool.Site).Before += g.weight * p.of
		}
		for _, p := range t.after[i] {
			named(pools, p.pool.ID.Pool).After += g.weight * p.of
			named(sites, p.pool.Site).After += g.weight * p.of
		}
		t.flow(m, i, moves)
		s.Within += g.weight * t.within[i]
		if how := t.falls[i]; how != table.Normal {
			if falls[how] == nil {
				falls[how] = &Fall{How: how}
			}
			f := falls[how]
			f.Users += g.weight
			for _, at := range g.samples {
				country := m.world.samples[at].country
				f.Countries = append(f.Countries, country)
				weights[country] = s.Weighing.of[at]
			}
		}
		for _, at := range g.samples {
			if t.each[i] > least {
				s.Places = append(s.Places, Place{m.world.samples[at].country, s.Weighing.of[at], t.each[i]})
			}
		}
	}
	s.Pools, s.Sites = sortedShares(pools), sortedShares(sites)
	for ends, share := range moves {
		if share > least {
			s.allMoves = append(s.allMoves, Move{ends[0], ends[1], share})
		}
	}
	slices.SortFunc(s.allMoves, func(a, b Move) int {
		return cmp.Or(cmp.Compare(b.Share, a.Share), cmp.Compare(a.From, b.From), cmp.Compare(a.To, b.To))
	})
	told := min(len(s.allMoves), mostMoves)
	s.Moves = s.allMoves[:told:told]
	slices.SortFunc(s.Places, func(a, b Place) int {
		return cmp.Or(cmp.Compare(b.Users*b.Moved, a.Users*a.Moved), cmp.Compare(a.Country, b.Country))
	})
	s.Places = s.Places[:min(len(s.Places), mostPlaces)]
	for _, f := range falls {
		slices.SortFunc(f.Countries, func(a, b string) int { return cmp.Or(cmp.Compare(weights[b], weights[a]), cmp.Compare(a, b)) })
		s.Falls = append(s.Falls, *f)
	}
	slices.SortFunc(s.Falls, func(a, b Fall) int { return cmp.Compare(a.How, b.How) })
}

// flow adds what goes from which pool to which, of one group: what a pool loses goes to those that gain, in proportion.
func (t *tally) flow(m *measure, i int, moves map[[2]string]float64) {
	before, after, weight := t.before[i], t.after[i], t.groups[i].weight
	if t.within[i] > least {
		for n := range after {
			name := after[n].pool.ID.Pool
			part, _ := m.withinPool(before, &after[n], t.family)
			moves[[2]string{name, name}] += weight * part
		}
	}
	apart := t.each[i] - t.within[i]
	if apart <= least {
		return
	}
	type end struct {
		name string
		of   float64
	}
	var loses, gains []end
	note := func(name string, by float64) {
		if by > 0 {
			gains = append(gains, end{name, by})
		} else if by < 0 {
			loses = append(loses, end{name, -by})
		}
	}
	for _, p := range before {
		note(p.pool.ID.Pool, after.share(p.pool)-p.of)
	}
	for _, p := range after {
		if before.share(p.pool) == 0 {
			note(p.pool.ID.Pool, p.of)
		}
	}
	note("", before.total()-after.total())
	for _, l := range loses {
		for _, g := range gains {
			moves[[2]string{l.name, g.name}] += weight * l.of * g.of / apart
		}
	}
}

func named(of map[string]*Share, name string) *Share {
	if of[name] == nil {
		of[name] = &Share{Name: name}
	}
	return of[name]
}

func sortedShares(of map[string]*Share) []Share {
	out := make([]Share, 0, len(of))
	for _, s := range of {
		out = append(out, *s)
	}
	slices.SortFunc(out, func(a, b Share) int { return cmp.Compare(a.Name, b.Name) })
	return out
}

// unweighed notes rules whose clients move, and that are of no sample: how many those are is not known.
func (m *measure) unweighed(s *Service, groups []group) {
	b, a := s.before.service, s.after.service
	if b.Steering != nil || a.Steering != nil {
		for _, side := range []*table.Service{b, a} {
			if side.Steering != nil && len(side.Steering.Policy.Maps()) > 0 && s.Largest() > least {
				s.Notes = append(s.Notes, "clients that its rules tell apart by maps count as those of their country")
				return
			}
		}
		return
	}
	for i := range a.Spec.Rules {
		class := table.Class{Index: uint16(i)}
		if slices.ContainsFunc(groups, func(g group) bool { return g.after.Index == class.Index }) {
			continue
		}
		name := table.RuleName(a.Spec, i)
		was := b.Spec.RuleNamed(name)
		if was < 0 {
			continue
		}
		before, _ := s.before.sharesOf(s.Type, table.Class{Index: uint16(was)})
		after, _ := s.after.sharesOf(s.Type, class)
		within, _ := m.within(before, after, s.Type)
		if part := moved(before, after) + within; part > least {
			s.Notes = append(s.Notes, fmt.Sprintf("of the clients of rule %s, who are told by more than their country, %s move; how many "+
				"they are is not known", name, table.Percent(part)))
		}
	}
}

// rules fills in which rules take which part of the clients, where rules are others or stand elsewhere.
func (m *measure) rules(s *Service) {
	b, a := s.before.service, s.after.service
	if b == nil || a == nil || s.Gone || b.Spec.Alias != nil || a.Spec.Alias != nil || reflect.DeepEqual(b.Spec.Rules, a.Spec.Rules) {
		return
	}
	of := map[string]*Share{}
	for i := range m.world.samples {
		c := &m.world.samples[i]
		named(of, ruleOf(&s.before, c)).Before += s.Weighing.of[i]
		named(of, ruleOf(&s.after, c)).After += s.Weighing.of[i]
	}
	var order []string
	for i := range a.Spec.Rules {
		order = append(order, table.RuleName(a.Spec, i))
	}
	for i := range b.Spec.Rules {
		if name := table.RuleName(b.Spec, i); !slices.Contains(order, name) {
			order = append(order, name)
		}
	}
	for _, name := range append(order, "") {
		if share := of[name]; share != nil && math.Abs(share.Before-share.After) > least {
			s.Rules = append(s.Rules, *share)
		}
	}
}

// ruleOf names the rule that takes a sample; empty: none does.
func ruleOf(s *seen, c *sample) string {
	asker := c.client.Subnet
	if i := s.view.RuleFor(s.service, s.view.Classify(s.service, &c.client), asker); i != policy.NoRule {
		return table.RuleName(s.service.Spec, i)
	}
	return ""
}
