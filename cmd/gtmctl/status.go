package main

import (
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/gti/gtm/pkg/control/api"
)

func (a *app) statusCmd() *cobra.Command {
	return &cobra.Command{
		Use:   "status",
		Short: "Show the edges with their generations and age, the probers, the pools with their health, the store",
		Long: `Show the edges with their generations and age, the probers, the pools with their health, and how the store is followed. A
pool is frozen while the brake holds it: more endpoints failed at once than is likely, and those of the pool answer as if they
were up. gtmctl health release lets them down.

Edges are known until gtmctl edge forget. One that is silent (it lost its lease) or cannot be asked may answer from anything: what it
is BEHIND in is unknown.

Exit code 1
- if an edge is silent, cannot be asked, serves something broken, no longer follows or stays behind;
- if the store is not followed, has used four fifths of etcd's quota, or does not take a verdict, or a tenant's verdicts are late;
- if no pool of a service is up;
- if the audit log cannot be written, or what is older than the retention cannot be removed;
- while the brake holds anything, or too few vantages of a monitor are alive to agree, or of those of a continent;
- while the owner of an endpoint is silent that a monitor of type signal waits for, or what he says is not believed, unless such monitors
  are only watched;
- if health stands still: no judge is heard, and verdicts are those of before.`,
		Example: `  gtmctl status
  gtmctl status -o json | jq '.pools[] | select(.up | not)'`,
		Args: needArgs(0, 0),
		RunE: func(c *cobra.Command, _ []string) error {
			var status api.Status
			if err := a.call(c.Context(), http.MethodGet, "status", nil, nil, &status); err != nil {
				return err
			}
			if err := a.emit(status, func() { a.showStatus(&status) }); err != nil {
				return err
			}
			if !wellAll(&status) {
				return errSilent
			}
			return nil
		},
	}
}

func wellAll(s *api.Status) bool {
	if s.Store.State != "current" || s.Store.Error != "" || s.Store.Room != "" || s.Audit != nil && s.Audit.Error != "" ||
		s.Retention != nil && s.Retention.Error != "" {
		return false
	}
	if s.Health != nil && (s.Health.StandsStill || len(s.Health.Troubles) > 0) || len(s.Voteless)+len(s.Unserved) > 0 ||
		slices.ContainsFunc(s.Pools, func(p api.Pool) bool {
			return isFrozen(p) || slices.ContainsFunc(p.Regions, func(r api.PoolRegion) bool { return r.Undecided != "" }) ||
				!p.Watched && len(silentSignals(&p))+len(doubtedSignals(&p)) > 0
		}) {
		return false
	}
	return !slices.ContainsFunc(s.Edges, func(e api.Edge) bool { return !wellEdge(s, &e) })
}

func (a *app) showStatus(s *api.Status) {
	a.printf("store   %s", a.state(s.Store.State))
	if age := a.age(s.Store.Since); age != "" {
		a.printf(" for %s", age)
	}
	if s.Store.Error != "" {
		a.printf(": %s", s.Store.Error)
	}
	if s.Store.Room != "" {
		a.printf("\n%s %s", a.paint(bad, "!"), s.Store.Room)
	}
	a.printf("\n%sheads   %s\nprobers %s\n", lines(a.healthLine(s.Health)), orDash(states(s.Heads)), a.vantagesShort(s.Vantages))
	if p := s.Past; p != nil && !p.Since.IsZero() {
		a.printf("past    known since %s, by %s of verdicts (%.1f of %d MiB)\n", p.Since.UTC().Format(time.RFC3339),
			plural(p.Changes, "change"), float64(p.Bytes)/(1<<20), p.Most>>20)
	}
	a.showEventsKept(s.Events)
	a.showKept(s)
	a.printf("\n")
	a.showEdges(s)
	for _, v := range s.Voteless {
		a.printf("%s %s: %s\n", a.paint(bad, "!"), clip(keys(v.Monitors)), v.Why)
	}
	if s.Health != nil {
		for _, trouble := range s.Health.Troubles {
			a.printf("%s %s\n", a.paint(bad, "!"), trouble)
		}
	}
	for i := range s.Holds {
		a.showHeldService(&s.Holds[i])
	}
	for i := range s.Unserved {
		a.printf("%s %s/%s: none of its pools is up\n", a.paint(bad, "!"), s.Unserved[i].Tenant, s.Unserved[i].Name)
	}
	if len(s.Pools) == 0 {
		return
	}
	a.printf("\n")
	rows := make([][]string, 0, len(s.Pools))
	for i := range s.Pools {
		p := &s.Pools[i]
		rows = append(rows, []string{p.Tenant + "/" + p.Pool, a.state(upOr(p.Up, p.Frozen)), p.Why + flapping(p) + a.wordAge(s.Health),
			orDash(p.Site), endpointsShort(p.Endpoints), orDash(overridesShort(p))})
		for j := range p.Regions {
			if r := &p.Regions[j]; r.Up != p.Up || len(r.Endpoints)+len(r.Silent) > 0 {
				rows = append(rows, []string{p.Tenant + "/" + p.Pool + " for " + r.Region, a.state(upOr(r.Up, r.Frozen)),
					r.Why + a.wordAge(s.Health), "-", endpointsShort(r.Endpoints), "-"})
			}
		}
	}
	a.table([]string{"pool", "state", "why", "site", "endpoints", "overrides"}, rows)
	for i := range s.Pools {
		a.showHeld(&s.Pools[i])
		a.showSilent(&s.Pools[i])
	}
}

