package spec

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/gti/gtm/pkg/geo"
	"github.com/gti/gtm/pkg/spec/recur"
)

// Override replaces what health says, or what is declared, for one endpoint, for all of a pool, or for a pool among those of a rule,
// for a time. The measured state stays visible beside it.
type Override struct {
	// Service and Rule, the rule's name or number, say that Weight is that of the pool among those of the rule. Absent: the pool itself
	// is meant.
	Service string `json:"service,omitempty" yaml:"service,omitempty"`
	Rule    string `json:"rule,omitempty" yaml:"rule,omitempty" number:"ok"`
	// Hold has the service answer as it did when gtmctl hold wrote this: of each of its pools, the scores of the endpoints that
	// were not 1. Evidence since then changes nothing; other overrides do.
	Hold map[string]Scores `json:"hold,omitempty" yaml:"hold,omitempty"`
	Pool string            `json:"pool,omitempty" yaml:"pool,omitempty"`
	// Endpoint is absent where the whole pool is meant.
	Endpoint string `json:"endpoint,omitempty" yaml:"endpoint,omitempty"`
	// State is up, down or drain. Drain takes no new clients but does not count as unhealthy. Beside a weight that goes to 0 it holds
	// as soon as it has come there.
	State string `json:"state,omitempty" yaml:"state,omitempty"`
	// Weight replaces the endpoint's weight, or the pool's in the rule.
	Weight *Ramp `json:"weight,omitempty" yaml:"weight,omitempty"`
	// Starts is absent where it holds at once. Control fills it in where Weight goes somewhere over a time.
	Starts Time `json:"starts,omitzero" yaml:"starts,omitempty"`
	// Schedule has it hold again and again; not together with Starts.
	Schedule *Schedule `json:"schedule,omitempty" yaml:"schedule,omitempty"`
	Reason   string    `json:"reason" yaml:"reason"`
	Author   string    `json:"author,omitempty" yaml:"author,omitempty"`
	// Expires is absent where it holds until it is deleted.
	Expires Time `json:"expires,omitzero" yaml:"expires,omitempty"`
}

// Scores are those of endpoints, by name: 0 (down) to 1.
type Scores map[string]float64

// Ramp is the weight of an override: in YAML and JSON a number, or {to: 30, over: 20m} where it goes there in steps.
type Ramp struct {
	To int `json:"to" yaml:"to"`
	// Over is how long that takes; 0: it is there at once.
	Over Duration `json:"over,omitempty" yaml:"over,omitempty" zero:"absent"`
	// From is the weight that it begins at. Absent: the declared one. Control fills it in where it follows upon another.
	From *float64 `json:"from,omitempty" yaml:"from,omitempty"`
}

// Schedule is when an override recurs.
type Schedule struct {
	Cron string   `json:"cron" yaml:"cron"`                     // five fields, as in 0 2 * * 1-5
	Zone string   `json:"zone,omitempty" yaml:"zone,omitempty"` // IANA name; absent: UTC
	For  Duration `json:"for" yaml:"for"`                       // how long each time
}

// Shortest time of a ramp: edges look at their clocks four times a second, and it has a hundred steps.
const minOver = 30 * time.Second

// maxOver bounds a ramp, and how long a recurrence lasts.
const maxOver = 366 * 24 * time.Hour

func (w *Ramp) decodeNode(d *decoder, n *node, path string) {
	switch n.shape {
	case shapeInt:
		w.To = int(d.integer(n, path, -1<<31, 1<<31-1))
	case shapeMap:
		type long Ramp
		d.value(n, path, reflect.ValueOf((*long)(w)).Elem(), "")
		if d.mode == Strict && n.get("to") == nil {
			d.fail(n.line, joinPath(path, "to"), "", "is missing: the weight to go to")
		}
	default:
		d.wrongType(n, path, "a whole number or {to: 30, over: 20m}")
	}
}

// UnmarshalJSON reads a number or {"to": 30, "over": "20m"}.
func (w *Ramp) UnmarshalJSON(data []byte) error { return unmarshalTolerant(data, w) }

// MarshalJSON gives the number alone where it holds at once.
func (w Ramp) MarshalJSON() ([]byte, error) {
	if w.Over == 0 && w.From == nil {
		return strconv.AppendInt(nil, int64(w.To), 10), nil
	}
	type long Ramp
	return json.Marshal(long(w))
}

// Term is how an override stands at a moment.
type Term struct {
	Holds bool
	From  time.Time // since when; zero: always, or it does not hold
	Next  time.Time // when Holds changes; zero: never
}

