package main

import (
	"fmt"
	"math"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/gti/gtm/pkg/control/api"
	"github.com/gti/gtm/pkg/health"
)

func (a *app) healthCmd() *cobra.Command {
	c := &cobra.Command{
		Use:   "health",
		Short: "Let down what the brake holds",
		Args:  a.subcommand,
		RunE:  showHelp,
	}
	c.AddCommand(a.releaseCmd())
	return c
}

func (a *app) releaseCmd() *cobra.Command {
	var reason string
	c := &cobra.Command{
		Use:   "release TENANT[/POOL]",
		Short: "Let down what the brake holds of a tenant or a pool: it has really failed",
		Long: `Let down what the brake holds of a tenant, or of one pool, at once: what failed has really failed, and no observer is broken.
It holds once: what fails later is the brake's again. gtmctl status shows what is held, and why.

It waits until the judge has done it, and tells what went down.`,
		Example: `  gtmctl health release shop/eu --reason 'the rack has no power'
  gtmctl health release shop --reason 'ticket 4711'`,
		Args:              needArgs(1, 1),
		ValidArgsFunction: a.completeHeld,
		RunE: func(c *cobra.Command, args []string) error {
			tenant, pool, one := strings.Cut(args[0], "/")
			if tenant == "" || one && (pool == "" || strings.Contains(pool, "/")) {
				return misusef("%q is not TENANT or TENANT/POOL", args[0])
			}
			if err := noRegion(args[0]); err != nil {
				return err
			}
			var done api.Released
			request := api.ReleaseRequest{Pool: pool, Reason: reason}
			if err := a.call(c.Context(), http.MethodPost, "health/"+url.PathEscape(tenant)+"/release", nil, request, &done); err != nil {
				return err
			}
			return a.emit(done, func() { a.showReleased(args[0], &done) })
		},
	}
	c.Flags().StringVar(&reason, "reason", "", "why; the judge's log shows it")
	need(c, "reason", "say why with --reason, as in --reason 'the rack has no power'; the judge's log shows it")
	return c
}

func (a *app) showReleased(what string, done *api.Released) {
	if len(done.Held) == 0 {
		a.printf("nothing of %s was held\n", what)
		return
	}
	for _, endpoint := range done.Held {
		if slices.Contains(done.Down, endpoint) {
			a.printf("%s is %s now\n", inRegion(endpoint), a.state("down"))
		} else {
			a.printf("%s did not go down: it has recovered\n", inRegion(endpoint))
		}
	}
}

// inRegion writes TENANT/POOL@REGION/ENDPOINT for people, as in: shop/sg/a for EU.
func inRegion(endpoint string) string {
	tenant, rest, _ := strings.Cut(endpoint, "/")
	pool, name, _ := strings.Cut(rest, "/") // a family may stand behind it
	id, region := health.PoolID{Tenant: tenant, Pool: pool}.Declared()
	if region == "" {
		return endpoint
	}
	return id.String() + "/" + name + " for " + region
}

// completeHeld gives the tenants and pools of which the brake holds something.
func (a *app) completeHeld(c *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
	var status api.Status
	if len(args) == 0 {
		a.ask(c.Context(), "status", nil, &status)
	}
	var words []string
	for _, p := range status.Pools {
		if p.Frozen {
			words = append(words, p.Tenant, p.Tenant+"/"+p.Pool)
		}
	}
	slices.Sort(words)
	return slices.Compact(words), cobra.ShellCompDirectiveNoFileComp
}

// said is what the flags of gtmctl signal say.
type said struct {
	state, load, reason string
	score               float64
	holds               time.Duration
	end                 bool
}

