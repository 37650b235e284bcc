package rollout

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/gti/gtm/pkg/spec"
	"github.com/gti/gtm/pkg/store/state"
)

// leastAnswers is how many answers shares are judged by, at least: before as well as since.
const leastAnswers = 100

// countsFailed compares what the edges of a group counted with what they had counted before; where that is little, with what others counted
// meanwhile that have not got the generation. Empty: no gate has failed; untold are those that cannot tell.
func countsFailed(g *spec.Gates, p *state.Progress, s *sight) (why string, untold []string) {
	c := counted{others: since(p.Others, s.others)}
	pools, silent := map[string]uint64{}, ""
	for _, id := range slices.Sorted(maps.Keys(p.Base)) {
		is, ok := s.counts[id]
		if !ok {
			silent = id // left out of both sums: what is missing would look like a change
			continue
		}
		add(&c.before, p.Base[id])
		for pool, n := range is.Pools {
			pools[pool] += n
		}
	}
	c.since = since(p.Base, s.counts)
	for _, gate := range []share{
		{"SERVFAIL", g.ServFail, true, func(c *state.Counts) uint64 { return c.ServFail }},
		{"NXDOMAIN", g.NXDomain, false, func(c *state.Counts) uint64 { return c.NXDomain }},
	} {
		failed, cannot := gate.judge(&c)
		if failed != "" {
			return failed, nil
		}
		if cannot != "" {
			untold = append(untold, cannot)
		}
	}
	for pool, n := range pools {
		pools[pool] = more(n, p.Pools[pool])
	}
	why, cannot := shifted(g.Shift, p, pools, silent)
	if cannot != "" {
		untold = append(untold, cannot)
	}
	return why, untold
}

// counted are the counts of a group, and of others, summed.
type counted struct{ before, since, others state.Counts }

func add(sum *state.Counts, c state.Counts) {
	sum.Answers, sum.ServFail, sum.NXDomain = sum.Answers+c.Answers, sum.ServFail+c.ServFail, sum.NXDomain+c.NXDomain
}

// since sums what was counted since it was noted, of edges of which both are known.
func since(base, now map[string]state.Counts) (sum state.Counts) {
	for id, was := range base {
		if is, ok := now[id]; ok {
			add(&sum, state.Counts{Answers: more(is.Answers, was.Answers), ServFail: more(is.ServFail, was.ServFail),
				NXDomain: more(is.NXDomain, was.NXDomain)})
		}
	}
	return sum
}

// more is what was counted since.
func more(is, was uint64) uint64 { return is - min(was, is) }

// share is a gate on the share of a kind of answers.
type share struct {
	what, most string
	always     bool // the kind is never as it should be: where nothing is known from before, none was
	of         func(*state.Counts) uint64
}

// judge tells that the kind is a larger share than before, or than elsewhere, by more than may be; or why that cannot be told.
func (g *share) judge(c *counted) (failed, cannot string) {
	limit, err := spec.ParseShare(g.most)
	if g.most == "" || err != nil {
		return "", ""
	}
	field := "gates." + strings.ToLower(g.what)
	if c.since.Answers < leastAnswers {
		return "", fmt.Sprintf("%s has too few queries to tell: fewer than %d", field, leastAnswers)
	}
	before, where := percent(g.of(&c.before), c.before.Answers), "was %.1f%%"
	switch {
	case c.before.Answers >= leastAnswers:
	case c.others.Answers >= leastAnswers:
		before, where = percent(g.of(&c.others), c.others.Answers), "is %.1f%% in groups that have not got it"
	case g.always:
		before, where = 0, "should be %.1f%%"
	default:
		return "", fmt.Sprintf("%s has too few queries of before, and of other groups, to compare with: fewer than %d", field,
			leastAnswers)
	}
	now := percent(g.of(&c.since), c.since.Answers)
	if now-before <= float64(limit) {
		return "", ""
	}
	return fmt.Sprintf("%s is %.1f%% of %d answers, and "+where+": %s allows %s more", g.what, now, c.since.Answers, before, field,
		g.most), ""
}

// slowLooks is how often in a row an edge is slower than it may be, until that fails the gate: one look can fall into a bad moment.
const slowLooks = 5

