package policy

import (
	"cmp"
	"fmt"
	"math"
	"math/rand/v2"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/gti/gtm/pkg/geo"
	"github.com/gti/gtm/pkg/gtmtest"
	"github.com/gti/gtm/pkg/spec"
)

// plain interprets what is declared, place by place, as slowly and as plainly as can be: the oracle of Row.
type plain struct {
	world   *world
	service *spec.Service
	place   geo.Place
	fences  [][]string
	ttl     int64
}

// region is the continent that a row is for: one that names a pool with regions.
func (p *plain) region(steps, last []string) string {
	for _, pool := range regexp.MustCompile(`p\d+`).FindAllString(strings.Join(append(steps, last...), " "), -1) {
		if p.world.regional[pool] {
			return p.place.Continent
		}
	}
	return ""
}

// row gives the steps for a place, those of lastResort, and the TTL, all written as text.
func (p *plain) row() (steps, last []string, ttl int64) {
	p.ttl = -1
	p.bind(p.service.Fence)
	var targets []spec.Target
	if r := p.first(p.service.Rules); r != nil {
		targets = r.Pools
		p.enter(r)
		p.ahead(targets)
	}
	p.ahead(p.service.LastResort)
	return p.list(targets, nil), p.list(p.service.LastResort, nil), p.ttl
}

func (p *plain) bind(fence []string) {
	if len(fence) > 0 {
		p.fences = append(p.fences, fence)
	}
}

func (p *plain) first(rules []spec.Rule) *spec.Rule {
	for i := range rules {
		w := rules[i].When
		if w == nil || (len(w.Geo) == 0 || slices.ContainsFunc(w.Geo, func(g string) bool { return inPlace(p.place, g) })) &&
			(len(w.ASN) == 0 || slices.Contains(w.ASN, p.place.ASN)) {
			return &rules[i]
		}
	}
	return nil
}

func inPlace(p geo.Place, code string) bool {
	parts := strings.Split(code, "-")
	return (len(parts) > 1 || p.Continent == parts[0]) && (len(parts) < 2 || p.Country == parts[1]) &&
		(len(parts) < 3 || p.Subdivision == parts[2])
}

func (p *plain) enter(r *spec.Rule) {
	p.bind(r.Fence)
	if r.TTL != nil {
		if ttl := int64(time.Duration(*r.TTL) / time.Second); p.ttl < 0 || ttl < p.ttl {
			p.ttl = ttl
		}
	}
}

func (p *plain) ahead(targets []spec.Target) {
	for i := range targets {
		more := targets[i].More()
		if more.Policy != "" {
			_, policy := p.world.Policy("", more.Policy)
			p.bind(policy.Fence)
			if r := p.first(policy.Rules); r != nil {
				p.enter(r)
				p.ahead(r.Pools)
			}
		}
		p.ahead(more.Split)
	}
}

// list gives the steps of targets. roles gives the pools that a name means; nil: the pool of that name.
func (p *plain) list(targets []spec.Target, roles map[string][]string) (steps []string) {
	for i := 0; i < len(targets); i++ {
		if targets[i].Weight > 0 {
			end := i
			for end < len(targets) && targets[end].Weight > 0 {
				end++
			}
			steps = append(steps, p.shared(targets[i:end], roles)...)
			i = end - 1
			continue
		}
		own := p.target(&targets[i], roles)
		if t := targets[i].More().Trickle; t != "" && len(steps) > 0 && len(own) > 0 {
			var percent float64
			fmt.Sscanf(t, "%f%%", &percent)
			share := int(math.Round(100 * percent))
			steps = []string{fmt.Sprintf("split(%d %s, %d %s)", 10000-share, together(steps), share, together(own))}
			continue
		}
		steps = append(steps, own...)
	}
	return steps
}

func (p *plain) shared(targets []spec.Target, roles map[string][]string) []string {
	var arms, only []string
	for i := range targets {
		if own := p.target(&targets[i], roles); len(own) > 0 {
			arms = append(arms, fmt.Sprintf("%d %s", max(targets[i].Weight, 1), together(own)))
			only = own
		}
	}
	switch len(arms) {
	case 0:
		return nil
	case 1:
		return only
	}
	return []string{"split(" + strings.Join(arms, ", ") + ")"}
}