func (a *app) signalCmd() *cobra.Command {
	var s said
	c := &cobra.Command{
		Use:   "signal TENANT/POOL/ENDPOINT",
		Short: "Say that an endpoint is up or down, what its weight is worth, or how much it has to do",
		Long: `Say of an endpoint, as its owner, that it is up or down, what its weight is worth (--score, 0 to 1), or how much it has to do
(--load CURRENT/TARGET[/CAPACITY], in any unit): while that is more than the target, its weight is worth target/current. It holds for
a while (--for) and replaces what was said before. It counts where a monitor of the pool is of type signal: that also says what silence
means.

gtmctl drain is for people: this is what agents, load balancers and jobs use, over and over.`,
		Example: `  gtmctl signal shop/eu/a --state down --reason draining --for 10m
  gtmctl signal shop/eu/a --load 80/100/150 --for 30s
  gtmctl signal shop/eu/a --end
  gtmctl signal list shop/eu`,
		Args:              needArgs(1, 1),
		ValidArgsFunction: a.completePool,
		RunE: func(c *cobra.Command, args []string) error {
			if strings.Count(args[0], "/") != 2 {
				return misusef("%q is not TENANT/POOL/ENDPOINT%s", args[0], didYouMean(args[0], []string{"list"}))
			}
			name, err := parsePool(args[0], true)
			if err != nil {
				return err
			}
			method, request, err := s.request(c)
			if err != nil {
				return err
			}
			path := "signals/" + url.PathEscape(name.tenant) + "/" + url.PathEscape(name.pool) + "/" + url.PathEscape(name.endpoint)
			var reply api.SignalsReply
			if err := a.call(c.Context(), method, path, nil, request, &reply); err != nil {
				return err
			}
			if err := a.emit(reply, func() { a.showSaid(args[0], &reply) }); err != nil {
				return err
			}
			if len(reply.Refused) > 0 {
				return errSilent
			}
			return nil
		},
	}
	c.Flags().StringVar(&s.state, "state", "", "up or down (default: up, with --score or --load)")
	c.Flags().Float64Var(&s.score, "score", 1, "what its weight is worth, 0 to 1")
	c.Flags().StringVar(&s.load, "load", "", "what it has to do, as in 80/100 or 80/100/150: now, up to which it does well, at most")
	c.Flags().StringVar(&s.reason, "reason", "", "why; people see it beside the state")
	c.Flags().BoolVar(&s.end, "end", false, "say nothing any more")
	durationVar(c.Flags(), &s.holds, "for", "how long it holds, as in 30s or 1h (default 1m)")
	_ = c.RegisterFlagCompletionFunc("state", cobra.FixedCompletions([]string{"up", "down"}, cobra.ShellCompDirectiveNoFileComp))
	c.AddCommand(a.signalListCmd())
	return c
}

// request gives what the flags ask for.
func (s *said) request(c *cobra.Command) (method string, in any, err error) {
	if s.end {
		if c.Flags().NFlag() > 1 && (s.state != "" || s.load != "" || s.reason != "" || c.Flags().Changed("score") || s.holds != 0) {
			return "", nil, misusef("--end goes alone")
		}
		return http.MethodDelete, nil, nil
	}
	r := api.SignalRequest{SignalWord: api.SignalWord{State: s.state, Reason: s.reason}}
	if s.state != "" && s.state != "up" && s.state != "down" {
		return "", nil, misusef("--state %q is not up or down", s.state)
	}
	if c.Flags().Changed("score") {
		if !(s.score >= 0 && s.score <= 1) { // which NaN is not either
			return "", nil, misusef("--score %v is not 0 to 1", s.score)
		}
		r.Score = &s.score
	}
	if s.load != "" {
		if r.Load, err = parseLoad(s.load); err != nil {
			return "", nil, err
		}
	}
	if s.holds != 0 {
		r.For = s.holds.String()
	}
	if s.state == "" && r.Score == nil && r.Load == nil {
		return "", nil, misusef("say something with --state, --score or --load, or --end")
	}
	return http.MethodPut, r, nil
}

// parseLoad reads CURRENT/TARGET[/CAPACITY].
func parseLoad(text string) (*api.SignalLoad, error) {
	words := strings.Split(text, "/")
	l := &api.SignalLoad{}
	fields := []*float64{&l.Current, &l.Target, &l.Capacity}
	if len(words) < 2 || len(words) > len(fields) {
		return nil, misusef("--load %q is not CURRENT/TARGET or CURRENT/TARGET/CAPACITY", text)
	}
	for i, word := range words {
		n, err := strconv.ParseFloat(word, 64)
		if err != nil || math.IsInf(n, 0) || math.IsNaN(n) || n < 0 {
			return nil, misusef("--load %q: %q is not a number that is 0 or more", text, word)
		}
		*fields[i] = n
	}
	if l.Target == 0 || l.Capacity != 0 && l.Capacity < l.Target {
		return nil, misusef("--load %q: TARGET must be above 0, and CAPACITY no less than TARGET", text)
	}
	return l, nil
}

func (a *app) showSaid(endpoint string, r *api.SignalsReply) {
	for _, why := range r.Refused {
		fmt.Fprintf(a.err, "%s is not believed, and what was said before holds until it expires: %s\n", endpoint, why)
	}
	switch {
	case len(r.Taken) == 0:
	case r.Until.IsZero():
		a.printf("nothing is said of %s any more\n", endpoint)
	default:
		a.printf("said of %s, until %s\n", endpoint, r.Until.UTC().Format(time.RFC3339))
	}
}

