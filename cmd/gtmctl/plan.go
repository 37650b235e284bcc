package main

import (
	"context"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/gti/gtm/pkg/control/api"
	"github.com/gti/gtm/pkg/spec"
)

func (a *app) planCmd() *cobra.Command {
	var paths, pins []string
	c := &cobra.Command{
		Use:   "plan -f FILE|DIR|-",
		Short: "Show what apply would change, what that does to answers, and what guards say (exit code 1 if they refuse)",
		Long: `Show what apply would change, field by field, and what it would do: which part of each service's answers moves between
pools and sites, in which countries, and what stays healthy. Countries are weighed by the queries that edges saw, where there are
enough (see gtmctl demand), and else by their Internet users. Nothing is changed.

The last line is how to apply just this: it is refused if anybody changed the same tenants meanwhile.`,
		Example: `  gtmctl plan -f config/
  gtmctl plan -f services.yaml -o json`,
		Args: needArgs(0, 0),
		RunE: func(c *cobra.Command, _ []string) error {
			expect, err := parseExpect(pins)
			if err != nil {
				return err
			}
			reply, resources, err := a.apply(c.Context(), paths, api.ApplyRequest{DryRun: true, Expect: expect})
			if err != nil {
				return err
			}
			err = a.emit(reply, func() {
				a.showPlan(reply)
				a.showEffect(reply.Effect, true)
				if len(reply.Plan) == 0 {
					a.printf("nothing to change: %s as declared\n", plural(len(resources), "resource"))
					return
				}
				a.printf("to apply this: gtmctl apply -f %s%s\n", strings.Join(paths, " -f "), expectFlags(reply.Base))
			})
			if err == nil && a.showRefusals(reply.Refusals) {
				return errSilent
			}
			return err
		},
	}
	filesFlag(c, &paths)
	c.Flags().StringSliceVar(&pins, "expect", nil, "refuse if a tenant is not at this generation any more, as in shop@41 (repeatable)")
	return c
}

func expectFlags(base map[string]uint64) string {
	var b strings.Builder
	for _, tenant := range slices.Sorted(maps.Keys(base)) {
		fmt.Fprintf(&b, " --expect %s@%d", tenant, base[tenant])
	}
	return b.String()
}

// foretell asks for a change's plan, and shows what it would do to answers.
func (a *app) foretell(ctx context.Context, path string, request any) (*api.ApplyReply, error) {
	var foreseen api.ApplyReply
	if err := a.call(ctx, http.MethodPost, path, nil, request, &foreseen); err != nil {
		return nil, err
	}
	if a.output == "table" {
		a.showOutlook(foreseen.Outlook)
		a.showEffect(foreseen.Effect, false)
		a.told = true
	}
	return &foreseen, nil
}

// showRefusals tells what guards say to a plan, and whether it would not be made.
func (a *app) showRefusals(list []api.Refusal) (refused bool) {
	for _, r := range list {
		what := a.paint(bad, "refused")
		switch {
		case r.Observed:
			continue // it is among the warnings
		case r.Waits:
			what = a.paint(odd, "waits for approval")
		}
		refused = true
		fmt.Fprintf(a.err, "%s: %s\n", what, line(fmt.Sprintf("%s: %s (%s of %s)", r.Of, r.Message, r.Field, r.Guard)))
	}
	return refused
}

// What people are shown of an effect; -o json has all that came.
const (
	maxServices  = 20
	maxCountries = 5
)

// showEffect tells what a change does to answers. all: also of what nothing changes, and by what clients are weighed.
func (a *app) showEffect(e *api.Effect, all bool) {
	switch {
	case e == nil:
		return
	case len(e.Services) == 0:
		if all {
			a.printf("no answers move%s: %s looked at\n", map[bool]string{true: " now"}[len(e.Later) > 0], plural(e.Same, "service"))
		}
		a.showLater(e)
		return
	}
	when := ""
	if e.At.After(a.now().Add(time.Second)) {
		when = " at " + e.At.UTC().Format(time.RFC3339)
	}
	by := "countries and their Internet users"
	if slices.ContainsFunc(e.Services, func(s api.ServiceEffect) bool { return seen(&s.Weighed) }) {
		by = "countries and their queries"
	}
	if all {
		by = e.About
	}
	a.printf("what this does to answers%s, by %s:\n", when, by)
	for i := range e.Services[:min(len(e.Services), maxServices)] {
		a.showServiceEffect(&e.Services[i])
		if w := &e.Services[i].Weighed; all && seen(w) {
			a.printf("    weighed by %s\n", a.weighedText(w, e.Services[i].Service.Tenant))
		}
	}
	for _, t := range e.Tenants {
		a.printf("  all services of %s: %s of their answers move\n", t.Tenant, percent(t.Moved))
	}
	if more := e.More + max(0, len(e.Services)-maxServices); more > 0 {
		a.printf("  and to those of %s more\n", plural(more, "service"))
	}
	if e.Same > 0 && all {
		a.printf("  nothing changes of the answers of %s more\n", plural(e.Same, "service"))
	}
	a.showLater(e)
}

