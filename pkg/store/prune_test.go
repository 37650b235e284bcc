package store

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus/testutil"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/gti/gtm/pkg/spec"
	"github.com/gti/gtm/pkg/store/layout"
	"github.com/gti/gtm/pkg/store/prune"
	"github.com/gti/gtm/pkg/store/state"
	"github.com/gti/gtm/pkg/store/storetest"
)

// past is a tenant with a history, and what it was at each generation.
type past struct {
	t      *testing.T
	c      *Client
	tenant string
	states map[state.Generation]map[spec.Key]state.Generation
	zones  bool
}

// day gives the time at which a generation was made: one a day.
func day(g state.Generation) time.Time { return storetest.Time.Add(time.Duration(g) * 24 * time.Hour) }

// grow makes changes at random: resources come, change and go.
func (p *past) grow(rng *rand.Rand, n int) {
	p.t.Helper()
	for range n {
		head := state.Generation(len(p.states))
		now := maps.Clone(p.states[head])
		if now == nil {
			now = map[spec.Key]state.Generation{}
		}
		ch := Change{Tenant: p.tenant, Base: head, Author: "a", Time: day(head + 1)}
		for _, i := range rng.Perm(8)[:1+rng.IntN(4)] {
			r := storetest.Site(p.tenant, fmt.Sprint("s", i), fmt.Sprint("r", head))
			if p.zones && i < 3 {
				r = storetest.Zone(fmt.Sprint("z", i, ".example."),
					storetest.ZoneText(600, map[int]string{rng.IntN(600): fmt.Sprintf("192.0.2.%d", rng.IntN(250))}))
			}
			if _, there := now[r.Key]; there && rng.IntN(3) == 0 {
				ch.Delete = append(ch.Delete, r.Key)
				delete(now, r.Key)
				continue
			}
			ch.Put = append(ch.Put, r)
			now[r.Key] = head + 1
		}
		p.commit(ch, now)
	}
}

// commit makes a change, which leads to a state.
func (p *past) commit(ch Change, to map[spec.Key]state.Generation) {
	p.t.Helper()
	if _, err := p.c.Commit(storetest.Context(p.t), ch); err != nil {
		p.t.Fatal(err)
	}
	p.states[ch.Base+1] = to
}

func newPast(t *testing.T, tenant string) *past {
	return &past{t: t, c: testClient(t), tenant: tenant, states: map[state.Generation]map[spec.Key]state.Generation{}}
}

// loads is how often whoever follows by the client read everything.
func (p *past) loads() float64 { return testutil.ToFloat64(p.c.metrics.resyncs) }

// holds checks that each generation from the oldest on is as it was, and each before it is told as removed.
func (p *past) holds() (oldest state.Generation) {
	p.t.Helper()
	ctx := storetest.Context(p.t)
	oldest, err := p.c.Oldest(ctx, p.tenant)
	if err != nil {
		p.t.Fatal(err)
	}
	for g := state.Generation(1); g <= state.Generation(len(p.states)); g++ {
		got, err := p.c.Read(ctx, p.tenant, g)
		var removed *RemovedError
		if g < oldest {
			if !errors.As(err, &removed) || removed.Oldest != oldest {
				p.t.Errorf("@%d, older than @%d: %v", g, oldest, err)
			}
			continue
		}
		if err != nil {
			p.t.Errorf("@%d: %v", g, err)
			continue
		}
		is := map[spec.Key]state.Generation{}
		for k, v := range got.Resources.All() {
			is[k] = v.Generation
		}
		if d := cmp.Diff(p.states[g], is); d != "" {
			p.t.Errorf("@%d:\n%s", g, d)
		}
	}
	return oldest
}

// keys counts what stands below a part of the layout.
func (p *past) keys(parts ...string) int {
	p.t.Helper()
	resp, err := p.c.link.Etcd.Get(storetest.Context(p.t), p.c.keys.Below(parts), clientv3.WithPrefix(), clientv3.WithCountOnly())
	if err != nil {
		p.t.Fatal(err)
	}
	return int(resp.Count)
}

