package store

import (
	"context"
	"fmt"
	"maps"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/gti/gtm/pkg/health"
	"github.com/gti/gtm/pkg/store/pieces"
	"github.com/gti/gtm/pkg/store/state"
	"github.com/gti/gtm/pkg/store/storetest"
)

// inOffice makes a client the judge for the rest of the test.
func inOffice(t *testing.T, c *Client) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	won, done := make(chan struct{}, 1), make(chan struct{})
	go func() {
		defer close(done)
		_ = c.Campaign(ctx, "p1", func(ctx context.Context) error { won <- struct{}{}; <-ctx.Done(); return nil })
	}()
	t.Cleanup(func() { cancel(); <-done })
	select {
	case <-won:
	case <-time.After(storetest.Within):
		t.Fatal("nobody was elected")
	}
}

// largeVerdictOf is on a pool of n endpoints.
func largeVerdictOf(pool string, n int) health.Verdict {
	v := health.Verdict{Pool: health.PoolID{Tenant: "shop", Pool: pool}, Judge: "p1", Endpoints: make(map[string]health.Finding, n)}
	for i := range n {
		of := fmt.Sprintf("198.18.%d.%d", i>>8, i&255)
		v.Endpoints[fmt.Sprintf("endpoint-%04d", i)] = health.Finding{State: health.Up, Score: 1, Since: storetest.Time, Of: of}
	}
	return v
}

// changeSome changes a few endpoints, some of which come or go, and what is said of the pool. The verdict given stays as it is.
func changeSome(random *rand.Rand, v health.Verdict) health.Verdict {
	v.Endpoints = maps.Clone(v.Endpoints)
	names := slices.Sorted(maps.Keys(v.Endpoints))
	for range random.IntN(5) {
		f := v.Endpoints[names[random.IntN(len(names))]]
		f.Proven = random.IntN(2) == 0
		f.State, f.Score = []health.State{health.Up, health.Down, health.Unknown}[random.IntN(3)], float64(random.IntN(5))/4
		f.Reason, f.Since = fmt.Sprint("reason ", random.IntN(9)), storetest.Time.Add(time.Duration(random.IntN(1e6))*time.Millisecond)
		v.Endpoints[names[random.IntN(len(names))]] = f
	}
	switch random.IntN(4) {
	case 0:
		delete(v.Endpoints, names[random.IntN(len(names))])
	case 1:
		v.Endpoints[fmt.Sprint("new-", random.IntN(1000))] = health.Finding{State: health.Unknown, Score: 1, Since: storetest.Time}
	}
	v.NeverUp, v.Released = nil, nil
	for _, name := range names {
		if random.IntN(50) == 0 {
			v.NeverUp = append(v.NeverUp, name)
		}
		if random.IntN(90) == 0 {
			v.Released = append(v.Released, name)
		}
	}
	v.HeldSince = time.Time{}
	v.Frozen, v.FrozenSince, v.Cause = random.IntN(3) == 0, time.Time{}, ""
	if v.Frozen {
		v.HeldSince = storetest.Time.Add(time.Duration(random.IntN(9)) * time.Second)
		v.FrozenSince, v.Cause = storetest.Time, fmt.Sprint("cause ", random.IntN(3))
	}
	return v
}