// showLater tells what goes further when overrides of now have changed.
func (a *app) showLater(e *api.Effect) {
	shown := e.Later[:min(len(e.Later), maxServices)]
	for i := range shown {
		if i == 0 || !shown[i].At.Equal(shown[i-1].At) {
			a.printf("what this does as of %s, when overrides of now have changed:\n", shown[i].At.UTC().Format(time.RFC3339))
		}
		a.showServiceEffect(&shown[i])
	}
	if more := e.LaterMore + len(e.Later) - len(shown); more > 0 {
		a.printf("  and to those of %s more\n", plural(more, "service"))
	}
}

func (a *app) showServiceEffect(s *api.ServiceEffect) {
	name := s.Service.Tenant + "/" + s.Service.Name
	switch {
	case s.Gone:
		a.printf("  %s: %s\n", name, a.paint(bad, "its name answers no more"))
	case s.Moved == 0 && s.ByUsers == 0:
		a.printf("  %s: no answers move\n", name)
	default:
		text := percent(s.Moved) + " of its answers move"
		if seen(&s.Weighed) {
			text += " (" + percent(s.ByUsers) + " by Internet users)"
		}
		var moves, countries []string
		for _, m := range s.Moves {
			if m.From == m.To {
				moves = append(moves, fmt.Sprintf("to new addresses of %s %s", m.To, percent(m.Share)))
				continue
			}
			moves = append(moves, fmt.Sprintf("%s -> %s %s", orNone(m.From), orNone(m.To), percent(m.Share)))
		}
		for _, c := range s.Countries[:min(len(s.Countries), maxCountries)] {
			countries = append(countries, fmt.Sprintf("%s %s", c.Country, percent(c.Moved)))
		}
		if len(moves) > 0 {
			text += ": " + strings.Join(moves, ", ")
		}
		if len(countries) > 0 {
			text += "; most in " + strings.Join(countries, ", ")
		}
		a.printf("  %s: %s\n", name, text)
	}
	a.showShares("sites", s.Sites)
	a.showShares("rules, of all clients", s.Rules)
	if s.Capacity.Before != s.Capacity.After {
		a.printf("    endpoints that take clients: %s\n", change(percent(s.Capacity.Before), percent(s.Capacity.After)))
	}
	if s.SitesUp.Before != s.SitesUp.After {
		a.printf("    sites that are up: %s\n", change(fmt.Sprint(s.SitesUp.Before), fmt.Sprint(s.SitesUp.After)))
	}
	for _, note := range s.Notes {
		a.printf("    %s\n", note)
	}
}

// showShares prints those that are others than before.
func (a *app) showShares(what string, list []api.ShareChange) {
	var words []string
	for _, s := range list {
		if before, after := percent(s.Before), percent(s.After); before != after {
			words = append(words, orNone(s.Name)+" "+change(before, after))
		}
	}
	if len(words) > 0 {
		a.printf("    %s: %s\n", what, strings.Join(words, ", "))
	}
}

func orNone(name string) string {
	if name == "" {
		return "none"
	}
	return name
}

// seen reports whether countries are weighed by queries that were seen.
func seen(w *api.WeighedBy) bool { return w.By == "service" || w.By == "tenant" }

// tellAge is from when on it is told how old counts of queries are: edges are asked every minute.
const tellAge = 10 * time.Minute

// weighedText says by what queries a service of a tenant is weighed.
func (a *app) weighedText(w *api.WeighedBy, tenant string) string {
	text := fmt.Sprintf("%s queries of about a day, seen at %s", many(w.Queries), plural(w.Edges, "edge"))
	if w.By == "tenant" {
		text = "the " + text + ", for all services of " + tenant + ", since too few were for this one"
	}
	if age := a.now().Sub(w.Newest); age > tellAge {
		text += fmt.Sprintf("; nothing newer for %s", span(age))
	}
	return text
}

// many writes a large number of something, as in 1.2M.
func many(n float64) string {
	for _, unit := range []struct {
		of   float64
		name string
	}{{1e9, "G"}, {1e6, "M"}, {1e3, "k"}} {
		if n >= unit.of {
			return fmt.Sprintf("%.3g%s", n/unit.of, unit.name)
		}
	}
	return fmt.Sprintf("%.0f", n)
}

func (a *app) demandCmd() *cobra.Command {
	return &cobra.Command{
		Use:   "demand [TENANT[/SERVICE]]",
		Short: "Show who asks for what, by country, as edges sampled it",
		Long: `Show which services are asked for, and from which countries, as edges sampled it. What is old counts less: the numbers are
those of about a day. Plans and guards are weighed by them where enough was sampled.`,
		Example: `  gtmctl demand
  gtmctl demand shop
  gtmctl demand shop/web -o json`,
		Args:              needArgs(0, 1),
		ValidArgsFunction: a.completeTenant,
		RunE: func(c *cobra.Command, args []string) error {
			query, one := url.Values{}, false
			if len(args) > 0 {
				query.Set("tenant", args[0])
				if one = strings.Contains(args[0], "/"); one {
					if _, err := parseName(spec.KindService, args[0]); err != nil {
						return err
					}
					query = url.Values{"service": {args[0]}}
				}
			}
			var d api.Demand
			if err := a.call(c.Context(), http.MethodGet, "demand", query, nil, &d); err != nil {
				return err
			}
			return a.emit(d, func() { a.showDemand(&d, one) })
		},
	}
}

