package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"net/url"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"github.com/gti/gtm/cmd/gtmctl/start"
	"github.com/gti/gtm/pkg/control/api"
	"github.com/gti/gtm/pkg/control/files"
	"github.com/gti/gtm/pkg/spec"
)

func (a *app) applyCmd() *cobra.Command {
	var paths, pins []string
	var dryRun, wait, drop bool
	var message string
	c := &cobra.Command{
		Use:   "apply -f FILE|DIR|-",
		Short: "Make resources be as the files say",
		Long: `Make resources be as the files say: create what is missing, change what differs, leave the rest alone.

Either everything is applied or, if anything is wrong with any of it, nothing. FILE is YAML with any number of
resources; of a DIR, its *.yaml and *.yml files are read; - is standard input.

A resource with a line generation:, as gtmctl get -o yaml writes it, replaces that version of it alone: if somebody changed or deleted
it since, nothing is applied, and you are told who. Without that line it replaces whatever is there.`,
		Example: `  gtmctl apply -f config/
  gtmctl apply -f pools.yaml -f services.yaml --message 'more weight for fra' --wait
  gtmctl apply -f pools.yaml --expect shop@41
  gtmctl get pool shop/eu -o yaml | sed 's/weight: 3/weight: 5/' | gtmctl apply -f -`,
		Args: needArgs(0, 0),
		RunE: func(c *cobra.Command, _ []string) error {
			expect, err := parseExpect(pins)
			if err != nil {
				return err
			}
			request := api.ApplyRequest{DryRun: dryRun, DropUnknown: drop, Message: message, Expect: expect}
			return a.applyFiles(c.Context(), paths, request, wait)
		},
	}
	filesFlag(c, &paths)
	changeFlags(c, &dryRun, &wait, &message)
	c.Flags().BoolVar(&drop, "drop-unknown", false, "replace resources although they have fields of a newer gtm, which are lost")
	c.Flags().StringSliceVar(&pins, "expect", nil, "refuse if a tenant is not at this generation any more, as in shop@41 (repeatable)")
	return c
}

// applyFiles tells what files do to answers, applies them, and waits for edges where that is asked for.
func (a *app) applyFiles(ctx context.Context, paths []string, request api.ApplyRequest, wait bool) error {
	resources, wire, err := a.load(paths)
	if err != nil {
		return err
	}
	request.Resources = wire
	if err := a.foretellApply(ctx, request, resources); err != nil {
		return err
	}
	reply, err := a.sendApply(ctx, request, resources)
	if err != nil {
		return err
	}
	if err := a.emit(reply, func() { a.showApplied(reply, len(resources), request.DryRun) }); err != nil {
		return err
	}
	if !wait || request.DryRun {
		return nil
	}
	declared := map[string]bool{}
	for _, r := range resources {
		declared[r.Key.String()] = true
	}
	return a.waitFor(ctx, reply.Heads, func(resource string) bool { return declared[resource] })
}

func (a *app) deleteCmd() *cobra.Command {
	var dryRun, wait bool
	var message string
	c := &cobra.Command{
		Use:   "delete KIND TENANT/NAME... | TENANT/KIND/NAME...",
		Short: "Delete resources that nothing refers to any more",
		Example: `  gtmctl delete service shop/old-web
  gtmctl delete pools shop/eu shop/us --dry-run
  gtmctl delete shop/pool/eu shop/service/web`,
		Args: func(c *cobra.Command, args []string) error {
			if len(args) == 1 && whole(args[0]) {
				return nil
			}
			return needArgs(2, -1)(c, args)
		},
		ValidArgsFunction: a.completeKindThenName,
		RunE: func(c *cobra.Command, args []string) (err error) {
			request := api.ApplyRequest{DryRun: dryRun, Message: message}
			if request.Delete, err = a.named(c.Context(), args); err != nil {
				return err
			}
			return a.byHand(c.Context(), "apply", func(dryRun bool) any {
				request.DryRun = dryRun
				return request
			}, dryRun, wait, func(*api.ApplyReply) {})
		},
	}
	changeFlags(c, &dryRun, &wait, &message)
	return c
}

func (a *app) diffCmd() *cobra.Command {
	var paths []string
	c := &cobra.Command{
		Use:   "diff -f FILE|DIR|- | diff TENANT@GENERATION TENANT@GENERATION",
		Short: "Show what apply would change, or what differs between two generations (exit code 1 if anything)",
		Example: `  gtmctl diff -f config/
  gtmctl diff -f config/ && echo 'all as declared'
  gtmctl diff shop@40 shop@41`,
		Args: needArgs(0, 2),
		RunE: func(c *cobra.Command, args []string) error {
			switch {
			case len(args) == 2 && len(paths) == 0:
				return a.diffStates(c.Context(), args[0], args[1])
			case len(args) > 0 || len(paths) == 0:
				return misusef("say which files with -f FILE, -f DIR or -f -, or two generations, as in gtmctl diff shop@40 shop@41")
			}
			reply, _, err := a.apply(c.Context(), paths, api.ApplyRequest{DryRun: true})
			if err != nil {
				return err
			}
			return a.showDifferences(reply)
		},
	}
	filesVar(c, &paths)
	return c
}