// TestPiecesSayWhatTheWholeWould: whatever is written in pieces, as a whole, by a program that knows no pieces, or is deleted, those who
// follow, who begin to follow, and who come back see the last verdict.
func TestPiecesSayWhatTheWholeWould(t *testing.T) {
	t.Parallel()
	c, ctx := testClient(t), storetest.Context(t)
	inOffice(t, c)
	f := follow(t, c, nil)
	f.untilState(state.Current)
	random := rand.New(rand.NewPCG(11, 7))
	var was *health.Verdict
	now := largeVerdictOf("eu", 200)
	sees := func(who string, f *following) {
		t.Helper()
		f.until(fmt.Sprintf("%s sees the verdict", who), func() bool {
			v, ok := f.mirror.Verdict(now.Pool)
			return ok && v.Equal(now)
		})
	}
	kinds := map[string]int{}
	for step := range 120 {
		kind := "pieces"
		switch n := random.IntN(12); {
		case n == 0:
			kind, was = "whole", nil
		case n == 1:
			kind = "older program"
			value, _ := state.MarshalPlain(now)
			put(t, c, c.keys.Verdict(now.Pool), string(value))
		case n == 2 && was != nil:
			kind, was = "deleted", nil
			if err := c.DeleteVerdict(ctx, now.Pool); err != nil {
				t.Fatal(err)
			}
		case n == 3 && was != nil:
			kind, now, was = "small and large", largeVerdictOf("eu", pieces.WholeMost+random.IntN(2)), nil
		}
		kinds[kind]++
		if kind != "older program" {
			written, err := c.WriteVerdicts(ctx, []VerdictWrite{{now, was}})
			large := was != nil && min(len(was.Endpoints), len(now.Endpoints)) > pieces.WholeMost
			if w := written[now.Pool]; err != nil || w.Err != nil || w.Whole == (kind == "pieces" && large) {
				t.Fatal(step, kind, written, err)
			}
		}
		sees(kind, f)
		if step%10 == 0 {
			fresh := follow(t, c, nil)
			sees("a new follower", fresh)
			fresh.stop()
			has := fresh.mirror.Full()
			back := followFrom(t, c, has.Position(), &has)
			back.untilState(state.Current)
			sees("one that comes back", back)
			for _, u := range back.told() {
				if len(state.Verdicts.In(u).Put) != 0 {
					t.Errorf("step %d: told again what is as it was", step)
				}
			}
			back.stop()
		}
		before := now
		was, now = &before, changeSome(random, now)
	}
	if kinds["pieces"] < 60 || len(kinds) != 5 {
		t.Errorf("not everything was tried: %v", kinds)
	}
	if err := c.DeleteVerdict(ctx, now.Pool); err != nil {
		t.Fatal(err)
	}
	f.until("it is gone", func() bool { _, ok := f.mirror.Verdict(now.Pool); return !ok })
	if n := countBelow(t, c, c.keys.Verdict(now.Pool)); n != 0 {
		t.Errorf("%d keys are left", n)
	}
}

