package gather

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gti/gtm/pkg/control/api"
	"github.com/gti/gtm/pkg/demand"
	"github.com/gti/gtm/pkg/store"
)

var clock = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)

// fleet is edges that say what they are told to.
type fleet struct {
	*Gatherer
	now    time.Time
	edges  []store.Edge
	mu     sync.Mutex
	says   map[string]api.EdgeDemand
	asked  map[string]int
	silent map[string]bool
	logged bytes.Buffer
	before func() // each is asked; nil: nothing
}

func newFleet(t *testing.T, ids ...string) *fleet {
	t.Helper()
	f := &fleet{now: clock, says: map[string]api.EdgeDemand{}, asked: map[string]int{}, silent: map[string]bool{}}
	for _, id := range ids {
		f.edges = append(f.edges, store.Edge{ID: id, Alive: true, Started: clock})
	}
	g, err := New(Config{Edges: func() []store.Edge { return f.edges }, Now: func() time.Time { return f.now },
		Logger: slog.New(slog.NewTextHandler(&f.logged, nil)), Ask: func(_ context.Context, e store.Edge) (api.EdgeDemand, error) {
			if f.before != nil {
				f.before()
			}
			f.mu.Lock()
			defer f.mu.Unlock()
			f.asked[e.ID]++
			if f.silent[e.ID] {
				return api.EdgeDemand{}, errors.New("silent")
			}
			return f.says[e.ID], nil
		}})
	if err != nil {
		t.Fatal(err)
	}
	f.Gatherer = g
	return f
}

// saw has a process of an edge have seen so many queries for shop/web from countries, a sample each.
func (f *fleet) saw(edge string, started time.Time, of map[string]int) {
	s := demand.NewSketch(f.now)
	for country, n := range of {
		for range n {
			s.Add("shop", "web", demand.CountryOf(country), 1000)
		}
	}
	f.says[edge] = api.EdgeDemand{Edge: edge, Started: started, Counts: s.Encode()}
}

// turn has a round be made, after some time.
func (f *fleet) turn(after time.Duration) {
	f.now = f.now.Add(after)
	f.round(context.Background())
	f.add(f.now)
}

func (f *fleet) web() *demand.Total { return f.Sum().Service("shop", "web") }

func near(got, want float64) bool { return math.Abs(got-want) < 1+want/1e4 }

// TestASilentEdge: its last word counts, less and less, with when it said so; what it said before a restart counts, too; and after three
// days nothing of it does.
func TestASilentEdge(t *testing.T) {
	f := newFleet(t, "ams1", "fra1")
	f.saw("ams1", clock, map[string]int{"DE": 900})
	f.saw("fra1", clock, map[string]int{"FR": 100})
	f.turn(0)
	if w := f.web(); w.Queries != 1e6 || w.Edges != 2 || !w.Newest.Equal(clock) {
		t.Fatalf("%+v", w)
	}
	f.silent["ams1"], f.silent["fra1"] = true, true
	f.turn(24 * time.Hour)
	if w := f.web(); !near(w.Queries, 1e6/math.E) || !near(w.Of(demand.CountryOf("DE")), 9e5/math.E) || !w.Newest.Equal(clock) ||
		w.Edges != 2 {
		t.Errorf("after a day: %+v", w)
	}
	f.silent["ams1"] = false
	f.saw("ams1", f.now.Add(-time.Minute), map[string]int{"US": 500}) // started anew
	f.turn(seldom)
	if w := f.web(); !near(w.Of(demand.CountryOf("US")), 5e5) || !near(w.Of(demand.CountryOf("DE")), 9e5*math.Exp(-1-1./1440)) ||
		w.Edges != 2 {
		t.Errorf("after a restart: %+v", w)
	}
	f.turn(seldom) // the same process: what it said is replaced
	if w := f.web(); !near(w.Of(demand.CountryOf("US")), 5e5) {
		t.Errorf("asked again: %+v", w)
	}
	if heard := f.Heard(); len(heard) != 2 || heard[0].ID != "ams1" || !heard[1].Heard.Equal(clock) {
		t.Errorf("%+v", heard)
	}
	f.silent["ams1"] = true
	f.edges = f.edges[:1] // fra1 is forgotten
	f.turn(Keep - 24*time.Hour)
	if w := f.web(); w == nil || w.Of(demand.CountryOf("FR")) != 0 || w.Edges != 1 {
		t.Errorf("of one that is silent for three days: %+v", w)
	}
	if f.turn(Keep + time.Hour); f.web() != nil || len(f.Heard()) != 0 || f.words["fra1"] != nil {
		t.Errorf("%+v, %+v", f.web(), f.words)
	}
}

