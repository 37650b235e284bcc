package main

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/gti/gtm/pkg/control/api"
)

// lagTime is how long an edge that follows the store may lack a new generation before that is a fault.
const lagTime = 10 * time.Second

func (a *app) edgeCmd() *cobra.Command {
	c := &cobra.Command{
		Use:   "edge",
		Short: "List the edges, forget one that is no more, have them take what they refuse",
		Args:  a.subcommand,
		RunE:  showHelp,
	}
	c.AddCommand(a.edgeListCmd(), a.edgeForgetCmd(), a.edgeAcceptCmd())
	return c
}

func (a *app) edgeListCmd() *cobra.Command {
	return &cobra.Command{
		Use:   "list",
		Short: "List the edges: alive, behind, unreachable or silent, and since when",
		Long: `List the edges that the store knows. One is alive while it holds its lease there, and silent when it lost that: it is dead,
or stopped, or cut off, and then answers what it answered before. One that is unreachable holds its lease, and gives control no answer.
A silent edge stays known, and missed, until it is back or forgotten.`,
		Example: "  gtmctl edge list",
		Args:    needArgs(0, 0),
		RunE: func(c *cobra.Command, _ []string) error {
			var list api.Edges
			if err := a.call(c.Context(), http.MethodGet, "edges", nil, nil, &list); err != nil {
				return err
			}
			return a.emit(list, func() { a.listEdges(&list) })
		},
	}
}

func (a *app) listEdges(list *api.Edges) {
	if len(list.Edges) == 0 {
		fmt.Fprintln(a.err, "there are none; gtmd --roles edge starts one")
		return
	}
	rows := make([][]string, 0, len(list.Edges))
	goals := api.Goals(list.Heads, list.IDs, list.Epoch)
	for i := range list.Edges {
		e := &list.Edges[i]
		b, since := e.Behind(goals), e.Started
		if e.Since != nil {
			since = *e.Since
		}
		state := e.State
		switch {
		case e.State == api.EdgeSilent:
		case e.Status == nil:
			state = "unreachable"
		case len(b.Tenants) > 0:
			state = "behind"
		case state == "":
			state = api.EdgeAlive
		}
		dns, version := e.DNS, e.Version
		if e.Status != nil {
			dns, version = e.Status.DNS, e.Status.Version
		}
		rows = append(rows, []string{e.ID, a.state(state), strings.Join(dns, " "), orDash(version), a.state(sourceOf(e)),
			orDash(answersFrom(e)), orDash(behindText(b, list.Heads)), orDash(a.age(since))})
	}
	a.table([]string{"edge", "state", "dns", "version", "source", "answers from", "behind", "since"}, rows)
}

// sourceOf is the state of an edge's source, or why it cannot be known.
func sourceOf(e *api.Edge) string {
	switch {
	case e.Status != nil:
		return e.Status.Source.State
	case e.State == api.EdgeSilent:
		return "silent"
	}
	return "unreachable"
}

// answersFrom writes the generations of an edge, with a question mark where they are those of before.
func answersFrom(e *api.Edge) string {
	if e.Status != nil {
		return states(e.Status.Tenants)
	}
	if len(e.Last) == 0 {
		return ""
	}
	return states(e.Last) + "?"
}

func behindText(b api.Behind, heads map[string]uint64) string {
	if b.Unknown {
		return "unknown"
	}
	late := map[string]uint64{}
	for _, tenant := range b.Tenants {
		late[tenant] = heads[tenant]
	}
	return states(late)
}

// showEdges is the part of status about edges.
func (a *app) showEdges(s *api.Status) {
	if len(s.Edges) == 0 {
		a.printf("no edge is registered: nothing answers DNS yet (gtmd --roles edge starts one)\n")
		return
	}
	rows := make([][]string, 0, len(s.Edges))
	var notes, hints []string
	goals := api.Goals(s.Heads, s.IDs, s.Epoch)
	for i := range s.Edges {
		e := &s.Edges[i]
		b := e.Behind(goals)
		dns, version, age := e.DNS, e.Version, ""
		if st := e.Status; st != nil {
			dns, version, age = st.DNS, st.Version, a.age(st.View.Published)
		}
		rows = append(rows, []string{e.ID, strings.Join(dns, " "), orDash(version), a.state(sourceOf(e)), orDash(answersFrom(e)),
			orDash(behindText(b, s.Heads)), orDash(age)})
		for _, note := range a.edgeNotes(s, e, b) {
			notes = append(notes, e.ID+": "+note)
		}
		if e.Status != nil {
			hints = append(hints, rolloutTexts(e.ID, e.Status.Held)...)
			hints = append(hints, unknownTexts(e.ID, e.Status.Unknown)...)
			hints = append(hints, undeclaredText(e.ID, e.Status.Maps)...)
		}
	}
	a.table([]string{"edge", "dns", "version", "source", "answers from", "behind", "age"}, rows)
	for _, note := range notes {
		a.printf("%s %s\n", a.paint(bad, "!"), note)
	}
	for _, hint := range hints {
		a.printf("%s %s\n", a.paint(odd, "i"), hint)
	}
}

// undeclaredText tells which names of an edge's map files have no effect.
func undeclaredText(id string, m *api.MapFiles) []string {
	if m == nil || m.Undeclared == 0 {
		return nil
	}
	return []string{fmt.Sprintf("%s: %s of its map files, as %s, have no effect: declare a Map with fromFiles for each", id,
		plural(m.Undeclared, "name"), strings.Join(m.Examples, ", "))}
}