// showEventsKept tells what is kept of events, and which targets do not take them.
func (a *app) showEventsKept(k *api.EventsKept) {
	if k == nil {
		return
	}
	if k.Events > 0 {
		a.printf("events  %d kept", k.Events)
	} else { // or their number, which tells of all tenants, is not for who asks
		long, _ := time.ParseDuration(k.Keep)
		a.printf("events  kept for %s", span(long))
	}
	if k.Dropped > 0 {
		a.printf(", %d dropped early, as there can be %d", k.Dropped, k.Most)
	}
	switch {
	case len(k.Targets) > 0 && k.Teller:
		a.printf("; this control tells %s", plural(len(k.Targets), "target"))
	case len(k.Targets) > 0:
		a.printf("; another control tells %s", plural(len(k.Targets), "target"))
	}
	a.printf("\n")
	if k.Fault != "" {
		a.printf("%s events are kept in memory alone: %s\n", a.paint(bad, "!"), k.Fault)
	}
	for _, g := range k.Targets {
		if g.Error != "" {
			a.printf("%s %s/%s takes no events for %s: %s\n", a.paint(odd, "!"), g.Tenant, g.Name, orDash(a.age(g.Since)), g.Error)
		}
	}
}

// showKept tells of the past that the store has, and of the audit log.
func (a *app) showKept(s *api.Status) {
	if r := s.Retention; r != nil {
		long, _ := time.ParseDuration(r.For)
		a.printf("history %s, and at least %s of each tenant", span(long), plural(r.Generations, "generation"))
		if r.Pruner {
			a.printf("; this control removes what is older")
		}
		a.printf("\n")
		if r.Error != "" {
			a.printf("%s what is older cannot be removed, and the store grows, for %s: %s\n", a.paint(odd, "!"),
				orDash(a.age(r.Since)), r.Error)
		}
	}
	if l := s.Audit; l != nil {
		a.printf("audit   %s:%d\n", l.Writer, l.Last)
		if l.Error != "" {
			a.printf("%s %s (for %s)\n", a.paint(bad, "!"), l.Error, orDash(a.age(l.Since)))
		}
	}
}

// showHeldService tells that a service is frozen, and what would be otherwise.
func (a *app) showHeldService(h *api.Hold) {
	a.printf("%s %s is held as it answered: %s", a.paint(odd, "!"), h.Service, h.Reason)
	if h.Author != "" {
		a.printf(", by %s", h.Author)
	}
	if h.Expires != "" {
		a.printf(", until %s", h.Expires)
	}
	a.printf("; gtmctl hold %s --release ends it\n", h.Service)
	for _, apart := range h.Apart {
		a.printf("%s %s is held: %s\n", a.paint(bad, "!"), h.Service, apart)
	}
}

// healthLine tells who judges, and how old that is; nothing where it is not known.
func (a *app) healthLine(h *api.Health) string {
	switch {
	case h == nil:
		return ""
	case h.StandsStill:
		return fmt.Sprintf("health  %s for %s: %s\n", a.paint(bad, "stands still"), orDash(a.age(h.Since)), line(h.Why))
	}
	return fmt.Sprintf("health  judged by %s, %s ago\n", orDash(line(h.Judge)), a.age(h.Pulse))
}

// wordAge tells how old what is said of pools is, while health stands still.
func (a *app) wordAge(h *api.Health) string {
	if h == nil || !h.StandsStill {
		return ""
	}
	return fmt.Sprintf(" (%s ago)", orDash(a.age(h.Since)))
}