// together writes steps as one. The first of some, among others of which the first is taken, is one of these.
func together(steps []string) string {
	if len(steps) == 1 {
		return steps[0]
	}
	flat := slices.Clone(steps)
	for i, step := range flat {
		if first, is := strings.CutPrefix(step, "first("); is {
			flat[i] = strings.TrimSuffix(first, ")")
		}
	}
	return "first(" + strings.Join(flat, ", ") + ")"
}

func (p *plain) target(t *spec.Target, roles map[string][]string) (steps []string) {
	more := t.More()
	switch {
	case t.Pool != "":
		return p.inside(named(t.Pool, roles))
	case more.Site != "":
		return p.inside(p.atSite(more.Site))
	case more.Split != nil:
		return p.shared(more.Split, roles)
	case more.Policy != "":
		_, policy := p.world.Policy("", more.Policy)
		if r := p.first(policy.Rules); r != nil {
			return p.list(r.Pools, p.roles())
		}
		return nil
	case more.Nearest != nil:
		return p.nearest(more, p.among(more.Nearest, roles))
	}
	return p.fastest(more, p.among(more.Fastest, roles))
}

func named(name string, roles map[string][]string) []string {
	if roles == nil {
		return []string{name}
	}
	return roles[name]
}

func (p *plain) roles() map[string][]string {
	out := map[string][]string{}
	for _, m := range p.service.Members() {
		role := m.Role
		if role == "" {
			role = m.Pool
		}
		out[role] = append(out[role], m.Pool)
	}
	return out
}

func (p *plain) atSite(site string) (pools []string) {
	for _, m := range p.service.Members() {
		if p.world.sites[m.Pool] == site {
			pools = append(pools, m.Pool)
		}
	}
	return pools
}

func (p *plain) inside(pools []string) (out []string) {
	for _, pool := range pools {
		ok := true
		for _, fence := range p.fences {
			site := p.world.places[p.world.sites[pool]]
			ok = ok && site != nil && site.Region != "" && slices.ContainsFunc(fence, func(f string) bool {
				return site.Region == f || strings.HasPrefix(site.Region, f+"-")
			})
		}
		if ok {
			out = append(out, pool)
		}
	}
	return out
}

// far is a pool among others.
type far struct {
	pool   string
	weight int
	km, ms float64
}

func (p *plain) among(c *spec.Choices, roles map[string][]string) (out []far) {
	add := func(pools []string, weight int) {
		for _, pool := range p.inside(pools) {
			if !slices.ContainsFunc(out, func(f far) bool { return f.pool == pool }) {
				out = append(out, far{pool: pool, weight: max(weight, 1)})
			}
		}
	}
	if c.Sites {
		for _, m := range p.service.Members() {
			add([]string{m.Pool}, 1)
		}
	}
	for i := range c.List {
		if site := c.List[i].More().Site; site != "" {
			add(p.atSite(site), c.List[i].Weight)
		} else {
			add(named(c.List[i].Pool, roles), c.List[i].Weight)
		}
	}
	return out
}

// distance is the great-circle distance by the haversine formula.
func (p *plain) distance(pool string) float64 {
	site := p.world.places[p.world.sites[pool]]
	if site == nil || site.Location == nil {
		return math.Inf(1)
	}
	a := p.place.Point()
	rad := math.Pi / 180
	lat1, lat2 := a.Lat()*rad, geo.PointOf(site.Location.Lat, site.Location.Lon).Lat()*rad
	dlon := (geo.PointOf(site.Location.Lat, site.Location.Lon).Lon() - a.Lon()) * rad
	h := math.Pow(math.Sin((lat2-lat1)/2), 2) + math.Cos(lat1)*math.Cos(lat2)*math.Pow(math.Sin(dlon/2), 2)
	return 2 * 6371.0088 * math.Asin(math.Min(1, math.Sqrt(h)))
}