// edgeNotes says what is not well with an edge.
func (a *app) edgeNotes(s *api.Status, e *api.Edge, b api.Behind) []string {
	var notes []string
	if e.Twin != "" {
		notes = append(notes, "two processes go by this ID ("+e.Twin+"): give one of them another --id")
	}
	st := e.Status
	if st == nil {
		return append(notes, e.Unheard())
	}
	if st.Source.Error != "" {
		notes = append(notes, fmt.Sprintf("%s for %s: %s", st.Source.State, a.age(st.Source.Since), st.Source.Error))
	}
	switch {
	case len(b.Tenants) == 0:
	case b.Other != "":
		notes = append(notes, b.Other)
	case st.Source.Error != "": // which is why
	case heldOnly(e, b): // which the notes on what it holds say
	case lags(s, e, b):
		notes = append(notes, fmt.Sprintf("is behind for %s, though its source is %s", a.age(*e.Since), st.Source.State))
	}
	for _, h := range st.Held {
		if h.Refused != 0 {
			notes = append(notes, h.Text())
		}
	}
	for _, o := range st.Local {
		notes = append(notes, localText(&o))
	}
	if h := st.Health; h != nil && h.StandsStill && (s.Health == nil || !s.Health.StandsStill) {
		notes = append(notes, fmt.Sprintf("health stands still for %s: %s", a.age(h.Since), h.Why))
	}
	if st.Snapshot != nil && st.Snapshot.Error != "" {
		notes = append(notes, "the copy on disk: "+st.Snapshot.Error)
	}
	if st.GeoFault != "" {
		notes = append(notes, "geography: "+st.GeoFault)
	}
	if st.Maps != nil && st.Maps.Fault != "" {
		notes = append(notes, st.Maps.Fault)
	}
	if st.LatencyFault != "" {
		notes = append(notes, "latency: "+st.LatencyFault)
	}
	for _, broken := range st.Broken {
		notes = append(notes, brokenText(broken))
	}
	return notes
}

// lags reports whether an edge has been behind for longer than a change takes.
func lags(s *api.Status, e *api.Edge, b api.Behind) bool {
	return len(b.Tenants) > 0 && e.Since != nil && s.Time.Sub(*e.Since) > lagTime
}

// wellEdge reports whether status finds nothing wrong with an edge.
func wellEdge(s *api.Status, e *api.Edge) bool {
	if e.Status == nil || e.Status.Source.State != "current" || len(e.Status.Broken) > 0 || e.Twin != "" {
		return false
	}
	if h := e.Status.Health; h != nil && h.StandsStill || len(e.Status.Local) > 0 {
		return false
	}
	b := e.Behind(api.Goals(s.Heads, s.IDs, s.Epoch))
	return b.Other == "" && (!lags(s, e, b) || heldOnly(e, b)) && !refuses(e.Status)
}

// refuses reports whether an edge refuses a generation.
func refuses(st *api.EdgeStatus) bool {
	return slices.ContainsFunc(st.Held, func(h api.HeldTenant) bool { return h.Refused != 0 })
}

// heldOnly reports whether an edge is behind in nothing but what it holds, which is told by itself.
func heldOnly(e *api.Edge, b api.Behind) bool {
	return !b.Unknown && !slices.ContainsFunc(b.Tenants, func(tenant string) bool {
		return !slices.ContainsFunc(e.Status.Held, func(h api.HeldTenant) bool { return h.Tenant == tenant })
	})
}

// rolloutTexts tells what rollouts have not come to on an edge.
func rolloutTexts(id string, held []api.HeldTenant) (list []string) {
	for i := range held {
		if held[i].Refused == 0 {
			list = append(list, id+": "+held[i].Text())
		}
	}
	return list
}

func (a *app) edgeForgetCmd() *cobra.Command {
	return &cobra.Command{
		Use:   "forget EDGE...",
		Short: "Do not miss an edge that is no more",
		Long: `Do not miss an edge that is no more. Until then status and wait count it as behind, since it may still answer from what it
had. An edge that is alive is not forgotten: stop it first. One that comes back is simply known again.`,
		Example:           "  gtmctl edge forget ams1",
		Args:              needArgs(1, -1),
		ValidArgsFunction: a.completeEdge,
		RunE: func(c *cobra.Command, args []string) error {
			var gone []api.ForgottenEdge
			for _, id := range args {
				var one api.ForgottenEdge
				if err := a.call(c.Context(), http.MethodDelete, "edges/"+url.PathEscape(id), nil, nil, &one); err != nil {
					return afterForgetting(gone, err)
				}
				gone = append(gone, one)
			}
			return a.emit(gone, func() {
				for _, one := range gone {
					a.printf("%s is forgotten: status and wait do not miss it any more\n", one.ID)
				}
			})
		},
	}
}

// afterForgetting adds to an error what was done before it.
func afterForgetting(gone []api.ForgottenEdge, err error) error {
	if len(gone) == 0 {
		return err
	}
	ids := make([]string, len(gone))
	for i, one := range gone {
		ids[i] = one.ID
	}
	return fmt.Errorf("%w (%s forgotten before that)", err, strings.Join(ids, ", "))
}

// completeEdge gives the edges that can be forgotten.
func (a *app) completeEdge(c *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
	ids := a.edgeIDs(c.Context(), func(e *api.Edge) bool { return e.State == api.EdgeSilent })
	return slices.DeleteFunc(ids, func(id string) bool { return slices.Contains(args, id) }), cobra.ShellCompDirectiveNoFileComp
}

func (a *app) edgeIDs(ctx context.Context, which func(*api.Edge) bool) []string {
	var list api.Edges
	a.ask(ctx, "edges", nil, &list)
	var ids []string
	for i := range list.Edges {
		if which(&list.Edges[i]) {
			ids = append(ids, list.Edges[i].ID)
		}
	}
	return ids
}
