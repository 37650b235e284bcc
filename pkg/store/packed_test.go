package store

import (
	"bytes"
	"context"
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

// stored gives what stands under a key.
func stored(t *testing.T, c *Client, key string) []byte {
	t.Helper()
	resp, err := c.link.Etcd.Get(storetest.Context(t), key)
	if err != nil || len(resp.Kvs) != 1 {
		t.Fatalf("%s: %v, %v", key, resp, err)
	}
	return resp.Kvs[0].Value
}

// TestValuesArePackedWhereAllReadThem: as long as one edge or vantage lives that does not, values are what it reads; and both are read.
func TestValuesArePackedWhereAllReadThem(t *testing.T) {
	c, ctx := testClient(t), storetest.Context(t)
	inOffice(t, c)
	f, o := follow(t, c, nil), observe(t, c)
	living, stop := context.WithCancel(ctx)
	var ended []chan struct{}
	for _, keep := range []func() error{
		func() error { return c.KeepVantage(living, Vantage{ID: "fra"}, 5*time.Second) },
		func() error { return c.KeepEdge(living, func() Edge { return Edge{ID: "edge-1"} }, 5*time.Second) },
	} {
		end := make(chan struct{})
		ended = append(ended, end)
		go func() { defer close(end); _ = keep() }()
	}
	t.Cleanup(func() {
		stop()
		for _, end := range ended {
			<-end
		}
	})
	o.until(t, "the vantage lives", func(u ObservationUpdate) bool { return len(u.Alive) == 1 })
	for edges := 0; edges == 0; {
		all, err := c.Edges(ctx)
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range all {
			if e.Alive {
				edges++
			}
		}
	}
	v := largeVerdictOf("eu", 100)
	obs := health.Observation{Vantage: "fra", Pool: v.Pool, Endpoints: map[string]health.Sight{}}
	for name, e := range v.Endpoints {
		obs.Endpoints[name] = health.Sight{State: e.State, Reason: e.Reason, Since: e.Since}
	}
	for i, tc := range []struct{ key, value, older string }{
		{"", "", ""},
		{c.keys.Edge("edge-0"), `{"id":"edge-0","http":"10.0.0.1:8053"}`, "edge edge-0"},
		{c.keys.Edge("edge-0"), `{"id":"edge-0","forms":1}`, ""},
		{c.keys.Vantage("ams"), `{"id":"ams"}`, "vantage ams"},
		{c.keys.Vantage("ams"), "", "vantage ams"}, // of a program that says nothing of itself
		{c.keys.Vantage("ams"), `{"id":"ams","forms":2}`, ""},
	} {
		if tc.key != "" {
			put(t, c, tc.key, tc.value)
		}
		if older, err := c.SurveyReaders(ctx); err != nil || older != tc.older {
			t.Fatalf("%+v: %q, %v", tc, older, err)
		}
		now := v
		now.Endpoints = maps.Clone(v.Endpoints)
		now.Endpoints["last"] = health.Finding{State: health.Up, Since: storetest.Time.Add(time.Duration(i) * time.Second)}
		if err := c.PutVerdicts(ctx, []health.Verdict{now}); err != nil {
			t.Fatal(err)
		}
		seen := obs
		seen.Endpoints = maps.Clone(obs.Endpoints)
		seen.Endpoints["last"] = health.Sight{State: health.Up, Since: now.Endpoints["last"].Since}
		if err := c.PutObservation(ctx, seen); err != nil {
			t.Fatal(err)
		}
		for _, key := range []string{c.keys.Verdict(v.Pool), c.keys.Observation("fra", v.Pool)} {
			if plain := bytes.HasPrefix(stored(t, c, key), []byte("{")); plain != (tc.older != "") {
				t.Errorf("%+v: %s is plain: %v", tc, key, plain)
			}
		}
		f.until("the verdict", func() bool { got, _ := f.mirror.Verdict(v.Pool); return got.Equal(now) })
		o.until(t, "the observation", func(u ObservationUpdate) bool { return len(u.Put) == 1 && cmp.Equal(u.Put[0], seen) })
		if got, err := c.Sights(ctx, v.Pool); err != nil || !cmp.Equal(got["fra"], seen) {
			t.Errorf("%+v: %v, %s", tc, err, cmp.Diff(got["fra"], seen))
		}
	}
	for packs, whole := range map[bool]bool{true: true, false: false} { // eight of a hundred changed: packed, the whole is less
		c.packs.Store(packs)
		was, now := obs, obs
		now.Endpoints = maps.Clone(obs.Endpoints)
		for i, name := range slices.Sorted(maps.Keys(obs.Endpoints)) {
			if i%14 == 0 {
				now.Endpoints[name] = health.Sight{State: health.Down, Since: storetest.Time}
			}
		}
		written := map[bool]Written{false: writeObservation(c, ctx, now, &was)}
		old, is := largeVerdictOf("us", 100), largeVerdictOf("us", 100)
		for name := range now.Endpoints {
			if f := now.Endpoints[name]; f.State == health.Down && obs.Endpoints[name].State != health.Down {
				is.Endpoints[name] = health.Finding{State: health.Down, Since: f.Since}
			}
		}
		all, err := c.WriteVerdicts(ctx, []VerdictWrite{{Verdict: is, Was: &old}})
		if err != nil {
			t.Fatal(err)
		}
		if written[true] = all[is.Pool]; written[false].Whole != whole || written[true].Whole != whole {
			t.Errorf("packed %v: %+v", packs, written)
		}
	}
	fresh := follow(t, c, nil)
	fresh.until("who begins now reads it too", func() bool { return len(fresh.mirror.Verdicts()) == 2 })
	gone, cancel := context.WithCancel(ctx)
	cancel()
	for _, known := range []bool{true, false} { // who writes guesses costs by what was known, too
		c.packs.Store(known)
		if older, err := c.SurveyReaders(gone); err == nil || older != "" || c.packs.Load() != known {
			t.Errorf("nobody could be asked: %q, %v, and values are packed: %v, before %v", older, err, c.packs.Load(), known)
		}
	}
}

// TestObservationsGoTogether: those of many pools take few transactions, and one that etcd does not take costs no other.
func TestObservationsGoTogether(t *testing.T) {
	child := startTweaked(t, t.TempDir(), "etcd-with-defaults")
	c, ctx := openTest(t, Config{Endpoints: []string{child.Endpoint()}}), storetest.Context(t)
	var writes []ObservationWrite
	for i := range 130 {
		o := observation("fra", fmt.Sprint("p", i), health.Up)
		if i == 77 { // larger than a request, and too few endpoints for pieces
			o.Endpoints["large"] = health.Sight{Reason: string(bytes.Repeat([]byte("x"), 2<<20))}
		}
		writes = append(writes, ObservationWrite{Observation: o})
	}
	large := health.Observation{Vantage: "fra", Pool: health.PoolID{Tenant: "shop", Pool: "large"}, Endpoints: map[string]health.Sight{}}
	for i := range 4000 { // of which all pieces are one request too many
		large.Endpoints[fmt.Sprint("e", i)] = health.Sight{State: health.Down, Reason: string(bytes.Repeat([]byte("y"), 500))}
	}
	writes = append(writes, ObservationWrite{Observation: large}, ObservationWrite{Observation: health.Observation{Vantage: "fra"}})
	before, err := c.link.Etcd.Get(ctx, "x")
	if err != nil {
		t.Fatal(err)
	}
	written := c.WriteObservations(ctx, writes)
	after, err := c.link.Etcd.Get(ctx, "x")
	if err != nil {
		t.Fatal(err)
	}
	if n := after.Header.Revision - before.Header.Revision; n > 20 {
		t.Errorf("%d transactions", n)
	}
	for i, w := range writes {
		pool := w.Observation.Pool
		got, fails := written[pool], i == 77 || pool.Pool == ""
		if (got.Err != nil) != fails || !fails && (got.Bytes == 0 || got.Whole == (pool.Pool == "large")) {
			t.Errorf("%s: %+v", pool, got)
		}
	}
	again := writes[:70]
	for i := range again {
		again[i].NoPieces = true
	}
	c.WriteObservations(ctx, again)
	if now, err := c.link.Etcd.Get(ctx, "x"); err != nil || now.Header.Revision != after.Header.Revision+1 {
		t.Errorf("pools without pieces, written again, take more than one transaction: %v, %v", now, err)
	}
	all := observationWriter{c: c, done: map[health.PoolID]Written{}}
	var units []observationUnit
	for i := range writes[:130] {
		u, err := c.observationUnit(&writes[i])
		if err != nil {
			t.Fatal(err)
		}
		units = append(units, u)
	}
	all.write(ctx, units) // more than a request holds
	for i, w := range writes[:130] {
		if got := all.done[w.Observation.Pool]; (got.Err != nil) != (i == 77) {
			t.Errorf("%s, of all at once: %+v", w.Observation.Pool, got)
		}
	}
	observe(t, c).until(t, "all but one", func(u ObservationUpdate) bool {
		if len(u.Put) != 130 {
			return false
		}
		for _, o := range u.Put {
			if changed, _ := pieces.ChangedSights(o.Endpoints, large.Endpoints, pieces.Plain); o.Pool == large.Pool && len(changed) > 0 {
				t.Errorf("of the large one %d pieces differ", len(changed))
			}
		}
		return true
	})
}