func (p *plain) nearest(t *spec.Steering, list []far) (steps []string) {
	if !p.place.Point().Known() {
		return cutOff(singles(list), list)
	}
	for i := range list {
		f := &list[i]
		f.km = p.distance(f.pool)
		bias := t.Bias[f.pool]
		if bias == "" {
			bias = t.Bias[p.world.sites[f.pool]]
		}
		var n float64
		if strings.HasSuffix(bias, "%") {
			fmt.Sscanf(bias, "%f%%", &n)
			f.km *= 1 - n/100
		} else if bias != "" {
			fmt.Sscanf(bias, "%fkm", &n)
			f.km = math.Max(0, f.km-n)
		}
	}
	listed := slices.Clone(list)
	slices.SortStableFunc(list, func(a, b far) int { return cmp.Compare(a.km, b.km) })
	if t.Farthest != "" {
		var most float64
		fmt.Sscanf(t.Farthest, "%fkm", &most)
		list = slices.DeleteFunc(list, func(f far) bool { return f.km > most })
		listed = slices.DeleteFunc(listed, func(f far) bool { return f.km > most })
	}
	band := 5.0
	if t.Band != "" {
		fmt.Sscanf(t.Band, "%f%%", &band)
	}
	var groups [][]far
	for _, f := range list {
		if n := len(groups); n > 0 && !math.IsInf(f.km, 1) && f.km <= groups[n-1][0].km*(1+band/100) {
			groups[n-1] = append(groups[n-1], f)
		} else {
			groups = append(groups, []far{f})
		}
	}
	return cutOff(groups, listed)
}

func singles(list []far) (groups [][]far) {
	for _, f := range list {
		groups = append(groups, []far{f})
	}
	return groups
}

// cutOff writes groups, the first ones until there are eight pools, and then all of them as listed.
func cutOff(groups [][]far, listed []far) (steps []string) {
	shown := 0
	for _, g := range groups {
		if shown >= 8 && len(listed) > 9 {
			var rest []string
			for _, f := range listed {
				rest = append(rest, f.pool)
			}
			return append(steps, together(rest))
		}
		shown += len(g)
		if len(g) == 1 {
			steps = append(steps, g[0].pool)
			continue
		}
		var arms []string
		for _, f := range g {
			arms = append(arms, fmt.Sprintf("%d %s", f.weight, f.pool))
		}
		steps = append(steps, "split("+strings.Join(arms, ", ")+")")
	}
	return steps
}

func (p *plain) fastest(t *spec.Steering, list []far) []string {
	margin, samples, age := 5.0, 1, 7*24*time.Hour
	if t.Margin != nil {
		margin = float64(time.Duration(*t.Margin).Microseconds()) / 1000
	}
	if t.Samples != 0 {
		samples = t.Samples
	}
	if t.MaxAge != 0 {
		age = time.Duration(t.MaxAge)
	}
	for i := range list {
		f := &list[i]
		ms, n, when, ok := p.place.Latency.Of(p.world.sites[f.pool])
		if f.ms = ms; !ok || n < samples || p.world.today.Sub(when.Truncate(24*time.Hour)) > age.Truncate(24*time.Hour) {
			f.ms = math.Inf(1)
		}
		if f.km = p.distance(f.pool); !p.place.Point().Known() || t.Then == spec.ThenListed {
			f.km = 0
		}
	}
	listed := slices.Clone(list)
	var order []far
	for len(list) > 0 {
		best := slices.MinFunc(list, func(a, b far) int { return cmp.Compare(a.ms, b.ms) }).ms
		var next *far
		for i := range list {
			if (list[i].ms <= best+margin) && (next == nil || list[i].km < next.km) {
				next = &list[i]
			}
		}
		chosen := next.pool
		order = append(order, *next)
		list = slices.DeleteFunc(list, func(f far) bool { return f.pool == chosen })
	}
	return cutOff(singles(order), listed)
}

// world is where pools stand, and the policies.
type world struct {
	sites    map[string]string // of pools
	places   map[string]*spec.Site
	policies map[string]*spec.Policy
	regional map[string]bool // of pools
	today    time.Time
}

func (w *world) Pool(_, name string) *Pool {
	p := PoolAt(name, w.sites[name], w.places[w.sites[name]])
	p.Regional = w.regional[name]
	return p
}

