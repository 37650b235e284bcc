package store

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/gti/gtm/pkg/health"
	"github.com/gti/gtm/pkg/store/pieces"
	"github.com/gti/gtm/pkg/store/storetest"
)

// TestADeadVantageIsForgotten, with all of its evidence and nobody else's; one that is alive is not.
func TestADeadVantageIsForgotten(t *testing.T) {
	c, ctx := testClient(t), storetest.Context(t)
	for _, o := range []health.Observation{observation("dead", "eu", health.Up), observation("dead", "us", health.Down),
		observation("dead2", "eu", health.Up), observation("fra", "eu", health.Up)} {
		if err := c.PutObservation(ctx, o); err != nil {
			t.Fatal(err)
		}
	}
	o := observe(t, c)
	o.until(t, "everything", func(u ObservationUpdate) bool { return u.Full })
	living, stop := context.WithCancel(ctx)
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_ = c.KeepVantage(living, Vantage{ID: "fra", Region: "EU-DE", Network: "AS64500"}, 5*time.Second)
	}()
	told := o.until(t, "fra", alive("fra"))
	if want := (health.Vantage{Region: "EU-DE", Network: "AS64500"}); told.About["fra"] != want {
		t.Errorf("it says of itself %+v, want %+v", told.About["fra"], want)
	}

	expect := func(step string, want ...Vantage) {
		t.Helper()
		got, err := c.Vantages(ctx)
		if err != nil || !cmp.Equal(got, want) {
			t.Errorf("%s: %+v, %v; want %+v", step, got, err, want)
		}
	}
	dead2, fra := Vantage{ID: "dead2", Pools: 1}, Vantage{ID: "fra", Region: "EU-DE", Network: "AS64500", Alive: true, Pools: 1}
	expect("before", Vantage{ID: "dead", Pools: 2}, dead2, fra)
	if _, err := c.ForgetVantage(ctx, "fra"); !errors.Is(err, ErrVantageAlive) {
		t.Errorf("a live one: %v", err)
	}
	if _, err := c.ForgetVantage(ctx, "nobody"); !errors.Is(err, ErrNotFound) {
		t.Errorf("an unknown one: %v", err)
	}
	if n, err := c.ForgetVantage(ctx, "dead"); err != nil || n != 2 {
		t.Errorf("forgot %d, %v", n, err)
	}
	o.until(t, "both observations are gone", func(u ObservationUpdate) bool { return len(u.Deleted) == 2 })
	expect("after", dead2, fra)
	stop()
	<-ended
	expect("fra is silent", dead2, Vantage{ID: "fra", Pools: 1})
}

// TestSightsAreThoseOfTheLiving, of small pools, and of large ones of which a piece is newer.
func TestSightsAreThoseOfTheLiving(t *testing.T) {
	c, ctx := testClient(t), storetest.Context(t)
	large := health.Observation{Vantage: "fra", Pool: health.PoolID{Tenant: "shop", Pool: "large"}, Endpoints: map[string]health.Sight{}}
	for i := range 500 {
		large.Endpoints[fmt.Sprint("e", i)] = health.Sight{State: health.Up, Score: 1, Since: storetest.Time}
	}
	changed := large
	changed.Endpoints = maps.Clone(large.Endpoints)
	changed.Endpoints["e7"] = health.Sight{State: health.Down, Since: storetest.Time, Reason: "status 503"}
	for _, o := range []health.Observation{observation("dead", "eu", health.Up), observation("fra", "eu", health.Down), large} {
		if err := c.PutObservation(ctx, o); err != nil {
			t.Fatal(err)
		}
	}
	if w := writeObservation(c, ctx, changed, &large); w.Err != nil || w.Whole {
		t.Fatalf("a piece is to be written: %+v", w)
	}
	eu := health.PoolID{Tenant: "shop", Pool: "eu"}
	if got, err := c.Sights(ctx, eu); err != nil || len(got) != 0 {
		t.Errorf("nobody lives: %v, %v", got, err)
	}
	o := observe(t, c)
	for _, id := range []string{"fra", "new"} {
		ended := make(chan struct{})
		living, stop := context.WithCancel(ctx)
		go func() { defer close(ended); _ = c.KeepVantage(living, Vantage{ID: id}, 5*time.Second) }()
		t.Cleanup(func() { stop(); <-ended })
	}
	o.until(t, "both live", func(u ObservationUpdate) bool { return len(u.Alive) == 2 })
	got, err := c.Sights(ctx, eu)
	if want := map[string]health.Observation{"fra": observation("fra", "eu", health.Down)}; err != nil || !cmp.Equal(got, want) {
		t.Errorf("%v, %v; want %v", got, err, want)
	}
	got, err = c.Sights(ctx, large.Pool)
	if err != nil || !cmp.Equal(got["fra"], changed) {
		t.Errorf("%v: %s", err, cmp.Diff(got["fra"], changed))
	}
}

// TestSightsOfAnOlderProber: one that writes a coarse piece leaves the fine ones in it, which say nothing any more.
func TestSightsOfAnOlderProber(t *testing.T) {
	c := testClient(t)
	pool := health.PoolID{Tenant: "shop", Pool: "large"}
	was, is := map[string]health.Sight{}, map[string]health.Sight{}
	for i := range 500 {
		was[fmt.Sprint("e", i)] = health.Sight{State: health.Up, Score: 1, Since: storetest.Time}
	}
	maps.Copy(is, was)
	is["e7"] = health.Sight{State: health.Down, Since: storetest.Time}
	set, ok := pieces.ChangedSights(was, is, pieces.Plain)
	if !ok || len(set) != 1 {
		t.Fatalf("%v, %v", set, ok)
	}
	coarse := slices.IndexFunc(pieces.All(), func(p pieces.Piece) bool { return pieces.Cut(is, p)["e7"].State != "" })
	kv := func(revision int64, p pieces.Piece, all map[string]health.Sight) *mvccKV {
		value, err := json.Marshal(health.Observation{Vantage: "fra", Pool: pool, Endpoints: pieces.Cut(all, p)})
		if err != nil {
			t.Fatal(err)
		}
		key := pieces.Key(c.keys.Observation("fra", pool), p)
		return &mvccKV{Key: []byte(key), ModRevision: revision, Value: value}
	}
	for _, tc := range []struct {
		newer health.State
		fine  int64 // its revision; that of the coarse one is 5
	}{{health.Up, 4}, {health.Down, 6}} {
		o, ok := c.joinSights(pool, nil, []*mvccKV{kv(5, pieces.Piece(coarse), was), kv(tc.fine, set[0], is)})
		if !ok || o.Endpoints["e7"].State != tc.newer {
			t.Errorf("fine piece of revision %d: %+v, %v", tc.fine, o.Endpoints["e7"], ok)
		}
	}
}