// needed is how many versions and records the generations from the oldest on need.
func (p *past) needed(oldest state.Generation) (versions, records int) {
	head := state.Generation(len(p.states))
	versions = len(p.states[oldest])
	for g := oldest + 1; g <= head; g++ {
		for _, at := range p.states[g] {
			if at == g {
				versions++
			}
		}
		for k := range p.states[g-1] {
			if _, there := p.states[g][k]; !there {
				versions++ // what tells that it was deleted
			}
		}
	}
	return versions, int(head-oldest) + 1
}

// asPruner does something as the elected control.
func asPruner(t testing.TB, c *Client, do func(context.Context, *prune.Pruner) error) error {
	t.Helper()
	ctx, cancel := context.WithCancel(storetest.Context(t))
	defer cancel()
	var err error
	_ = c.CampaignPruner(ctx, "one", func(ctx context.Context, p *prune.Pruner) error {
		err = do(ctx, p)
		cancel()
		return nil
	})
	return err
}

// by gives a pruner of the one that is elected that goes by another client, and so by another network.
func by(t testing.TB, c *Client, n network, pinned func(context.Context, string) (state.Generation, []clientv3.Cmp, error)) *prune.Pruner {
	t.Helper()
	office, err := c.link.Etcd.Get(storetest.Context(t), c.keys.Pruner(), clientv3.WithPrefix())
	if err != nil || len(office.Kvs) != 1 {
		t.Fatalf("nobody is elected: %v", err)
	}
	other := another(t, c)
	if n != nil {
		through(t, other, n)
	}
	return prune.New(prune.Config{Link: other.link, Keys: c.keys, Logger: c.log, Office: string(office.Kvs[0].Key),
		Created: office.Kvs[0].CreateRevision, Pinned: pinned})
}

// another gives a further client of the same keys.
func another(t testing.TB, c *Client) *Client {
	t.Helper()
	return openTest(t, Config{Endpoints: []string{sharedEndpoint(t)}, Prefix: c.cfg.Prefix})
}

// pruneAll goes on until nothing is left to do.
func pruneAll(ctx context.Context, p *prune.Pruner, tenant string, keep prune.Keep, removing func([]state.Record) error) (removed int,
	err error) {
	for {
		s, err := p.Tenant(ctx, tenant, keep, removing)
		removed += s.Removed
		if err != nil || !s.More {
			return removed, err
		}
	}
}

func silently([]state.Record) error { return nil }

// TestOldGenerationsGo: what is kept is as it was, what only older generations needed is gone, records were told before, and whoever
// follows notices nothing.
func TestOldGenerationsGo(t *testing.T) {
	t.Parallel()
	for _, tenant := range []string{"shop", spec.Platform} {
		p := newPast(t, tenant)
		p.zones = tenant == spec.Platform
		gone := storetest.Site(tenant, "gone", "") // which never comes back, so that its deletion goes, too
		p.commit(Change{Tenant: tenant, Put: storetest.Resources(gone), Author: "a", Time: day(1)},
			map[spec.Key]state.Generation{gone.Key: 1})
		p.commit(Change{Tenant: tenant, Base: 1, Delete: []spec.Key{gone.Key}, Author: "a", Time: day(2)},
			map[spec.Key]state.Generation{})
		p.grow(rand.New(rand.NewPCG(1, 2)), 78)
		f := follow(t, p.c, nil)
		f.untilHead(tenant, 80)
		before, loads := len(f.told()), p.loads()
		for _, row := range []struct {
			keep prune.Keep
			want state.Generation
		}{
			{prune.Keep{Before: day(0), Least: 1}, 1},
			{prune.Keep{Before: day(20), Least: 1}, 20}, // which was in force then
			{prune.Keep{Before: day(20).Add(time.Hour), Least: 61}, 20},
			{prune.Keep{Before: day(60), Least: 50}, 31},
			{prune.Keep{Before: day(70), Least: 1}, 70},
			{prune.Keep{Before: day(10), Least: 80}, 70}, // what is gone does not come back
		} {
			var told []state.Generation
			was := p.holds()
			err := asPruner(t, p.c, func(ctx context.Context, pr *prune.Pruner) error {
				_, err := pruneAll(ctx, pr, tenant, row.keep, func(records []state.Record) error {
					for _, r := range records {
						if r.ID == "" || r.Author != "a" {
							t.Errorf("told of %+v", r)
						}
						told = append(told, r.Generation)
					}
					return nil
				})
				return err
			})
			if err != nil {
				t.Fatal(err)
			}
			if oldest := p.holds(); oldest != row.want || len(told) != int(oldest-was) || oldest > was && told[0] != was {
				t.Errorf("%s: the oldest is @%d, want @%d; told of %v", tenant, oldest, row.want, told)
			}
			versions, records := p.needed(row.want)
			if v, r := p.keys("config", "res", tenant), p.keys("config", "log", tenant); v != versions || r != records {
				t.Errorf("%s@%d: %d versions and %d records, want %d and %d", tenant, row.want, v, r, versions, records)
			}
		}
		p.grow(rand.New(rand.NewPCG(3, 4)), 3) // it goes on as ever
		p.holds()
		f.untilHead(tenant, 83)
		if n := len(f.told()) - before; n != 3 {
			t.Errorf("whoever follows was told %d times of 3 changes", n)
		}
		if n := p.loads() - loads; n != 0 {
			t.Errorf("whoever follows read everything anew %v times", n)
		}
	}
}