func (w *world) Policy(_, name string) (string, *spec.Policy) { return "shop", w.policies[name] }

// text writes a node as plain does.
func (n Node) text(p *Policy) string {
	if n.Kind == Leaf {
		return p.Pools[n.Pool].Name
	}
	var arms []string
	for _, a := range n.Arms {
		if arm := a.Node.text(p); n.Kind == Split {
			arms = append(arms, fmt.Sprintf("%d %s", a.Weight, arm))
		} else {
			arms = append(arms, arm)
		}
	}
	if n.Kind == First {
		return together(arms)
	}
	return "split(" + strings.Join(arms, ", ") + ")"
}

func texts(p *Policy, rows *Rows, steps []uint16, w Where) (out []string) {
	for _, at := range steps {
		for _, n := range inTurn(p, rows.Steps[at], w) {
			out = append(out, n.text(p))
		}
	}
	return out
}

// inTurn gives what a node comes to for a Where: of a Nearest, its arms by distance, in groups.
func inTurn(p *Policy, n Node, w Where) []Node {
	switch n.Kind {
	case Leaf:
		return []Node{n}
	case Nearest:
	default:
		arms := slices.Clone(n.Arms)
		for i := range arms {
			arms[i].Node = whole(inTurn(p, arms[i].Node, w))
		}
		n.Arms = arms
		return []Node{n}
	}
	var out []Node
	if !w.point.Known() {
		for _, a := range n.Arms {
			out = append(out, a.Node)
		}
		return out
	}
	far := func(a Arm) float64 { return a.Bias.Of(float64(float32(w.point.Kilometres(p.Pools[a.Node.Pool].At)))) }
	arms := slices.Clone(n.Arms)
	slices.SortStableFunc(arms, func(a, b Arm) int { return cmp.Compare(far(a), far(b)) })
	for len(arms) > 0 {
		most, group := far(arms[0])*(1+n.Band), 1
		for group < len(arms) && far(arms[group]) <= most && !math.IsInf(far(arms[group]), 1) {
			group++
		}
		for i := range group {
			arms[i].Bias = Bias{}
		}
		if group == 1 {
			out = append(out, arms[0].Node)
		} else {
			out = append(out, Node{Kind: Split, Arms: arms[:group]})
		}
		arms = arms[group:]
	}
	return out
}

// TestRowsAreAsDeclared: rows of random policies, in random places, are those of the plain interpreter; by Row and by a Grid alike.
func TestRowsAreAsDeclared(t *testing.T) {
	rnd := gtmtest.Random(t)
	seen := map[string]int{}
	for range 400 {
		w := randomWorld(rnd)
		s := w.service(rnd)
		p, err := New("shop", s, w, w.today.Unix()/daySeconds)
		if err != nil {
			t.Fatal(err)
		}
		var wheres []Where
		var places []geo.Place
		for range 25 {
			place := randomPlace(rnd)
			places, wheres = append(places, place), append(wheres, p.Where(place, geo.Hits{}))
		}
		all := p.Rows(NewGrid(wheres))
		for i, place := range places {
			twin := &plain{world: w, service: s, place: place}
			steps, last, ttl := twin.row()
			var trace Trace
			row, _ := p.Row(wheres[i], &trace)
			one := RowsOf([]Row{row})
			for what, rows := range map[string]*Rows{"Row": one, "Grid": all} {
				o := &rows.Orders[0]
				if what == "Grid" {
					o = &rows.Orders[rows.At(i)]
				}
				if rows.Groups != nil {
					seen["Nearest"]++
				}
				got, rest := texts(p, rows, o.Steps, wheres[i]), texts(p, rows, o.Last, wheres[i])
				region := twin.region(slices.Clone(steps), last)
				if seen["region "+region]++; o.Region != region {
					t.Fatalf("%s of %s at %v, regional %v: %v last %v is for %q, want %q", what, declared(s), place, w.regional, steps,
						last, o.Region, region)
				}
				if !slices.Equal(got, steps) || o.TTL != ttl || !slices.Equal(rest, last) {
					t.Fatalf("%s of %s at %v (%v):\n got %v last %v TTL %d\nwant %v last %v TTL %d", what, declared(s), place,
						place.Point(), got, rest, o.TTL, steps, last, ttl)
				}
			}
			for _, fence := range twin.fences {
				seen["fence"]++
				if !slices.Contains(trace.Fence, strings.Join(fence, " or ")) {
					t.Fatalf("fence %v is not told: %v", fence, trace.Fence)
				}
			}
			for _, what := range []string{"split", "first"} {
				seen[what] += strings.Count(strings.Join(append(steps, last...), " "), what)
			}
		}
	}
	for _, what := range []string{"fence", "split", "first", "Nearest", "region ", "region EU", "region AS"} {
		if seen[what] < 100 {
			t.Errorf("only %d with %s", seen[what], what)
		}
	}
}

