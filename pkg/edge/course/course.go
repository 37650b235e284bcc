// Package course decides which generation of each tenant an edge goes by: the newest one, the one that the edge's group is pointed at by a
// rollout, or the one before a generation that the edge refuses. Overrides wait for no rollout: they are always the newest ones, but beside
// a generation on which the edge crashed.
//
// It knows neither sockets nor disks: what the store tells comes in by Take, and what is to be compiled comes out.
package course

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/gti/gtm/pkg/spec"
	"github.com/gti/gtm/pkg/store/state"
)

// Course keeps what the store told last of each tenant, and what is served of it. It is for one goroutine.
type Course struct {
	edge    string
	now     func() time.Time
	tenants map[string]*tenant
	poison  map[string]state.Mark
	touched map[string]bool       // since Published was called last
	wanted  map[string]state.Mark // as tenant.want
	held    map[string]bool       // tenants that do not follow

	started  time.Time
	together map[string]state.Mark // refused since Published was called last
	tied     map[string]bool       // tenants whose refusal ends with another's
}

// tenant is what is known of one. States share what does not differ, so that four cost little more than one.
type tenant struct {
	heard   state.TenantState
	served  state.TenantState // is to be, or is; with no Head: nothing yet
	good    state.TenantState // that was published last
	before  state.TenantState // that was good before another one was
	follows bool              // served is what was heard last
	aim     state.Aim
	fetched *state.TenantState
	want    state.Mark // that only the store has
	refused *Refusal
}

// Refusal is a generation that the edge does not take.
type Refusal struct {
	state.Mark
	Why     string
	Crashed bool // the edge did, on it
	Since   time.Time
	// with are the generations that were refused for the same view, this one among them: any of them may be the one to blame.
	with map[string]state.Mark
}

// Held is a tenant that is not served at its newest generation.
type Held struct {
	Tenant  string
	Newest  state.Generation
	Serves  state.Generation
	Refused *Refusal // nil: a rollout has not come to it
	Group   string   // of the rollout
	Waits   bool     // it is pointed at a generation that is not here yet
}

// New makes a course for an edge, to which generations are poison on which it crashed.
func New(edge string, poison map[string]state.Mark, now func() time.Time) *Course {
	return &Course{edge: edge, now: now, started: now(), tenants: map[string]*tenant{}, poison: maps.Clone(poison),
		touched: map[string]bool{}, wanted: map[string]state.Mark{}, held: map[string]bool{}, together: map[string]state.Mark{},
		tied: map[string]bool{}}
}

// Take takes what the store told, and gives what of it is to be served.
func (c *Course) Take(u state.Update) state.Update {
	out := u
	out.Tenants = nil
	news := c.hear(&u)
	c.untie(news)
	for _, name := range slices.Sorted(maps.Keys(news)) {
		if tu, ok := c.step(name, news[name], u.Full); ok {
			out.Tenants = append(out.Tenants, tu)
		}
	}
	return out
}

// Restore takes a state from disk. It was served, and is served again.
func (c *Course) Restore(u *state.Update) {
	for name := range c.hear(u) {
		if t := c.tenants[name]; t.heard.Head != 0 {
			t.served, t.good, t.follows = t.heard, t.heard, true
		}
	}
}

// hear notes what was told, and gives the tenants of which something was.
func (c *Course) hear(u *state.Update) map[string]*state.TenantUpdate {
	news := map[string]*state.TenantUpdate{}
	aims := state.Aims.In(*u)
	if u.Full {
		told := map[string]bool{}
		for _, tu := range u.Tenants {
			told[tu.Tenant] = true
		}
		maps.DeleteFunc(c.tenants, func(name string, t *tenant) bool {
			if !slices.Contains(aims.Broken, name) {
				t.aim = state.Aim{}
			}
			if !told[name] {
				delete(c.wanted, name)
				delete(c.held, name)
			}
			return !told[name]
		})
	}
	for i := range u.Tenants {
		tu := &u.Tenants[i]
		t := c.tenant(tu.Tenant)
		was := t.heard.Resources
		t.heard = state.TenantState{Head: tu.Head, ID: tu.ID}
		if t.heard.Resources = was.With(tu.Put, tu.Deleted); u.Full {
			t.heard.Resources = state.NewResources(tu.Put...).With(kept(was, tu.Broken), nil)
		}
		news[tu.Tenant] = tu
	}
	for _, a := range aims.Put {
		c.point(a.Tenant, a, news)
	}
	for _, name := range aims.Deleted {
		c.point(name, state.Aim{}, news)
	}
	return news
}

// kept are the versions that hold in the place of broken ones.
func kept(was state.Resources, broken []state.BrokenResource) (list []state.Version) {
	for _, b := range broken {
		if v, ok := was.Get(b.Key); ok {
			list = append(list, v)
		}
	}
	return list
}

func (c *Course) tenant(name string) *tenant {
	t := c.tenants[name]
	if t == nil {
		t = &tenant{}
		c.tenants[name] = t
	}
	return t
}

