package table

import (
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"

	"github.com/gti/gtm/pkg/dnswire"
	"github.com/gti/gtm/pkg/geo"
	"github.com/gti/gtm/pkg/policy"
	"github.com/gti/gtm/pkg/spec"
)

// Text tells an explanation to people, one fact a line: what dig, the API and gtmctl show. by is whose it is, as in "edge fra1". Of pools,
// of endpoints and of whatever else stands beside each other, no more than most are named, and it says how many more there are; 0: all.
func (e *Explanation) Text(by string, most int) []string {
	w := writer{most: most}
	w.head(e, by)
	w.place(e)
	w.linef("scope /%d from %s", e.Scope, e.ScopeFrom)
	w.trace(e.Trace, e.isOfRegion())
	w.pools(e)
	if strings.HasPrefix(e.Service.Spec.Host, "*.") {
		w.linef("%s", e.StandsAt())
	}
	if e.NoSubnets() {
		w.linef("%s", NoSubnetsNote)
	}
	if e.Fixed {
		w.linef("%s", e.FixedNote())
	}
	if example := e.Example(); len(example) > 0 {
		w.linef("answer %s %s", dnswire.TypeString(e.Family.Type()), strings.Join(example, " "))
	}
	return w.lines
}

// StandsAt is what people are told of a wildcard service.
func (e *Explanation) StandsAt() string {
	return "stands at " + e.Service.Spec.Host + ", for names that are not there"
}

// isOfRegion reports whether one of the pools is something else for clients of the asker's region than for all.
func (e *Explanation) isOfRegion() bool {
	return slices.ContainsFunc(e.Pools, func(p PoolInTurn) bool { return p.Pool.Region != "" })
}

// writer collects lines.
type writer struct {
	most  int
	lines []string
}

func (w *writer) linef(format string, args ...any) {
	w.lines = append(w.lines, fmt.Sprintf(format, args...))
}

// cut reports whether the n-th of a list of some things, from 0, is one too many, and says so.
func (w *writer) cut(n, of int, things string) bool {
	if w.most == 0 || n < w.most {
		return false
	}
	w.linef("and %d more %s: see gtmctl explain", of-n, things)
	return true
}

// names writes names beside each other.
func (w *writer) names(list []string) string {
	if w.most > 0 && len(list) > w.most {
		return fmt.Sprintf("%s and %d more", strings.Join(list[:w.most], ", "), len(list)-w.most)
	}
	return strings.Join(list, ", ")
}

func (w *writer) head(e *Explanation, by string) {
	who := "subnet"
	if e.Resolver {
		who = "resolver"
	}
	rule := "no rule matches"
	if e.Rule != "" {
		rule = "rule " + e.Rule
		if e.Matched != "" {
			rule += " (" + e.Matched + ")"
		}
	}
	ttl := ""
	if e.TTLFrom != "" {
		ttl = fmt.Sprintf(", ttl %ds (%s)", e.TTL, e.TTLFrom)
	}
	w.linef("%s/%s at %s@%d, %s", e.Service.Tenant, e.Service.Name, e.Service.Tenant, e.Generation, by)
	w.linef("%s %s %s", who, e.Asker.Prefix(), PlaceText(e.Place, e.Asker, e.PlaceBits))
	w.linef("%s, scope /%d%s", rule, e.Scope, ttl)
	if e.Service.AliasOf != "" {
		w.linef("alias of %s", e.Service.AliasOf)
	}
	if e.Service.Is.Has(Pending) {
		w.linef("not resolved yet: SERVFAIL")
	} else if e.Fallback != Normal {
		w.linef("%s", e.FallbackText())
	}
}

// PlaceText tells people where a network is, and how far around it that is so.
func PlaceText(place geo.Place, n Net, bits uint8) string {
	name := place.String()
	if name == "" {
		name = "unknown"
	}
	net, err := n.Addr().Prefix(int(bits))
	if err != nil {
		net = n.Prefix()
	}
	text := "place " + name + " network " + net.String()
	if place.ASN != 0 {
		text += fmt.Sprintf(" asn %d", place.ASN)
	}
	return text
}

// place tells what distances and times stand on.
func (w *writer) place(e *Explanation) {
	if point := e.Place.Point(); point.Known() {
		w.linef("point %s (%s)", point, e.Place.PointSource())
	}
	var sites []string
	for _, s := range e.Place.Latency.NearestFirst() {
		sites = append(sites, fmt.Sprintf("%s %gms (%s)", s.Site, s.Milliseconds, plural(s.Samples, "sample")))
	}
	if sites != nil {
		w.linef("latency %s", w.names(sites))
	}
}

func plural(n int, of string) string {
	if n == 1 {
		return "1 " + of
	}
	return fmt.Sprintf("%d %ss", n, of)
}