func declared(s *spec.Service) string {
	out, err := spec.EncodeYAML([]*spec.Resource{{Key: spec.Key{Tenant: "shop", Kind: spec.KindService, Name: "web"}, Spec: s}})
	return string(out) + fmt.Sprint(err)
}

var codes = []string{"EU", "EU-DE", "EU-FR", "NA", "NA-US", "NA-US-CA", "AS", "AS-CN", "OC-AU", "SA", "AF-ZA"}

func randomPlace(rnd *rand.Rand) geo.Place {
	if rnd.IntN(12) == 0 {
		return geo.Place{}
	}
	p, _ := geo.ParsePlace(codes[rnd.IntN(len(codes))])
	if p.ASN = uint32(rnd.IntN(4)); rnd.IntN(3) > 0 {
		p.At = geo.PointOf(rnd.Float64()*180-90, rnd.Float64()*360-180)
	}
	if rnd.IntN(2) == 0 {
		var sites []geo.SiteLatency
		for i := range 12 {
			if rnd.IntN(3) > 0 {
				sites = append(sites, geo.SiteLatency{Site: fmt.Sprint("s", i), Milliseconds: float64(rnd.IntN(60)),
					Samples: 1 + rnd.IntN(9)})
			}
		}
		p.Latency = geo.NewLatency(time.Date(2026, 11, 1+rnd.IntN(28), 0, 0, 0, 0, time.UTC), sites...)
	}
	return p
}

func randomWorld(rnd *rand.Rand) *world {
	w := &world{sites: map[string]string{}, places: map[string]*spec.Site{}, policies: map[string]*spec.Policy{},
		regional: map[string]bool{}, today: time.Date(2026, 11, 28, 0, 0, 0, 0, time.UTC)}
	for i := range 12 {
		s := &spec.Site{}
		if rnd.IntN(8) > 0 {
			s.Region = codes[rnd.IntN(len(codes))]
		}
		if rnd.IntN(8) > 0 || s.Region != "" { // the oracle knows no centroids
			s.Location = &spec.Location{Lat: rnd.Float64()*180 - 90, Lon: rnd.Float64()*360 - 180}
		}
		w.places[fmt.Sprint("s", i)] = s
	}
	if rnd.IntN(2) == 0 {
		for range 3 {
			w.regional[fmt.Sprint("p", rnd.IntN(12))] = true
		}
	}
	for i := range 12 {
		if rnd.IntN(10) > 0 {
			w.sites[fmt.Sprint("p", i)] = fmt.Sprint("s", rnd.IntN(12))
		}
	}
	for i := range 3 { // each may use those before it
		w.policies[fmt.Sprint("policy", i)] = &spec.Policy{Fence: randomFence(rnd), Rules: w.rules(rnd, i, true)}
	}
	return w
}

func randomFence(rnd *rand.Rand) []string {
	if rnd.IntN(5) > 0 {
		return nil
	}
	return []string{codes[rnd.IntN(len(codes))], []string{"EU", "NA", "AS"}[rnd.IntN(3)]}
}

