package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/gti/gtm/pkg/control/api"
)

// streamRetry is how long the watch waits before it goes on where a stream broke off, and streamQuiet when one that tells nothing has.
const (
	streamRetry = 2 * time.Second
	streamQuiet = 30 * time.Second // control gives a sign every ten
)

func (a *app) eventsCmd() *cobra.Command {
	var pool, tenant, kind, since string
	var limit int
	var watch bool
	c := &cobra.Command{
		Use:   "events",
		Short: "Show what changed of health and of rollouts: endpoints, pools, the brake, the judge, groups, edges",
		Long: `Show what changed of health, oldest first: endpoints that went up or down, pools that did (an override does that,
too), where the brake took hold or let go, and who judges; how rollouts go, and which edge refuses what. Each has its time by the
clock of the judge, its reason, and what the vantages saw that were alive when control heard of it. Control keeps them for a week.

With --watch it goes on with what happens, one event a line, until it is interrupted; what was missed while control was away is made
up for, as far as that control keeps it.`,
		Example: `  gtmctl events
  gtmctl events --pool shop/eu --since -2h
  gtmctl events --tenant shop --kind pool --watch
  gtmctl events --watch -o json | jq .reason`,
		Args: needArgs(0, 0),
		RunE: func(c *cobra.Command, _ []string) error {
			query := url.Values{}
			for name, value := range map[string]string{"pool": pool, "tenant": tenant, "kind": kind} {
				if value != "" {
					query.Set(name, value)
				}
			}
			if pool != "" {
				if _, err := parsePool(pool, false); err != nil {
					return err
				}
			}
			from := url.Values{"limit": {strconv.Itoa(limit)}}
			maps.Copy(from, query)
			if since != "" {
				at, err := timeAt("since", since, a.now())
				if err != nil {
					return err
				}
				from.Set("since", at.UTC().Format(time.RFC3339Nano))
			}
			if watch {
				return a.watchEvents(c.Context(), from, query, since != "")
			}
			var list api.Events
			if err := a.call(c.Context(), http.MethodGet, "events", from, nil, &list); err != nil {
				return err
			}
			return a.emit(list, func() { a.showEvents(&list) })
		},
	}
	c.Flags().StringVar(&pool, "pool", "", "of this pool and its endpoints only, as in shop/eu")
	c.Flags().StringVar(&tenant, "tenant", "", "of this tenant only")
	c.Flags().StringVar(&kind, "kind", "", "of this kind only: endpoint, pool, brake, judge, change, rollout or edge")
	c.Flags().StringVar(&since, "since", "", "from when on, as in 12:03, 2026-05-04T12:03:00Z or -2h")
	c.Flags().IntVar(&limit, "limit", 1000, "how many at most, the newest, up to 10000")
	c.Flags().BoolVarP(&watch, "watch", "w", false, "go on with what happens, until interrupted")
	kinds := []string{api.EventEndpoint, api.EventPool, api.EventBrake, api.EventJudge, api.EventChange, api.EventRollout, api.EventEdge}
	_ = c.RegisterFlagCompletionFunc("kind", cobra.FixedCompletions(kinds, cobra.ShellCompDirectiveNoFileComp))
	_ = c.RegisterFlagCompletionFunc("pool", a.completePool)
	_ = c.RegisterFlagCompletionFunc("tenant", a.completeTenant)
	return c
}

func (a *app) showEvents(list *api.Events) {
	if len(list.Events) == 0 {
		fmt.Fprintf(a.err, "there are none; control keeps them since %s\n", list.Kept.Since.Format(time.RFC3339))
		return
	}
	rows := make([][]string, 0, len(list.Events))
	for i := range list.Events {
		e := &list.Events[i]
		rows = append(rows, []string{e.Time.UTC().Format(time.RFC3339), e.Of(), e.Kind, a.eventState(e.From) + " -> " + a.eventState(e.To),
			orDash(firstOf(e.Reason)), orDash(vantageTexts(e))})
	}
	a.table([]string{"time", "of", "kind", "change", "why", "vantages"}, rows)
	if list.More {
		fmt.Fprintln(a.err, "older ones are left out: --limit or --since shows others")
	}
	if list.Kept.Fault != "" {
		fmt.Fprintf(a.err, "%s: events are kept in memory alone: %s\n", a.paint(odd, "warning"), line(list.Kept.Fault))
	}
}

// eventState paints what an event leads to or comes from.
func (a *app) eventState(s string) string {
	switch s {
	case "up", api.BrakeFree:
		return a.paint(good, s)
	case "down", api.BrakeHolds, api.NoJudge:
		return a.paint(bad, s)
	}
	return s
}

func vantageTexts(e *api.Event) string {
	words := make([]string, 0, len(e.Vantages))
	for _, id := range slices.Sorted(maps.Keys(e.Vantages)) {
		words = append(words, id+": "+e.Vantages[id])
	}
	return strings.Join(words, "; ")
}

func (a *app) showEvent(e *api.Event) error {
	if a.output == "json" {
		text, err := json.Marshal(e)
		if err != nil {
			return err
		}
		_, err = io.WriteString(a.out, escapedJSON(string(text))+"\n")
		return err
	}
	if a.output == "yaml" {
		if _, err := io.WriteString(a.out, "---\n"); err != nil {
			return err
		}
	}
	if a.output != "table" {
		return a.emit(e, nil)
	}
	text := fmt.Sprintf("%s  %s %s: %s -> %s", e.Time.UTC().Format(time.RFC3339), e.Kind, line(e.Of()),
		a.eventState(line(e.From)), a.eventState(line(e.To)))
	if e.Reason != "" {
		text += ": " + line(e.Reason)
	}
	if seen := vantageTexts(e); seen != "" {
		text += " (" + line(seen) + ")"
	}
	_, err := io.WriteString(a.out, text+"\n")
	return err
}

// watchEvents shows what there is, where that is asked for, and then what comes. A stream that breaks off is gone on with.
func (a *app) watchEvents(ctx context.Context, from, query url.Values, past bool) error {
	c, err := a.connectWithin(0) // a stream has no end of its own; see follow
	if err != nil {
		return err
	}
	last := ""
	if past {
		var list api.Events
		if err := c.do(ctx, http.MethodGet, "events", from, nil, &list); err != nil {
			return err
		}
		for i := range list.Events {
			last = list.Events[i].ID
			if err := a.showEvent(&list.Events[i]); err != nil {
				return err
			}
		}
	}
	told := false
	for {
		err := a.follow(ctx, c, query, &last)
		var problem *api.Problem
		switch {
		case ctx.Err() != nil:
			return nil // which is how it ends
		case errors.As(err, &problem) && problem.Status != http.StatusServiceUnavailable:
			return err
		case err != nil && !told:
			fmt.Fprintf(a.err, "%s: %s; trying again\n", a.paint(odd, "warning"), line(err.Error()))
			told = true
		case err == nil:
			told = false
			continue // its quarter of an hour was over
		}
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(streamRetry):
		}
	}
}

// follow shows one stream until it ends. last is the event that was shown last.
func (a *app) follow(ctx context.Context, c *client, query url.Values, last *string) error {
	return c.told(ctx, c.Events(ctx, query, *last, max(streamQuiet, a.timeout), func(e *api.Event) error {
		if *last = e.ID; a.showEvent(e) != nil {
			return errSilent
		}
		return nil
	}))
}
