package main

import (
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/gti/gtm/pkg/control/api"
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
			a.printf("%s is %s now\n", endpoint, a.state("down"))
		} else {
			a.printf("%s did not go down: it has recovered\n", endpoint)
		}
	}
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

// sourceText tells what a source of endpoints has, since when, and how good that is.
func (a *app) sourceText(s *api.PoolSource) string {
	text := fmt.Sprintf("source %s (%s): ", s.Name, s.Of)
	switch {
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