func (a *app) signalListCmd() *cobra.Command {
	return &cobra.Command{
		Use:   "list [TENANT[/POOL]]",
		Short: "List what owners say of their endpoints, and who is silent",
		Example: `  gtmctl signal list
  gtmctl signal list shop/eu`,
		Args:              needArgs(0, 1),
		ValidArgsFunction: a.completePool,
		RunE: func(c *cobra.Command, args []string) error {
			query := url.Values{}
			if len(args) > 0 {
				tenant, pool, _ := strings.Cut(args[0], "/")
				query.Set("tenant", tenant)
				if pool != "" {
					query.Set("pool", pool)
				}
			}
			var list api.Signals
			if err := a.call(c.Context(), http.MethodGet, "signals", query, nil, &list); err != nil {
				return err
			}
			return a.emit(list, func() { a.showSignals(list.Pools) })
		},
	}
}

func (a *app) showSignals(pools []api.PoolSignals) {
	var rows [][]string
	for i := range pools {
		p := &pools[i]
		for j := range p.Signals {
			s := &p.Signals[j]
			rows = append(rows, []string{p.Tenant + "/" + p.Pool + "/" + s.Endpoint, line(a.signalText(s))})
		}
	}
	if len(rows) == 0 {
		fmt.Fprintln(a.err, "there are none: no pool has a monitor of type signal")
		return
	}
	a.table([]string{"endpoint", "signal"}, rows)
}

// signalText writes a signal as in: down by agent-7, 12s ago: draining.
func (a *app) signalText(s *api.Signal) string {
	if s.State == "" {
		return a.paint(odd, "no signal")
	}
	text := s.State
	switch {
	case s.Silent:
		return a.paint(odd, "no signal for "+orDash(a.age(s.Since))) + "; the last one: " + text
	case s.Score != nil:
		text += ", score " + number(*s.Score)
	case s.Load != nil:
		text += fmt.Sprintf(", load %v of %v", s.Load.Current, s.Load.Target)
		if s.Load.Capacity > 0 {
			text += fmt.Sprintf(", at most %v", s.Load.Capacity)
		}
	}
	if s.By != "" {
		text += " by " + s.By
	}
	text += ", " + orDash(a.age(s.Since)) + " ago"
	if s.Reason != "" {
		text += ": " + s.Reason
	}
	if s.Refused != "" {
		text += "; " + a.paint(odd, "not believed since: ") + s.Refused
	}
	return text
}

// silentSignals names the endpoints of which nothing is said.
func silentSignals(p *api.Pool) (names []string) {
	for i := range p.Signals {
		if s := &p.Signals[i]; s.Silent {
			names = append(names, s.Endpoint)
		}
	}
	return names
}

// doubtedSignals names the endpoints of which something is said that is not believed.
func doubtedSignals(p *api.Pool) (names []string) {
	for i := range p.Signals {
		if s := &p.Signals[i]; s.Refused != "" && !s.Silent {
			names = append(names, s.Endpoint)
		}
	}
	return names
}

// sourceText tells what a source of endpoints has, since when, and how good that is.
func (a *app) sourceText(s *api.PoolSource) string {
	text := fmt.Sprintf("source %s (%s): ", s.Name, s.Of)
	switch {
	case s.Off:
		return text + "off: it is not looked at, and what it had counts no more"
	case s.Since.IsZero() && s.Failed.IsZero():
		return text + "nothing yet"
	case s.Failed.IsZero():
		text += fmt.Sprintf("%s, for %s", plural(s.Endpoints, "endpoint"), a.age(s.Since))
	case s.Good.IsZero():
		text += fmt.Sprintf("never good, for %s: %s", a.age(s.Failed), s.Error)
	default:
		text += fmt.Sprintf("last good %s ago, and %s kept: %s", a.age(s.Good), plural(s.Endpoints, "endpoint"), s.Error)
	}
	if s.Leaving > 0 {
		text += fmt.Sprintf("; %d of them named no more, and kept until it is sure", s.Leaving)
	}
	if s.By != "" {
		text += ", pushed by " + s.By
	}
	if !s.Expires.IsZero() {
		text += ", until " + s.Expires.UTC().Format(time.RFC3339)
	}
	if s.Notes != "" {
		text += "; " + s.Notes
	}
	if s.Observed {
		text += " (observed: no answer names them)"
	}
	return text
}
