package main

import (
	"net/url"
	"time"

	"github.com/spf13/cobra"

	"github.com/gti/gtm/pkg/control/api"
)

func (a *app) weightsCmd() *cobra.Command {
	var dryRun, wait bool
	var message string
	c := &cobra.Command{
		Use:   "weights TENANT/POOL ENDPOINT=WEIGHT...",
		Short: "Set the weights of a pool's endpoints",
		Long:  "Set the weights of a pool's endpoints. Endpoints that are not named keep theirs; 0 takes one out.",
		Example: `  gtmctl weights shop/eu a=3 b=1
  gtmctl weights shop/eu b=0 --message 'b moves to new hardware' --wait`,
		Args:              needArgs(2, -1),
		ValidArgsFunction: a.completePool,
		RunE: func(c *cobra.Command, args []string) error {
			pool, err := parsePool(args[0], false)
			if err != nil {
				return err
			}
			weights, err := parseWeights(args[1:])
			if err != nil {
				return err
			}
			return a.change(c.Context(), pool.path("weights"), api.WeightsRequest{Weights: weights, DryRun: dryRun, Message: message}, dryRun, wait)
		},
	}
	changeFlags(c, &dryRun, &wait, &message)
	return c
}

func (a *app) drainCmd() *cobra.Command {
	var dryRun, wait bool
	var reason string
	var duration time.Duration
	c := &cobra.Command{
		Use:   "drain TENANT/POOL[/ENDPOINT]",
		Short: "Take an endpoint or a pool out of new answers",
		Long: `Take an endpoint or a whole pool out of new answers, for a time or until undrain. It does not count as
unhealthy, and its measured state stays visible.`,
		Example: `  gtmctl drain shop/eu/a --reason 'kernel upgrade' --for 1h
  gtmctl drain shop/eu --reason 'fire drill'`,
		Args:              needArgs(1, 1),
		ValidArgsFunction: a.completePool,
		RunE: func(c *cobra.Command, args []string) error {
			pool, err := parsePool(args[0], true)
			if err != nil {
				return err
			}
			request := api.DrainRequest{Endpoint: pool.endpoint, Reason: reason, DryRun: dryRun}
			switch {
			case duration < 0:
				return misusef("--for %s is not positive", duration)
			case duration > 0:
				request.For = duration.String()
			}
			return a.change(c.Context(), pool.path("drain"), request, dryRun, wait)
		},
	}
	c.Flags().StringVar(&reason, "reason", "", "why; people see it beside the state")
	c.Flags().DurationVar(&duration, "for", 0, "how long, as in 1h30m (default: until undrain)")
	need(c, "reason", "say why with --reason, as in --reason 'kernel upgrade'; others see it beside the state")
	changeFlags(c, &dryRun, &wait, nil)
	return c
}

func (a *app) undrainCmd() *cobra.Command {
	var dryRun, wait bool
	c := &cobra.Command{
		Use:   "undrain TENANT/POOL[/ENDPOINT]",
		Short: "End a drain",
		Example: `  gtmctl undrain shop/eu/a
  gtmctl undrain shop/eu --wait`,
		Args:              needArgs(1, 1),
		ValidArgsFunction: a.completePool,
		RunE: func(c *cobra.Command, args []string) error {
			pool, err := parsePool(args[0], true)
			if err != nil {
				return err
			}
			return a.change(c.Context(), pool.path("undrain"), api.DrainRequest{Endpoint: pool.endpoint, DryRun: dryRun}, dryRun, wait)
		},
	}
	changeFlags(c, &dryRun, &wait, nil)
	return c
}

// path gives the pool's path in the API, with what to do to it.
func (p poolName) path(verb string) string {
	return "pools/" + url.PathEscape(p.tenant) + "/" + url.PathEscape(p.pool) + "/" + verb
}
