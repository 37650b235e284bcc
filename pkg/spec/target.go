package spec

import (
	"encoding/json"
	"fmt"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Target is one entry of a list of pools. It says, for a client's place, which pools are tried and in what order; a list is what its
// entries come to, one after the other. Nearly all are pools, so that the rest stands apart.
// A pool without more is written as its name alone.
type Target struct {
	// Pool of the same tenant. In a Policy it is a role: the pools that have it in the service which uses the policy.
	Pool string `json:"pool,omitempty" yaml:"pool,omitempty"`
	// Weight is the share of the entry's own in a split, or among neighbours that carry one. 0: absent.
	Weight int `json:"weight,omitempty" yaml:"weight,omitempty"`
	// Steering is what else it says; nil: nothing. It is written beside the other two.
	*Steering
}

// Steering is what an entry of a list of pools says that is more than a pool. One of Site, Nearest, Fastest, Policy and Split stands in the
// place of a pool.
type Steering struct {
	// Site, in a Policy, stands for the pools there of the service that uses it.
	Site string `json:"site,omitempty" yaml:"site,omitempty"`
	// Nearest tries its pools in the order of their distance from the client.
	Nearest *Choices `json:"nearest,omitempty" yaml:"nearest,omitempty"`
	// Fastest tries its pools in the order of the time that clients measured to their sites.
	Fastest *Choices `json:"fastest,omitempty" yaml:"fastest,omitempty"`
	// Policy is the name of a Policy of the same tenant, or of the platform's.
	Policy string `json:"policy,omitempty" yaml:"policy,omitempty"`
	// Split shares the answers among its entries, in proportion to their weights.
	Split []Target `json:"split,omitempty" yaml:"split,omitempty"`
	// Trickle is the share of the answers, as in 2%, that the entry has while what stands before it is up.
	Trickle string `json:"trickle,omitempty" yaml:"trickle,omitempty"`

	// Band, of nearest: pools that are at most so much farther than the nearest share the answers by weight. Default 5%.
	Band string `json:"band,omitempty" yaml:"band,omitempty"`
	// Bias, of nearest, by pool or site: how much nearer than it is a pool counts as, as in 10% or 200km; negative: farther.
	Bias map[string]string `json:"bias,omitempty" yaml:"bias,omitempty"`
	// Farthest, of nearest, leaves out pools that are farther, as in 3000km.
	Farthest string `json:"farthest,omitempty" yaml:"farthest,omitempty"`
	// Margin, of fastest, is by how much a pool must be faster than a nearer one to come before it. Default 5ms.
	Margin *Duration `json:"margin,omitempty" yaml:"margin,omitempty"`
	// Samples, of fastest, is how often a time must have been measured to count. Default 1.
	Samples int `json:"samples,omitempty" yaml:"samples,omitempty" zero:"absent"`
	// MaxAge, of fastest, is how old a measurement may be. Default 7d.
	MaxAge Duration `json:"maxAge,omitempty" yaml:"maxAge,omitempty" zero:"absent"`
	// Then, of fastest, orders what no time is known of: nearest (default) or listed.
	Then string `json:"then,omitempty" yaml:"then,omitempty"`
}

// More gives what the entry says beside pool and weight; never nil.
func (t *Target) More() *Steering {
	if t.Steering == nil {
		return &Steering{}
	}
	return t.Steering
}

// Choices are the pools that nearest and fastest choose among: a list, or the word sites for all pools of the service.
type Choices struct {
	Sites bool
	List  []Target // pools (in a Policy also sites), with weights for those that share
}

// Member is a pool of a service that policies draw from, and what it is to them. One whose role is its name is written as that alone.
type Member struct {
	Pool string `json:"pool" yaml:"pool"`
	// Role is what policies call it. Absent: its name.
	Role string `json:"role,omitempty" yaml:"role,omitempty"`
}

// Values of Target.Then.
const (
	ThenNearest = "nearest"
	ThenListed  = "listed"
)

// Defaults of targets.
const (
	defaultBand   = "5%"
	defaultMargin = Duration(5 * time.Millisecond)
	defaultMaxAge = Duration(7 * 24 * time.Hour)
)

// Effective gives what the entry says, with its own defaults filled in; those of what it holds stay as declared.
func (t *Target) Effective() Steering {
	e := *t.More()
	switch {
	case e.Nearest != nil:
		e.Band = orDefault(e.Band, defaultBand)
	case e.Fastest != nil:
		e.Samples = orDefault(e.Samples, 1)
		e.MaxAge = orDefault(e.MaxAge, defaultMaxAge)
		e.Then = orDefault(e.Then, ThenNearest)
		if e.Margin == nil {
			margin := defaultMargin
			e.Margin = &margin
		}
	}
	return e
}

// IsPool tells a target that is a pool, with a weight or without, and nothing more.
func (t *Target) IsPool() bool { return t.Pool != "" && t.Steering == nil }

// OnlyPools reports whether each entry of the service's lists is a pool, and nothing fences them.
func (s *Service) OnlyPools() bool {
	only := func(list []Target, fence []string) bool {
		return len(fence) == 0 && !slices.ContainsFunc(list, func(t Target) bool { return !t.IsPool() })
	}
	return only(s.LastResort, s.Fence) && !slices.ContainsFunc(s.Rules, func(r Rule) bool { return !only(r.Pools, r.Fence) })
}

// longTarget is the long form of a Target.
type longTarget struct {
	Pool   string `json:"pool,omitempty" yaml:"pool,omitempty"`
	Weight int    `json:"weight,omitempty" yaml:"weight,omitempty"`
	Steering
}

func (t *Target) decodeNode(d *decoder, n *node, path string) {
	if n.shape != shapeMap {
		if n.shape == shapeString {
			t.Pool = n.text
			return
		}
		d.wrongType(n, path, "the name of a pool, or one of {pool: NAME, weight: N}, {nearest: [...]}, {fastest: [...]}, "+
			"{policy: NAME} and {split: [...]}")
		return
	}
	var long longTarget
	d.value(n, path, reflect.ValueOf(&long).Elem(), "")
	t.Pool, t.Weight = long.Pool, long.Weight
	if !reflect.ValueOf(long.Steering).IsZero() {
		t.Steering = &long.Steering
	}
	for _, e := range n.keys {
		if d.mode == Strict && e.key == "weight" && e.value.shape == shapeInt && isZeroNumber(e.value.text) {
			d.fail(e.line, joinPath(path, "weight"), "to send nothing there, leave the pool out", "a weight of a split is at least 1")
		}
	}
}

// UnmarshalJSON reads a name or an object.
func (t *Target) UnmarshalJSON(data []byte) error { return unmarshalTolerant(data, t) }

// MarshalJSON gives the name alone where there is nothing else.
func (t Target) MarshalJSON() ([]byte, error) {
	if t.Weight == 0 && t.IsPool() {
		return json.Marshal(t.Pool)
	}
	return json.Marshal(longTarget{t.Pool, t.Weight, *t.More()})
}

// String gives eu, eu:70, nearest(fra, ams) or split(policy near:99, canary:1).
func (t Target) String() string {
	s, more := t.Pool, t.More()
	switch {
	case more.Site != "":
		s = "site " + more.Site
	case more.Nearest != nil:
		s = "nearest(" + more.Nearest.String() + ")"
	case more.Fastest != nil:
		s = "fastest(" + more.Fastest.String() + ")"
	case more.Policy != "":
		s = "policy " + more.Policy
	case more.Split != nil:
		s = "split(" + joinTargets(more.Split) + ")"
	}
	if t.Weight != 0 {
		s += ":" + strconv.Itoa(t.Weight)
	}
	return s
}

func joinTargets(list []Target) string {
	words := make([]string, len(list))
	for i, t := range list {
		words[i] = t.String()
	}
	return strings.Join(words, ", ")
}

// allSites is how Choices.Sites is written.
const allSites = "sites"

func (c *Choices) decodeNode(d *decoder, n *node, path string) {
	switch {
	case n.shape == shapeString && n.text == allSites:
		c.Sites = true
	case n.shape == shapeList:
		d.value(n, path, reflect.ValueOf(&c.List).Elem(), "")
	case n.shape == shapeString:
		d.fail(n.line, path, "write ["+n.text+"] for one pool", "wants a list of pools, or the word sites, not %s", n.describe())
	default:
		d.wrongType(n, path, "a list of pools, or the word sites")
	}
}

// UnmarshalJSON reads a list, or the word sites.
func (c *Choices) UnmarshalJSON(data []byte) error { return unmarshalTolerant(data, c) }

// MarshalJSON gives the form that UnmarshalJSON reads.
func (c Choices) MarshalJSON() ([]byte, error) {
	if c.Sites {
		return json.Marshal(allSites)
	}
	return json.Marshal(c.List)
}

// String gives the names.
func (c *Choices) String() string {
	if c.Sites {
		return allSites
	}
	return joinTargets(c.List)
}

// longMember is the long form of a Member.
type longMember Member

func (m *Member) decodeNode(d *decoder, n *node, path string) {
	switch n.shape {
	case shapeString:
		m.Pool = n.text
	case shapeMap:
		d.value(n, path, reflect.ValueOf((*longMember)(m)).Elem(), "")
	default:
		d.wrongType(n, path, "the name of a pool or {pool: NAME, role: ROLE}")
	}
}

// UnmarshalJSON reads a name or {"pool": NAME, "role": ROLE}.
func (m *Member) UnmarshalJSON(data []byte) error { return unmarshalTolerant(data, m) }

// MarshalJSON gives the name alone where there is no role.
func (m Member) MarshalJSON() ([]byte, error) {
	if m.Role == "" {
		return json.Marshal(m.Pool)
	}
	return json.Marshal(longMember(m))
}

// As gives what policies call the pool.
func (m *Member) As() string { return orDefault(m.Role, m.Pool) }

// Members gives the pools that policies draw from: those that are declared, or else those that the service names itself.
func (s *Service) Members() []Member {
	if len(s.Pools) > 0 {
		return s.Pools
	}
	var out []Member
	for _, pool := range s.named() {
		out = append(out, Member{Pool: pool})
	}
	return out
}

// AllPools gives every pool that the service can lead to, each once.
func (s *Service) AllPools() []string {
	out := s.named()
	for _, m := range s.Pools {
		if !slices.Contains(out, m.Pool) {
			out = append(out, m.Pool)
		}
	}
	return out
}

// named gives the pools that rules and lastResort name by themselves, each once.
func (s *Service) named() []string {
	out := make([]string, 0, 8)
	add := func(pool string) {
		if pool != "" && !slices.Contains(out, pool) {
			out = append(out, pool)
		}
	}
	list := func(list []Target) {
		for i := range list {
			if t := &list[i]; t.IsPool() {
				add(t.Pool)
			} else {
				eachTarget(list[i:i+1], "", func(_ string, t *Target) bool { add(t.Pool); return true })
			}
		}
	}
	for i := range s.Rules {
		list(s.Rules[i].Pools)
	}
	list(s.LastResort)
	return out
}

// PoolsOf gives the pools that a list of targets of the service can lead to for some client, each once, in the order in which they are
// named. Which of them a client is led to is for pkg/policy to say.
func (s *Service) PoolsOf(list []Target) []string {
	var out []string
	s.eachPool(list, func(pool string) {
		if !slices.Contains(out, pool) {
			out = append(out, pool)
		}
	})
	return out
}

// eachPool is PoolsOf for who minds no pool that comes twice. Most lists are of pools alone.
func (s *Service) eachPool(list []Target, add func(pool string)) {
	if !slices.ContainsFunc(list, func(t Target) bool { return !t.IsPool() }) {
		for i := range list {
			add(list[i].Pool)
		}
		return
	}
	eachTarget(list, "", func(_ string, t *Target) bool {
		if t.Pool != "" {
			add(t.Pool)
		}
		if more := t.More(); more.Policy != "" || more.Nearest.all() || more.Fastest.all() {
			for _, m := range s.Members() {
				add(m.Pool)
			}
		}
		return true
	})
}

// eachTarget goes through targets and all that they hold, with the path of each, empty where that of the list is; false: visit ended it.
func eachTarget(list []Target, path string, visit func(path string, t *Target) bool) bool {
	for i := range list {
		t, at, held := &list[i], path, func(string) string { return "" }
		if path != "" { // services by the hundred thousand are gone through for their pools alone
			at = indexed(path, i)
			held = func(field string) string { return at + field }
		}
		if !visit(at, t) {
			return false
		}
		if t.Steering != nil && !(eachTarget(t.Split, held(".split"), visit) && eachTarget(t.Nearest.list(), held(".nearest"), visit) &&
			eachTarget(t.Fastest.list(), held(".fastest"), visit)) {
			return false
		}
	}
	return true
}

func (c *Choices) all() bool { return c != nil && c.Sites }

func (c *Choices) list() []Target {
	if c == nil {
		return nil
	}
	return c.List
}

// ParseBias reads by how much a pool counts as nearer: a share of its distance, as 0.1 for 10%, or kilometres. Negative: farther.
func ParseBias(s string) (share, km float64, err error) {
	if digits, ok := strings.CutSuffix(s, "%"); ok {
		if v, err := strconv.ParseFloat(digits, 64); err == nil && v >= -500 && v <= 95 {
			return v / 100, 0, nil
		}
	} else if digits, ok := strings.CutSuffix(s, "km"); ok {
		if v, err := strconv.ParseFloat(digits, 64); err == nil && v >= -20000 && v <= 20000 {
			return 0, v, nil
		}
	}
	return 0, 0, fmt.Errorf("wants a share from -500%% to 95%% as in 10%%, or kilometres as in 200km, not %q", shorten(s))
}

// ParseBand reads a share from 0% to 1000%, as 0.05 for 5%.
func ParseBand(s string) (float64, error) {
	digits, ok := strings.CutSuffix(s, "%")
	v, err := strconv.ParseFloat(digits, 64)
	if !ok || err != nil || v < 0 || v > 1000 {
		return 0, fmt.Errorf("wants a share from 0%% to 1000%%, as in 5%%, not %q", shorten(s))
	}
	return v / 100, nil
}

// ParseKilometres reads a distance as in 3000km.
func ParseKilometres(s string) (float64, error) {
	digits, ok := strings.CutSuffix(s, "km")
	v, err := strconv.ParseFloat(digits, 64)
	if !ok || err != nil || v <= 0 || v > 21000 {
		return 0, fmt.Errorf("wants a distance as in 3000km, at most 21000km, not %q", shorten(s))
	}
	return v, nil
}

// ParseTrickle reads a share above 0% and below 100%, with at most two digits behind the point, in parts of ten thousand: 200 for 2%.
func ParseTrickle(s string) (int, error) {
	digits, ok := strings.CutSuffix(s, "%")
	v, err := strconv.ParseFloat(digits, 64)
	n := int(v*100 + 0.5)
	if !ok || err != nil || v != v || n < 1 || n > 9999 {
		return 0, fmt.Errorf("wants a share above 0%% and below 100%%, as in 2%%, not %q", shorten(s))
	}
	return n, nil
}
