package main

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/gti/gtm/pkg/control/api"
	"github.com/gti/gtm/pkg/spec"
)

func (a *app) historyCmd() *cobra.Command {
	var limit int
	c := &cobra.Command{
		Use:   "history TENANT[@GENERATION]",
		Short: "Show who changed what of a tenant, and when; with a generation, that change by field",
		Example: `  gtmctl history shop
  gtmctl history shop@18
  gtmctl history platform --limit 5 -o json`,
		Args:              needArgs(1, 1),
		ValidArgsFunction: a.completeTenant,
		RunE: func(c *cobra.Command, args []string) error {
			tenant, generation, one, err := parseState(args[0])
			if err != nil {
				return err
			}
			if one {
				return a.oneChange(c.Context(), tenant, generation)
			}
			var history api.History
			query := url.Values{"limit": {strconv.Itoa(limit)}}
			if err := a.call(c.Context(), http.MethodGet, "history/"+url.PathEscape(args[0]), query, nil, &history); err != nil {
				return err
			}
			return a.emit(history, func() {
				a.showHistory(history.Records)
				if n := len(history.Records); history.Oldest > 1 && n > 0 && history.Records[n-1].Generation <= history.Oldest {
					fmt.Fprintf(a.err, "what was before %s@%d was removed from the store; gtmctl audit export tells of it\n", args[0],
						history.Oldest)
				}
				if history.More {
					fmt.Fprintln(a.err, "older changes are left out: those shown name as many resources as one answer may")
				}
			})
		},
	}
	c.Flags().IntVar(&limit, "limit", 20, "how many, newest first")
	return c
}

func (a *app) showHistory(records []api.Record) {
	rows := make([][]string, 0, len(records))
	for _, r := range records {
		rows = append(rows, []string{r.State(), r.Time.Local().Format(time.DateTime), orDash(whose(&r)), orDash(clip(a.why(&r))),
			clip(strings.Join(append(marked("", r.Put), marked("-", r.Deleted)...), " "))})
	}
	a.table([]string{"state", "when", "who", "why", "what"}, rows)
}

// whose tells who made a change, and who approved it. That stands apart from its message, which could say anything.
func whose(r *api.Record) string {
	if r.Approved == "" {
		return r.Author
	}
	return r.Author + ", approved by " + r.Approved
}

// why tells why a change was made; where guards did not stop it, that first.
func (a *app) why(r *api.Record) string {
	text := r.Message
	if r.BreakGlass != "" {
		text = "BREAK-GLASS " + r.BreakGlass + ": " + text
	}
	return text
}

// oneChange shows what a generation changed.
func (a *app) oneChange(ctx context.Context, tenant string, generation uint64) error {
	var change api.Change
	path := "history/" + url.PathEscape(tenant) + "/" + strconv.FormatUint(generation, 10)
	if err := a.call(ctx, http.MethodGet, path, nil, nil, &change); err != nil {
		return err
	}
	return a.emit(change, func() {
		a.printf("%s, %s, by %s", change.State(), change.Time.Local().Format(time.DateTime), orDash(whose(&change.Record)))
		if why := a.why(&change.Record); why != "" {
			a.printf(": %s", why)
		}
		a.printf("\n")
		a.showPlan(&api.ApplyReply{Plan: change.Plan})
		if change.Incomplete != "" {
			fmt.Fprintf(a.err, "%s: %s\n", a.paint(odd, "warning"), change.Incomplete)
		}
	})
}

func marked(mark string, all []spec.Key) []string {
	words := make([]string, len(all))
	for i, key := range all {
		words[i] = fmt.Sprintf("%s%s/%s", mark, key.Kind, key.Name)
	}
	return words
}

func (a *app) rollbackCmd() *cobra.Command {
	var dryRun, wait, overrides bool
	var message string
	c := &cobra.Command{
		Use:   "rollback TENANT@GENERATION",
		Short: "Make a new generation that says what an older one said",
		Long: `Make a new generation that says what an older one said. Overrides (drains, weights set for a time) are of now and not of
then: those that there are stay, but for those whose pool or endpoint goes, and none comes back, unless --overrides takes them back, too.

Before that, it tells what it does to answers.`,
		Example: `  gtmctl rollback shop@39 --dry-run
  gtmctl rollback shop@39 --message 'undo the new weights' --wait`,
		Args:              needArgs(1, 1),
		ValidArgsFunction: a.completeTenant,
		RunE: func(c *cobra.Command, args []string) error {
			tenant, generation, ok, err := parseState(args[0])
			if err != nil {
				return err
			}
			if !ok {
				return misusef("%s: say which generation, as in %s@39; gtmctl history %s lists them", tenant, tenant, tenant)
			}
			return a.byHand(c.Context(), "rollback/"+url.PathEscape(tenant), func(dryRun bool) any {
				return api.RollbackRequest{Generation: generation, DryRun: dryRun, Message: message, Overrides: overrides}
			}, dryRun, wait, func(*api.ApplyReply) {})
		},
	}
	changeFlags(c, &dryRun, &wait, &message)
	c.Flags().BoolVar(&overrides, "overrides", false, "take overrides back to what they were, too")
	return c
}

func (a *app) storeCmd() *cobra.Command {
	store := &cobra.Command{
		Use:   "store",
		Short: "Act on the store (etcd) itself",
		Args:  a.subcommand,
		RunE:  showHelp,
	}
	store.AddCommand(a.rebuildCmd())
	store.AddCommand(&cobra.Command{
		Use:   "accept",
		Short: "Let the edges take the store's present state although it went back",
		Long: `Let the edges take the store's present state although it went back, as after a restore from a backup.

Edges refuse a store whose state is older than what they serve, since it may be a mistake; status shows them as refused. They
go on with what they have until this command says that the older state is meant.`,
		Example: `  gtmctl status          # an edge is refused: the store went back
  gtmctl store accept`,
		Args: needArgs(0, 0),
		RunE: func(c *cobra.Command, _ []string) error {
			var reply api.Accepted
			if err := a.call(c.Context(), http.MethodPost, "store/accept", nil, struct{}{}, &reply); err != nil {
				return err
			}
			return a.emit(reply, func() { a.printf("accepted by %s: the edges take the store's present state\n", reply.Author) })
		},
	})
	return store
}

func (a *app) versionCmd() *cobra.Command {
	return &cobra.Command{
		Use:     "version",
		Short:   "Print the version",
		Example: "  gtmctl version",
		Args:    needArgs(0, 0),
		RunE: func(*cobra.Command, []string) error {
			return a.emit(map[string]string{"version": version}, func() { a.printf("gtmctl %s\n", version) })
		},
	}
}