// showDifferences shows what differs, and fails if anything does.
func (a *app) showDifferences(reply *api.ApplyReply) error {
	err := a.emit(reply, func() {
		a.showPlan(reply)
		if len(reply.Plan) == 0 {
			fmt.Fprintln(a.err, "no differences")
		}
	})
	if err == nil && len(reply.Plan) > 0 {
		return errSilent
	}
	return err
}

func filesFlag(c *cobra.Command, paths *[]string) {
	filesVar(c, paths)
	need(c, "filename", "say which files with -f FILE, -f DIR, or -f - for standard input")
}

// filesVar is filesFlag where there is another way.
func filesVar(c *cobra.Command, paths *[]string) {
	c.Flags().StringArrayVarP(paths, "filename", "f", nil, "file or folder with YAML, or - for standard input (repeatable)")
	_ = c.MarkFlagFilename("filename", "yaml", "yml")
}

// apply loads the files and sends them; faults come back with the lines of their fields.
func (a *app) apply(ctx context.Context, paths []string, request api.ApplyRequest) (*api.ApplyReply, []*spec.Resource, error) {
	resources, wire, err := a.load(paths)
	if err != nil {
		return nil, nil, err
	}
	request.Resources = wire
	reply, err := a.sendApply(ctx, request, resources)
	return reply, resources, err
}

func (a *app) sendApply(ctx context.Context, request api.ApplyRequest, resources []*spec.Resource) (*api.ApplyReply, error) {
	var reply api.ApplyReply
	if err := a.send(ctx, "apply", request, resources, &reply); err != nil {
		return nil, err
	}
	locateIssues(reply.Warnings, resources)
	return &reply, nil
}

// mostForetold is how many resources are sent twice, so that people see what they do to answers before it happens.
const mostForetold = 1000

// foretellApply shows what a change would do to answers. What is large is told behind it.
func (a *app) foretellApply(ctx context.Context, request api.ApplyRequest, resources []*spec.Resource) error {
	if request.DryRun || a.output != "table" || len(resources) > mostForetold {
		return nil
	}
	request.DryRun = true
	reply, err := a.sendApply(ctx, request, resources)
	if err == nil {
		a.showEffect(reply.Effect, false)
		a.told = true
	}
	return err
}

// load reads resources, and gives them in the form of the wire, too.
func (a *app) load(paths []string) ([]*spec.Resource, []api.Resource, error) {
	end := a.busy("reading " + strings.Join(paths, ", "))
	resources, err := files.Load(paths, a.in)
	end()
	if err != nil {
		return nil, nil, err
	}
	if len(resources) == 0 {
		return nil, nil, fmt.Errorf("there is no resource in %s", strings.Join(paths, ", "))
	}
	wire := make([]api.Resource, len(resources))
	for i, r := range resources {
		if wire[i], err = api.FromSpec(r); err != nil {
			return nil, nil, err
		}
		wire[i].Origin = &api.Origin{File: r.Origin.File, Line: r.Origin.Line}
	}
	return resources, wire, nil
}

// send posts a request with many resources.
func (a *app) send(ctx context.Context, path string, request any, resources []*spec.Resource, reply any) error {
	a.timeout = a.patience(resources)
	end := a.busy(plural(len(resources), "resource") + " on their way to " + a.server)
	err := a.call(ctx, http.MethodPost, path, nil, request, reply)
	end()
	return locate(err, resources)
}

// locate gives the issues of a problem the lines of the fields that they name; the server knows only where a resource begins.
func locate(err error, resources []*spec.Resource) error {
	var problem *api.Problem
	if errors.As(err, &problem) {
		locateIssues(problem.Errors, resources)
	}
	return err
}

func locateIssues(issues []api.Issue, resources []*spec.Resource) {
	origins := make(map[string]*spec.Origin, len(resources))
	for _, r := range resources {
		origins[r.Key.String()] = &r.Origin
	}
	for i := range issues {
		issue := &issues[i]
		origin := origins[issue.Resource]
		if origin != nil && (issue.File == "" || issue.File == origin.File && issue.Line == origin.Line) {
			issue.File, issue.Line = origin.File, origin.LineOf(issue.Field)
		}
	}
}