// TestSightsInPieces is TestPiecesSayWhatTheWholeWould for observations.
func TestSightsInPieces(t *testing.T) {
	t.Parallel()
	c, ctx := testClient(t), storetest.Context(t)
	random := rand.New(rand.NewPCG(3, 5))
	o := observe(t, c)
	key := ObservationKey{"p1", health.PoolID{Tenant: "shop", Pool: "eu"}}
	v := largeVerdictOf("eu", 150)
	sightsOf := func(v health.Verdict) health.Observation {
		obs := health.Observation{Vantage: key.Vantage, Pool: key.Pool, Endpoints: map[string]health.Sight{}}
		for name, f := range v.Endpoints {
			obs.Endpoints[name] = health.Sight{State: f.State, Score: f.Score, Since: f.Since, Reason: f.Reason, Of: f.Of}
		}
		return obs
	}
	same := func(a, b map[string]health.Sight) bool {
		changed, _ := pieces.ChangedSights(a, b, pieces.Plain)
		return len(changed) == 0
	}
	is := func(want health.Observation) func(ObservationUpdate) bool {
		return func(u ObservationUpdate) bool {
			return slices.ContainsFunc(u.Put, func(got health.Observation) bool {
				return got.Pool == want.Pool && got.Vantage == want.Vantage && same(got.Endpoints, want.Endpoints)
			})
		}
	}
	var was *health.Observation
	lone, lones := false, 0 // as a prober knows it
	for step := range 80 {
		now := sightsOf(v)
		switch random.IntN(8) {
		case 0:
			was = nil
		case 2:
			v, was = largeVerdictOf("eu", pieces.WholeMost+2*random.IntN(2)), nil
			now = sightsOf(v)
		case 1:
			value, _ := state.MarshalPlain(now)
			put(t, c, c.keys.Observation(key.Vantage, key.Pool), string(value)) // an older program
			o.until(t, "what an older program wrote", is(now))
		}
		small := len(now.Endpoints) <= pieces.WholeMost
		if lone && small {
			lones++
		}
		if w := c.WriteObservations(ctx, []ObservationWrite{{Observation: now, Was: was, NoPieces: lone}})[key.Pool]; w.Err != nil {
			t.Fatal(w.Err)
		} else if lone = small; lone && countBelow(t, c, c.keys.Observation(key.Vantage, key.Pool)) != 1 {
			t.Errorf("step %d: pieces are left of a small pool", step)
		} else if was == nil || !same(was.Endpoints, now.Endpoints) {
			o.until(t, fmt.Sprint("step ", step), is(now))
		}
		if step%20 == 0 {
			observe(t, c).until(t, "a new observer", is(now))
			if all, err := c.Vantages(ctx); err != nil || len(all) != 1 || all[0].Pools != 1 {
				t.Errorf("%+v, %v", all, err)
			}
		}
		was, v = &now, changeSome(random, v)
	}
	if lones == 0 {
		t.Error("no small pool was written twice")
	}
	if n, err := c.ForgetVantage(ctx, key.Vantage); err != nil || n != 1 {
		t.Errorf("forgot %d, %v", n, err)
	}
	o.until(t, "all is gone", func(u ObservationUpdate) bool { return slices.Equal(u.Deleted, []ObservationKey{key}) })
}

// TestAFlapWritesOnePiece: one endpoint that changed made all that is known of 4,096 be written again.
func TestAFlapWritesOnePiece(t *testing.T) {
	c, ctx := testClient(t), storetest.Context(t)
	inOffice(t, c)
	was := largeVerdictOf("eu", 4096)
	whole, err := c.WriteVerdicts(ctx, []VerdictWrite{{Verdict: was}})
	if err != nil {
		t.Fatal(err)
	}
	now := was
	now.Endpoints = maps.Clone(was.Endpoints)
	now.Endpoints["endpoint-0007"] = health.Finding{State: health.Down, Since: storetest.Time, Reason: "connect: connection refused"}
	piece, err := c.WriteVerdicts(ctx, []VerdictWrite{{now, &was}})
	if err != nil || piece[now.Pool].Whole || !whole[now.Pool].Whole || piece[now.Pool].Bytes*40 > whole[now.Pool].Bytes {
		t.Errorf("%+v after %+v, %v", piece, whole, err)
	}
	t.Logf("the whole is %d bytes, a piece %d", whole[now.Pool].Bytes, piece[now.Pool].Bytes)
	keys := func() int64 { return countBelow(t, c, c.keys.Verdict(now.Pool)) }
	sees := func(who string, want health.Verdict) {
		f := follow(t, c, nil)
		f.until(who, func() bool { v, ok := f.mirror.Verdict(want.Pool); return ok && v.Equal(want) })
		f.stop()
	}
	sees("whole and piece", now)
	value, _ := state.MarshalPlain(was)
	put(t, c, c.keys.Verdict(was.Pool), string(value)) // an older program's whole is newer than the piece, which it leaves
	sees("an older program's whole", was)
	if n := keys(); n != 2 {
		t.Errorf("%d keys", n)
	}
	if err := c.PutVerdicts(ctx, []health.Verdict{now}); err != nil || keys() != 1 {
		t.Errorf("pieces stay beside a newer whole: %d keys, %v", keys(), err)
	}
	sees("a whole", now)
	first := writeObservation(c, ctx, health.Observation{Vantage: "p1", Pool: now.Pool, Endpoints: map[string]health.Sight{}}, nil)
	if first.Err != nil || !first.Whole {
		t.Errorf("%+v", first)
	}
}

