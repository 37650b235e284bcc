package main

import (
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/gti/gtm/pkg/control/api"
)

func (a *app) statusCmd() *cobra.Command {
	return &cobra.Command{
		Use:   "status",
		Short: "Show the edges with their generations and age, the probers, the pools with their health, the store",
		Long: `Show the edges with their generations and age, the probers, the pools with their health, and how the store is followed. A
pool is frozen while the brake holds it: more endpoints failed at once than is likely, and those of the pool answer as if they
were up. gtmctl health release lets them down.

Exit code 1 if an edge cannot be asked, serves something broken or no longer follows, if the store is not followed, or while the
brake holds anything.`,
		Example: `  gtmctl status
  gtmctl status -o json | jq '.pools[] | select(.up | not)'`,
		Args: needArgs(0, 0),
		RunE: func(c *cobra.Command, _ []string) error {
			var status api.Status
			if err := a.call(c.Context(), http.MethodGet, "status", nil, nil, &status); err != nil {
				return err
			}
			if err := a.emit(status, func() { a.showStatus(&status) }); err != nil {
				return err
			}
			if !wellAll(&status) {
				return errSilent
			}
			return nil
		},
	}
}

func wellAll(s *api.Status) bool {
	if s.Store.State != "current" || s.Store.Error != "" {
		return false
	}
	if slices.ContainsFunc(s.Pools, func(p api.Pool) bool { return p.Frozen }) {
		return false
	}
	return !slices.ContainsFunc(s.Edges, func(e api.Edge) bool {
		return e.Status == nil || e.Status.Source.State != "current" || len(e.Status.Broken) > 0
	})
}

func (a *app) showStatus(s *api.Status) {
	a.printf("store   %s", a.state(s.Store.State))
	if age := a.age(s.Store.Since); age != "" {
		a.printf(" for %s", age)
	}
	if s.Store.Error != "" {
		a.printf(": %s", s.Store.Error)
	}
	a.printf("\nheads   %s\nprobers %s\n\n", orDash(states(s.Heads)), a.vantagesShort(s.Vantages))
	a.showEdges(s)
	if len(s.Pools) == 0 {
		return
	}
	a.printf("\n")
	rows := make([][]string, 0, len(s.Pools))
	for i := range s.Pools {
		p := &s.Pools[i]
		rows = append(rows, []string{p.Tenant + "/" + p.Pool, a.state(upOrFrozen(p)), p.Why, orDash(p.Site), endpointsShort(p), orDash(overridesShort(p))})
	}
	a.table([]string{"pool", "state", "why", "site", "endpoints", "overrides"}, rows)
	for i := range s.Pools {
		a.showHeld(&s.Pools[i])
	}
}

// showHeld tells what was seen in a pool and is not followed, why, and what to do.
func (a *app) showHeld(p *api.Pool) {
	if p.Brake != "" {
		a.printf("%s %s/%s is frozen: %s\n", a.paint(bad, "!"), p.Tenant, p.Pool, p.Brake)
	}
	for _, e := range p.Endpoints {
		if e.Held {
			a.printf("%s %s/%s is frozen: %s is %s\n", a.paint(bad, "!"), p.Tenant, p.Pool, e.Name, e.Reason)
		}
	}
}

func upOrFrozen(p *api.Pool) string {
	if p.Frozen {
		return upOr(p) + ", frozen"
	}
	return upOr(p)
}

