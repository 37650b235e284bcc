package main

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/schollz/progressbar/v3"
	"github.com/spf13/cobra"

	"github.com/gti/gtm/pkg/control/api"
)

// pollEvery is how often the edges are asked while waiting.
const pollEvery = 200 * time.Millisecond

func (a *app) waitCmd() *cobra.Command {
	var all bool
	c := &cobra.Command{
		Use:   "wait [TENANT@GENERATION...]",
		Short: "Wait until every edge answers from a generation",
		Long: `Wait until every edge answers from a generation or a newer one, at most for --timeout. TENANT alone means its
newest generation, --all those of all tenants. Edges that are silent or cannot be asked are waited for as well, until they are
forgotten (gtmctl edge forget). Exit code 1 if the time is over first, if control does not follow the store meanwhile and so does not
know the newest generations, or if an edge that has the generation does not serve all of
the tenant's resources as declared.`,
		Example: `  gtmctl wait shop@41
  gtmctl wait --all --timeout 2m`,
		ValidArgsFunction: a.completeTenant,
		Args: func(c *cobra.Command, args []string) error {
			if all == (len(args) > 0) {
				return usagef(c, "say for what: TENANT@GENERATION as in shop@41, or --all")
			}
			return nil
		},
		RunE: func(c *cobra.Command, args []string) error {
			goals, err := a.goals(c.Context(), args)
			if err != nil {
				return err
			}
			return a.waitFor(c.Context(), goals, func(resource string) bool {
				tenant, _, _ := strings.Cut(resource, "/")
				_, waited := goals[tenant]
				return waited
			})
		},
	}
	c.Flags().BoolVar(&all, "all", false, "for the newest generation of every tenant")
	return c
}

// newest asks what the newest generations are. Control knows them while it follows the store: until then this waits.
func (a *app) newest(ctx context.Context) (now api.Edges, err error) {
	for end := time.Now().Add(a.timeout); ; {
		now = api.Edges{}
		if err := a.call(ctx, http.MethodGet, "edges", nil, nil, &now); err != nil {
			return now, err
		}
		if now.Store == nil || now.Store.State == "current" {
			return now, nil
		}
		if time.Now().After(end) {
			return now, fmt.Errorf("which generations are the newest is not known, since control does not follow the store: it is %s; %s; "+
				"those known before are %s", now.Store.State, orDash(now.Store.Error), orDash(states(now.Heads)))
		}
		select {
		case <-ctx.Done():
			return now, errors.New("interrupted")
		case <-time.After(pollEvery):
		}
	}
}

// allGiven reports whether every word says which generation it means.
func allGiven(words []string) bool {
	return len(words) > 0 && !slices.ContainsFunc(words, func(word string) bool { return !strings.Contains(word, "@") })
}

// goals reads what to wait for; without words, every tenant's head.
func (a *app) goals(ctx context.Context, words []string) (map[string]uint64, error) {
	var now api.Edges
	var err error
	if allGiven(words) {
		err = a.call(ctx, http.MethodGet, "edges", nil, nil, &now)
	} else {
		now, err = a.newest(ctx)
	}
	if err != nil {
		return nil, err
	}
	if len(words) == 0 {
		return now.Heads, nil
	}
	goals := map[string]uint64{}
	for _, word := range words {
		tenant, generation, given, err := parseState(word)
		if err != nil {
			return nil, err
		}
		head, known := now.Heads[tenant]
		switch {
		case !known:
			return nil, fmt.Errorf("there is no tenant %s%s", tenant, didYouMean(tenant, slices.Collect(maps.Keys(now.Heads))))
		case !given:
			generation = head
		case generation > head:
			return nil, fmt.Errorf("%s is not made yet: the newest generation is %s@%d", word, tenant, head)
		}
		goals[tenant] = generation
	}
	return goals, nil
}