// failsAt is a network that does something else to one write, by its number.
func failsAt(at int, do func(ctx context.Context, carry func() error) error) (network, *int) {
	n := 0
	return func(ctx context.Context, req any, carry func() error) error {
		if writes(req) {
			if n++; n == at {
				return do(ctx, carry)
			}
			if n > at {
				return errCrashed
			}
		}
		return carry()
	}, &n
}

var errCrashed = errors.New("the process is gone")

// TestAPruneThatEndsAnywhereIsEndedByTheNext: control crashes before or behind each single transaction. What is kept is whole at any
// time, and whoever is elected next ends it.
func TestAPruneThatEndsAnywhereIsEndedByTheNext(t *testing.T) {
	t.Parallel()
	keep := prune.Keep{Before: day(300), Least: 5}
	for _, behind := range []bool{false, true} {
		for at, crashed := 1, true; crashed; at++ {
			p := newPast(t, "shop")
			p.grow(rand.New(rand.NewPCG(5, 6)), 20)
			var large []*spec.Resource // more than one transaction holds
			for i := range 250 {
				large = append(large, storetest.Site("shop", fmt.Sprint("s", i), "large"))
			}
			for range 2 {
				g := state.Generation(len(p.states)) + 1
				now := maps.Clone(p.states[g-1])
				for _, r := range large {
					now[r.Key] = g
				}
				ch := Change{Tenant: "shop", Base: g - 1, Put: large, Author: "a", Time: day(g)}
				p.commit(ch, now)
			}
			p.grow(rand.New(rand.NewPCG(7, 8)), 20)
			err := asPruner(t, p.c, func(ctx context.Context, _ *prune.Pruner) error {
				n, seen := failsAt(at, func(_ context.Context, carry func() error) error {
					if behind {
						if err := carry(); err != nil {
							t.Error(err)
						}
					}
					return errCrashed
				})
				_, err := pruneAll(ctx, by(t, p.c, n, nil), "shop", keep, silently)
				crashed = *seen >= at
				return err
			})
			if crashed != (err != nil) {
				t.Fatalf("write %d: %v", at, err)
			}
			p.holds()
			err = asPruner(t, p.c, func(ctx context.Context, pr *prune.Pruner) error {
				_, err := pruneAll(ctx, pr, "shop", keep, silently)
				return err
			})
			oldest := p.holds()
			versions, records := p.needed(38)
			v, r := p.keys("config", "res", "shop"), p.keys("config", "log", "shop")
			if err != nil || oldest != 38 || v != versions || r != records {
				t.Errorf("after a crash at write %d, then %v: @%d, %d versions and %d records, want @38, %d and %d", at, err, oldest, v, r,
					versions, records)
			}
			if !crashed && at < 8 {
				t.Errorf("only %d writes", at-1)
			}
		}
	}
}