// TestWhatCannotBeReadIsNotTaken, and what was said before it holds.
func TestWhatCannotBeReadIsNotTaken(t *testing.T) {
	f := newFleet(t, "ams1")
	f.saw("ams1", clock, map[string]int{"DE": 900})
	f.turn(0)
	f.says["ams1"] = api.EdgeDemand{Edge: "ams1", Started: clock, Counts: []byte("nonsense")}
	f.turn(seldom)
	if w := f.web(); w == nil || w.Edges != 1 || !w.Newest.Equal(clock) {
		t.Errorf("%+v", w)
	}
}

// TestHowOftenEdgesAreAsked: one that is young every other second, one that is old once a minute, and one that was never alive not at all.
func TestHowOftenEdgesAreAsked(t *testing.T) {
	f := newFleet(t, "young", "old", "gone")
	f.edges[1].Started = clock.Add(-24 * time.Hour)
	f.edges[2].Alive = false
	for range 10 {
		f.turn(look)
	}
	if f.asked["young"] != 10 || f.asked["old"] != 1 || f.asked["gone"] != 0 {
		t.Errorf("%v", f.asked)
	}
}

// TestEdgesAreBounded: of more than so many, the further ones are not heard.
func TestEdgesAreBounded(t *testing.T) {
	f := newFleet(t)
	for i := range mostKept + 5 {
		f.edges = append(f.edges, store.Edge{ID: fmt.Sprint("e", i), Alive: true, Started: clock})
	}
	f.round(context.Background())
	if len(f.asked) != mostKept || len(f.words) != mostKept {
		t.Errorf("%d were asked, %d are known", len(f.asked), len(f.words))
	}
}

// TestANewEdgeTakesTheLongestSilentOnesPlace: where all places were taken, new edges were not heard until some had been silent for days.
func TestANewEdgeTakesTheLongestSilentOnesPlace(t *testing.T) {
	f := newFleet(t)
	for i := range mostKept {
		id := fmt.Sprint("e", i)
		f.edges = append(f.edges, store.Edge{ID: id, Alive: true, Started: clock.Add(-24 * time.Hour)})
		f.saw(id, clock, map[string]int{"DE": 1})
	}
	f.round(context.Background())
	f.silent["e7"], f.edges[7].Alive = true, false
	f.turn(seldom)
	f.silent["e3"], f.edges[3].Alive = true, false
	f.turn(seldom)
	f.edges = append(f.edges[:9], f.edges[10:]...) // e9 is forgotten
	f.turn(seldom)
	join := func(id string) bool {
		f.edges = append(f.edges, store.Edge{ID: id, Alive: true, Started: f.now})
		f.saw(id, f.now, map[string]int{"DE": 1})
		f.turn(0)
		return f.words[id] != nil
	}
	if join("n1") {
		t.Error("one that is silent for some minutes lost its place")
	}
	f.turn(silentFor)
	f.now = f.now.Add(look)
	if join("n2"); f.words["n1"] == nil || f.words["n2"] == nil || f.words["e7"] != nil || f.words["e3"] != nil || f.words["e9"] == nil {
		t.Errorf("others went than those that are silent for longest; n1 is there: %t", f.words["n1"] != nil)
	}
	if !join("n3") || f.words["e9"] != nil {
		t.Error("one that is forgotten keeps its place")
	}
	if f.turn(seldom); join("n4") || len(f.words) != mostKept {
		t.Errorf("one that is heard lost its place, or there are more than there may be: %d", len(f.words))
	}
}

// TestWhatFormerProcessesSaidIsBounded: beside each word of a megabyte there was another one.
func TestWhatFormerProcessesSaidIsBounded(t *testing.T) {
	f := newFleet(t, "ams1")
	s := demand.NewSketch(f.now)
	for i := range demand.MostOfTenant {
		for at := range demand.MostCountries - 1 {
			country := demand.CountryOf(string([]byte{'A' + byte(at/26), 'A' + byte(at%26)}))
			s.Add("shop", fmt.Sprint("service-", i), country, float64(1000*(1+i)))
		}
	}
	f.says["ams1"] = api.EdgeDemand{Edge: "ams1", Started: clock, Counts: s.Encode()}
	f.turn(0)
	f.saw("ams1", clock.Add(time.Second), map[string]int{"US": 500})
	f.turn(seldom)
	f.saw("ams1", clock.Add(2*time.Second), map[string]int{"US": 500})
	f.turn(seldom)
	before := f.words["ams1"].before.Data
	if len(before) > mostBefore || len(before) < mostBefore-1000 {
		t.Errorf("%d bytes", len(before))
	}
	largest := f.Sum().Service("shop", fmt.Sprint("service-", demand.MostOfTenant-1))
	if largest == nil || !near(f.Sum().Tenant("shop").Of(demand.CountryOf("US")), 5e5*math.Exp(-1./1440)+5e5) {
		t.Errorf("the largest service is there: %t; %v queries of US", largest != nil, f.Sum().Tenant("shop").Of(demand.CountryOf("US")))
	}
}