// TestCoarsePiecesReplaceFineOnes, and take them away; those that an older program leaves, or leaves beside a whole, count no more.
func TestCoarsePiecesReplaceFineOnes(t *testing.T) {
	c, ctx := testClient(t), storetest.Context(t)
	inOffice(t, c)
	down := func(v health.Verdict, reason string, n int) health.Verdict {
		v.Endpoints = maps.Clone(v.Endpoints)
		for i := range n {
			v.Endpoints[fmt.Sprintf("endpoint-%04d", i)] = health.Finding{State: health.Down, Since: storetest.Time, Reason: reason}
		}
		return v
	}
	observed := func(v health.Verdict) health.Observation {
		o := health.Observation{Vantage: "p1", Pool: v.Pool, Endpoints: map[string]health.Sight{}}
		for name, f := range v.Endpoints {
			o.Endpoints[name] = health.Sight{State: f.State, Score: f.Score, Since: f.Since, Reason: f.Reason}
		}
		return o
	}
	fines := func() (n int) {
		for _, key := range []string{c.keys.Verdict(health.PoolID{Tenant: "shop", Pool: "eu"}),
			c.keys.Observation("p1", health.PoolID{Tenant: "shop", Pool: "eu"})} {
			resp, err := c.link.Etcd.Get(ctx, key, clientv3.WithPrefix())
			if err != nil {
				t.Fatal(err)
			}
			for _, kv := range resp.Kvs {
				if strings.Count(string(kv.Key)[len(key):], "/") == 2 {
					n++
				}
			}
		}
		return n
	}
	sees := func(what string, want health.Verdict) {
		t.Helper()
		f := follow(t, c, nil)
		f.until(what, func() bool { v, ok := f.mirror.Verdict(want.Pool); return ok && v.Equal(want) })
		f.stop()
		observe(t, c).until(t, what, func(u ObservationUpdate) bool {
			differ, _ := pieces.ChangedSights(u.Put[0].Endpoints, observed(want).Endpoints, pieces.Plain)
			return len(differ) == 0
		})
	}
	var was *health.Verdict
	write := func(v health.Verdict) {
		t.Helper()
		var before *health.Observation
		if was != nil {
			o := observed(*was)
			before = &o
		}
		if _, err := c.WriteVerdicts(ctx, []VerdictWrite{{v, was}}); err != nil {
			t.Fatal(err)
		}
		if w := writeObservation(c, ctx, observed(v), before); w.Err != nil {
			t.Fatal(w.Err)
		}
		was = &v
	}
	whole := largeVerdictOf("eu", 30)
	write(whole)
	one := down(whole, "the first", 1)
	write(one)
	if n := fines(); n != 2 {
		t.Errorf("%d fine pieces of one change each", n)
	}
	sees("a fine piece", one)
	many := down(one, "the second", 12)
	write(many)
	if n := fines(); n != 0 {
		t.Errorf("%d fine pieces are left in coarse ones", n)
	}
	sees("coarse pieces", many)
	again := down(many, "the third", 1)
	write(again)
	sees("a fine piece in a coarse one", again)
	older := down(again, "an older program's", 1)
	coarse, _ := pieces.Parse([]string{"00"})
	for _, p := range pieces.All() {
		if len(pieces.Cut(map[string]int{"endpoint-0000": 0}, p)) > 0 {
			coarse = p
		}
	}
	value, _ := state.MarshalPlain(pieces.OfVerdict(older, coarse))
	put(t, c, pieces.Key(c.keys.Verdict(older.Pool), coarse), string(value))
	o := observed(older)
	o.Endpoints = pieces.Cut(o.Endpoints, coarse)
	value, _ = state.MarshalPlain(o)
	put(t, c, pieces.Key(c.keys.Observation("p1", older.Pool), coarse), string(value))
	sees("an older program's coarse piece over a fine one", older)
	value, _ = state.MarshalPlain(whole)
	put(t, c, c.keys.Verdict(whole.Pool), string(value))
	value, _ = state.MarshalPlain(observed(whole))
	put(t, c, c.keys.Observation("p1", whole.Pool), string(value))
	sees("an older program's whole over pieces", whole)
}