// waitFor asks the edges until all of them answer from the goals or newer. Then it is an error if one does not serve a resource
// that concerns the caller as declared.
func (a *app) waitFor(ctx context.Context, goals map[string]uint64, concerns func(resource string) bool) error {
	client, err := a.connect()
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, a.timeout)
	defer cancel()
	bar := a.progress("edges answer from " + states(goals))
	late := []string{"no edge was asked"}
	for {
		var now api.Edges
		err := client.do(ctx, http.MethodGet, "edges", nil, nil, &now)
		var problem *api.Problem
		switch {
		case err == nil:
			late = lateEdges(&now, goals)
			bar.show(len(now.Edges)-len(late), len(now.Edges))
			if len(late) == 0 && len(now.Edges) > 0 {
				bar.end()
				if broken := brokenEdges(&now, concerns); len(broken) > 0 {
					return fmt.Errorf("%s is on every edge, but is not served as declared:\n  %s", states(goals),
						strings.Join(broken, "\n  "))
				}
				fmt.Fprintf(a.err, "%s: %s\n", states(goals), allAnswer(len(now.Edges)))
				return nil
			}
			if len(now.Edges) == 0 {
				late = []string{"no edge is registered"}
			}
		case errors.As(err, &problem) && problem.Status < 500:
			bar.end()
			return err
		case ctx.Err() == nil:
			late = []string{err.Error()}
		}
		select {
		case <-ctx.Done():
			bar.end()
			if errors.Is(ctx.Err(), context.Canceled) {
				return errors.New("interrupted")
			}
			return fmt.Errorf("not every edge answers from %s after %s:\n  %s", states(goals), a.timeout, strings.Join(late, "\n  "))
		case <-time.After(pollEvery):
		}
	}
}

func allAnswer(edges int) string {
	if edges == 1 {
		return "the 1 edge answers from it"
	}
	return fmt.Sprintf("all %d edges answer from it", edges)
}

// lateEdges names the edges that do not answer from the goals yet, and says what they do instead.
func lateEdges(now *api.Edges, goals map[string]uint64) []string {
	wanted := make(map[string]api.Goal, len(goals))
	for tenant, generation := range goals {
		wanted[tenant] = api.Goal{Generation: generation, Epoch: now.Epoch}
		if now.Heads[tenant] == generation {
			wanted[tenant] = api.Goal{Generation: generation, ID: now.IDs[tenant], Epoch: now.Epoch}
		}
	}
	var late []string
	for _, e := range now.Edges {
		if b := e.Behind(wanted); len(b.Tenants) > 0 {
			late = append(late, line(fmt.Sprintf("edge %s %s", e.ID, b.Why)))
		}
	}
	return late
}

// brokenEdges names what edges do not serve as declared, of the resources that concern the caller.
func brokenEdges(now *api.Edges, concerns func(resource string) bool) []string {
	var lines []string
	for _, e := range now.Edges {
		if e.Status == nil {
			continue
		}
		for _, b := range e.Status.Broken {
			if concerns(b.Resource) {
				lines = append(lines, line(fmt.Sprintf("edge %s: %s", e.ID, brokenText(b))))
			}
		}
	}
	return lines
}

// brokenText says what is served of a broken resource, and why.
func brokenText(b api.Broken) string {
	served := "is broken"
	switch b.Serves {
	case api.ServesNothing:
		served = "is broken and not served"
	case api.ServesLastGood:
		served = "is broken, its last good form is served"
	case api.ServesTheRest:
		served = "is served but for this"
	}
	return fmt.Sprintf("%s %s: %s", b.Resource, served, b.Error)
}

// progress is a bar on a terminal, and nothing elsewhere.
type progress struct{ bar *progressbar.ProgressBar }

func (a *app) progress(what string) progress {
	if !isTerminal(a.err) {
		return progress{}
	}
	return progress{progressbar.NewOptions(1, progressbar.OptionSetWriter(a.terminal()),
		progressbar.OptionSetDescription(escaped(line(what))),
		progressbar.OptionShowCount(), progressbar.OptionClearOnFinish(), progressbar.OptionSetWidth(30),
		progressbar.OptionSetPredictTime(false))}
}

func (p progress) show(done, of int) {
	if p.bar == nil || of == 0 {
		return
	}
	p.bar.ChangeMax(of)
	_ = p.bar.Set(done) // a terminal that is gone is no reason to stop waiting
}

func (p progress) end() {
	if p.bar != nil {
		_ = p.bar.Exit()
	}
}