// At tells how the override stands at a moment. One whose times cannot be read does not hold.
func (o *Override) At(now time.Time) (t Term) {
	end, ends := o.Expires.Moment()
	start, starts := o.Starts.Moment()
	switch {
	case !ends && !o.Expires.IsZero(), !starts && !o.Starts.IsZero(), ends && !now.Before(end):
		return Term{}
	case o.Schedule != nil:
		t = o.Schedule.at(now)
	case starts && now.Before(start):
		t = Term{Next: start}
	case starts:
		t = Term{Holds: true, From: start}
	default:
		t = Term{Holds: true}
	}
	switch {
	case !ends:
	case t.Holds && (t.Next.IsZero() || end.Before(t.Next)):
		t.Next = end
	case !t.Holds && !t.Next.Before(end): // it is over before it comes again
		t.Next = time.Time{}
	}
	return t
}

func (s *Schedule) at(now time.Time) Term {
	parsed, err := recur.Parse(s.Cron, s.Zone)
	if err != nil || s.For <= 0 {
		return Term{}
	}
	begin, running := parsed.Running(now, time.Duration(s.For))
	if !running {
		return Term{Next: begin}
	}
	return Term{Holds: true, From: begin, Next: begin.Add(time.Duration(s.For))}
}

// Ended reports whether an override is over at now.
func (o *Override) Ended(now time.Time) bool {
	end, ok := o.Expires.Moment()
	return ok && !now.Before(end)
}

// Ramps reports whether the override moves a weight in steps.
func (o *Override) Ramps() bool { return o.Weight != nil && o.Weight.Over > 0 }

// OfRule reports whether the override is of a service's rule, counted from 0.
func (o *Override) OfRule(service string, s *Service, rule int) bool {
	return o.Hold == nil && o.Service == service && service != "" && s.RuleNamed(o.Rule) == rule
}

// RuleNamed gives the rule of that name, or else that of that number, from 1; -1: there is none.
func (s *Service) RuleNamed(word string) int {
	if i := slices.IndexFunc(s.Rules, func(r Rule) bool { return r.Name == word }); i >= 0 && word != "" {
		return i
	}
	if n, err := strconv.Atoi(word); err == nil && n > 0 && n <= len(s.Rules) {
		return n - 1
	}
	return -1
}

func (c *checker) override(o *Override) {
	if o.Hold != nil {
		c.hold(o)
		return
	}
	c.label("spec.pool", o.Pool)
	if o.Endpoint != "" {
		c.label("spec.endpoint", o.Endpoint)
	}
	if o.State != "" {
		c.oneOf("spec.state", o.State, StateUp, StateDown, StateDrain)
	}
	ofRule := o.Service != "" || o.Rule != ""
	switch {
	case ofRule:
		c.overrideOfRule(o)
	case o.State == "" && o.Weight == nil:
		c.fail("spec", "give state (up, down or drain) or weight", "says nothing to override")
	}
	if o.Weight != nil {
		c.ramp(o)
		if o.Endpoint == "" && !ofRule {
			c.fail("spec.weight", "name the endpoint, or the service and the rule",
				"a weight belongs to one endpoint, or to a pool in a rule")
		}
	}
	c.why(o)
	c.times(o)
}

// why checks that people are told.
func (c *checker) why(o *Override) {
	if strings.TrimSpace(o.Reason) == "" {
		c.fail("spec.reason", "say why, for those who find it later", "is missing")
	}
}

// hold checks an override that freezes a service.
func (c *checker) hold(o *Override) {
	c.label("spec.service", o.Service)
	if o.Rule != "" || o.Pool != "" || o.Endpoint != "" || o.State != "" || o.Weight != nil {
		c.fail("spec", "make another override of that", "freezes a service, and overrides something else")
	}
	if len(o.Hold) == 0 {
		c.fail("spec.hold", "gtmctl hold writes it", "says nothing of the pools of the service")
	}
	for _, pool := range slices.Sorted(maps.Keys(o.Hold)) {
		path := joinPath("spec.hold", pool)
		if of, region, _ := strings.Cut(pool, "@"); slices.Contains(geo.Continents[:], region) { // it is of what clients of a region get
			c.label(path, of)
		} else {
			c.label(path, pool)
		}
		for _, name := range slices.Sorted(maps.Keys(o.Hold[pool])) {
			if score := o.Hold[pool][name]; !(score >= 0 && score <= 1) {
				c.fail(joinPath(path, name), "", "%v is no score: it can be 0 to 1", score)
			}
		}
	}
	c.why(o)
	c.times(o)
}