// TestVerdictsAreBatchedByBytes: a hundred verdicts made one transaction however large they were; thirty large ones were refused by
// etcd, and with them those of all tenants.
func TestVerdictsAreBatchedByBytes(t *testing.T) {
	t.Parallel()
	c := openTest(t, Config{Endpoints: []string{startTweaked(t, t.TempDir(), "etcd-with-defaults").Endpoint()}})
	ctx := storetest.Context(t)
	inOffice(t, c)
	f := follow(t, c, nil)
	var writes []VerdictWrite
	pools := map[string]health.Verdict{}
	add := func(tenant string, n, reason int, score float64) {
		v := largeVerdictOf(fmt.Sprint("p", len(writes)), n)
		v.Pool.Tenant = tenant
		for name, e := range v.Endpoints {
			e.Reason, e.Score = strings.Repeat("x", reason), score
			v.Endpoints[name] = e
		}
		writes, pools[tenant] = append(writes, VerdictWrite{Verdict: v}), v
	}
	for i := range 30 {
		add("greedy", 1000, 200+i, 1) // 300 kB each: 9 MB
	}
	add("modest", 2, 10, 1)
	add("huge", 4096, 500, 1)  // 2.4 MB: no request holds it, and pieces do
	add("hopeless", 6, 4e5, 1) // as large, and too few endpoints for pieces
	add("broken", 3, 1, math.NaN())
	add("last", 2, 10, 1)
	written, err := c.WriteVerdicts(ctx, writes)
	if err != nil {
		t.Fatal(err)
	}
	for _, w := range writes {
		got, fails := written[w.Verdict.Pool], w.Verdict.Pool.Tenant == "hopeless" || w.Verdict.Pool.Tenant == "broken"
		if (got.Err != nil) != fails || fails && !strings.Contains(got.Err.Error(), w.Verdict.Pool.String()) {
			t.Errorf("%s: %+v", w.Verdict.Pool, got)
		}
	}
	for _, tenant := range []string{"modest", "huge", "last", "greedy"} {
		f.until(tenant+" has its verdict", func() bool {
			v, ok := f.mirror.Verdict(pools[tenant].Pool)
			return ok && v.Equal(pools[tenant])
		})
	}
	obs := health.Observation{Vantage: "p1", Pool: pools["huge"].Pool, Endpoints: map[string]health.Sight{}}
	for name, e := range pools["huge"].Endpoints {
		obs.Endpoints[name] = health.Sight{State: e.State, Reason: e.Reason}
	}
	if w := writeObservation(c, ctx, obs, nil); w.Err != nil || w.Whole {
		t.Errorf("an observation that no request holds: %+v", w)
	}
	observe(t, c).until(t, "the observation in pieces", func(u ObservationUpdate) bool {
		if len(u.Put) != 1 {
			return false
		}
		changed, _ := pieces.ChangedSights(u.Put[0].Endpoints, obs.Endpoints, pieces.Plain)
		return len(changed) == 0
	})
	if err := c.DeleteVerdict(ctx, pools["huge"].Pool); err != nil {
		t.Fatal(err)
	}
	f.until("a verdict in pieces alone is gone", func() bool { _, ok := f.mirror.Verdict(pools["huge"].Pool); return !ok })
	if err := c.PutVerdicts(ctx, []health.Verdict{pools["last"], pools["hopeless"]}); err == nil {
		t.Error("a failure is not told")
	}
}

