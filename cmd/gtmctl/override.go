package main

import (
	"fmt"
	"net/http"
	"net/url"
	"time"

	"github.com/spf13/cobra"

	"github.com/gti/gtm/pkg/control/api"
)

// defaultLocal is how long an override of one edge holds unless --for says otherwise.
const defaultLocal = time.Hour

func (a *app) overrideCmd() *cobra.Command {
	var edge, state, reason string
	var end bool
	hold := defaultLocal
	c := &cobra.Command{
		Use:   "override --edge URL [TENANT/POOL[/ENDPOINT]]",
		Short: "Drain a pool or an endpoint at one edge, while the store is gone",
		Long: `Tell one edge itself, past the store, to drain a pool or an endpoint (or to take it for down, or up), while it does not hear
the store and a drain cannot be written. Without a pool, list what that edge was told.

It holds at that edge alone, in memory and on its disk, for an hour (--for, up to 1d) and no longer than until the store has a newer
word: another generation of the tenant, or another verdict on the pool. Status, explanations and the edge's log tell of it loudly. Where
the store is heard, an edge refuses: gtmctl drain reaches all.

The token is that of the edge: --token-file with the file token of its data folder.`,
		Example: `  gtmctl override --edge http://10.0.0.11:8053 --token-file edge-token shop/eu/a --reason 'the rack burns'
  gtmctl override --edge http://10.0.0.11:8053 --token-file edge-token
  gtmctl override --edge http://10.0.0.11:8053 --token-file edge-token shop/eu/a --end`,
		Args: needArgs(0, 1),
		RunE: func(c *cobra.Command, args []string) error {
			a.server = edge
			client, err := a.connect()
			if err != nil {
				return err
			}
			at := client.Server().JoinPath("edge", "overrides")
			if len(args) == 0 {
				var list []api.LocalOverride
				if err := client.ask(c.Context(), http.MethodGet, at, nil, nil, &list); err != nil {
					return err
				}
				return a.emit(list, func() { a.showLocal(list) })
			}
			pool, err := parsePool(args[0], true)
			if err != nil {
				return err
			}
			if reason == "" && !end {
				return misusef("say why with --reason, as in --reason 'the rack burns'")
			}
			o := api.LocalOverride{Tenant: pool.tenant, Pool: pool.pool, Endpoint: pool.endpoint, State: state, Reason: reason,
				Expires: a.now().Add(hold)}
			return a.overrideAt(c, client, at, &o, end)
		},
	}
	c.Flags().StringVar(&edge, "edge", "", "URL of the edge's HTTP port, as in http://10.0.0.11:8053")
	c.Flags().StringVar(&state, "state", "drain", "drain, down or up")
	c.Flags().StringVar(&reason, "reason", "", "why; status and explanations show it")
	durationVar(c.Flags(), &hold, "for", "how long at most, up to 1d")
	c.Flags().BoolVar(&end, "end", false, "end it")
	need(c, "edge", "say which edge with --edge, as in --edge http://10.0.0.11:8053")
	_ = c.RegisterFlagCompletionFunc("state", cobra.FixedCompletions([]string{"drain", "down", "up"}, cobra.ShellCompDirectiveNoFileComp))
	return c
}

func (a *app) overrideAt(c *cobra.Command, client *client, at *url.URL, o *api.LocalOverride, end bool) error {
	method := http.MethodPut
	if end {
		method = http.MethodDelete
	}
	var done api.LocalOverride
	if err := client.ask(c.Context(), method, at, nil, o, &done); err != nil {
		return err
	}
	return a.emit(done, func() {
		if end {
			a.printf("%s is overridden no more at this edge\n", done.Of())
			return
		}
		a.showLocal([]api.LocalOverride{done})
		fmt.Fprintln(a.err, "it holds at this edge alone, and ends with the store's next word on it: when the store is back, gtmctl drain")
	})
}

func (a *app) showLocal(list []api.LocalOverride) {
	if len(list) == 0 {
		fmt.Fprintln(a.err, "this edge was told nothing itself")
		return
	}
	for i := range list {
		a.printf("%s\n", localText(&list[i]))
	}
}

// localText tells of an override of one edge.
func localText(o *api.LocalOverride) string {
	text := fmt.Sprintf("%s: %s at this edge alone until %s: %s", o.Of(), o.State, o.Expires.UTC().Format(time.RFC3339), o.Reason)
	if o.Author != "" {
		text += ", by " + o.Author
	}
	if o.Fault != "" {
		text += " (" + o.Fault + ")"
	}
	return text
}