func (c *checker) overrideOfRule(o *Override) {
	switch {
	case o.Service == "":
		c.fail("spec.service", "name the service whose rule it is", "is missing")
	case o.Rule == "":
		c.fail("spec.rule", "name the rule by its name or number", "is missing")
	default:
		c.label("spec.service", o.Service)
	}
	if o.State != "" || o.Endpoint != "" {
		c.fail("spec", "make an override of the pool for that, without service and rule", "a rule's pools are given weights alone")
	}
	if o.Weight == nil {
		c.fail("spec.weight", "", "is missing: the weight of the pool among those of the rule")
	}
}

// ramp checks the weight.
func (c *checker) ramp(o *Override) {
	w := o.Weight
	c.between("spec.weight", w.To, 0, maxWeight)
	if from := w.From; from != nil && !(*from >= 0 && *from <= maxWeight) {
		c.fail("spec.weight.from", "", "%v is out of range: it can be 0 to %d", *from, maxWeight)
	}
	if w.Over == 0 {
		if w.From != nil {
			c.fail("spec.weight.from", "say over how long, or leave it out", "means nothing where the weight holds at once")
		}
		return
	}
	if over := time.Duration(w.Over); over < minOver || over > maxOver {
		c.fail("spec.weight.over", "leave it out to be there at once", "%s is out of range: it can be %s to %s", w.Over, Duration(minOver),
			Duration(maxOver))
	}
	if o.State == StateUp || o.State == StateDown || o.State == StateDrain && w.To != 0 {
		c.fail("spec.state", "make it drain, with a weight to: 0; or leave it out",
			"beside a weight that goes somewhere in steps only a drain makes sense, at its end")
	}
}

// times checks when the override holds.
func (c *checker) times(o *Override) {
	end, ends := c.moment("spec.expires", o.Expires)
	start, starts := c.moment("spec.starts", o.Starts)
	last := time.Duration(maxOver) // of each time that it holds
	if starts && ends {
		if last = end.Sub(start); last <= 0 {
			c.fail("spec.expires", "", "%s is not after spec.starts, %s", o.Expires, o.Starts)
			return
		}
	}
	if s := o.Schedule; s != nil {
		if !o.Starts.IsZero() {
			c.fail("spec.starts", "leave one of them out", "cannot stand beside a schedule, which says when it begins")
		}
		if last = time.Duration(s.For); last <= 0 || last > maxOver {
			c.fail("spec.schedule.for", "", "%s is out of range: it can be up to %s", s.For, Duration(maxOver))
		}
		if _, err := recur.Parse(s.Cron, s.Zone); errors.Is(err, recur.ErrNever) {
			c.fail("spec.schedule.cron", "", "%q: %v", shorten(s.Cron), err)
		} else if err != nil {
			c.fail("spec.schedule", "", "%v", err)
		}
	}
	if o.Ramps() && time.Duration(o.Weight.Over) > last && last > 0 {
		c.fail("spec.weight.over", "", "%s is longer than the override holds, %s", o.Weight.Over, Duration(last))
	}
}

func (c *checker) moment(path string, t Time) (time.Time, bool) {
	moment, ok := t.Moment()
	if !ok && !t.IsZero() {
		c.fail(path, "", "wants a time as in 2026-01-31T18:00:00Z, not %q", shorten(t.String()))
	}
	return moment, ok
}

// override checks that what is overridden is there.
func (v *setChecker) override(r *Resource, o *Override) {
	if o.Hold != nil {
		return
	}
	if o.Service != "" || o.Rule != "" {
		v.inRule(r, o)
		return
	}
	pool := v.after.Get(Key{r.Tenant, KindPool, o.Pool})
	if pool == nil || o.Endpoint == "" {
		return
	}
	if p := pool.Spec.(*Pool); p.MayFind(o.Endpoint) || p.isFound(o.Endpoint) && !v.changed[r.Key] {
		return
	}
	var names []string
	for _, e := range pool.Spec.(*Pool).Endpoints {
		if e.Name == o.Endpoint {
			return
		}
		names = append(names, e.Name)
	}
	if v.changed[r.Key] {
		v.fail(r, "spec.endpoint", didYouMean(o.Endpoint, names), "pool %s has no endpoint %s", o.Pool, shorten(o.Endpoint))
		return
	}
	v.fail(pool, "spec.endpoints", "delete the override too", "endpoint %s is gone, but %s still refers to it", o.Endpoint, r.Key)
}