func (c *Course) point(name string, a state.Aim, news map[string]*state.TenantUpdate) {
	t := c.tenant(name)
	t.aim, t.fetched, t.want = a, nil, state.Mark{}
	if _, told := news[name]; !told {
		news[name] = nil
	}
}

// Fetched brings a generation that was wanted; false: it is wanted no more.
func (c *Course) Fetched(name string, got state.TenantState) (state.Update, bool) {
	t := c.tenants[name]
	if t == nil || !t.want.Same(state.MarkOf(got)) {
		return state.Update{}, false
	}
	t.fetched = &got
	tu, ok := c.step(name, nil, false)
	return state.Update{Tenants: []state.TenantUpdate{tu}}, ok
}

// Wanted gives the generations that the edge is pointed at and has not got, by tenant. It is not to be changed.
func (c *Course) Wanted() map[string]state.Mark { return c.wanted }

// step brings what is served of a tenant to where it is to be, and tells how. tu is what was heard just now; nil: nothing was.
func (c *Course) step(name string, tu *state.TenantUpdate, full bool) (state.TenantUpdate, bool) {
	t := c.tenants[name]
	followed := t.follows
	next, newest := c.next(name, t)
	if delete(c.wanted, name); t.want.Generation != 0 {
		c.wanted[name] = t.want
	}
	if delete(c.held, name); !newest {
		c.held[name] = true
	}
	if next.Head == 0 {
		return state.TenantUpdate{}, false // nothing of it is here
	}
	was := t.served
	t.served, t.follows, c.touched[name] = next, newest, true
	switch {
	case newest && tu != nil && (full || followed || was.Head == 0):
		return *tu, true // as ever
	case full:
		return whole(name, next), true
	}
	out := difference(name, was, next)
	if newest && tu != nil {
		out.Broken = tu.Broken
	}
	return out, len(out.Broken) > 0 || was.Head != next.Head || was.ID != next.ID || len(out.Put)+len(out.Deleted) > 0
}

// next gives what is to be served of a tenant, and whether it is just what was heard last.
func (c *Course) next(name string, t *tenant) (next state.TenantState, newest bool) {
	to := t.aimed(c.edge)
	if t.want = (state.Mark{}); t.refuses(c, name, to) {
		if t.refused.Crashed {
			return t.good, false // who knows what of it was to blame
		}
		return c.overridden(name, t, t.good), false
	}
	if to.Same(state.MarkOf(t.heard)) {
		return t.heard, true
	}
	for _, has := range []*state.TenantState{&t.served, &t.good, &t.before, t.fetched} {
		if has != nil && to.Same(state.MarkOf(*has)) {
			return c.overridden(name, t, *has), false
		}
	}
	if to.Generation > t.heard.Head && t.served.Head != 0 {
		return c.overridden(name, t, t.served), false // its news is on the way
	}
	if t.heard.Head == 0 {
		return state.TenantState{}, false // there is no such tenant
	}
	if t.want = to; t.served.Head == 0 {
		return state.TenantState{}, false
	}
	return c.overridden(name, t, t.served), false
}

// aimed gives the generation that is to be served if it is not refused.
func (t *tenant) aimed(edge string) state.Mark {
	if i := t.aim.Group(edge); i >= 0 && t.aim.Groups[i].At.Generation != 0 {
		return t.aim.Groups[i].At
	}
	return state.MarkOf(t.heard)
}

// refuses reports whether a generation is refused; what was refused before, and is not aimed at any more, is forgotten.
func (t *tenant) refuses(c *Course, name string, to state.Mark) bool {
	if t.good.Head == 0 {
		return false // there is nothing to stay at
	}
	if t.aim.Accept.Same(to) {
		delete(c.poison, name)
		t.refused = nil
		return false
	}
	if c.poison[name].Same(to) && (t.refused == nil || !t.refused.Crashed) {
		t.refused = &Refusal{Mark: to, Crashed: true, Since: c.now(), Why: "this edge crashed on it: when it was taken, or right after"}
	}
	if t.refused != nil && !t.refused.Same(to) {
		t.refused = nil
	}
	return t.refused != nil
}

// GiveUp has a tenant served at its newest generation, since the one that it is pointed at is nowhere, and nothing else of it is here.
func (c *Course) GiveUp(name string) (state.Update, bool) {
	t := c.tenants[name]
	if t == nil || t.served.Head != 0 || t.heard.Head == 0 {
		return state.Update{}, false
	}
	t.served, t.follows, c.touched[name], c.held[name] = t.heard, false, true, true
	return state.Update{Tenants: []state.TenantUpdate{whole(name, t.heard)}}, true
}

// Taken gives the newer generations that were taken since Published, where something was served before.
func (c *Course) Taken() map[string]state.Mark {
	taken := map[string]state.Mark{}
	for name := range c.touched {
		if t := c.tenants[name]; t != nil && t.good.Head != 0 && t.served.Head > t.good.Head {
			taken[name] = state.MarkOf(t.served)
		}
	}
	return taken
}

