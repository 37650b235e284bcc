package api

import (
	"fmt"
	"maps"
	"slices"
	"strings"
)

// Goal is a generation that edges are to answer from, or from a newer one. ID identifies it; empty: its number alone does. Epoch is that of
// the history that it stands in, and comes before the number: what is of an older one is behind, whatever its number.
type Goal struct {
	Generation uint64
	ID         string
	Epoch      int64
}

// Goals gives heads as goals.
func Goals(heads map[string]uint64, ids map[string]string, epoch int64) map[string]Goal {
	goals := make(map[string]Goal, len(heads))
	for tenant, generation := range heads {
		goals[tenant] = Goal{generation, ids[tenant], epoch}
	}
	return goals
}

// Behind is what an edge is not known to answer from.
type Behind struct {
	// Tenants that it is behind in, sorted; none: it answers from all goals.
	Tenants []string
	// Unknown: what it answers from cannot be known, and Tenants are all of the goals.
	Unknown bool
	// Why says in words what it does instead.
	Why string
	// Other says which of what it answers from may be of another history than the store's.
	Other string
}

// Behind compares what an edge says with goals. Only what it said just now counts, and that only as far as it can be about the same
// history: an edge that follows the store has every generation up to the one that it names. One that lost the store, or started
// without it, may hold what the store never had or has no more: it has a goal only if it names that very generation.
func (e *Edge) Behind(goals map[string]Goal) Behind {
	switch {
	case len(goals) == 0:
		return Behind{}
	case e.Status == nil:
		return Behind{Tenants: slices.Sorted(maps.Keys(goals)), Unknown: true, Why: e.Unheard()}
	}
	b := Behind{}
	var other []string
	for _, tenant := range slices.Sorted(maps.Keys(goals)) {
		goal, have, id := goals[tenant], e.Status.Tenants[tenant], e.Status.IDs[tenant]
		older := e.Status.Epoch != nil && *e.Status.Epoch < goal.Epoch
		same := !older && have == goal.Generation && (id == goal.ID || id == "" || goal.ID == "")
		switch e.Status.Source.State {
		case "current":
			if same || have > goal.Generation && !older {
				continue
			}
		case "stale", "snapshot":
			if same {
				continue
			}
		}
		b.Tenants = append(b.Tenants, tenant)
		if have > goal.Generation || have == goal.Generation && !same {
			other = append(other, fmt.Sprintf("%s@%d", tenant, have))
		}
	}
	if len(other) > 0 {
		b.Other = strings.Join(other, " ") + " on it may be of another history than the store's"
	}
	if len(b.Tenants) > 0 {
		b.Why = e.lags(b.Other)
		for i := range e.Status.Held {
			if h := &e.Status.Held[i]; slices.Contains(b.Tenants, h.Tenant) {
				b.Why += "; " + h.Text()
			}
		}
	}
	return b
}

// lags says what an edge that was asked answers from.
func (e *Edge) lags(other string) string {
	state := e.Status.Source.State
	why := fmt.Sprintf("answers from %s (its source is %s)", states(e.Status.Tenants), state)
	if other != "" {
		why += "; " + other
	}
	if state == "refused" {
		why += ": " + e.Status.Source.Error
	}
	return why
}

// Unheard says of an edge that could not be asked what it may do meanwhile, and how to stop waiting for it.
func (e *Edge) Unheard() string {
	since := ""
	if e.Since != nil {
		since = " since " + e.Since.UTC().Format("2006-01-02 15:04:05Z")
	}
	may := "it may answer from anything"
	if len(e.Last) > 0 {
		may = "it may answer from " + states(e.Last)
	}
	if e.State == EdgeSilent {
		if since != "" {
			since += " (it held its lease until then)"
		}
		return fmt.Sprintf("is silent%s: %s; if it is gone for good: gtmctl edge forget %s", since, may, e.ID)
	}
	return fmt.Sprintf("cannot be asked%s: %s; %s", since, e.Error, may)
}

func states(generations map[string]uint64) string {
	words := make([]string, 0, len(generations))
	for _, tenant := range slices.Sorted(maps.Keys(generations)) {
		words = append(words, fmt.Sprintf("%s@%d", tenant, generations[tenant]))
	}
	if len(words) == 0 {
		return "nothing"
	}
	return strings.Join(words, " ")
}