func (a *app) showApplied(reply *api.ApplyReply, resources int, dryRun bool) {
	a.showPlan(reply)
	if !a.told {
		a.showEffect(reply.Effect, false)
	}
	switch {
	case len(reply.Plan) == 0:
		a.printf("nothing to change: %s as declared\n", plural(resources, "resource"))
	case dryRun:
		a.showRefusals(reply.Refusals)
		a.printf("dry run: nothing was changed\n")
	}
	a.showRecords(reply.Records)
}

// showRecords prints what was made, as in: shop@41: 2 written, 1 deleted.
func (a *app) showRecords(records []api.Record) {
	for _, r := range records {
		var parts []string
		if len(r.Put) > 0 {
			parts = append(parts, fmt.Sprintf("%d written", len(r.Put)))
		}
		if len(r.Deleted) > 0 {
			parts = append(parts, fmt.Sprintf("%d deleted", len(r.Deleted)))
		}
		a.printf("%s: %s\n", r.State(), strings.Join(parts, ", "))
	}
}

// maxFields is how many changed fields of one resource a plan for people shows; -o json has all that came.
const maxFields = 30

// showPlan prints a plan as lines of + (create), ~ (update) and - (delete).
func (a *app) showPlan(reply *api.ApplyReply) {
	for _, item := range reply.Plan {
		switch item.Action {
		case api.Create:
			a.printf("%s\n", a.paint(good, "+ "+item.Key.String()))
		case api.Delete:
			a.printf("%s\n", a.paint(bad, "- "+item.Key.String()))
		default:
			a.printf("%s\n", a.paint(odd, "~ "+item.Key.String()))
		}
		for i, f := range item.Fields {
			if i == maxFields {
				break
			}
			a.printf("    %s\n", fieldText(f))
		}
		if more := len(item.Fields) - min(len(item.Fields), maxFields) + item.More; more > 0 {
			a.printf("    ... and %d more\n", more)
		}
	}
	for _, w := range reply.Warnings {
		fmt.Fprintf(a.err, "%s: %s\n", a.paint(odd, "warning"), line(w.String()))
	}
}

// fieldText writes what a field was and is; a line of a text that came or went stands alone.
func fieldText(f spec.FieldChange) string {
	switch {
	case f.Old == nil && f.Place != "":
		return fmt.Sprintf("%s: + %s (%s)", f.Path, f.New, f.Place)
	case f.Old == nil:
		return fmt.Sprintf("%s: + %s", f.Path, f.New)
	case f.New == nil:
		return fmt.Sprintf("%s: - %s", f.Path, f.Old)
	}
	return fmt.Sprintf("%s: %s -> %s", f.Path, f.Old, f.New)
}

func (a *app) initCmd() *cobra.Command {
	var said start.Said
	yes := false
	c := &cobra.Command{
		Use:   "init [FILE]",
		Short: "Make a first service: asks, writes a file, plans, applies",
		Long: `Make a first service of your own. It asks for what no flag says: the zone, the tenant, the host, two pools and a check;
writes FILE (first.yaml), which is yours to change from then on; shows what applying it would do; and, if you say yes, applies it,
waits for the edges and tells how to ask for it. A zone that is not there yet is declared, too, which takes the right to the platform's
resources. What is there already is never replaced: every pool needs a new name, and the host a first label that is new to the tenant.`,
		Example: `  gtmctl init
  gtmctl init web.yaml --zone example.org --tenant shop --host www.example.org --pool eu=192.0.2.10 \
    --pool us=198.51.100.10 --check https/healthz --yes`,
		Args: needArgs(0, 1),
		RunE: func(c *cobra.Command, args []string) error {
			file := "first.yaml"
			if len(args) > 0 {
				file = args[0]
			}
			if _, err := os.Stat(file); !errors.Is(err, fs.ErrNotExist) {
				return fmt.Errorf("%s is there already: gtmctl apply -f %[1]s applies it; to make another: gtmctl init OTHER.yaml", file)
			}
			return a.begin(c.Context(), &said, file, yes)
		},
	}
	c.Flags().StringVar(&said.Zone, "zone", "", "the zone, as in example.org")
	c.Flags().StringVar(&said.Tenant, "tenant", "", "the tenant whose it is")
	c.Flags().StringVar(&said.Host, "host", "", "the name that clients ask, as in www.example.org")
	c.Flags().StringArrayVar(&said.Pools, "pool", nil,
		"a pool as NAME=ADDRESS[,ADDRESS...]; the first takes clients, the others step in (twice or more)")
	c.Flags().StringVar(&said.Check, "check", "", "how endpoints are checked: TYPE[:PORT][/PATH] with http, https or tcp, or none")
	c.Flags().StringVar(&said.Edge, "edge", "", "where edges are asked: the address of the name server of a new zone (default 127.0.0.1)")
	c.Flags().BoolVar(&yes, "yes", false, "apply it without asking")
	_ = c.RegisterFlagCompletionFunc("tenant", a.completeTenant)
	return c
}

