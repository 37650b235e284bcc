package discover

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/gti/gtm/pkg/control/share"
	"github.com/gti/gtm/pkg/gtmtest"
	"github.com/gti/gtm/pkg/spec"
	"github.com/gti/gtm/pkg/store/pace"
	"github.com/gti/gtm/pkg/store/state"
)

// memoryStore is a store whose mirror is always up to date.
type memoryStore struct {
	mirror  *state.Mirror
	away    error
	written map[string]int // by tenant
	dropped int
}

func (m *memoryStore) CampaignFinder(ctx context.Context, _ string, lead func(context.Context) error) error {
	return lead(ctx)
}

func (m *memoryStore) PutFound(_ context.Context, f spec.Found) error {
	if m.away == nil {
		m.written[f.Tenant]++
		m.mirror.Apply(state.Update{Values: state.Discovered.Put(f)})
	}
	return m.away
}

func (m *memoryStore) DropFound(context.Context, state.SourceID) error { m.dropped++; return m.away }

func (m *memoryStore) ExpireFound(ctx context.Context, _, is spec.Found) error {
	return m.PutFound(ctx, is)
}

// inMemory gives a finder over a store in memory, whose clock is at now and whose sleeps end what it does.
func inMemory(t *testing.T, now *time.Time) (*Finder, *memoryStore, *gtmtest.Log) {
	t.Helper()
	m, log := &memoryStore{mirror: state.NewMirror(), written: map[string]int{}}, gtmtest.NewLog(t)
	f, err := New(Config{ID: "a", Store: m, Mirror: m.mirror, Logger: log.Logger(), Registerer: prometheus.NewRegistry(),
		Now: func() time.Time { return *now }, Sleep: func(context.Context, time.Duration) bool { return false }})
	if err != nil {
		t.Fatal(err)
	}
	return f, m, log
}

// What looks find is written within the tenant's share: beyond it the last good list is kept, that is told once, and others are written.
func TestWhatLooksFindHasAShare(t *testing.T) {
	now := time.Unix(1e9, 0)
	f, m, log := inMemory(t, &now)
	runOf := func(tenant string) *run {
		id := state.SourceID{Tenant: tenant, Pool: "p", Source: "s"}
		return &run{f: f, id: id, source: sourceOf(nil), memory: memory{is: spec.Found{Tenant: tenant, Pool: "p", Source: "s"}}}
	}
	lists := [][]spec.FoundEndpoint{listOf("192.0.2.1", "192.0.2.2"), listOf("192.0.2.1", "192.0.2.3")}
	greedy, n := runOf("greedy"), 0
	look := func() { greedy.note(t.Context(), &outcome{list: lists[n%2]}); n++ }
	m.away = errors.New("nobody there")
	for range 10 { // what is not written costs nothing
		look()
	}
	m.away = nil
	const once = pace.TenantBurst / share.Least
	for range once + 11 {
		look()
	}
	if m.written["greedy"] != once {
		t.Errorf("%d writes at once, want %d", m.written["greedy"], once)
	}
	has, _ := state.Discovered.Get(m.mirror, greedy.id)
	if got := text(greedy.is.Endpoints); got != text(has.Endpoints) || !strings.HasPrefix(got, "1 ") {
		t.Errorf("it has %s, and the store %s", got, text(has.Endpoints))
	}
	late := testutil.ToFloat64(f.metrics.looks.WithLabelValues("late"))
	if told := strings.Count(log.String(), "faster than its share"); late < 1 || told != 1 {
		t.Errorf("%v looks are late, told %d times", late, told)
	}
	if runOf("shop").note(t.Context(), &outcome{list: lists[0]}); m.written["shop"] != 1 {
		t.Error("another tenant's is not written")
	}
	greedy.note(t.Context(), &outcome{err: errors.New("it broke")})
	if !greedy.is.Failed.IsZero() {
		t.Errorf("a failure is known here, and not in the store: %+v", greedy.is)
	}
	now = now.Add(10 * time.Second)
	greedy.note(t.Context(), &outcome{list: listOf("192.0.2.1", "192.0.2.9")})
	if has, _ := state.Discovered.Get(m.mirror, greedy.id); !strings.Contains(text(has.Endpoints), "9") {
		t.Errorf("it has some of its share again, and the store has %s", text(has.Endpoints))
	}
}

// Who is elected again waits as long as ever until it takes away what nobody declares: it may be of a source that came back, and went.
func TestOrphansWaitInEachTerm(t *testing.T) {
	now := time.Unix(1e9, 0)
	f, m, _ := inMemory(t, &now)
	m.mirror.Apply(state.Update{Values: state.Discovered.Put(spec.Found{Tenant: "shop", Pool: "p", Source: "s"})})
	term := func(after time.Duration, want int) {
		t.Helper()
		now = now.Add(after)
		if err := f.lead(t.Context()); err != nil || m.dropped != want {
			t.Errorf("%d are taken away, want %d: %v", m.dropped, want, err)
		}
	}
	term(0, 0)
	term(time.Hour, 0)
	f.cfg.Sleep = func(context.Context, time.Duration) bool {
		now = now.Add(orphanTime / 2)
		return m.dropped == 0
	}
	term(time.Hour, 1)
}