// slower tells that an answer takes an edge longer than before, by more than may be; or that nobody can tell.
func slower(g *spec.Gates, p *state.Progress, s *sight) (slow, cannot string) {
	limit, err := spec.ParseShare(g.Latency)
	if err != nil {
		return "", ""
	}
	cannot = "gates.latency has no edge that can tell: none had a name of the tenant before"
	for _, id := range slices.Sorted(maps.Keys(p.Base)) {
		was, is := p.Base[id].Nanos, s.counts[id].Nanos
		if was == 0 || is == 0 {
			continue
		}
		if cannot = ""; slow == "" && float64(is) > float64(was)*(1+float64(limit)/100) {
			slow = fmt.Sprintf("an answer takes edge %s %.1f µs, and took %.1f µs: gates.latency allows %s more", id, float64(is)/1000,
				float64(was)/1000, g.Latency)
		}
	}
	return slow, cannot
}

func percent(n, of uint64) float64 {
	if of == 0 {
		return 0
	}
	return 100 * float64(n) / float64(of)
}

// shifted tells of a service whose answers come from other pools than was planned, by more than may be; without a plan, than before.
// cannot is of services whose plan was left out. silent is an edge of the group that does not tell what it counted; empty: all do.
func shifted(most string, p *state.Progress, is map[string]uint64, silent string) (why, cannot string) {
	limit, err := spec.ParseShare(most)
	if err != nil {
		return "", ""
	}
	if silent != "" { // what pools gave before is a sum that has its answers
		return "", fmt.Sprintf("gates.shift cannot tell: edge %s does not tell what it counted", silent)
	}
	if p.PoolsLost {
		return "", "gates.shift cannot tell what the group gave before: an edge of it restarted while the rollout was paused"
	}
	was := p.Pools
	before, now := services(was), services(is)
	for _, service := range slices.Sorted(maps.Keys(now)) {
		if before[service] < leastAnswers || now[service] < leastAnswers {
			continue
		}
		expected, moves := expect(service, was, before[service], p.Planned)
		if !moves && (slices.Contains(p.LeftOut, service) || slices.Contains(p.LeftOut, leftOutRest)) {
			cannot = fmt.Sprintf("gates.shift cannot tell of all services, as %s: too much is planned at once", service)
			continue
		}
		moved := 0.0
		for _, pool := range poolsOf(service, was, is) {
			moved += max(0, percent(is[pool], now[service])-expected[pool])
		}
		switch {
		case moved <= float64(limit):
		case moves:
			return fmt.Sprintf("%.0f%% of the answers of service %s come from other pools than was planned: gates.shift allows %s", moved,
				service, most), ""
		default:
			return fmt.Sprintf("%.0f%% of the answers of service %s moved between its pools: gates.shift allows %s", moved, service,
				most), ""
		}
	}
	return "", cannot
}

// leastExpected is the percentage of former answers from which on the pools share what is left: below it is rounding.
const leastExpected = 1e-6

// expect gives which percentage of a service's answers each pool is to give, by what it gave and what is planned; moves: anything is.
func expect(service string, was map[string]uint64, answers uint64, planned []state.Flow) (expected map[string]float64, moves bool) {
	expected = map[string]float64{}
	for _, pool := range poolsOf(service, was) {
		expected[pool] = percent(was[pool], answers)
	}
	for _, f := range planned {
		if f.Service == service {
			part := 100 * f.Part
			if f.From != "" {
				part = f.Part * percent(was[service+"/"+f.From], answers)
				expected[service+"/"+f.From] -= part
			}
			expected[service+"/"+f.To] += part
			moves = true
		}
	}
	delete(expected, service+"/") // what is to have no answer is not counted
	sum := 0.0
	for _, part := range expected {
		sum += part
	}
	for pool := range expected {
		if sum > leastExpected {
			expected[pool] *= 100 / sum
		}
	}
	return expected, moves
}

// services sums the answers of each service.
func services(pools map[string]uint64) map[string]uint64 {
	sums := map[string]uint64{}
	for pool, n := range pools {
		service, _, _ := strings.Cut(pool, "/")
		sums[service] += n
	}
	return sums
}

func poolsOf(service string, counted ...map[string]uint64) []string {
	pools := map[string]bool{}
	for _, c := range counted {
		for pool := range c {
			if strings.HasPrefix(pool, service+"/") {
				pools[pool] = true
			}
		}
	}
	return slices.Sorted(maps.Keys(pools))
}