// begin makes the file of a first service, and applies it.
func (a *app) begin(ctx context.Context, said *start.Said, file string, yes bool) error {
	zones, err := a.knownZones(ctx)
	if err != nil {
		return err
	}
	person := start.NewPerson(a.in, a.err)
	made, err := said.Answers(person, start.Known{Zones: zones, Free: func(key spec.Key) error { return a.free(ctx, key) }})
	if errors.Is(err, start.ErrSilent) {
		return misusef("%w: give --zone, --tenant, --host, --pool (twice) and --check", err)
	}
	if err != nil {
		return misuse{err}
	}
	expect, err := a.unused(ctx, made)
	if err != nil {
		return err
	}
	if err := os.WriteFile(file, []byte(made.YAML()), 0o644); err != nil {
		return err
	}
	a.printf("%s is written\n", file)
	if !yes {
		if err = a.applyFiles(ctx, []string{file}, api.ApplyRequest{DryRun: true}, false); err == nil && !person.Sure("Apply it") {
			fmt.Fprintf(a.err, "nothing is applied; when you want to: gtmctl apply -f %s --wait\n", file)
			return nil
		}
		if err == nil { // a person may take long, and others change things meanwhile
			expect, err = a.unused(ctx, made)
		}
	}
	if err == nil {
		err = a.applyFiles(ctx, []string{file}, api.ApplyRequest{Message: "a first service", Expect: expect}, true)
	}
	if err != nil {
		fmt.Fprintf(a.err, "%s is kept: change it, and gtmctl apply -f %[1]s --wait\n", file)
		return err
	}
	a.showFirst(made)
	return nil
}

// knownZones gives the zones that who asks may know, each with what it grants. Those of the platform are seen there alone; elsewhere it is
// told what a tenant may have in them.
func (a *app) knownZones(ctx context.Context) (map[string]map[string][]string, error) {
	var list api.ResourceList
	if err := a.call(ctx, http.MethodGet, "resources", url.Values{"kind": {string(spec.KindZone)}}, nil, &list); err != nil {
		return nil, err
	}
	zones := map[string]map[string][]string{}
	for _, r := range list.Resources {
		zones[r.Name] = nil
		if d, err := r.ToSpec(spec.Tolerant); err == nil {
			zones[r.Name] = d.Spec.(*spec.Zone).Grants
		}
	}
	if len(zones) > 0 {
		return zones, nil
	}
	granted, err := a.grantedZones(ctx, "", list.Heads)
	for _, g := range granted {
		if zones[g.Zone] == nil {
			zones[g.Zone] = map[string][]string{}
		}
		zones[g.Zone][g.tenant] = g.Names
	}
	return zones, err
}

// free refuses a key under which something is there already.
func (a *app) free(ctx context.Context, key spec.Key) error {
	var there api.Resource
	err := a.call(ctx, http.MethodGet, resourcePath(key), nil, nil, &there)
	switch {
	case err == nil:
		return &start.TakenError{Key: key}
	case isMissing(err):
		return nil
	}
	return err
}

// unused refuses what is made if any of it is there already. It gives the generations of which that is known, so that what somebody makes
// from then on is not replaced either.
func (a *app) unused(ctx context.Context, made *start.Answers) (map[string]uint64, error) {
	resources, err := files.Load([]string{"-"}, strings.NewReader(made.YAML()))
	if err != nil {
		return nil, err
	}
	var list api.ResourceList // for the heads, which are asked for before the rest
	query := url.Values{"kind": {string(spec.KindZone)}, "limit": {"1"}}
	if err := a.call(ctx, http.MethodGet, "resources", query, nil, &list); err != nil {
		return nil, err
	}
	expect := map[string]uint64{}
	for _, r := range resources {
		expect[r.Tenant] = list.Heads[r.Tenant] // 0: the tenant has none yet
	}
	return expect, start.Unused(resources, func(key spec.Key) error { return a.free(ctx, key) })
}

// showFirst tells how to ask for a service, and how to bring a name of one's own to it.
func (a *app) showFirst(made *start.Answers) {
	edge := "@" + made.Edge.String()
	if u, err := url.Parse(a.server); err == nil && !made.NewZone {
		edge = "@" + u.Hostname()
	}
	if edge == "@127.0.0.1" || edge == "@localhost" {
		edge = "@127.0.0.1 -p 5300"
	}
	host := strings.TrimSuffix(made.Host, ".")
	a.printf("\nAsk an edge (gtmd --dns says where it listens):\n  dig %s %s\n", edge, host)
	a.printf("Why it answered that:\n  gtmctl explain %s\n", host)
	a.printf("Bring a name of yours, in any zone, to it:\n  www.shop.example.  CNAME  %s\n", made.Host)
}
