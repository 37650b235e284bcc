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

	apiclient "github.com/gti/gtm/pkg/client"
	"github.com/gti/gtm/pkg/control/api"
	"github.com/gti/gtm/pkg/spec"
)

func (a *app) getCmd() *cobra.Command {
	var tenant string
	c := &cobra.Command{
		Use:   "get [KIND [TENANT/NAME...] | TENANT/KIND/NAME...]",
		Short: "List resources, or print them as YAML to change and apply",
		Long: `List resources, or print them to change and apply: what -o yaml and -o json print, apply -f reads.

A table goes to a terminal in a frame, and elsewhere in plain columns, one row a line, with two spaces or more between them. -o wide cuts
nothing of it, -o name prints TENANT/KIND/NAME alone, and -o jsonpath=PATH what a path (RFC 9535) finds in what -o json prints.`,
		Example: `  gtmctl get
  gtmctl get pools --tenant shop
  gtmctl get service shop/web -o yaml > web.yaml
  gtmctl get pools -o jsonpath='$.resources[*].spec.endpoints[*].addresses[*]'`,
		Args:              needArgs(0, -1),
		ValidArgsFunction: a.completeKindThenName,
		RunE: func(c *cobra.Command, args []string) error {
			list, err := a.resources(c.Context(), args, tenant)
			if err != nil {
				return err
			}
			if a.output == "yaml" {
				return a.writeManifest(list.Resources)
			}
			var granted []grantedZone
			if len(args) == 1 && len(list.Resources) == 0 {
				if kind, err := parseKind(args[0]); err == nil && kind == spec.KindZone {
					if granted, err = a.grantedZones(c.Context(), tenant, list.Heads); err != nil {
						return err
					}
				}
			}
			return a.emit(list, func() {
				if len(granted) == 0 {
					a.showResources(list)
					return
				}
				a.showGranted(granted)
			})
		},
	}
	c.Flags().StringVar(&tenant, "tenant", "", "only of this tenant")
	_ = c.RegisterFlagCompletionFunc("tenant", a.completeTenant)
	return c
}

// resources asks for all, those of a kind, or some by name.
func (a *app) resources(ctx context.Context, args []string, tenant string) (*api.ResourceList, error) {
	client, err := a.connect()
	if err != nil {
		return nil, err
	}
	list := &api.ResourceList{}
	query := url.Values{}
	if tenant != "" {
		query.Set("tenant", tenant)
	}
	if len(args) == 0 {
		return list, client.do(ctx, http.MethodGet, "resources", query, nil, list)
	}
	if len(args) == 1 && !whole(args[0]) {
		kind, err := a.kind(ctx, args[0])
		if err != nil {
			return nil, err
		}
		query.Set("kind", string(kind))
		return list, client.do(ctx, http.MethodGet, "resources", query, nil, list)
	}
	keys, err := a.named(ctx, args)
	if err != nil {
		return nil, err
	}
	for _, key := range keys {
		var r api.Resource
		if err := client.do(ctx, http.MethodGet, resourcePath(key), nil, nil, &r); err != nil {
			return nil, err
		}
		list.Resources = append(list.Resources, r)
	}
	return list, nil
}

// named reads KIND TENANT/NAME..., or TENANT/KIND/NAME...
func (a *app) named(ctx context.Context, args []string) (keys []spec.Key, err error) {
	read := func(word string) (spec.Key, error) { return a.parseResource(ctx, word) }
	if !whole(args[0]) {
		kind, err := a.kind(ctx, args[0])
		if err != nil {
			return nil, err
		}
		args, read = args[1:], func(word string) (spec.Key, error) { return parseName(kind, word) }
	}
	for _, word := range args {
		key, err := read(word)
		if err != nil {
			return nil, err
		}
		keys = append(keys, key)
	}
	return keys, nil
}

// whole reports whether a word names one resource by itself, rather than a kind.
func whole(word string) bool { return strings.Contains(word, "/") }

