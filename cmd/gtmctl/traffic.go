package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/gti/gtm/pkg/control/api"
	"github.com/gti/gtm/pkg/spec"
)

// hand holds the flags of what moves traffic by hand.
type hand struct {
	reason, at, until   string
	long, over          time.Duration
	force, dryRun, wait bool
}

// flags defines them; otherwise says what ends it without --for and --until.
func (h *hand) flags(c *cobra.Command, otherwise string) {
	f := c.Flags()
	f.StringVar(&h.reason, "reason", "", "why; people see it beside the state")
	durationVar(f, &h.long, "for", "how long, as in 1h30m or 1d (default: "+otherwise+")")
	f.StringVar(&h.until, "until", "", "until when, as in 2030-01-31T20:00:00Z")
	durationVar(f, &h.over, "over", "how long it takes to get there, in steps of at most 1 %, as in 20m (default: it is there at once)")
	f.StringVar(&h.at, "at", "", "when it begins, as in 2030-01-31T18:00:00Z (default: at once)")
	f.BoolVar(&h.force, "force", false, "although a rule is left without a pool that takes clients")
	need(c, "reason", "say why with --reason, as in --reason 'kernel upgrade'; others see it beside the state")
	changeFlags(c, &h.dryRun, &h.wait, nil)
}

// times gives them the form of the API.
func (h *hand) times() (t api.Times, err error) {
	if h.long != 0 && h.until != "" {
		return t, misusef("--for and --until say the same: give one of them")
	}
	for _, f := range []struct {
		flag  string
		given time.Duration
		to    *string
	}{{"for", h.long, &t.For}, {"over", h.over, &t.Over}} {
		if f.given < 0 {
			return t, misusef("--%s %s is not positive", f.flag, f.given)
		}
		if f.given > 0 {
			*f.to = f.given.String()
		}
	}
	for _, f := range []struct {
		flag, given string
		to          *string
	}{{"at", h.at, &t.Starts}, {"until", h.until, &t.Until}} {
		if _, ok := spec.TimeOf(f.given).Moment(); !ok && f.given != "" {
			return t, misusef("--%s %s is not a time as in 2030-01-31T18:00:00Z", f.flag, f.given)
		}
		*f.to = f.given
	}
	return t, nil
}

func (a *app) rampCmd() *cobra.Command {
	var h hand
	var to int
	c := &cobra.Command{
		Use:   "ramp TENANT/POOL ENDPOINT --to WEIGHT",
		Short: "Give an endpoint another weight for a while, in steps",
		Long: `Give an endpoint another weight by an override, for a time or until that is deleted. With --over its share of the
pool's answers goes there in steps of at most 1 %, by the edges' own clocks: nothing is written meanwhile. A ramp that follows upon
another one begins where that has come to. At the end the weight is the declared one again.

Before that, it tells what it leaves of each rule, as drain does.`,
		Example: `  gtmctl ramp shop/eu a --to 30 --over 20m --reason 'new hardware'
  gtmctl ramp shop/eu a --to 1 --reason 'canary' --for 2h`,
		Args:              needArgs(2, 2),
		ValidArgsFunction: a.completeRamp,
		RunE: func(c *cobra.Command, args []string) error {
			pool, err := parsePool(args[0], false)
			if err != nil {
				return err
			}
			times, err := h.times()
			if err != nil {
				return err
			}
			if to < 0 {
				return misusef("--to %d: a weight is 0 or more", to)
			}
			return a.byHand(c.Context(), pool.path("ramp"), func(dryRun bool) any {
				return api.RampRequest{Endpoint: args[1], To: to, Reason: h.reason, Times: times, DryRun: dryRun, Force: h.force}
			}, h.dryRun, h.wait, func(reply *api.ApplyReply) {
				a.printf("%s/%s goes to weight %d", args[0], args[1], to)
				a.showWay(reply, &h)
			})
		},
	}
	c.Flags().IntVar(&to, "to", 0, "the weight to go to")
	need(c, "to", "say to which weight with --to, as in --to 30")
	h.flags(c, "until the override is deleted")
	return c
}