// TestADamagedPieceCostsItsPoolAlone: who begins to follow is not told a verdict of which a part is missing, since that would take what is
// down for unknown; and a whole mends it.
func TestADamagedPieceCostsItsPoolAlone(t *testing.T) {
	c, ctx := testClient(t), storetest.Context(t)
	inOffice(t, c)
	v, other := largeVerdictOf("eu", 100), largeVerdictOf("us", 100)
	if err := c.PutVerdicts(ctx, []health.Verdict{v, other}); err != nil {
		t.Fatal(err)
	}
	has := follow(t, c, nil)
	has.until("both", func() bool { return len(has.mirror.Verdicts()) == 2 })
	put(t, c, pieces.Key(c.keys.Verdict(v.Pool), 3), "{broken")
	put(t, c, pieces.Key(c.keys.Verdict(v.Pool), 99), "{}") // of a program to come
	fresh := follow(t, c, nil)
	fresh.untilState(state.Current)
	if told := fresh.told(); len(told) != 1 || len(state.Verdicts.In(told[0]).Put) != 1 ||
		!slices.Equal(state.Verdicts.In(told[0]).Broken, []health.PoolID{v.Pool}) {
		t.Errorf("told %+v", told)
	}
	if now, _ := has.mirror.Verdict(v.Pool); !now.Equal(v) {
		t.Error("who had the verdict before lost it")
	}
	value, _ := state.MarshalPlain(pieces.OfVerdict(v, 5))
	put(t, c, pieces.Key(c.keys.Verdict(v.Pool), 5), string(value))
	if err := c.DeleteVerdict(ctx, other.Pool); err != nil {
		t.Fatal(err)
	}
	fresh.until("the piece came", func() bool { _, ok := fresh.mirror.Verdict(other.Pool); return !ok })
	if err := c.PutVerdicts(ctx, []health.Verdict{v}); err != nil {
		t.Fatal(err)
	}
	fresh.until("it is mended", func() bool { now, ok := fresh.mirror.Verdict(v.Pool); return ok && now.Equal(v) })
	for _, u := range fresh.told() {
		for _, now := range state.Verdicts.In(u).Put {
			if now.Pool == v.Pool && !now.Equal(v) {
				t.Errorf("told a part: %d endpoints", len(now.Endpoints))
			}
		}
	}
}

func TestParsePiece(t *testing.T) {
	for name, want := range map[string]pieces.Piece{"00": 0, "07": 7, "63": 63, "64": -1, "7": -1, "007": -1, "-1": -1, "+1": -1, "": -1,
		"x": -1, "00/00": 64, "00/63": 127, "01/00": 128, "63/63": 64 + 4095, "63/64": -1, "64/00": -1, "-1/00": -1, "0/00": -1, "00/": -1,
		"00/00/00": -1} {
		i, ok := pieces.Parse(strings.Split(name, "/"))
		if ok != (want >= 0) || ok && (i != want || pieces.Key("k", i) != "k/"+name) {
			t.Errorf("%q: %d, %v", name, i, ok)
		}
	}
	others := map[string]health.Sight{"x": {}, "y": {}, "z": {}}
	for name, want := range map[string]pieces.Piece{"a": 64 + 44*64 + 36, "endpoint-0007": 64 + 18*64 + 13} { // part of what is stored
		with := maps.Clone(others)
		with[name] = health.Sight{}
		if set, _ := pieces.ChangedSights(others, with, pieces.Plain); len(set) != 1 || set[0] != want {
			t.Errorf("%s is in %v, want %v", name, set, want)
		}
	}
}

// countBelow counts a key and those below it.
func countBelow(t *testing.T, c *Client, key string) int64 {
	t.Helper()
	resp, err := c.link.Etcd.Get(t.Context(), key, clientv3.WithPrefix(), clientv3.WithCountOnly())
	if err != nil {
		t.Fatal(err)
	}
	return resp.Count
}

// writeObservation writes one.
func writeObservation(c *Client, ctx context.Context, o health.Observation, was *health.Observation) Written {
	return c.WriteObservations(ctx, []ObservationWrite{{Observation: o, Was: was}})[o.Pool]
}