func resourcePath(key spec.Key) string {
	return "resources/" + url.PathEscape(key.Tenant) + "/" + url.PathEscape(string(key.Kind)) + "/" + apiclient.Segment(key.Name)
}

// kind reads a kind as people type it. One that gtmctl does not know may stand in the store all the same, written by a newer program.
func (a *app) kind(ctx context.Context, word string) (spec.Kind, error) {
	kind, unknown := parseKind(word)
	if unknown == nil {
		return kind, nil
	}
	for _, form := range []string{word, strings.TrimSuffix(word, "s")} {
		var list api.ResourceList
		err := a.call(ctx, http.MethodGet, "resources", url.Values{"kind": {form}}, nil, &list)
		if err == nil && len(list.Resources) > 0 {
			return list.Resources[0].Kind, nil
		}
	}
	return "", unknown
}

// aboutGenerations stands over what get prints as YAML.
const aboutGenerations = "# apply compares generation, and refuses if somebody changed the resource since. Without that line it " +
	"overwrites.\n"

// writeManifest prints resources as apply reads them.
func (a *app) writeManifest(resources []api.Resource) error {
	declared := make([]*spec.Resource, 0, len(resources))
	for _, r := range resources {
		if r.Error != "" {
			fmt.Fprintf(a.err, "%s: %s: %s\n", a.paint(odd, "warning"), line(r.Key().String()), line(r.Error))
		}
		if len(r.Spec) == 0 {
			continue
		}
		d, err := r.ToSpec(spec.Tolerant)
		if err != nil {
			return fmt.Errorf("%s cannot be read (is gtmctl older than gtmd?): %w", r.Key(), err)
		}
		declared = append(declared, d)
	}
	text, err := spec.EncodeYAML(declared)
	if err != nil || len(text) == 0 {
		return err
	}
	_, err = a.out.Write(append([]byte(aboutGenerations), text...))
	return err
}

func (a *app) showResources(list *api.ResourceList) {
	if len(list.Resources) == 0 {
		fmt.Fprintln(a.err, "there are none; gtmctl apply -f FILE makes some")
		return
	}
	if a.output == "name" {
		for _, r := range list.Resources {
			a.printf("%s\n", r.Key().String())
		}
		return
	}
	rows := make([][]string, 0, len(list.Resources))
	for _, r := range list.Resources {
		what := summary(r)
		if a.output != "wide" {
			what = clip(what)
		}
		rows = append(rows, []string{string(r.Kind), r.Tenant + "/" + r.Name, fmt.Sprintf("%s@%d", r.Tenant, r.Generation), what})
	}
	a.table([]string{"kind", "name", "written by", "what"}, rows)
}

// summary says in a few words what a resource is about.
func summary(r api.Resource) string {
	if r.Error != "" {
		return "(" + r.Error + ")"
	}
	d, err := r.ToSpec(spec.Tolerant)
	if err != nil {
		return "(cannot be read)"
	}
	switch s := d.Spec.(type) {
	case *spec.Opaque:
		return "(not understood: of a newer gtm)"
	case *spec.Zone:
		return plural(strings.Count(s.Content, "\n"), "line") + ", " + plural(len(s.Grants), "grant")
	case *spec.Site:
		return s.Region
	case *spec.Map:
		if s.FromFiles {
			return "from files"
		}
		return plural(len(s.Networks), "network")
	case *spec.Monitor:
		return s.Type + " " + s.Path
	case *spec.Pool:
		names := make([]string, len(s.Endpoints))
		for i, e := range s.Endpoints {
			weight := 1
			if e.Weight != nil {
				weight = *e.Weight
			}
			names[i] = fmt.Sprintf("%s=%d", e.Name, weight)
		}
		return strings.Join(names, " ")
	case *spec.Service:
		if s.Alias != nil {
			return s.Host + ", alias of " + s.Alias.To
		}
		return s.Host + ", " + plural(len(s.Rules), "rule")
	case *spec.Tenant:
		return brakeSummary(s)
	case *spec.Access:
		role := s.Role
		if s.Tenants != "" {
			role += " in " + s.Tenants + " tenants"
		}
		return role + " for " + strings.Join(s.Subjects, ", ")
	case *spec.Guard:
		return guardSummary(s)
	case *spec.Override:
		if s.Hold != nil {
			return "hold service " + s.Service + untilText(s) + ": " + s.Reason
		}
		return overrideSummary(s)
	}
	return ""
}