// TestAnEdgeThatFailsIsToldOfOnce, and once when it tells again: nothing at all was told, and each minute would be too often.
func TestAnEdgeThatFailsIsToldOfOnce(t *testing.T) {
	f := newFleet(t, "ams1", "fra1")
	f.saw("ams1", clock, map[string]int{"DE": 900})
	f.saw("fra1", clock, map[string]int{"DE": 900})
	told := func(when string, warned, again int) {
		t.Helper()
		text := f.logged.String()
		w, a := strings.Count(text, "does not tell which queries it saw"), strings.Count(text, "tells again which queries it saw")
		if w != warned || a != again || strings.Contains(text, "fra1") {
			t.Errorf("%s: %d and %d times, want %d and %d: %s", when, w, a, warned, again, text)
		}
	}
	f.turn(0)
	told("both tell", 0, 0)
	f.silent["ams1"] = true
	for range 5 {
		f.turn(seldom)
	}
	told("one fails", 1, 0)
	if f.failing() != 1 {
		t.Errorf("%d fail", f.failing())
	}
	f.silent["ams1"] = false
	said := f.says["ams1"]
	f.says["ams1"] = api.EdgeDemand{Edge: "ams1", Started: clock, Counts: []byte("nonsense")}
	f.turn(seldom)
	told("and then what it says cannot be read", 1, 0)
	f.says["ams1"] = said
	for range 5 {
		f.turn(seldom)
	}
	told("it tells again", 1, 1)
	f.silent["ams1"] = true
	f.turn(seldom)
	told("it fails another time", 2, 1)
	f.edges = f.edges[1:]
	if f.turn(seldom); f.failing() != 0 {
		t.Error("one that was forgotten is missed")
	}
	f.edges[0].ID = "lhr1"
	over, cancel := context.WithCancel(context.Background())
	cancel()
	f.silent["lhr1"], f.now = true, f.now.Add(seldom)
	f.round(over)
	told("control itself ends", 2, 1)
}

// TestAnswersAreTakenAsTheyCome: all of a round were held together, as much again as all that is kept.
func TestAnswersAreTakenAsTheyCome(t *testing.T) {
	f := newFleet(t)
	for i := range 50 {
		id := fmt.Sprint("e", i)
		f.edges = append(f.edges, store.Edge{ID: id, Alive: true, Started: clock})
		f.saw(id, clock, map[string]int{"DE": 1})
	}
	var begun atomic.Int64
	f.before = func() {
		if n := int(begun.Add(1)); len(f.Heard()) < n-atOnce {
			t.Errorf("%d were asked, of which %d are heard", n, len(f.Heard()))
		}
	}
	f.turn(0)
	if w := f.web(); w == nil || w.Edges != 50 {
		t.Errorf("%+v", w)
	}
}

func TestList(t *testing.T) {
	f := newFleet(t, "ams1")
	s := demand.NewSketch(f.now)
	for i, name := range []string{"shop/web", "shop/api", "cafe/web"} {
		for at := range 12 {
			s.Add(name[:4], name[5:], demand.CountryOf(string([]byte{'A', 'A' + byte(at)})), float64(100*(i+1)))
		}
	}
	f.says["ams1"] = api.EdgeDemand{Edge: "ams1", Started: clock, Counts: s.Encode()}
	f.turn(0)
	sees := func(only string) func(string) bool {
		return func(tenant string) bool { return only == "" || tenant == only }
	}
	for _, c := range []struct {
		q         Query
		services  []string
		tenants   int
		more      int
		countries int
	}{
		{Query{Sees: sees(""), Limit: 10}, []string{"cafe/web", "shop/api", "shop/web"}, 2, 0, fewCountries},
		{Query{Sees: sees("shop"), Limit: 10}, []string{"shop/api", "shop/web"}, 1, 0, fewCountries},
		{Query{Sees: sees("shop"), Tenant: "cafe", Limit: 10}, nil, 0, 0, 0},
		{Query{Sees: sees(""), Limit: 1}, []string{"cafe/web"}, 2, 2, fewCountries},
		{Query{Sees: sees(""), Tenant: "shop", Service: "web", Limit: 1}, []string{"shop/web"}, 0, 0, 12},
	} {
		d := f.List(c.q)
		var names []string
		for i := range d.Services {
			names = append(names, d.Services[i].Tenant+"/"+d.Services[i].Service)
			of := &d.Services[i]
			if len(of.Countries) != c.countries || math.Abs(of.Countries[0].Share-1./12) > 1e-9 || of.Enough || of.Edges != 1 {
				t.Errorf("%+v: %+v", c.q, of)
			}
		}
		if len(names) != len(c.services) || len(d.Tenants) != c.tenants || d.More != c.more {
			t.Errorf("%+v: %v of %d tenants and %d more", c.q, names, len(d.Tenants), d.More)
			continue
		}
		for i := range names {
			if names[i] != c.services[i] {
				t.Errorf("%+v: %v", c.q, names)
			}
		}
	}
}