// TestWhatIsPointedAtStays with all that came after it, and nobody removes what something is pointed at meanwhile.
func TestWhatIsPointedAtStays(t *testing.T) {
	t.Parallel()
	p := newPast(t, "shop")
	p.grow(rand.New(rand.NewPCG(9, 10)), 30)
	pin := p.c.cfg.Prefix + "pin"
	var meanwhile func()
	err := asPruner(t, p.c, func(ctx context.Context, _ *prune.Pruner) error {
		pr := by(t, p.c, nil, func(ctx context.Context, tenant string) (state.Generation, []clientv3.Cmp, error) {
			kv, err := p.c.reader(p.c.link.Etcd).Get(ctx, pin)
			var at state.Generation
			mod := int64(0)
			if kv != nil {
				at, _ = layout.ParseHead(kv.Value)
				mod = kv.ModRevision
			}
			if meanwhile != nil {
				meanwhile()
			}
			return at, []clientv3.Cmp{clientv3.Compare(clientv3.ModRevision(pin), "=", mod)}, err
		})
		keep := prune.Keep{Before: day(100), Least: 1}
		if _, err := p.c.link.Etcd.Put(ctx, pin, "12"); err != nil {
			return err
		}
		if _, err := pruneAll(ctx, pr, "shop", keep, silently); err != nil {
			return err
		}
		if oldest := p.holds(); oldest != 12 {
			t.Errorf("the oldest is @%d, and something is pointed at @12", oldest)
		}
		if _, err := p.c.link.Etcd.Put(ctx, pin, "20"); err != nil {
			return err
		}
		meanwhile = func() {
			if _, err := p.c.link.Etcd.Put(ctx, pin, "13"); err != nil {
				t.Error(err)
			}
		}
		if _, err := pr.Tenant(ctx, "shop", keep, silently); !errors.Is(err, prune.ErrLost) {
			t.Errorf("something is pointed at @13 meanwhile: %v", err)
		}
		meanwhile = nil
		_, err := pruneAll(ctx, pr, "shop", keep, silently)
		return err
	})
	if oldest := p.holds(); err != nil || oldest != 13 {
		t.Errorf("@%d, %v", oldest, err)
	}
}

// TestWhoIsNotElectedRemovesNothing, also where he was.
func TestWhoIsNotElectedRemovesNothing(t *testing.T) {
	t.Parallel()
	p := newPast(t, spec.Platform)
	p.zones = true
	p.grow(rand.New(rand.NewPCG(11, 12)), 30)
	var late *prune.Pruner
	if err := asPruner(t, p.c, func(_ context.Context, pr *prune.Pruner) error { late = pr; return nil }); err != nil {
		t.Fatal(err)
	}
	ctx := storetest.Context(t)
	if _, err := late.Tenant(ctx, spec.Platform, prune.Keep{Before: day(100), Least: 1}, silently); !errors.Is(err, prune.ErrLost) {
		t.Errorf("generations: %v", err)
	}
	text := layout.NewRun("a.example.\t1\tIN\tA\t192.0.2.1\n")
	if _, err := p.c.link.Etcd.Put(ctx, p.c.keys.Text(text.Hash), text.Text); err != nil {
		t.Fatal(err)
	}
	rev, err := late.Revision(ctx)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := late.Sweep(ctx, rev, func() error { return nil }); !errors.Is(err, prune.ErrLost) {
		t.Errorf("zone content: %v", err)
	}
	if p.holds() != 1 {
		t.Error("something was removed")
	}
}

// TestAGenerationThatCannotBeToldStays: where the audit log cannot have it, nothing of it goes.
func TestAGenerationThatCannotBeToldStays(t *testing.T) {
	t.Parallel()
	p := newPast(t, "shop")
	p.grow(rand.New(rand.NewPCG(13, 14)), 10)
	full := errors.New("the disk is full")
	err := asPruner(t, p.c, func(ctx context.Context, pr *prune.Pruner) error {
		_, err := pr.Tenant(ctx, "shop", prune.Keep{Before: day(100), Least: 1}, func([]state.Record) error { return full })
		return err
	})
	if oldest := p.holds(); !errors.Is(err, full) || oldest != 1 {
		t.Errorf("@%d, %v", oldest, err)
	}
}