// brakeSummary says what a tenant sets for its brake.
func brakeSummary(t *spec.Tenant) string {
	var words []string
	if b := t.Brake; b != nil {
		words = append(words, b.Mode, b.Share)
		if b.Min != 0 {
			words = append(words, fmt.Sprintf("at least %d", b.Min))
		}
		if b.Window != 0 {
			words = append(words, "in "+b.Window.String())
		}
		if b.Everywhere != "" {
			words = append(words, b.Everywhere+" everywhere")
		}
	}
	words = slices.DeleteFunc(words, func(word string) bool { return word == "" })
	if len(words) > 0 {
		words = append([]string{"brake"}, words...)
	}
	if t.Limits != nil && t.Limits.Brake != nil {
		words = append(words, "(bounds for tenants)")
	}
	return strings.Join(words, " ")
}

// guardSummary says what a guard guards.
func guardSummary(g *spec.Guard) string {
	var words []string
	add := func(is bool, word string) {
		if is {
			words = append(words, word)
		}
	}
	add(!g.Enforces(), "observes:")
	add(g.LeastCapacity != "", "capacity "+g.LeastCapacity)
	add(g.LeastSites > 0, plural(g.LeastSites, "site"))
	if s := g.LargestShift; s != nil {
		add(s.Change != "", "shift "+s.Change)
		add(s.Hour != "", "shift "+s.Hour+" an hour")
	}
	add(len(g.Freeze) > 0, plural(len(g.Freeze), "freeze"))
	add(len(g.Protect) > 0, "protects "+strings.Join(g.Protect, " "))
	add(g.Approval != nil, "approval")
	return strings.Join(words, " ")
}

// untilText tells when an override ends, or that it is over and waits for nothing but to be deleted.
func untilText(o *spec.Override) string {
	switch {
	case o.Expires.IsZero():
		return ""
	case o.Ended(time.Now()):
		return " (expired)"
	}
	return " until " + o.Expires.String()
}

func overrideSummary(o *spec.Override) string {
	var weight *int
	if o.Weight != nil {
		weight = &o.Weight.To
	}
	what := strings.Trim(o.Pool+"/"+o.Endpoint, "/")
	if o.Service != "" {
		what += " in rule " + o.Rule + " of " + o.Service
	}
	when := ""
	switch {
	case o.Schedule != nil:
		when = " at " + o.Schedule.Cron
	case !o.At(time.Now()).Holds && !o.Ended(time.Now()):
		when = " from " + o.Starts.String()
	}
	return overrideText(o.State, weight) + " " + what + when + untilText(o) + ": " + o.Reason
}

// overrideText says what an override makes of what it is of.
func overrideText(state string, weight *int) string {
	if weight != nil {
		return strings.TrimSpace(fmt.Sprintf("%s weight %d", state, *weight))
	}
	return state
}

// fit clips what stands in a table on a terminal; a pipe gets all of it.
func (a *app) fit(s string) string {
	if columnsOf(a.out) > 0 {
		return clip(s)
	}
	return s
}

// clip keeps a cell of a table narrow.
func clip(s string) string {
	const most = 60
	if runes := []rune(s); len(runes) > most {
		return string(runes[:most-3]) + "..."
	}
	return s
}

// changeFlags are those of every command that makes a generation.
func changeFlags(c *cobra.Command, dryRun, wait *bool, message *string) {
	c.Flags().BoolVar(dryRun, "dry-run", false, "show the plan and change nothing")
	c.Flags().BoolVar(wait, "wait", false, "until every edge answers from the new generation (at most --timeout)")
	if message != nil {
		c.Flags().StringVarP(message, "message", "m", "", "why; history shows it")
	}
}