func (a *app) shiftCmd() *cobra.Command {
	var h hand
	var rule string
	c := &cobra.Command{
		Use:   "shift TENANT/SERVICE --rule RULE POOL=WEIGHT...",
		Short: "Give the pools of a service's rule other weights for a while",
		Long: `Give pools of a rule other weights by overrides, for a time or until those are deleted. Pools that are not named keep
theirs. RULE is its name, or its number from 1. With --over their shares of the rule's answers go there in steps of at most 1 %, by the
edges' own clocks: nothing is written meanwhile. With weight 0 a pool takes clients only when the others are down.

Pools that have no weights are tried in turn, for failover. Given weights, neighbours share: name all of them.

Before that, it tells what it leaves of the rule, as drain does.`,
		Example: `  gtmctl shift shop/web --rule europe us=10 --reason 'fra is warm' --for 2h
  gtmctl shift shop/web --rule 2 eu=90 us=10 --over 20m --reason 'migration'`,
		Args:              needArgs(2, -1),
		ValidArgsFunction: a.completeShift,
		RunE: func(c *cobra.Command, args []string) error {
			key, err := parseName(spec.KindService, args[0])
			if err != nil {
				return err
			}
			weights, err := parseWeights("POOL", args[1:])
			if err != nil {
				return err
			}
			times, err := h.times()
			if err != nil {
				return err
			}
			return a.byHand(c.Context(), servicePath(key)+"/shift", func(dryRun bool) any {
				return api.ShiftRequest{Rule: rule, Weights: weights, Reason: h.reason, Times: times, DryRun: dryRun, Force: h.force}
			}, h.dryRun, h.wait, func(reply *api.ApplyReply) {
				a.printf("rule %s of %s goes to %s", rule, args[0], strings.Join(args[1:], " "))
				a.showWay(reply, &h)
			})
		},
	}
	c.Flags().StringVar(&rule, "rule", "", "the rule's name, or its number from 1")
	need(c, "rule", "say of which rule with --rule, as in --rule europe; gtmctl weights TENANT/SERVICE shows them")
	_ = c.RegisterFlagCompletionFunc("rule", a.completeRule)
	h.flags(c, "until the overrides are deleted")
	return c
}

// byHand shows what a request would leave, then does it; with wait, until the last client has let go of what is drained.
func (a *app) byHand(ctx context.Context, path string, request func(dryRun bool) any, dryRun, wait bool, more func(*api.ApplyReply)) error {
	if _, err := a.foretell(ctx, path, request(true)); err != nil {
		return err
	}
	reply, err := a.changeThen(ctx, path, request(dryRun), dryRun, wait, more)
	if err != nil || !wait || dryRun || reply.Outlook == nil || reply.Outlook.Gone.IsZero() {
		return err
	}
	return a.untilGone(ctx, reply.Outlook)
}

// untilGone waits until the last client that may have been sent to what is drained has let go of it. All edges answer without it by now,
// or will at the time that was told.
func (a *app) untilGone(ctx context.Context, o *api.Outlook) error {
	gone := a.now().Add(time.Duration(o.Tail) * time.Second)
	if o.Gone.After(gone) {
		gone = o.Gone
	}
	end := a.busy("until the last client has gone, at " + gone.UTC().Format(time.RFC3339))
	defer end()
	select {
	case <-ctx.Done():
		return errors.New("interrupted")
	case <-time.After(gone.Sub(a.now())):
	}
	fmt.Fprintf(a.err, "the last client has gone: %s\n", o.Why)
	return nil
}