// runs gives the hashes of the runs in the store.
func (p *past) runs() map[string]bool {
	p.t.Helper()
	resp, err := p.c.link.Etcd.Get(storetest.Context(p.t), p.c.keys.Texts(), clientv3.WithPrefix(), clientv3.WithKeysOnly())
	if err != nil {
		p.t.Fatal(err)
	}
	all := map[string]bool{}
	for _, kv := range resp.Kvs {
		all[p.c.keys.Split(string(kv.Key))[2]] = true
	}
	return all
}

// TestZoneContentThatNothingRefersToGoes, and what a version refers to stays, also where a change that relies on it comes while it is
// looked for, or between its own looking and its transaction.
func TestZoneContentThatNothingRefersToGoes(t *testing.T) {
	t.Parallel()
	p := newPast(t, spec.Platform)
	ctx := storetest.Context(t)
	text := func(n int) string {
		changed := fmt.Sprintf("192.0.2.%d", n)
		return storetest.ZoneText(2000, map[int]string{7: changed, 1500: changed})
	}
	put := func(c *Client, base state.Generation, n int) error {
		_, err := c.Commit(ctx, Change{Tenant: spec.Platform, Base: base,
			Put: storetest.Resources(storetest.Zone("big.example.", text(n))), Author: "a", Time: day(base + 1)})
		return err
	}
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	for g := range 6 {
		must(put(p.c, state.Generation(g), g))
	}
	all := len(p.runs())
	sweep := func(pause func() error) (removed int) {
		t.Helper()
		must(asPruner(t, p.c, func(ctx context.Context, pr *prune.Pruner) error {
			rev, err := pr.Revision(ctx)
			if err != nil {
				return err
			}
			removed, err = pr.Sweep(ctx, rev, pause)
			return err
		}))
		return removed
	}
	well := func() error { return nil }
	if n := sweep(well); n != 0 || len(p.runs()) != all {
		t.Errorf("%d runs went that generations refer to", n)
	}
	must(asPruner(t, p.c, func(ctx context.Context, pr *prune.Pruner) error {
		_, err := pruneAll(ctx, pr, spec.Platform, prune.Keep{Before: day(100), Least: 2}, silently)
		return err
	}))
	old := p.runs()

	// A change back to what was, which comes between a sweep's look and its removal: in the way of its first transaction.
	first := true
	network := func(ctx context.Context, req any, carry func() error) error {
		if writes(req) && first {
			first = false
			must(put(another(t, p.c), 6, 2))
		}
		return carry()
	}
	removed := 0
	must(asPruner(t, p.c, func(ctx context.Context, pr *prune.Pruner) error {
		rev, err := pr.Revision(ctx)
		if err != nil {
			return err
		}
		removed, err = by(t, p.c, network, nil).Sweep(ctx, rev, well)
		return err
	}))
	now := p.runs()
	if removed == 0 || len(now) != len(old)-removed {
		t.Errorf("%d runs went, of %d are left %d", removed, len(old), len(now))
	}
	is, err := p.c.Read(ctx, spec.Platform, 0)
	must(err)
	zone, _ := is.Resources.Get(storetest.Zone("big.example.", "").Key)
	if got := zone.Resource.Spec.(*spec.Zone).Content; got != text(2) {
		t.Errorf("of the zone %d bytes are left of %d", len(got), len(text(2)))
	}

	// A change that relies on runs which go between its own looking and its transaction: it writes them anew.
	must(put(p.c, 7, 9))
	must(asPruner(t, p.c, func(ctx context.Context, pr *prune.Pruner) error {
		_, err := pruneAll(ctx, pr, spec.Platform, prune.Keep{Before: day(100), Least: 1}, silently)
		return err
	}))
	other := another(t, p.c)
	swept := 0
	through(t, other, func(ctx context.Context, req any, carry func() error) error {
		if writes(req) && swept == 0 {
			swept = sweep(well)
		}
		return carry()
	})
	must(put(other, 8, 2))
	if swept == 0 {
		t.Error("nothing went meanwhile")
	}
	is, err = another(t, p.c).Read(ctx, spec.Platform, 0)
	must(err)
	zone, _ = is.Resources.Get(storetest.Zone("big.example.", "").Key)
	if got := zone.Resource.Spec.(*spec.Zone).Content; got != text(2) {
		t.Errorf("of the zone %d bytes are left of %d: %.80s", len(got), len(text(2)), strings.TrimSpace(got))
	}
}

