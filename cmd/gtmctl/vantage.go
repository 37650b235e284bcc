package main

import (
	"fmt"
	"net/http"
	"net/url"
	"strings"

	"github.com/spf13/cobra"

	"github.com/gti/gtm/pkg/control/api"
)

func (a *app) vantageCmd() *cobra.Command {
	c := &cobra.Command{
		Use:   "vantage",
		Short: "List the probers, and forget one that is no more",
		Args:  a.subcommand,
		RunE:  showHelp,
	}
	c.AddCommand(a.vantageListCmd(), a.vantageForgetCmd())
	return c
}

func (a *app) vantageListCmd() *cobra.Command {
	return &cobra.Command{
		Use:   "list",
		Short: "List the probers: alive, silent or never seen",
		Long: `List the probers that the store or a monitor knows. One is alive while it holds its lease, silent when it lost that
(what it saw last stays, and counts as unknown), absent when a monitor names it and it was never seen.`,
		Example: "  gtmctl vantage list",
		Args:    needArgs(0, 0),
		RunE: func(c *cobra.Command, _ []string) error {
			var list api.Vantages
			if err := a.call(c.Context(), http.MethodGet, "vantages", nil, nil, &list); err != nil {
				return err
			}
			return a.emit(list, func() { a.showVantages(list.Vantages) })
		},
	}
}

func (a *app) showVantages(all []api.Vantage) {
	if len(all) == 0 {
		fmt.Fprintln(a.err, "there are none; gtmd --roles prober starts one")
		return
	}
	rows := make([][]string, 0, len(all))
	for _, v := range all {
		rows = append(rows, []string{v.ID, a.vantageState(&v), orDash(line(v.Region)), orDash(line(v.Network)),
			fmt.Sprint(v.Pools), clip(keys(v.Monitors))})
	}
	a.table([]string{"vantage", "state", "region", "network", "pools", "named by"}, rows)
}

func (a *app) vantageForgetCmd() *cobra.Command {
	return &cobra.Command{
		Use:   "forget VANTAGE",
		Short: "Forget what a prober that is no more has seen",
		Long: `Forget what a prober that is no more has seen. Until then it counts as a silent one wherever a monitor names no vantages,
and so makes the majority harder to reach. A prober that is alive is not forgotten: stop it first.`,
		Example:           "  gtmctl vantage forget old-fra",
		Args:              needArgs(1, 1),
		ValidArgsFunction: a.completeVantage,
		RunE: func(c *cobra.Command, args []string) error {
			var gone api.Forgotten
			if err := a.call(c.Context(), http.MethodDelete, "vantages/"+url.PathEscape(args[0]), nil, nil, &gone); err != nil {
				return err
			}
			return a.emit(gone, func() {
				a.printf("%s is forgotten: it had evidence on %s\n", gone.ID, plural(gone.Pools, "pool"))
				if len(gone.Monitors) > 0 {
					fmt.Fprintf(a.err, "%s: monitors name it still, and count it as unknown: %s\n", a.paint(odd, "warning"),
						line(keys(gone.Monitors)))
				}
			})
		},
	}
}

func (a *app) completeVantage(c *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
	var list api.Vantages
	if len(args) == 0 {
		a.ask(c.Context(), "vantages", nil, &list)
	}
	var words []string
	for _, v := range list.Vantages {
		if v.State == api.VantageSilent {
			words = append(words, v.ID)
		}
	}
	return words, cobra.ShellCompDirectiveNoFileComp
}

// vantagesShort writes the probers as in: ams alive, fra silent.
func (a *app) vantagesShort(all []api.Vantage) string {
	words := make([]string, len(all))
	for i, v := range all {
		words[i] = v.ID + " " + a.vantageState(&v)
	}
	return orDash(strings.Join(words, ", "))
}

// vantageState writes the state of a vantage, or how old what is known of it is.
func (a *app) vantageState(v *api.Vantage) string {
	if v.State == api.VantageUnknown && v.Heard != nil {
		return a.paint(odd, "alive when last heard, "+a.age(*v.Heard)+" ago")
	}
	return a.state(v.State)
}
