package retention

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gti/gtm/pkg/change"
	"github.com/gti/gtm/pkg/control/audit"
	"github.com/gti/gtm/pkg/control/audit/chain"
	"github.com/gti/gtm/pkg/gtmtest/etcds"
	"github.com/gti/gtm/pkg/spec"
	"github.com/gti/gtm/pkg/store"
	"github.com/gti/gtm/pkg/store/state"
)

// TestMain is also the etcd of these tests, and a control that is killed.
func TestMain(m *testing.M) {
	etcds.Main()
	if len(os.Args) == 5 && os.Args[1] == victimWord {
		victim(os.Args[2], os.Args[3], os.Args[4])
	}
	os.Exit(m.Run())
}

// quick is the pace of tests.
var quick = Pace{Pass: 20 * time.Millisecond, Step: time.Microsecond, Sweep: 50 * time.Millisecond}

// control is what of a control changes, keeps and notes.
type control struct {
	store   *store.Client
	mirror  *state.Mirror
	audit   *audit.Log
	changer *change.Changer
	keeper  *Keeper
}

// start makes a control, which ends when stop is called.
func start(tb testing.TB, cfg store.Config, dir string, now func() time.Time) (c *control, stop func()) {
	fail := func(err error) {
		if err != nil {
			panic(err) // the victim has no test
		}
	}
	if tb != nil {
		fail = func(err error) {
			tb.Helper()
			if err != nil {
				tb.Fatal(err)
			}
		}
	}
	ctx, cancel := context.WithCancel(context.Background())
	c = &control{mirror: state.NewMirror()}
	var err error
	c.store, err = store.Open(ctx, cfg)
	fail(err)
	c.audit, err = audit.Open(audit.Config{Dir: dir, ID: "one"})
	fail(err)
	c.changer = change.New(change.Config{Store: c.store, Journal: c.audit, Now: now})
	c.keeper, err = New(Config{ID: "one", Store: c.store, Mirror: c.mirror, Removing: c.audit.Pruned, Pace: quick, Now: now,
		Current: func() bool { return true }})
	fail(err)
	followed, kept := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(followed)
		_ = c.store.Follow(ctx, store.FollowConfig{OnUpdate: func(u state.Update) error { c.mirror.Apply(u); return nil }})
	}()
	go func() {
		defer close(kept)
		c.keeper.Run(ctx)
	}()
	return c, func() {
		cancel()
		<-followed
		<-kept
		_ = c.store.Close()
		_ = c.audit.Close()
	}
}

// site is a resource that holds a number.
func site(name string, n int) *spec.Resource {
	return &spec.Resource{Key: spec.Key{Tenant: spec.Platform, Kind: spec.KindSite, Name: name},
		Spec: &spec.Site{Location: &spec.Location{Lat: float64(n%90_000) / 1000, Lon: float64(n/90_000) / 1000}}}
}

// numberOf gives what a site holds; -1: there is none.
func numberOf(s state.TenantState, name string) int {
	v, ok := s.Resources.Get(spec.Key{Tenant: spec.Platform, Kind: spec.KindSite, Name: name})
	if !ok {
		return -1
	}
	l := v.Resource.Spec.(*spec.Site).Location
	return int(l.Lat*1000+0.5) + int(l.Lon*1000+0.5)*90_000
}

// apply makes both sites hold a number, in one change.
func (c *control) apply(ctx context.Context, author string, n int, expect map[string]state.Generation) ([]state.Record, error) {
	plan, err := c.changer.Plan(ctx, change.Input{Put: []*spec.Resource{site("a", n), site("b", n)}, Author: author, Expect: expect})
	if err != nil {
		return nil, err
	}
	return c.changer.Apply(ctx, plan)
}

// kept gives a platform that keeps so many generations, for a day.
func kept(generations int) *spec.Resource {
	return &spec.Resource{Key: spec.Key{Tenant: spec.Platform, Kind: spec.KindTenant, Name: spec.Platform},
		Spec: &spec.Tenant{Limits: &spec.Limits{Retention: &spec.Retention{For: spec.Duration(24 * time.Hour), Generations: generations}}}}
}

func within(t testing.TB) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	t.Cleanup(cancel)
	return ctx
}

// wholeFrom checks that each generation from the oldest on holds one number in both sites.
func wholeFrom(t *testing.T, c *store.Client) (oldest, head state.Generation) {
	t.Helper()
	ctx := within(t)
	now, err := c.Read(ctx, spec.Platform, 0)
	if err != nil {
		t.Fatal(err)
	}
	if oldest, err = c.Oldest(ctx, spec.Platform); err != nil {
		t.Fatal(err)
	}
	for g := oldest; g <= now.Head; g++ {
		s, err := c.Read(ctx, spec.Platform, g)
		if errors.As(err, new(*store.RemovedError)) { // meanwhile
			continue
		}
		if err != nil {
			t.Errorf("@%d: %v", g, err)
			continue
		}
		if a, b := numberOf(s, "a"), numberOf(s, "b"); a != b {
			t.Errorf("half of @%d was applied: %d and %d", g, a, b)
		}
	}
	return oldest, now.Head
}

// chained checks an audit log, and gives its entries.
func chained(t *testing.T, l *audit.Log) (all []chain.Entry) {
	t.Helper()
	v := &chain.Verifier{}
	err := l.Read(0, func(_ uint64, line []byte) error {
		v.Line(line)
		e, err := chain.Parse(line)
		all = append(all, e)
		return err
	})
	if err != nil || len(v.Faults()) != 0 || len(v.Chains()) != 1 {
		t.Fatalf("the audit log is not whole: %v, %v", err, v.Faults())
	}
	return all
}

// victimWord, as this program's first argument, makes it a control that changes without end until it is killed.
const victimWord = "victim"

func victim(endpoint, dir, from string) {
	n, err := strconv.Atoi(from)
	if err != nil {
		panic(err)
	}
	var day atomic.Int64
	c, _ := start(nil, store.Config{Endpoints: []string{endpoint}}, dir, func() time.Time { return at(int(day.Load())) })
	out := bufio.NewWriter(os.Stdout)
	for ; ; n++ {
		day.Store(int64(n))
		made, err := c.apply(context.Background(), "victim", n, nil)
		if err != nil {
			panic(err)
		}
		fmt.Fprintf(out, "%d %d %s\n", n, made[0].Generation, made[0].ID)
		_ = out.Flush()
	}
}

// at gives a time by days.
func at(day int) time.Time { return time.Date(2026, 5, 4, 3, 2, 1, 0, time.UTC).AddDate(0, 0, day) }

func auditDir(t testing.TB) string { return filepath.Join(t.TempDir(), "audit") }