// inRule checks that the rule is there, has the pool, and divides its clients by weights.
func (v *setChecker) inRule(r *Resource, o *Override) {
	service := v.after.Get(Key{r.Tenant, KindService, o.Service})
	if service == nil {
		return
	}
	s := service.Spec.(*Service)
	at, field := r, "spec.rule"
	tell := func(hint, format string, args ...any) { v.fail(at, field, hint, format, args...) }
	if !v.changed[r.Key] { // the service has changed
		at, field = service, "spec.rules"
		tell = func(_, format string, args ...any) {
			v.fail(at, field, "delete the override too", format+", but %s still refers to it", append(args, r.Key)...)
		}
	}
	rule := s.RuleNamed(o.Rule)
	if rule < 0 {
		tell(didYouMean(o.Rule, s.ruleNames()), "service %s has no rule %s", o.Service, shorten(o.Rule))
		return
	}
	list, i := s.Rules[rule].Entry(o.Pool)
	if i < 0 {
		if v.changed[r.Key] {
			field = "spec.pool"
		}
		tell("", "rule %s of service %s has no pool %s to give a weight", o.Rule, o.Service, o.Pool)
		return
	}
	if v.changed[r.Key] && !v.divides(r.Tenant, o, s, rule, list, i) {
		v.fail(r, "spec.pool", fmt.Sprintf("give its neighbours weights, too, as in gtmctl shift %s/%s --rule %s %s", r.Tenant, o.Service,
			o.Rule, weightsLike(list, i)), "pool %s stands by itself in rule %s, for failover: a weight alone moves nothing", o.Pool,
			o.Rule)
	}
}

// Entry gives the list of targets in which a pool has a weight of its own, or may be given one, and its place there: the rule's own
// list, or
// that of a split in it; -1: there is none.
func (r *Rule) Entry(pool string) (list []Target, at int) {
	is := func(t Target) bool { return t.Pool == pool && t.IsPool() }
	if at = slices.IndexFunc(r.Pools, is); at >= 0 {
		return r.Pools, at
	}
	for i := range r.Pools {
		if split := r.Pools[i].More().Split; r.Pools[i].Weight == 0 {
			if at = slices.IndexFunc(split, is); at >= 0 {
				return split, at
			}
		}
	}
	return nil, -1
}

// ruleNames gives what the rules are called.
func (s *Service) ruleNames() (names []string) {
	for i := range s.Rules {
		names = append(names, s.ruleName(i))
	}
	return names
}

// ruleName gives a rule's name, or else its number.
func (s *Service) ruleName(i int) string { return orDefault(s.Rules[i].Name, strconv.Itoa(i+1)) }

// divides reports whether target i of a list, which an override gives a weight, has a neighbour with a weight, declared or by an override.
func (v *setChecker) divides(tenant string, o *Override, s *Service, rule int, list []Target, i int) bool {
	for _, j := range []int{i - 1, i + 1} {
		if j < 0 || j >= len(list) {
			continue
		}
		if list[i].Weight > 0 && list[j].Weight > 0 {
			return true
		}
		for r := range v.after.Of(KindOverride) {
			if other := r.Spec.(*Override); r.Tenant == tenant && other.Pool == list[j].Pool && other.OfRule(o.Service, s, rule) {
				return true
			}
		}
	}
	return false
}

// weightsLike writes weights for target i and a neighbour of it, as gtmctl takes them.
func weightsLike(list []Target, i int) string {
	words := []string{"OTHER=90", list[i].Pool + "=10"}
	switch {
	case i > 0 && list[i-1].IsPool():
		words[0] = list[i-1].Pool + "=90"
	case i+1 < len(list) && list[i+1].IsPool():
		words = []string{list[i].Pool + "=90", list[i+1].Pool + "=10"}
	}
	return strings.Join(words, " ")
}

// uniqueOverrides finds changed overrides of what another override holds: which one counts would be chance.
func (v *setChecker) uniqueOverrides(changed []*Resource) {
	if !slices.ContainsFunc(changed, func(r *Resource) bool { return r.Kind == KindOverride }) {
		return
	}
	at := map[string][]*Resource{}
	for r := range v.after.Of(KindOverride) {
		target := OverrideTarget(v.after, r)
		at[target] = append(at[target], r)
	}
	v.unique(at, "spec", "change or delete that one", func(target string, other Key) string {
		return fmt.Sprintf("%s is already overridden by %s", target, other)
	})
}

// OverrideTarget names what an override is of: the same for all that are of the same, however they name a rule.
func OverrideTarget(set Lookup, r *Resource) string {
	o := r.Spec.(*Override)
	target := r.Tenant + "/" + o.Pool
	switch {
	case o.Hold != nil:
		return "service " + r.Tenant + "/" + o.Service
	case o.Service != "":
		rule := o.Rule
		if service := set.Get(Key{r.Tenant, KindService, o.Service}); service != nil {
			if i := service.Spec.(*Service).RuleNamed(o.Rule); i >= 0 {
				rule = service.Spec.(*Service).ruleName(i)
			}
		}
		return fmt.Sprintf("%s in rule %s of %s/%s", target, rule, r.Tenant, o.Service)
	case o.Endpoint != "":
		return target + "/" + o.Endpoint
	}
	return target
}