// TestYoungZoneContentStays: a large change writes it before what refers to it.
func TestYoungZoneContentStays(t *testing.T) {
	t.Parallel()
	p := newPast(t, spec.Platform)
	ctx := storetest.Context(t)
	err := asPruner(t, p.c, func(_ context.Context, pr *prune.Pruner) error {
		put := func(text string) {
			r := layout.NewRun(text)
			if _, err := p.c.link.Etcd.Put(ctx, p.c.keys.Text(r.Hash), r.Text); err != nil {
				t.Fatal(err)
			}
		}
		put("old.example.\t1\tIN\tA\t192.0.2.1\n")
		rev, err := pr.Revision(ctx)
		put("young.example.\t1\tIN\tA\t192.0.2.1\n")
		if err != nil {
			return err
		}
		if n, err := pr.Sweep(ctx, rev, func() error { return nil }); err != nil || n != 1 {
			t.Errorf("%d went, %v", n, err)
		}
		return nil
	})
	if n := len(p.runs()); err != nil || n != 1 {
		t.Errorf("%d are left, %v", n, err)
	}
}

// TestAChangeWhoseRecordWasRemovedIsOpen: its answer was lost, and before it could ask, others had gone on so far that nothing tells
// any more whose the generation was. It was told as a conflict, although it had been made.
func TestAChangeWhoseRecordWasRemovedIsOpen(t *testing.T) {
	t.Parallel()
	p := newPast(t, "shop")
	c := another(t, p.c)
	c.link.Wait.Attempt = 300 * time.Millisecond
	through(t, c, onWrites(1, func(ctx context.Context, carry func() error) error {
		if err := carry(); err != nil {
			t.Error(err)
		}
		p.states[1] = map[spec.Key]state.Generation{storetest.Site("shop", "a", "").Key: 1}
		p.grow(rand.New(rand.NewPCG(15, 16)), 5)
		err := asPruner(t, p.c, func(ctx context.Context, pr *prune.Pruner) error {
			_, err := pruneAll(ctx, pr, "shop", prune.Keep{Before: day(100), Least: 2}, silently)
			return err
		})
		if err != nil {
			t.Error(err)
		}
		return silence(ctx, nil)
	}))
	ch := Change{Tenant: "shop", Put: storetest.Resources(storetest.Site("shop", "a", "EU")), Time: day(1)}
	_, err := c.Commit(storetest.Context(t), ch)
	var open *UnknownError
	var removed *RemovedError
	if !errors.As(err, &open) || !errors.As(err, &removed) {
		t.Errorf("%v", err)
	}
}

// TestWhatARolloutPointsAtIsPinned: the oldest generation that any group is at, or may go back or on to, stays; and what was found of that
// holds as long as the rollout stands as it did.
func TestWhatARolloutPointsAtIsPinned(t *testing.T) {
	c, ctx := testClient(t), storetest.Context(t)
	if oldest, unchanged, err := c.pinned(ctx, "shop"); err != nil || oldest != 0 || len(unchanged) != 1 {
		t.Errorf("without a rollout: %d, %v, %v", oldest, unchanged, err)
	}
	_, err := c.EditAim(ctx, "shop", false, func(a *state.Aim) error {
		a.Groups = []state.AimedGroup{{Name: "canary", At: state.Mark{Generation: 9}}, {Name: "rest", At: state.Mark{Generation: 7}},
			{Name: "last", At: state.Mark{Generation: 8}}}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	oldest, unchanged, err := c.pinned(ctx, "shop")
	if err != nil || oldest != 7 {
		t.Errorf("%d, %v", oldest, err)
	}
	holds := func() bool {
		resp, err := c.link.Etcd.Txn(ctx).If(unchanged...).Commit()
		return err == nil && resp.Succeeded
	}
	if !holds() {
		t.Error("what was found does not hold")
	}
	_, err = c.EditAim(ctx, "shop", false, func(a *state.Aim) error { a.Groups[1].At.Generation = 6; return nil })
	if err != nil || holds() {
		t.Errorf("a group went back, and it holds: %v", err)
	}
}
