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

// countsFailed compares what the edges of a group counted with what they had counted before; empty: no gate has failed.
func countsFailed(g *spec.Gates, p *state.Progress, now map[string]state.Counts) string {
	var before, since state.Counts
	pools := map[string]uint64{}
	for id, was := range p.Base {
		is, ok := now[id]
		if !ok {
			return "" // what is missing would look like a change
		}
		before.Answers += was.Answers
		before.ServFail += was.ServFail
		before.NXDomain += was.NXDomain
		since.Answers += more(is.Answers, was.Answers)
		since.ServFail += more(is.ServFail, was.ServFail)
		since.NXDomain += more(is.NXDomain, was.NXDomain)
		for pool, n := range is.Pools {
			pools[pool] += n
		}
	}
	if why := grew("SERVFAIL", g.ServFail, before.ServFail, before.Answers, since.ServFail, since.Answers); why != "" {
		return why
	}
	if why := grew("NXDOMAIN", g.NXDomain, before.NXDomain, before.Answers, since.NXDomain, since.Answers); why != "" {
		return why
	}
	for pool, n := range pools {
		pools[pool] = more(n, p.Pools[pool])
	}
	return shifted(g.Shift, p.Pools, pools)
}

// more is what was counted since.
func more(is, was uint64) uint64 { return is - min(was, is) }

// grew tells that a kind of answers is a larger share than before, by more than may be.
func grew(what, most string, wasOf, was, isOf, is uint64) string {
	if most == "" || is < leastAnswers {
		return ""
	}
	limit, err := spec.ParseShare(most)
	before, now := percent(wasOf, was), percent(isOf, is)
	if err != nil || now-before <= float64(limit) {
		return ""
	}
	return fmt.Sprintf("%s is %.1f%% of %d answers, and was %.1f%%: gates.%s allows %s more", what, now, is, before,
		strings.ToLower(what), most)
}

func percent(n, of uint64) float64 {
	if of == 0 {
		return 0
	}
	return 100 * float64(n) / float64(of)
}

// shifted tells of a service whose answers moved between its pools by more than may be.
func shifted(most string, was, is map[string]uint64) string {
	limit, err := spec.ParseShare(most)
	if err != nil {
		return ""
	}
	before, now := services(was), services(is)
	for _, service := range slices.Sorted(maps.Keys(now)) {
		if before[service] < leastAnswers || now[service] < leastAnswers {
			continue
		}
		moved := 0.0
		for _, pool := range poolsOf(service, was, is) {
			moved += max(0, percent(is[pool], now[service])-percent(was[pool], before[service]))
		}
		if moved > float64(limit) {
			return fmt.Sprintf("%.0f%% of the answers of service %s moved between its pools: gates.shift allows %s", moved, service, most)
		}
	}
	return ""
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