// OnlyOverrides reports whether what was taken of a tenant differs in nothing but overrides from what was published last: what people do
// in haste is judged by nobody.
func (c *Course) OnlyOverrides(name string) bool {
	t := c.tenants[name]
	if t == nil {
		return true
	}
	d := difference(name, t.good, t.served)
	return !slices.ContainsFunc(d.Put, func(v state.Version) bool { return v.Resource.Kind != spec.KindOverride }) &&
		!slices.ContainsFunc(d.Deleted, func(k spec.Key) bool { return k.Kind != spec.KindOverride })
}

// Outgrown tells of the tenants of which something was taken that is more than factor times as large as what was published last, and
// larger than what any zone or map may grow to.
func (c *Course) Outgrown(factor int) (why map[string]string) {
	for name := range c.Taken() {
		t := c.tenants[name]
		for k, v := range t.served.Resources.Unlike(t.good.Resources) {
			was, had := t.good.Resources.Get(k)
			if !had || c.Accepted(name, state.MarkOf(t.served)) {
				continue
			}
			before, free, what := sizeOf(was.Resource)
			if now, _, _ := sizeOf(v.Resource); before > 0 && now/factor > max(before, free) {
				set(&why, name, fmt.Sprintf("%s has %d %s, and %d before: more than %d times as many", k, now, what, before, factor))
			}
		}
	}
	return why
}

// sizeOf measures what can grow out of hand; free is what is never too much, once multiplied.
func sizeOf(r *spec.Resource) (size, free int, what string) {
	switch s := r.Spec.(type) {
	case *spec.Zone:
		return len(s.Content), 1 << 20, "bytes"
	case *spec.Map:
		return len(s.Networks), 10_000, "networks"
	}
	return 0, 0, ""
}

// Missing lists the tenants of which nothing is served until what they are pointed at is fetched.
func (c *Course) Missing() (list []string) {
	for name := range c.Wanted() {
		if c.tenants[name].served.Head == 0 {
			list = append(list, name)
		}
	}
	slices.Sort(list)
	return list
}

// Published notes that what is to be served is served, and reports whether anything has become of tenants since it did so last.
func (c *Course) Published() (changed bool) {
	changed = len(c.touched) > 0
	for name := range c.touched {
		if t := c.tenants[name]; t != nil {
			if t.good.Head != 0 && !state.MarkOf(t.good).Same(state.MarkOf(t.served)) {
				t.before = t.good
			}
			t.good = t.served
		}
	}
	clear(c.touched)
	c.together = map[string]state.Mark{}
	return changed
}

// Accepted reports whether somebody has said that a tenant's generation is to be taken as it is.
func (c *Course) Accepted(name string, m state.Mark) bool {
	t := c.tenants[name]
	return t != nil && t.aim.Accept.Same(m)
}

// Refuse goes back to what was published last of tenants, and tells how. why is by tenant.
func (c *Course) Refuse(why map[string]string) (back state.Update) {
	for _, name := range slices.Sorted(maps.Keys(why)) {
		t := c.tenants[name]
		if t == nil || t.good.Head == 0 {
			continue
		}
		bad := t.served
		t.refused = &Refusal{Mark: state.MarkOf(bad), Why: why[name], Since: c.now()}
		c.together[name] = t.refused.Mark
		t.served, t.follows, c.held[name] = c.overridden(name, t, t.good), false, true
		back.Tenants = append(back.Tenants, difference(name, bad, t.served))
	}
	c.tie()
	return back
}

// Held lists the tenants that are not served at their newest generation, by name.
func (c *Course) Held() (list []Held) {
	for name := range c.held {
		t := c.tenants[name]
		if t == nil || t.heard.Head == 0 {
			continue
		}
		h := Held{Tenant: name, Newest: t.heard.Head, Serves: t.served.Head, Refused: t.refused, Waits: t.want.Generation != 0}
		if h.Refused == nil {
			h.Refused = c.overridesRefused(name, t)
		}
		if i := t.aim.Group(c.edge); i >= 0 {
			h.Group = t.aim.Groups[i].Name
		}
		list = append(list, h)
	}
	slices.SortFunc(list, func(a, b Held) int { return strings.Compare(a.Tenant, b.Tenant) })
	return list
}

// whole is all of a tenant, as a full update has it.
func whole(name string, t state.TenantState) state.TenantUpdate {
	tu := state.TenantUpdate{Tenant: name, Head: t.Head, ID: t.ID}
	for _, v := range t.Resources.All() {
		tu.Put = append(tu.Put, v)
	}
	tu.Sort()
	return tu
}

// difference leads from one state of a tenant to another.
func difference(name string, was, is state.TenantState) state.TenantUpdate {
	tu := state.TenantUpdate{Tenant: name, Head: is.Head, ID: is.ID}
	for k, v := range is.Resources.Unlike(was.Resources) {
		if has, ok := was.Resources.Get(k); !ok || has != v {
			tu.Put = append(tu.Put, v)
		}
	}
	for k := range was.Resources.Unlike(is.Resources) {
		if _, ok := is.Resources.Get(k); !ok {
			tu.Deleted = append(tu.Deleted, k)
		}
	}
	tu.Sort()
	return tu
}