// trace tells how a policy came to its row. The service's own rule stands in the head. own: a pool is otherwise for the client's region.
func (w *writer) trace(t *policy.Trace, own bool) {
	if t == nil {
		return
	}
	for _, p := range t.Path[1:] {
		if p.Rule == "" {
			w.linef("policy %s, no rule matches", p.Policy)
		} else {
			w.linef("policy %s, rule %s", p.Policy, p.Rule)
		}
	}
	if t.Region != "" && own {
		w.linef("pools with regions: as judged for clients of %s", t.Region)
	} else if t.Region != "" {
		w.linef("pools with regions: nothing else is known for clients of %s than for all", t.Region)
	}
	if len(t.Fence) > 0 {
		left := "nothing"
		if len(t.Fenced) > 0 {
			left = w.names(t.Fenced)
		}
		w.linef("fence %s leaves out %s", strings.Join(t.Fence, " and "), left)
	}
	for i := range t.Choices {
		w.choice(&t.Choices[i])
	}
}

func (w *writer) choice(c *policy.Choosing) {
	left := 0
	for i := range c.Candidates {
		if c.Candidates[i].Out == "" {
			left++
		}
	}
	text := fmt.Sprintf("%s of %s, %d left", c.What, plural(len(c.Candidates), "pool"), left)
	if c.LastResort {
		text = "lastResort " + text
	}
	if c.Note != "" {
		text += "; " + c.Note
	}
	w.linef("%s", text)
	for i := range c.Candidates {
		if w.cut(i, len(c.Candidates), "pools to choose from") {
			return
		}
		w.linef("%s %s", c.What, candidateText(c, &c.Candidates[i]))
	}
}

// candidateText is as in "1. eu at fra, 432 km".
func candidateText(of *policy.Choosing, c *policy.Candidate) string {
	text := "out: "
	if c.Out == "" {
		text = strconv.Itoa(c.Turn) + ". "
	}
	text += c.Pool
	if c.Site != "" {
		text += " at " + c.Site
	}
	if !math.IsInf(c.Milliseconds, 1) {
		text += fmt.Sprintf(", %g ms", c.Milliseconds)
	}
	if !math.IsInf(c.Kilometres, 1) {
		if text += ", " + kilometres(c.Kilometres); kilometres(c.Counts) != kilometres(c.Kilometres) {
			text += " counting as " + kilometres(c.Counts)
		}
	}
	shared := slices.ContainsFunc(of.Candidates, func(o policy.Candidate) bool { return o.Turn == c.Turn && o.Pool != c.Pool })
	switch {
	case c.Out != "":
		text += ", " + c.Out
	case c.AsListed:
		text += ", as listed"
	case shared:
		text += fmt.Sprintf(", weight %d", c.Weight)
	}
	return text
}

func kilometres(km float64) string { return fmt.Sprintf("%.0f km", km) }

func (w *writer) pools(e *Explanation) {
	for i := range e.Pools {
		if w.cut(i, len(e.Pools), "pools") {
			return
		}
		p := &e.Pools[i]
		w.linef("%s", poolText(e, p))
		if p.Share > 0 {
			w.endpoints(e, p)
		}
	}
}

func poolText(e *Explanation, p *PoolInTurn) string {
	state := "down"
	if p.Up {
		state = "up"
	}
	text := fmt.Sprintf("step %d pool %s %s: %s", p.Step, p.Pool.ID.Pool, state, p.Why)
	if p.Pool.Frozen {
		text += ", frozen by the brake"
	}
	if p.LastResort {
		text = "lastResort " + text
	}
	text += ", " + e.Turns(p)
	if e.Drawn > 0 {
		text += fmt.Sprintf(", drawn %d of %d times", p.Drawn, e.Drawn)
	}
	return text
}

func (w *writer) endpoints(e *Explanation, p *PoolInTurn) {
	for i := range p.Pool.Candidates {
		if w.cut(i, len(p.Pool.Candidates), "endpoints") {
			return
		}
		w.linef("%s", endpointText(e, p, i))
	}
}

func endpointText(e *Explanation, p *PoolInTurn, i int) string {
	c := &p.Pool.Candidates[i]
	text := fmt.Sprintf("endpoint %s %s weight %d score %.2g %s", c.Endpoint.Name, target(c.Endpoint), c.Weight, c.Score, c.State)
	if c.Held != "" {
		text += ", " + c.Held
	}
	if c.Note != "" {
		text += ", " + c.Note
	}
	if in := c.Out == ""; in && p.Weights[i] != float64(c.Weight) {
		text += ", effective " + strconv.FormatFloat(p.Weights[i], 'g', 3, 64)
	} else if !in && p.AsIfUp && p.Shares[i] > 0 {
		text += ", as if up, though " + c.Out
	} else if !in {
		text += ", out: " + c.Out
	}
	if c.Out == "" || p.AsIfUp {
		text += ", share " + Percent(p.Shares[i])
	}
	if e.Drawn > 0 && p.DrawnFirst != nil {
		text += fmt.Sprintf(", drawn %d times", p.DrawnFirst[i])
	}
	return text
}

func target(of *spec.Endpoint) string {
	if of.Host != "" {
		return of.Host
	}
	var addresses []string
	for _, a := range of.Addresses {
		addresses = append(addresses, a.String())
	}
	return strings.Join(addresses, " ")
}
