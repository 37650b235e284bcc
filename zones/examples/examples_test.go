// Package examples_test asks every example of this folder for what its head comment says that clients get.
package examples_test

import (
	"fmt"
	"maps"
	"math"
	"math/rand/v2"
	"net/netip"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/gti/gtm/pkg/change/lawful"
	"github.com/gti/gtm/pkg/gtmtest/declared"
	"github.com/gti/gtm/pkg/gtmtest/views"
	"github.com/gti/gtm/pkg/health"
	"github.com/gti/gtm/pkg/spec"
	"github.com/gti/gtm/pkg/table"
	"github.com/gti/gtm/pkg/table/compile"
	"github.com/gti/gtm/pkg/table/rr"
)

// caseForm is a line of a head comment that tells what a client gets: "#     berlin, eu down      us 75%, sg 25%".
var caseForm = regexp.MustCompile(`^#     (\S.*?\S) {2,}(\S.*)$`)

// A shown case is one such line.
type shown struct {
	line   string
	client client
	family rr.Family
	via    client             // whose resolver asks; nameless: one that nobody knows
	bare   bool               // the resolver, the client's own, tells no subnet
	down   []string           // pools, pools/endpoints, or all
	out    []string           // pools that failed, and stay out though all of their endpoints are up
	want   map[string]float64 // shares of answers, by pool or pool/endpoint
}

// nothing, in a case, is an answer without records: SERVFAIL.
const nothing = "nothing"

func TestExamples(t *testing.T) {
	files, err := filepath.Glob("*.yaml")
	if err != nil || len(files) < 30 {
		t.Fatalf("%d examples: %v", len(files), err)
	}
	readme := read(t, "README.md")
	for _, c := range clients {
		if !strings.Contains(readme, c.row()) {
			t.Errorf("README.md lacks the client\n%s", c.row())
		}
	}
	atlas := world(t)
	for _, file := range files {
		t.Run(strings.TrimSuffix(file, ".yaml"), func(t *testing.T) {
			if !strings.Contains(readme, "("+file+")") {
				t.Errorf("README.md leads to no %s", file)
			}
			e := example{t: t, resources: declared.Resources(t, read(t, file)), world: views.Over(t, atlas, 1)}
			e.check()
			e.world.PutResources(e.resources...)
			cases := e.casesOf(read(t, file))
			if len(cases) < 2 {
				t.Errorf("%d cases: the head comment is to tell what clients get, and when something is down", len(cases))
			}
			for _, c := range cases {
				e.ask(c)
			}
		})
	}
}

// yamlBlock is an example of the reference.
var yamlBlock = regexp.MustCompile("(?s)```yaml\n(.*?)```")

// TestTheReferenceIsOneSet: its examples pass gtmctl check together, as it says.
func TestTheReferenceIsOneSet(t *testing.T) {
	var blocks []string
	for _, m := range yamlBlock.FindAllStringSubmatch(read(t, "../../docs/resources.md"), -1) {
		blocks = append(blocks, m[1])
	}
	if _, err := lawful.Declared(declared.Resources(t, blocks...)); err != nil || len(blocks) < 10 {
		t.Errorf("%d examples: %v", len(blocks), err)
	}
}