// showOutlook tells what would be left of each rule.
func (a *app) showOutlook(o *api.Outlook) {
	if o == nil || len(o.Rules) == 0 {
		return
	}
	when := ""
	if o.At.After(a.now().Add(time.Second)) {
		when = " at " + o.At.UTC().Format(time.RFC3339)
	}
	a.printf("this leaves%s, by the weights of each rule and not by its traffic:\n", when)
	for _, r := range o.Rules {
		var sites []string
		for _, s := range r.Sites {
			name := s.Site
			if name == "" {
				name = "no site"
			}
			sites = append(sites, fmt.Sprintf("%s %s", name, change(percent(s.Before), percent(s.After))))
		}
		of := ""
		if r.Region != "" {
			of = " for clients of " + r.Region
		}
		a.printf("  rule %s of %s/%s%s: %s; endpoints that take clients: %s, pools that are up: %s%s\n", r.Rule, r.Service.Tenant,
			r.Service.Name, of, strings.Join(sites, ", "), change(fmt.Sprint(r.Before.Endpoints), fmt.Sprint(r.After.Endpoints)),
			change(fmt.Sprint(r.Before.Pools), fmt.Sprint(r.After.Pools)), instead(r.After.Instead))
	}
	if o.More > 0 {
		a.printf("  and changes %s more\n", plural(o.More, "rule"))
	}
}

// change writes what becomes of something, or that it stays.
func change(before, after string) string {
	if before == after {
		return after
	}
	return before + " -> " + after
}

func instead(tier string) string {
	switch tier {
	case "":
		return ""
	case "lastResort":
		return "; lastResort answers"
	}
	return "; " + tier
}

// showWay tells when weights get where they go, and when they are the declared ones again.
func (a *app) showWay(reply *api.ApplyReply, h *hand) {
	if !reply.Starts.IsZero() {
		a.printf(" from %s", reply.Starts.UTC().Format(time.RFC3339))
	}
	if h.over > 0 {
		a.printf(", and is there at %s", reply.Outlook.At.UTC().Format(time.RFC3339))
	}
	var names []string
	for _, item := range reply.Plan {
		if item.Kind == spec.KindOverride && item.Action != api.Delete {
			names = append(names, item.Tenant+"/"+item.Name)
		}
	}
	a.showEnd(reply, "gtmctl delete override "+strings.Join(names, " "))
}

// showEnd tells when that ends by itself, and how sooner.
func (a *app) showEnd(reply *api.ApplyReply, sooner string) {
	if reply.Ends.IsZero() {
		a.printf(" until: %s\n", sooner)
		return
	}
	begins := a.now()
	if !reply.Starts.IsZero() {
		begins = reply.Starts
	}
	long := reply.Ends.Sub(begins)
	if long > 10*time.Minute {
		// A change takes a moment, and 2h should not read as 1h59m because of it.
		long = long.Round(time.Minute)
	}
	a.printf(" until %s (for %s); sooner with: %s\n", reply.Ends.UTC().Format(time.RFC3339), span(long.Round(time.Second)), sooner)
}

// showWeights shows what steers a service.
func (a *app) showWeights(ctx context.Context, service string) error {
	key, err := parseName(spec.KindService, service)
	if err != nil {
		return err
	}
	var w api.ServiceWeights
	if err := a.call(ctx, http.MethodGet, servicePath(key)+"/weights", nil, nil, &w); err != nil {
		return err
	}
	return a.emit(w, func() {
		var rows [][]string
		for _, r := range w.Rules {
			for _, p := range r.Pools {
				next := "-"
				if !r.Next.IsZero() {
					next = r.Next.UTC().Format(time.RFC3339)
				}
				state := a.state("down")
				if p.Up {
					state = a.state("up")
				}
				rows = append(rows, []string{r.Rule, p.Pool, orDash(p.Site), weightText(float64(p.Declared)), weightText(p.Weight),
					percent(p.Share), state,
					fmt.Sprintf("%d of %d", p.Taking, p.Endpoints), next})
			}
		}
		a.table([]string{"rule", "pool", "site", "declared", "weight", "share", "state", "endpoints", "next change"}, rows)
		for _, o := range w.Overrides {
			a.showOverride(o)
		}
	})
}

// weightText writes a weight among others; a pool that has none is a step of failover.
func weightText(weight float64) string {
	if weight == 0 {
		return "-"
	}
	return number(weight)
}

func servicePath(key spec.Key) string {
	return "services/" + url.PathEscape(key.Tenant) + "/" + url.PathEscape(key.Name)
}