// change posts a request that answers with an api.ApplyReply, and shows that.
func (a *app) change(ctx context.Context, path string, request any, dryRun, wait bool) error {
	_, err := a.changeThen(ctx, path, request, dryRun, wait, func(*api.ApplyReply) {})
	return err
}

// changeThen is change, and says more behind what was made. The reply is nil where there was an error.
func (a *app) changeThen(ctx context.Context, path string, request any, dryRun, wait bool, more func(*api.ApplyReply)) (*api.ApplyReply,
	error) {
	var reply api.ApplyReply
	if err := a.call(ctx, http.MethodPost, path, nil, request, &reply); err != nil {
		return nil, err
	}
	err := a.emit(reply, func() {
		a.showPlan(&reply)
		if !a.told {
			a.showEffect(reply.Effect, false)
		}
		switch {
		case len(reply.Plan) == 0:
			a.printf("nothing to change\n")
		case dryRun:
			a.showRefusals(reply.Refusals)
			a.printf("dry run: nothing was changed\n")
		}
		a.showRecords(reply.Records)
		if len(reply.Records) > 0 {
			more(&reply)
		}
	})
	if err != nil || !wait || dryRun {
		return &reply, err
	}
	touched := map[string]bool{}
	for _, item := range reply.Plan {
		touched[item.Key.String()] = true
	}
	return &reply, a.waitFor(ctx, reply.Heads, func(resource string) bool { return touched[resource] })
}

func (a *app) describeCmd() *cobra.Command {
	return &cobra.Command{
		Use:   "describe KIND TENANT/NAME",
		Short: "Show a resource with its health, its overrides and who refers to it",
		Example: `  gtmctl describe pool shop/eu
  gtmctl describe service shop/web
  gtmctl describe zone gtm.example`,
		Args:              needArgs(2, 2),
		ValidArgsFunction: a.completeKindThenName,
		RunE: func(c *cobra.Command, args []string) error {
			kind, err := a.kind(c.Context(), args[0])
			if err != nil {
				return err
			}
			key, err := parseName(kind, args[1])
			if err != nil {
				return err
			}
			var d api.Description
			if err := a.call(c.Context(), http.MethodGet, resourcePath(key)+"/describe", nil, nil, &d); err != nil {
				return err
			}
			if a.output == "table" {
				return a.showDescription(&d)
			}
			return a.emit(d, nil)
		},
	}
}

func (a *app) showDescription(d *api.Description) error {
	if err := a.writeManifest([]api.Resource{d.Resource}); err != nil {
		return err
	}
	if o, err := d.ToSpec(spec.Tolerant); err == nil {
		if o, ok := o.Spec.(*spec.Override); ok && o.Ended(a.now()) {
			end, _ := o.Expires.Moment()
			a.printf("\n%s: it ended %s ago, and gives way to the next one of the same\n", a.paint(odd, "expired"), a.age(end))
		}
	}
	a.printf("\nwritten by  %s@%d", d.Tenant, d.Generation)
	if r := d.Record; r != nil {
		a.printf(", %s ago, by %s", a.age(r.Time), orDash(r.Author))
		if r.Message != "" {
			a.printf(": %s", r.Message)
		}
	}
	a.printf("\nrefers to   %s\nused by     %s\n", keys(d.RefersTo), keys(d.ReferredBy))
	for i := range d.Pools {
		a.printf("\n")
		a.showPool(&d.Pools[i])
	}
	if h := d.Health; h != nil && h.StandsStill {
		a.printf("\n%s%s\n", lines(a.healthLine(h)), "what stands above is what was known then")
	}
	return nil
}

func keys(all []spec.Key) string {
	words := make([]string, len(all))
	for i, key := range all {
		words[i] = key.String()
	}
	return orDash(strings.Join(words, ", "))
}