func (w *world) service(rnd *rand.Rand) *spec.Service {
	s := &spec.Service{Fence: randomFence(rnd), Rules: w.rules(rnd, 3, false)}
	if rnd.IntN(2) == 0 {
		s.LastResort = w.targets(rnd, 3, false, 1)
	}
	for i := range 12 {
		if rnd.IntN(3) == 0 {
			s.Pools = append(s.Pools, spec.Member{Pool: fmt.Sprint("p", i), Role: []string{"", "main", "spare"}[rnd.IntN(3)]})
		}
	}
	return s
}

func (w *world) rules(rnd *rand.Rand, policies int, inPolicy bool) []spec.Rule {
	rules := make([]spec.Rule, 1+rnd.IntN(4))
	for i := range rules {
		r := &rules[i]
		switch rnd.IntN(4) {
		case 0:
			r.When = &spec.When{Geo: []string{codes[rnd.IntN(len(codes))], codes[rnd.IntN(len(codes))]}}
		case 1:
			r.When = &spec.When{Geo: []string{codes[rnd.IntN(len(codes))]}, ASN: []uint32{uint32(1 + rnd.IntN(3))}}
		}
		if rnd.IntN(3) == 0 {
			ttl := spec.Duration(time.Duration(rnd.IntN(60)) * time.Second)
			r.TTL = &ttl
		}
		r.Fence, r.Pools = randomFence(rnd), w.targets(rnd, policies, inPolicy, 3)
	}
	return rules
}

func (w *world) targets(rnd *rand.Rand, policies int, inPolicy bool, deep int) []spec.Target {
	list := make([]spec.Target, 1+rnd.IntN(3))
	for i := range list {
		list[i] = w.target(rnd, policies, inPolicy, deep)
		if t := &list[i]; rnd.IntN(3) == 0 {
			t.Weight = 1 + rnd.IntN(9)
		} else if i > 0 && rnd.IntN(4) == 0 {
			more := *t.More()
			more.Trickle = []string{"2%", "0.5%", "33.33%"}[rnd.IntN(3)]
			t.Steering = &more
		}
	}
	return list
}

func name(rnd *rand.Rand, inPolicy bool) string {
	if inPolicy {
		return []string{"main", "spare", "p1", "p2", "nobody"}[rnd.IntN(5)]
	}
	return fmt.Sprint("p", rnd.IntN(12))
}

func (w *world) target(rnd *rand.Rand, policies int, inPolicy bool, deep int) spec.Target {
	more := &spec.Steering{}
	switch n := rnd.IntN(8); {
	case n == 0 && deep > 0:
		more.Split = w.targets(rnd, policies, inPolicy, deep-1)
	case n <= 2:
		more.Nearest, more.Band = choices(rnd, inPolicy), []string{"", "0%", "20%", "300%"}[rnd.IntN(4)]
		if rnd.IntN(3) == 0 {
			more.Farthest = []string{"900km", "9000km"}[rnd.IntN(2)]
		}
		if rnd.IntN(3) == 0 {
			more.Bias = map[string]string{"p1": "40%", "p2": "-50%", "s3": "800km", "s4": "-900km"}
		}
	case n == 3:
		more.Fastest, more.Then = choices(rnd, inPolicy), []string{"", spec.ThenListed}[rnd.IntN(2)]
		if more.Samples = rnd.IntN(6); rnd.IntN(2) == 0 {
			margin := spec.Duration(time.Duration(rnd.IntN(30)) * time.Millisecond)
			more.Margin, more.MaxAge = &margin, spec.Duration(time.Duration(1+rnd.IntN(20))*24*time.Hour)
		}
	case n == 4 && policies > 0:
		more.Policy = fmt.Sprint("policy", rnd.IntN(policies))
	case n == 5 && inPolicy:
		more.Site = fmt.Sprint("s", rnd.IntN(12))
	default:
		return spec.Target{Pool: name(rnd, inPolicy)}
	}
	return spec.Target{Steering: more}
}

func choices(rnd *rand.Rand, inPolicy bool) *spec.Choices {
	if rnd.IntN(3) == 0 {
		return &spec.Choices{Sites: true}
	}
	c := &spec.Choices{}
	for range 1 + rnd.IntN(11) {
		c.List = append(c.List, spec.Target{Pool: name(rnd, inPolicy), Weight: rnd.IntN(4)})
	}
	return c
}
