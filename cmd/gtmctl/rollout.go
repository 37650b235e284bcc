package main

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"strings"

	"github.com/spf13/cobra"

	"github.com/gti/gtm/pkg/control/api"
)

func (a *app) rolloutCmd() *cobra.Command {
	c := &cobra.Command{
		Use:   "rollout",
		Short: "Show and steer how changes reach groups of edges",
		Long: `Show and steer how changes reach groups of edges. A tenant has a rollout when it, or the platform, declares one
(kind: Rollout): a change then goes to the first group of edges, soaks there, and goes on to the next, or back to where it was
where a gate fails. Drains, shifts and other overrides wait for no rollout.`,
		Example: `  gtmctl rollout status
  gtmctl rollout abort shop --reason 'ticket 4711'`,
		Args: a.subcommand,
		RunE: showHelp,
	}
	c.AddCommand(a.rolloutStatusCmd(),
		a.rolloutActCmd("pause", "Leave a rollout where it is",
			"Leave a rollout where it is: no group gets the generation, and none goes back."),
		a.rolloutActCmd("resume", "Go on with a rollout that was paused, or stopped",
			"Go on with a rollout: one that was paused soaks anew where it is, one that was stopped begins again at the first group."),
		a.rolloutActCmd("abort", "Point all groups back at the generation before",
			`Point all groups back at the generation before. What is declared stays declared, also what was declared meanwhile, and waits: a
newer change begins the next rollout, and so does gtmctl rollout resume.`),
		a.rolloutActCmd("promote", "Point the next group at the generation, without waiting",
			"Point the next group at the generation, without waiting for the soak time; of the last group: end the rollout."))
	return c
}

func (a *app) rolloutStatusCmd() *cobra.Command {
	return &cobra.Command{
		Use:   "status [TENANT]",
		Short: "Show which group of edges is pointed at which generation, and what comes next",
		Example: `  gtmctl rollout status
  gtmctl rollout status shop -o json`,
		Args:              needArgs(0, 1),
		ValidArgsFunction: a.completeTenant,
		RunE: func(c *cobra.Command, args []string) error {
			var all api.Rollouts
			if err := a.call(c.Context(), http.MethodGet, "rollouts", nil, nil, &all); err != nil {
				return err
			}
			if len(args) == 0 {
				return a.emit(all, func() { a.showRollouts(all.Rollouts) })
			}
			for _, r := range all.Rollouts {
				if r.Tenant == args[0] {
					return a.emit(r, func() { a.showRollouts([]api.Rollout{r}) })
				}
			}
			return fmt.Errorf("there is no rollout of %s: its changes reach all edges at once, unless it or the platform "+
				"declares a Rollout", args[0])
		},
	}
}

func (a *app) rolloutActCmd(action, short, long string) *cobra.Command {
	var reason string
	c := &cobra.Command{
		Use:               action + " TENANT",
		Short:             short,
		Long:              long,
		Example:           "  gtmctl rollout " + action + " shop",
		Args:              needArgs(1, 1),
		ValidArgsFunction: a.completeTenant,
		RunE: func(c *cobra.Command, args []string) error {
			return a.actOnRollout(c.Context(), args[0], action, reason)
		},
	}
	c.Flags().StringVar(&reason, "reason", "", "why; gtmctl rollout status shows it")
	return c
}

func (a *app) actOnRollout(ctx context.Context, tenant, action, reason string) error {
	var r api.Rollout
	path := "rollouts/" + url.PathEscape(tenant) + "/" + action
	if err := a.call(ctx, http.MethodPost, path, nil, api.RolloutRequest{Reason: reason}, &r); err != nil {
		return err
	}
	return a.emit(r, func() { a.showRollouts([]api.Rollout{r}) })
}

func (a *app) showRollouts(all []api.Rollout) {
	if len(all) == 0 {
		fmt.Fprintln(a.err, "there are none: changes reach all edges at once; kind: Rollout declares one")
		return
	}
	rows := make([][]string, 0, len(all))
	var notes []string
	for i := range all {
		r := &all[i]
		var groups []string
		for _, g := range r.Groups {
			word := fmt.Sprintf("%s@%d", g.Name, g.At)
			if g.Now {
				word = "[" + word + "]"
			}
			groups = append(groups, word)
		}
		rows = append(rows, []string{r.Tenant, a.state(r.State), fmt.Sprint(r.From), fmt.Sprint(r.To), fmt.Sprint(r.Newest),
			strings.Join(groups, " "), orDash(a.age(r.Since))})
		if r.Why != "" {
			notes = append(notes, r.Tenant+": "+line(r.Why))
		}
		if r.Note != "" {
			notes = append(notes, r.Tenant+": "+line(r.Note))
		}
		for _, w := range r.Waits {
			notes = append(notes, r.Tenant+" waits: "+line(w))
		}
	}
	a.table([]string{"tenant", "state", "from", "to", "newest", "groups", "since"}, rows)
	for _, note := range notes {
		a.printf("%s %s\n", a.paint(odd, "i"), note)
	}
}

func (a *app) edgeAcceptCmd() *cobra.Command {
	return &cobra.Command{
		Use:   "accept TENANT@GENERATION",
		Short: "Have edges take a generation that they refuse",
		Long: `Have edges take a generation that they refuse, since it is meant: it empties a steered name, makes a zone or a map many times
larger, has a name fail that answered before, or an edge crashed on it. It holds for this one generation; status shows who refuses what.`,
		Example: "  gtmctl edge accept shop@42",
		Args:    needArgs(1, 1),
		RunE: func(c *cobra.Command, args []string) error {
			tenant, generation, given, err := parseState(args[0])
			if err != nil {
				return err
			}
			if !given {
				return misusef("%q is not TENANT@GENERATION, as in shop@42", args[0])
			}
			var done api.Accepted
			path := fmt.Sprintf("rollouts/%s/accept/%d", url.PathEscape(tenant), generation)
			if err := a.call(c.Context(), http.MethodPost, path, nil, nil, &done); err != nil {
				return err
			}
			return a.emit(done, func() { a.printf("edges take %s@%d as it is\n", tenant, generation) })
		},
	}
}
