package main

import (
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/gti/gtm/pkg/control/api"
	"github.com/gti/gtm/pkg/spec"
)

func (a *app) weightsCmd() *cobra.Command {
	var dryRun, wait, force bool
	var message string
	c := &cobra.Command{
		Use:   "weights TENANT/SERVICE | TENANT/POOL ENDPOINT=WEIGHT...",
		Short: "Show the weights of a service, or set those of a pool's endpoints",
		Long: `Show from which pools a service answers and how often, with the overrides that have a part in it. Shares are
those of each rule by its weights, not of the traffic.

With weights, set those of a pool's endpoints, as declared. Endpoints that are not named keep theirs; 0 takes one out. All of them 0
asks for --force. For a while, and in steps, it is gtmctl ramp.`,
		Example: `  gtmctl weights shop/web
  gtmctl weights shop/eu a=3 b=1
  gtmctl weights shop/eu b=0 --message 'b moves to new hardware' --wait`,
		Args:              needArgs(1, -1),
		ValidArgsFunction: a.completeWeights,
		RunE: func(c *cobra.Command, args []string) error {
			if len(args) == 1 {
				return a.showWeights(c.Context(), args[0])
			}
			pool, err := parsePool(args[0], false)
			if err != nil {
				return err
			}
			weights, err := parseWeights("ENDPOINT", args[1:])
			if err != nil {
				return err
			}
			return a.byHand(c.Context(), pool.path("weights"), func(dryRun bool) any {
				return api.WeightsRequest{Weights: weights, DryRun: dryRun, Message: message, Force: force}
			}, dryRun, wait, func(*api.ApplyReply) {})
		},
	}
	c.Flags().BoolVar(&force, "force", false, "although all weights of the pool become 0, or a rule is left without a pool that is up")
	changeFlags(c, &dryRun, &wait, &message)
	return c
}

func (a *app) drainCmd() *cobra.Command {
	var h hand
	c := &cobra.Command{
		Use:   "drain TENANT/POOL[/ENDPOINT]",
		Short: "Take an endpoint or a pool out of new answers",
		Long: `Take an endpoint or a whole pool out of new answers, for a time or until undrain; an endpoint also over a time, in
steps of at most 1 % of the pool's answers. It does not count as unhealthy, and its measured state stays visible.

Before that, it tells what it leaves of each rule: shares by the weights of its pools, not by traffic. What would leave a rule of a
service without a pool that takes clients and is not down asks for --force. Behind it, it tells until when clients may hold on: for
the longest TTL of the services' answers, and for the pool's session. With --wait it waits until then.`,
		Example: `  gtmctl drain shop/eu/a --reason 'kernel upgrade' --for 1h
  gtmctl drain shop/eu/a --reason 'kernel upgrade' --over 20m --wait
  gtmctl drain shop/eu --reason 'fire drill' --at 2030-01-31T18:00:00Z --for 1d`,
		Args:              needArgs(1, 1),
		ValidArgsFunction: a.completePool,
		RunE: func(c *cobra.Command, args []string) error {
			pool, err := parsePool(args[0], true)
			if err != nil {
				return err
			}
			times, err := h.times()
			if err != nil {
				return err
			}
			return a.byHand(c.Context(), pool.path("drain"), func(dryRun bool) any {
				return api.DrainRequest{Endpoint: pool.endpoint, Reason: h.reason, Times: times, DryRun: dryRun, Force: h.force}
			}, h.dryRun, h.wait, func(reply *api.ApplyReply) { a.showDrain(args[0], h.over > 0, reply) })
		},
	}
	h.flags(c, "until undrain")
	return c
}