// showHeld tells what was seen in a pool and is not followed, why, and what to do.
func (a *app) showHeld(p *api.Pool) {
	if p.Out != nil && !p.Out.Observed && p.Out.Ready {
		a.printf("%s %s/%s stays out, though its endpoints are up again: gtmctl pool resume %s/%s --reason '...'\n", a.paint(bad, "!"),
			p.Tenant, p.Pool, p.Tenant, p.Pool)
	}
	if p.Would != "" {
		a.printf("%s %s/%s %s (observed)\n", a.paint(odd, "!"), p.Tenant, p.Pool, p.Would)
	}
	if p.Brake != "" {
		a.printf("%s %s/%s is frozen: %s\n", a.paint(bad, "!"), p.Tenant, p.Pool, p.Brake)
	}
	for i := range p.Sources {
		if s := &p.Sources[i]; !s.Failed.IsZero() {
			a.printf("%s %s/%s: %s\n", a.paint(odd, "!"), p.Tenant, p.Pool, a.sourceText(s))
		}
	}
	for _, e := range p.Endpoints {
		if e.Held {
			a.printf("%s %s/%s is frozen: %s is %s\n", a.paint(bad, "!"), p.Tenant, p.Pool, e.Name, e.Reason)
		}
	}
	if p.Unregioned != "" {
		a.printf("%s %s/%s: %s\n", a.paint(odd, "!"), p.Tenant, p.Pool, p.Unregioned)
	}
	for _, r := range p.Regions {
		if r.Undecided != "" {
			a.printf("%s %s/%s for %s: %s\n", a.paint(bad, "!"), p.Tenant, p.Pool, r.Region, r.Undecided)
		}
		a.showHeld(&api.Pool{Tenant: p.Tenant, Pool: p.Pool + " for " + r.Region, Brake: r.Brake, Endpoints: r.Endpoints})
	}
}

// isFrozen reports whether the brake holds something of a pool, for whichever clients.
func isFrozen(p api.Pool) bool {
	return p.Frozen || slices.ContainsFunc(p.Regions, func(r api.PoolRegion) bool { return r.Frozen })
}

// showSilent tells of whose owners nothing is heard, or nothing that is believed.
func (a *app) showSilent(p *api.Pool) {
	where, mark, watched := p.Tenant+"/"+p.Pool, bad, ""
	if p.Watched {
		mark, watched = odd, " (only watched)"
	}
	if names := silentSignals(p); len(names) > 0 {
		a.printf("%s %s hears nothing from the owners of %s of %s: %s%s; gtmctl signal list %s\n", a.paint(mark, "!"), where,
			strconv.Itoa(len(names)), plural(len(p.Signals), "endpoint"), clip(strings.Join(names, " ")), watched, where)
	}
	if names := doubtedSignals(p); len(names) > 0 {
		a.printf("%s %s does not believe what is said of %s%s; gtmctl signal list %s\n", a.paint(mark, "!"), where,
			clip(strings.Join(names, " ")), watched, where)
	}
}

// flapping tells how often a pool and its endpoints changed of late.
func flapping(p *api.Pool) string {
	var words []string
	if p.Changes > 0 {
		words = append(words, fmt.Sprintf("the pool %d", p.Changes))
	}
	for _, e := range p.Endpoints {
		if e.Changes > 0 {
			words = append(words, fmt.Sprintf("%s %d", e.Name, e.Changes))
		}
	}
	if len(words) == 0 {
		return ""
	}
	return clip("; changed within the last hour: " + strings.Join(words, ", "))
}

// unknownTexts tells what an edge is too old for: a few resources by name, and how many more.
func unknownTexts(edge string, list []api.Unknown) []string {
	const most = 3
	var lines []string
	for i, u := range list {
		if i == most {
			return append(lines, fmt.Sprintf("%s: and %d more of a newer gtm", edge, len(list)-most))
		}
		what := "its kind"
		if len(u.Fields) > 0 {
			what = strings.Join(u.Fields, ", ")
		}
		lines = append(lines, fmt.Sprintf("%s: a newer gtm wrote %s; this edge does not know %s, and goes by the rest",
			edge, u.Resource, clip(what)))
	}
	return lines
}

// states writes generations as in: platform@3 shop@41.
func states(generations map[string]uint64) string {
	words := make([]string, 0, len(generations))
	for _, tenant := range slices.Sorted(maps.Keys(generations)) {
		words = append(words, fmt.Sprintf("%s@%d", tenant, generations[tenant]))
	}
	return strings.Join(words, " ")
}

func upOr(up, frozen bool) string {
	text := "down"
	if up {
		text = "up"
	}
	if frozen {
		text += ", frozen"
	}
	return text
}

// endpointsShort writes endpoints as in: a:up b:down c:held.
func endpointsShort(endpoints []api.Endpoint) string {
	words := make([]string, len(endpoints))
	for i, e := range endpoints {
		words[i] = e.Name + ":" + e.State
		if e.Held {
			words[i] = e.Name + ":held"
		}
	}
	return clip(strings.Join(words, " "))
}