// showDemand prints all countries of one service, or the first ones of many.
func (a *app) showDemand(d *api.Demand, one bool) {
	if len(d.Services) == 0 {
		fmt.Fprintf(a.err, "nothing was asked for yet that %s told of\n", plural(len(d.Edges), "edge"))
		return
	}
	age := func(of *api.DemandOf) string { return a.age(of.Newest) + " ago" }
	var rows [][]string
	if one {
		of := &d.Services[0]
		for _, c := range of.Countries {
			rows = append(rows, []string{orUnknown(c.Country), percent(c.Share), many(c.Share * of.Queries)})
		}
		a.table([]string{"country", "share", "queries"}, rows)
		fmt.Fprintf(a.err, "%s samples at %s, the last %s%s\n", many(of.Samples), plural(of.Edges, "edge"), age(of), tooFew(of))
		return
	}
	for i := range d.Services {
		of := &d.Services[i]
		var countries []string
		for _, c := range of.Countries[:min(len(of.Countries), maxCountries)] {
			countries = append(countries, orUnknown(c.Country)+" "+percent(c.Share))
		}
		rows = append(rows, []string{of.Tenant + "/" + of.Service, many(of.Queries), strings.Join(countries, ", "), age(of) + tooFew(of)})
	}
	a.table([]string{"service", "queries", "countries", "told"}, rows)
	if d.More > 0 {
		fmt.Fprintf(a.err, "and %s more\n", plural(d.More, "service"))
	}
}

// tooFew tells of what is not weighed by its own queries.
func tooFew(of *api.DemandOf) string {
	if of.Enough {
		return ""
	}
	return "; too few to weigh by"
}

func orUnknown(country string) string {
	if country == "" {
		return "unknown"
	}
	return country
}

func (a *app) pendingCmd() *cobra.Command {
	return &cobra.Command{
		Use:   "pending [TENANT]",
		Short: "List the changes that wait for a second person",
		Example: `  gtmctl pending
  gtmctl pending shop -o json`,
		Args:              needArgs(0, 1),
		ValidArgsFunction: a.completeTenant,
		RunE: func(c *cobra.Command, args []string) error {
			query := url.Values{}
			if len(args) > 0 {
				query.Set("tenant", args[0])
			}
			var list api.PendingList
			if err := a.call(c.Context(), http.MethodGet, "pending", query, nil, &list); err != nil {
				return err
			}
			return a.emit(list, func() {
				if len(list.Pending) == 0 {
					fmt.Fprintln(a.err, "no change waits")
					return
				}
				var rows [][]string
				for i := range list.Pending {
					p := &list.Pending[i]
					rows = append(rows, []string{p.Name(), orDash(p.Author), orDash(clip(p.Message)),
						clip(strings.Join(append(marked("", p.Put), marked("-", p.Deleted)...), " ")),
						p.Expires.Local().Format(time.DateTime)})
				}
				a.table([]string{"change", "who", "why", "what", "waits until"}, rows)
			})
		},
	}
}

func (a *app) approveCmd() *cobra.Command {
	var dryRun, wait, reject bool
	c := &cobra.Command{
		Use:   "approve TENANT/ID",
		Short: "Let a change pass that waits for a second person, or take it back",
		Long: `Let a change pass that waits for a second person. Before that, it tells what the change does to answers as of now. Whoever
asked for a change cannot approve it; anybody who may change the tenant can take it back (--reject). A change is refused if what it
changes is not any more what it was made from.`,
		Example: `  gtmctl pending
  gtmctl approve shop/k7m2q5xw --dry-run
  gtmctl approve shop/k7m2q5xw --wait
  gtmctl approve shop/k7m2q5xw --reject`,
		Args: needArgs(1, 1),
		RunE: func(c *cobra.Command, args []string) error {
			tenant, id, ok := strings.Cut(args[0], "/")
			if !ok || tenant == "" || id == "" || strings.Contains(id, "/") {
				return misusef("%q is not TENANT/ID, as gtmctl pending lists them", args[0])
			}
			path := "pending/" + url.PathEscape(tenant) + "/" + url.PathEscape(id)
			if reject {
				err := a.call(c.Context(), http.MethodPost, path, nil, api.ApproveRequest{Reject: true}, nil)
				if err == nil {
					fmt.Fprintf(a.err, "%s is taken back: it is not made\n", args[0])
				}
				return err
			}
			return a.byHand(c.Context(), path, func(dryRun bool) any { return api.ApproveRequest{DryRun: dryRun} }, dryRun, wait,
				func(*api.ApplyReply) {})
		},
	}
	changeFlags(c, &dryRun, &wait, nil)
	c.Flags().BoolVar(&reject, "reject", false, "take it back: it is not made")
	return c
}