// showDrain tells when a drain begins and ends, and how.
func (a *app) showDrain(target string, over bool, reply *api.ApplyReply) {
	switch {
	case over:
		a.printf("%s gets ever fewer new clients, and none from %s", target, reply.Outlook.At.UTC().Format(time.RFC3339))
	case !reply.Starts.IsZero():
		a.printf("%s gets no new clients from %s", target, reply.Starts.UTC().Format(time.RFC3339))
	default:
		a.printf("%s gets no new clients", target)
	}
	a.showEnd(reply, "gtmctl undrain "+target)
	if o := reply.Outlook; o != nil && !o.Gone.IsZero() {
		a.printf("clients may hold it until %s: %s\n", o.Gone.UTC().Format(time.RFC3339), o.Why)
	}
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

func (a *app) holdCmd() *cobra.Command {
	var dryRun, wait, release bool
	var reason string
	var duration time.Duration
	c := &cobra.Command{
		Use:   "hold TENANT/SERVICE",
		Short: "Freeze a service as it answers now",
		Long: `Freeze a service as it answers now, for a time or until --release: what is seen of its endpoints from now on, slow starts and
dependencies change nothing of its answers. Alarms, metrics and gtmctl status go on, and say what would be otherwise. Drains, weights
and other overrides, and what is declared, count as ever.`,
		Example: `  gtmctl hold shop/web --reason 'the probers are being moved' --for 2h
  gtmctl hold shop/web --release`,
		Args:              needArgs(1, 1),
		ValidArgsFunction: a.completeServices,
		RunE: func(c *cobra.Command, args []string) error {
			service, err := parseName(spec.KindService, args[0])
			if err != nil {
				return err
			}
			request := api.HoldRequest{Reason: reason, Release: release, DryRun: dryRun}
			switch {
			case !release && reason == "":
				return misusef("say why with --reason, as in --reason 'the probers are being moved'; others see it beside the state")
			case release && (reason != "" || duration != 0):
				return misusef("--release goes without --reason and --for")
			case duration < 0:
				return misusef("--for %s is not positive", duration)
			case duration > 0:
				request.For = duration.String()
			}
			path := "services/" + url.PathEscape(service.Tenant) + "/" + url.PathEscape(service.Name) + "/hold"
			_, err = a.changeThen(c.Context(), path, request, dryRun, wait, func(reply *api.ApplyReply) {
				if !release {
					a.printf("%s answers as it does now", args[0])
					a.showEnd(reply, "gtmctl hold "+args[0]+" --release")
				}
			})
			return err
		},
	}
	c.Flags().StringVar(&reason, "reason", "", "why; people see it beside the state")
	c.Flags().BoolVar(&release, "release", false, "let it answer by what is known again")
	durationVar(c.Flags(), &duration, "for", "how long, as in 1h30m or 1d (default: until --release)")
	changeFlags(c, &dryRun, &wait, nil)
	return c
}

func (a *app) poolCmd() *cobra.Command {
	c := &cobra.Command{
		Use:   "pool",
		Short: "Let a pool that failed answer again, or tell it endpoints",
		Args:  a.subcommand,
		RunE:  showHelp,
	}
	c.AddCommand(a.resumeCmd(), a.pushCmd())
	return c
}

func (a *app) resumeCmd() *cobra.Command {
	var reason string
	c := &cobra.Command{
		Use:   "resume TENANT/POOL",
		Short: "Let a pool with resume: manual, which failed, answer again",
		Long: `Let a pool with resume: manual answer again, which failed and has stayed out since. Its endpoints must be up again: gtmctl
status tells. It holds once: when the pool fails the next time, it stays out anew.

It waits until the judge has done it.`,
		Example:           `  gtmctl pool resume shop/eu-db --reason 'replication has caught up'`,
		Args:              needArgs(1, 1),
		ValidArgsFunction: a.completeOut,
		RunE: func(c *cobra.Command, args []string) error {
			pool, err := parsePool(args[0], false)
			if err != nil {
				return err
			}
			var done api.Resumed
			request := api.ResumeRequest{Reason: reason}
			if err := a.call(c.Context(), http.MethodPost, pool.path("resume"), nil, request, &done); err != nil {
				return err
			}
			return a.emit(done, func() {
				if done.Out == nil {
					a.printf("%s was not kept out\n", args[0])
				}
				a.printf("%s is %s: %s\n", args[0], a.state(map[bool]string{true: "up", false: "down"}[done.Up]), done.Why)
			})
		},
	}
	c.Flags().StringVar(&reason, "reason", "", "why; the judge's log shows it")
	need(c, "reason", "say why with --reason, as in --reason 'replication has caught up'; the judge's log shows it")
	return c
}

func (a *app) pushCmd() *cobra.Command {
	var none bool
	var long time.Duration
	c := &cobra.Command{
		Use:   "push TENANT/POOL/SOURCE ADDRESS[=WEIGHT]...",
		Short: "Tell the endpoints that a source of a pool has",
		Long: `Tell the endpoints that a source with pushed: true has: the whole list, which replaces what it had. With --for it holds for
a while, and is gone then unless another one came.`,
		Example: `  gtmctl pool push shop/fleet/scaler 192.0.2.1 192.0.2.2=3 --for 10m
  gtmctl pool push shop/fleet/scaler --none`,
		Args:              needArgs(1, 1+mostPushed),
		ValidArgsFunction: a.completePushed,
		RunE: func(c *cobra.Command, args []string) error {
			source, err := parsePool(args[0], true)
			if err != nil || source.endpoint == "" {
				return misusef("%q is not TENANT/POOL/SOURCE", args[0])
			}
			switch {
			case none != (len(args) == 1):
				return misusef("name addresses, or take all away with --none")
			case none && long != 0:
				return misusef("--none goes without --for: it takes away what was pushed")
			case long != 0 && long < leastPush, c.Flags().Changed("for") && long == 0:
				return misusef("--for %s is too short: give at least %s, and push again before it is over", long, leastPush)
			}
			request := api.PushRequest{}
			if request.Endpoints, err = parsePushed(args[1:]); err != nil {
				return err
			}
			if long != 0 {
				request.For = spec.Duration(long).String()
			}
			at := "endpoints/" + url.PathEscape(source.tenant) + "/" + url.PathEscape(source.pool) + "/" + url.PathEscape(source.endpoint)
			method, body := http.MethodPut, any(request)
			if none {
				method, body = http.MethodDelete, nil
			}
			var done api.PushReply
			if err := a.call(c.Context(), method, at, nil, body, &done); err != nil {
				return err
			}
			return a.emit(done, func() {
				for i := range done.Sources {
					a.printf("%s\n", a.sourceText(&done.Sources[i]))
				}
			})
		},
	}
	c.Flags().BoolVar(&none, "none", false, "take away what was pushed")
	durationVar(c.Flags(), &long, "for", "how long it holds, as in 10m, at least 10s (default: until another list comes)")
	return c
}

// mostPushed is how many endpoints a source can have, leastPush how long a list of them holds at least.
const (
	mostPushed = 1024
	leastPush  = 10 * time.Second
)

// parsePushed reads ADDRESS[=WEIGHT].
func parsePushed(words []string) ([]api.FoundEndpoint, error) {
	list := make([]api.FoundEndpoint, len(words))
	for i, word := range words {
		address, weight, has := strings.Cut(word, "=")
		list[i].Address = address
		if !has {
			continue
		}
		n, err := strconv.Atoi(weight)
		if err != nil {
			return nil, misusef("%q: %q is not a weight", word, weight)
		}
		list[i].Weight = &n
	}
	return list, nil
}

func (a *app) completeServices(c *cobra.Command, args []string, _ string) (words []string, _ cobra.ShellCompDirective) {
	if len(args) == 0 {
		words = a.names(c.Context(), spec.KindService)
	}
	return words, cobra.ShellCompDirectiveNoFileComp
}

// completeOut gives the pools that are kept out.
func (a *app) completeOut(c *cobra.Command, args []string, _ string) (words []string, _ cobra.ShellCompDirective) {
	var status api.Status
	if len(args) == 0 {
		a.ask(c.Context(), "status", nil, &status)
	}
	for _, p := range status.Pools {
		if p.Out != nil {
			words = append(words, p.Tenant+"/"+p.Pool)
		}
	}
	return words, cobra.ShellCompDirectiveNoFileComp
}

// path gives the pool's path in the API, with what to do to it.
func (p poolName) path(verb string) string {
	return "pools/" + url.PathEscape(p.tenant) + "/" + url.PathEscape(p.pool) + "/" + verb
}