func overridesShort(p *api.Pool) string {
	words := make([]string, len(p.Overrides))
	for i, o := range p.Overrides {
		target := o.Endpoint
		if target == "" {
			target = "all"
		}
		words[i] = target + ":" + overrideText(o.State, o.Weight)
	}
	return clip(strings.Join(words, " "))
}

// showPool prints one pool with everything that is known of its endpoints.
func (a *app) showPool(p *api.Pool) {
	a.printf("pool %s/%s is %s: %s", p.Tenant, p.Pool, a.state(upOr(p.Up, false)), p.Why+flapping(p))
	switch {
	case p.Frozen:
		a.printf("; %s", a.paint(bad, "frozen: the brake holds, changes are seen and not followed"))
	case p.Judge != "":
		a.printf("; judged by %s", p.Judge)
	case p.Monitor != "":
		a.printf("; no verdict yet")
	}
	a.printf("\n")
	if p.Brake != "" {
		a.printf("%s\n", p.Brake)
	}
	if p.Would != "" {
		a.printf("%s (observed)\n", p.Would)
	}
	rows := make([][]string, 0, len(p.Endpoints))
	for _, e := range p.Endpoints {
		where := strings.Join(e.Addresses, " ")
		if e.Host != "" {
			where = e.Host
		}
		if e.Probe != "" {
			where += " (checked: " + e.Probe + ")"
		}
		row := []string{e.Name, where, fmt.Sprint(e.Weight), a.state(e.State), number(e.Score), orDash(a.age(e.Since)),
			number(e.Effective), orDash(noteOf(e))}
		if len(p.Sources) > 0 {
			row = slices.Insert(row, 2, firstOf(e.Source, "declared"))
		}
		rows = append(rows, row)
	}
	columns := []string{"endpoint", "where", "weight", "state", "score", "for", "effective", "note"}
	if len(p.Sources) > 0 {
		columns = slices.Insert(columns, 2, "from")
	}
	a.table(columns, rows)
	for i := range p.Sources {
		a.printf("%s\n", a.sourceText(&p.Sources[i]))
	}
	a.showRegions(p)
	for i := range p.Signals {
		a.printf("signal of %s: %s\n", p.Signals[i].Endpoint, a.signalText(&p.Signals[i]))
	}
	for _, o := range p.Overrides {
		a.showOverride(o)
	}
}

// showRegions tells what is known of a pool for clients of continents.
func (a *app) showRegions(p *api.Pool) {
	if p.Unregioned != "" {
		a.printf("%s\n", p.Unregioned)
	}
	if len(p.Regions) == 0 {
		return
	}
	a.printf("\n")
	rows := make([][]string, 0, len(p.Regions))
	for _, r := range p.Regions {
		other := make([]string, len(r.Endpoints))
		for i, e := range r.Endpoints {
			other[i] = e.Name + ": " + e.State
			if e.Reason != "" {
				other[i] += ", " + e.Reason
			}
		}
		vantages := slices.Clone(r.Vantages)
		for i, v := range vantages {
			if slices.Contains(r.Silent, v) {
				vantages[i] = v + " (silent)"
			}
		}
		rows = append(rows, []string{r.Region, a.state(upOr(r.Up, r.Frozen)), r.Why, a.fit(strings.Join(vantages, " ")),
			orDash(a.fit(strings.Join(other, "; ")))})
	}
	a.table([]string{"region", "state", "why", "vantages", "otherwise than for all"}, rows)
}

// noteOf says what there is to say of an endpoint.
func noteOf(e api.Endpoint) string {
	note := firstOf(e.Out, e.Note, e.Reason)
	switch {
	case e.Watched == "":
		return note
	case note == "":
		return "watched: " + e.Watched
	}
	return note + "; watched: " + e.Watched
}

func (a *app) showOverride(o api.Override) {
	target := "the pool"
	switch {
	case o.Service != "":
		target = o.Pool + " in rule " + o.Rule
	case o.Endpoint != "":
		target = o.Endpoint
	}
	a.printf("override %s: %s %s: %s", o.Name, target, overrideText(o.State, o.Weight), o.Reason)
	if o.Author != "" {
		a.printf(", by %s", o.Author)
	}
	if o.Recurs != "" {
		a.printf(", at %s", o.Recurs)
	}
	if !o.Starts.IsZero() {
		a.printf(", from %s", o.Starts.UTC().Format(time.RFC3339))
	}
	if o.Over != "" && o.There.After(a.now()) {
		a.printf(", there at %s", o.There.UTC().Format(time.RFC3339))
	}
	if o.Expires != "" {
		a.printf(", until %s", o.Expires)
	}
	a.printf("\n")
}

func firstOf(words ...string) string {
	for _, word := range words {
		if word != "" {
			return word
		}
	}
	return ""
}