func read(t *testing.T, file string) string {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// An example is one file.
type example struct {
	t         *testing.T
	resources []*spec.Resource
	world     *views.World
}

// check holds the example to what gtmctl check says.
func (e *example) check() {
	warnings, err := lawful.Declared(e.resources)
	if err != nil || len(warnings) > 0 {
		e.t.Fatalf("error: %v; warnings: %v", err, warnings)
	}
}

// casesOf reads the head comment.
func (e *example) casesOf(text string) (cases []shown) {
	source := false
	for line := range strings.Lines(text) {
		line = strings.TrimRight(line, "\n")
		if !strings.HasPrefix(line, "#") {
			break
		}
		source = source || strings.Contains(line, "https://")
		if m := caseForm.FindStringSubmatch(line); m != nil {
			cases = append(cases, e.caseOf(m[0], m[1], m[2]))
		}
	}
	if !source {
		e.t.Error("the head comment names no source")
	}
	return cases
}

func (e *example) caseOf(line, who, what string) shown {
	words := strings.Split(who, ", ")
	c := shown{line: line, client: e.client(words[0]), want: map[string]float64{}}
	for _, word := range words[1:] {
		down, isDown := strings.CutSuffix(word, " down")
		via, isVia := strings.CutPrefix(word, "via ")
		switch {
		case strings.HasSuffix(down, " was"):
			c.out = append(c.out, strings.TrimSuffix(down, " was"))
		case isDown:
			c.down = append(c.down, down)
		case isVia:
			c.via = e.client(via)
		case word == "AAAA":
			c.family = rr.IPv6
		case word == "CNAME":
			c.family = rr.CNAME
		case word == "without subnet":
			c.bare = true
		default:
			e.t.Fatalf("%s: what is %q?", line, word)
		}
	}
	for _, part := range strings.Split(what, ", ") {
		name, share, told := strings.Cut(part, " ")
		percent, err := strconv.ParseFloat(strings.TrimSuffix(share, "%"), 64)
		if !told {
			percent, err = 100, nil
		}
		if err != nil {
			e.t.Fatalf("%s: %v", line, err)
		}
		c.want[name] = percent / 100
	}
	return c
}

func (e *example) client(name string) client {
	i := slices.IndexFunc(clients, func(c client) bool { return c.name == name })
	if i < 0 {
		e.t.Fatalf("no client is %q", name)
	}
	return clients[i]
}

// service gives the example's service, of which there is one.
func (e *example) service() *spec.Service {
	for _, r := range e.resources {
		if s, ok := r.Spec.(*spec.Service); ok {
			return s
		}
	}
	e.t.Fatal("there is no service")
	return nil
}

// fail has everything be up but what is down or out.
func (e *example) fail(down, out []string) {
	var verdicts []health.Verdict
	known := map[string]bool{"all": true}
	for _, r := range e.resources {
		p, ok := r.Spec.(*spec.Pool)
		if !ok {
			continue
		}
		v := health.Verdict{Pool: health.PoolID{Tenant: r.Tenant, Pool: r.Name}, Endpoints: map[string]health.Finding{}}
		if slices.Contains(out, r.Name) {
			v.Out = &health.Out{Since: e.world.Now, Why: "0 of 1 endpoints up, 1 needed"}
		}
		for _, end := range p.Endpoints {
			f := health.Finding{State: health.Up, Score: 1}
			names := []string{"all", r.Name, r.Name + "/" + end.Name}
			if p.Monitor != "" && slices.ContainsFunc(names, func(name string) bool { return slices.Contains(down, name) }) {
				f = health.Finding{State: health.Down}
				known[names[1]], known[names[2]] = true, true
			}
			v.Endpoints[end.Name] = f
		}
		if p.Monitor != "" {
			verdicts = append(verdicts, v)
		}
	}
	for _, name := range down {
		if !known[name] {
			e.t.Fatalf("%s cannot be down: no pool with a monitor has that name", name)
		}
	}
	e.world.Change(compile.Change{Verdicts: verdicts})
}

const (
	draws    = 20_000
	networks = 4096          // of a client, each a /24
	now      = 1_800_000_000 // when they ask
)

// ask compares the shares of many answers with those that are told.
func (e *example) ask(c shown) {
	e.t.Helper()
	e.fail(c.down, c.out)
	declared := e.service()
	view := e.world.View.Load()
	s := view.FindService(declared.Host)
	if s == nil {
		e.t.Fatalf("nothing is served at %s", declared.Host)
	}
	random := rand.New(rand.NewPCG(1, 2))
	counts, kept := map[string]int{}, map[table.Net]string{}
	for range draws {
		asker := c.asker(random)
		var d table.Decision
		view.Decide(&d, s, c.family, &asker, view.Classify(s, &asker), random.Uint64())
		names := namesOf(&d, s, c.family)
		for _, name := range names {
			counts[name]++
		}
		if last, again := kept[asker.Subnet]; again && declared.Pick == spec.PickSticky && last != fmt.Sprint(names) {
			e.t.Fatalf("%s: %s got %s, and then %s", c.line, asker.Subnet.Prefix(), last, names)
		}
		kept[asker.Subnet] = fmt.Sprint(names)
	}
	for _, name := range slices.Sorted(maps.Keys(counts)) {
		if !c.tells(name) {
			e.t.Errorf("%s\nnobody is to get %s, but %.2f%% do", c.line, name, 100*float64(counts[name])/draws)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(c.want)) {
		want, got := c.want[name], float64(counts[name])/draws
		if math.Abs(got-want) > tolerance(declared, want) {
			e.t.Errorf("%s\n%.2f%% get %s, not %.2f%%", c.line, 100*got, name, 100*want)
		}
	}
	e.explain(c, view, s)
}

// explain holds what an explanation tells of pools to the same shares.
func (e *example) explain(c shown, view *table.View, s *table.Service) {
	e.t.Helper()
	asker := c.asker(rand.New(rand.NewPCG(1, 3)))
	told := map[string]float64{}
	for _, p := range view.Explain(s, c.family, &asker, 0).Pools {
		told[p.Pool.ID.Pool] += p.Share
	}
	for name, want := range c.want {
		if !strings.Contains(name, "/") && name != nothing && math.Abs(told[name]-want) > 0.0001 {
			e.t.Errorf("%s\nis explained as %.3f%% for %s, not %.3f%%", c.line, 100*told[name], name, 100*want)
		}
	}
}

// tells reports whether somebody is to get a pool or an endpoint: by itself, as part of its pool, or as the pool of endpoints.
func (c *shown) tells(name string) bool {
	for told := range c.want {
		if told == name || strings.HasPrefix(name, told+"/") || strings.HasPrefix(told, name+"/") {
			return true
		}
	}
	return false
}

// tolerance is five standard deviations of a share: among the draws, or among the networks where these are hashed. Answers of several
// are drawn from prepared sets, whose shares are a little off by themselves.
func tolerance(s *spec.Service, share float64) float64 {
	deviation := math.Sqrt(share * (1 - share))
	switch {
	case s.Pick == spec.PickSticky || s.Coherent:
		return 5 * deviation / math.Sqrt(networks)
	case s.Answers > 1:
		return 0.05 * share
	}
	return 5*deviation/math.Sqrt(draws) + 0.0002
}

// namesOf gives the pool of a decision, and the endpoints that its answer names.
func namesOf(d *table.Decision, s *table.Service, f rr.Family) []string {
	if d.Draw == nil {
		return []string{nothing}
	}
	pool := d.Draw.Pool
	names := []string{pool.ID.Pool}
	records := (&table.Explanation{Decision: *d, Service: s, Family: f}).Example()
	for i := range pool.Candidates {
		end := pool.Candidates[i].Endpoint
		named := slices.Contains(records, end.Host)
		for _, a := range end.Addresses {
			named = named || slices.Contains(records, a.String())
		}
		if named {
			names = append(names, pool.ID.Pool+"/"+end.Name)
		}
	}
	return names
}

// asker gives one of the client's networks, of which there are fewer than draws, so that some ask again.
func (c *shown) asker(random *rand.Rand) table.Client {
	low := random.Uint32() % networks
	network := c.client.network().Addr().As4()
	addr := netip.AddrFrom4([4]byte{network[0], network[1] | byte(low>>8), byte(low), 1})
	resolver := netip.MustParseAddr("127.0.0.1")
	switch {
	case c.bare:
		return table.Client{Resolver: table.HostNet(addr), Now: now}
	case c.via.name != "":
		resolver = c.via.network().Addr()
	}
	return table.Client{Has: true, Subnet: table.NetOf(addr, 24), Resolver: table.HostNet(resolver), Now: now}
}