func (a *app) showEdges(s *api.Status) {
	if len(s.Edges) == 0 {
		a.printf("no edge is registered: nothing answers DNS yet (gtmd --roles edge starts one)\n")
		return
	}
	rows := make([][]string, 0, len(s.Edges))
	var notes []string
	for _, e := range s.Edges {
		if e.Status == nil {
			rows = append(rows, []string{e.ID, strings.Join(e.DNS, " "), orDash(e.Version), a.state("unreachable"), "-", "-", "-"})
			notes = append(notes, fmt.Sprintf("%s: %s", e.ID, e.Error))
			continue
		}
		st := e.Status
		rows = append(rows, []string{e.ID, strings.Join(st.DNS, " "), orDash(st.Version), a.state(st.Source.State),
			states(st.Tenants), orDash(behind(st.Tenants, s.Heads)), a.age(st.View.Published)})
		if st.Source.Error != "" {
			notes = append(notes, fmt.Sprintf("%s: %s for %s: %s", e.ID, st.Source.State, a.age(st.Source.Since), st.Source.Error))
		}
		for _, b := range st.Broken {
			notes = append(notes, e.ID+": "+brokenText(b))
		}
	}
	a.table([]string{"edge", "dns", "version", "source", "answers from", "behind", "age"}, rows)
	for _, note := range notes {
		a.printf("%s %s\n", a.paint(bad, "!"), note)
	}
}

// states writes generations as in: platform@3 shop@41.
func states(generations map[string]uint64) string {
	words := make([]string, 0, len(generations))
	for _, tenant := range slices.Sorted(maps.Keys(generations)) {
		words = append(words, fmt.Sprintf("%s@%d", tenant, generations[tenant]))
	}
	return strings.Join(words, " ")
}

// behind names the tenants whose head is newer than what is answered from.
func behind(have, heads map[string]uint64) string {
	late := map[string]uint64{}
	for tenant, head := range heads {
		if have[tenant] < head {
			late[tenant] = head
		}
	}
	return states(late)
}

func upOr(p *api.Pool) string {
	if p.Up {
		return "up"
	}
	return "down"
}

// endpointsShort writes endpoints as in: a:up b:down c:held.
func endpointsShort(p *api.Pool) string {
	words := make([]string, len(p.Endpoints))
	for i, e := range p.Endpoints {
		words[i] = e.Name + ":" + e.State
		if e.Held {
			words[i] = e.Name + ":held"
		}
	}
	return clip(strings.Join(words, " "))
}

func overridesShort(p *api.Pool) string {
	words := make([]string, len(p.Overrides))
	for i, o := range p.Overrides {
		target := o.Endpoint
		if target == "" {
			target = "all"
		}
		words[i] = target + ":" + overrideText(o.State, o.Weight)
	}
	return clip(strings.Join(words, " "))
}

// showPool prints one pool with everything that is known of its endpoints.
func (a *app) showPool(p *api.Pool) {
	a.printf("pool %s/%s is %s: %s", p.Tenant, p.Pool, a.state(upOr(p)), p.Why)
	switch {
	case p.Frozen:
		a.printf("; %s", a.paint(bad, "frozen: the brake holds, changes are seen and not followed"))
	case p.Judge != "":
		a.printf("; judged by %s", p.Judge)
	case p.Monitor != "":
		a.printf("; no verdict yet")
	default:
		a.printf("; not monitored")
	}
	a.printf("\n")
	if p.Brake != "" {
		a.printf("%s\n", p.Brake)
	}
	rows := make([][]string, 0, len(p.Endpoints))
	for _, e := range p.Endpoints {
		where := strings.Join(e.Addresses, " ")
		if e.Host != "" {
			where = e.Host
		}
		rows = append(rows, []string{e.Name, where, fmt.Sprint(e.Weight), a.state(e.State), number(e.Score), orDash(a.age(e.Since)),
			number(e.Effective), orDash(firstOf(e.Out, e.Reason))})
	}
	a.table([]string{"endpoint", "where", "weight", "state", "score", "for", "effective", "note"}, rows)
	for _, o := range p.Overrides {
		a.showOverride(o)
	}
}

func (a *app) showOverride(o api.Override) {
	target := "the pool"
	if o.Endpoint != "" {
		target = o.Endpoint
	}
	a.printf("override %s: %s %s: %s", o.Name, target, overrideText(o.State, o.Weight), o.Reason)
	if o.Author != "" {
		a.printf(", by %s", o.Author)
	}
	if o.Expires != "" {
		a.printf(", until %s", o.Expires)
	}
	a.printf("\n")
}

func firstOf(words ...string) string {
	for _, word := range words {
		if word != "" {
			return word
		}
	}
	return ""
}
