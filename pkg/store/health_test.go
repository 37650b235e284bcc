package store

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/gti/gtm/pkg/health"
	"github.com/gti/gtm/pkg/store/storetest"
)

func observation(vantage, pool string, state health.State) health.Observation {
	return health.Observation{Vantage: vantage, Pool: health.PoolID{Tenant: "shop", Pool: pool},
		Endpoints: map[string]health.Sight{"a": {State: state, Since: storetest.Time}}}
}

// observed gathers what FollowObservations tells.
type observed struct {
	mu      sync.Mutex
	updates []ObservationUpdate
	news    chan struct{}
}

func observe(t *testing.T, c *Client) *observed {
	o := &observed{news: make(chan struct{}, 1)}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = c.FollowObservations(ctx, func(u ObservationUpdate) error {
			o.mu.Lock()
			o.updates = append(o.updates, u)
			o.mu.Unlock()
			select {
			case o.news <- struct{}{}:
			default:
			}
			return nil
		})
	}()
	t.Cleanup(func() { cancel(); <-done })
	return o
}

// until waits for an update from which on cond holds for all told so far, and forgets them.
func (o *observed) until(t *testing.T, what string, cond func(ObservationUpdate) bool) ObservationUpdate {
	t.Helper()
	timeout := time.After(storetest.Within)
	for {
		o.mu.Lock()
		for i, u := range o.updates {
			if cond(u) {
				o.updates = o.updates[i+1:]
				o.mu.Unlock()
				return u
			}
		}
		o.mu.Unlock()
		select {
		case <-o.news:
		case <-timeout:
			t.Fatalf("waited in vain for: %s; told %+v", what, o.updates)
		}
	}
}

func alive(want ...string) func(ObservationUpdate) bool {
	return func(u ObservationUpdate) bool { return u.AliveChanged && cmp.Equal(u.Alive, want) }
}

func TestObservationsAreFollowed(t *testing.T) {
	c, ctx := testClient(t), storetest.Context(t)
	first := observation("p1", "eu", health.Up)
	if err := c.PutObservation(ctx, first); err != nil {
		t.Fatal(err)
	}
	o := observe(t, c)
	u := o.until(t, "everything", func(u ObservationUpdate) bool { return u.Full })
	if !cmp.Equal(u.Put, []health.Observation{first}) || len(u.Alive) != 0 {
		t.Errorf("told %+v", u)
	}
	second := observation("p1", "eu", health.Down)
	put(t, c, c.keys.Observation("p2", second.Pool), "{broken")
	if err := c.PutObservation(ctx, second); err != nil {
		t.Fatal(err)
	}
	u = o.until(t, "a change", func(u ObservationUpdate) bool { return len(u.Put) > 0 })
	if !cmp.Equal(u.Put, []health.Observation{second}) || u.Full || u.AliveChanged {
		t.Errorf("told %+v", u)
	}
	if err := c.DeleteObservation(ctx, "p1", second.Pool); err != nil {
		t.Fatal(err)
	}
	u = o.until(t, "a deletion", func(u ObservationUpdate) bool { return len(u.Deleted) > 0 })
	if !cmp.Equal(u.Deleted, []ObservationKey{{"p1", second.Pool}}) {
		t.Errorf("told %+v", u)
	}
	if err := c.PutObservation(ctx, health.Observation{Vantage: "p1"}); err == nil {
		t.Error("an observation of no pool was taken")
	}
}

func TestVantagesComeAndGo(t *testing.T) {
	t.Parallel()
	c := testClient(t)
	o := observe(t, c)
	o.until(t, "nobody", alive())
	ctx, cancel := context.WithCancel(storetest.Context(t))
	ended := make(chan error, 1)
	go func() { ended <- c.KeepVantage(ctx, Vantage{ID: "p1"}, 2*time.Second) }()
	o.until(t, "p1", alive("p1"))
	resp, err := c.link.Etcd.Get(ctx, c.keys.Vantage("p1"))
	if err != nil || len(resp.Kvs) != 1 {
		t.Fatalf("%v, %v", resp, err)
	}
	if _, err := c.link.Etcd.Revoke(ctx, clientv3.LeaseID(resp.Kvs[0].Lease)); err != nil {
		t.Fatal(err)
	}
	o.until(t, "the loss of p1's lease", alive())
	o.until(t, "p1 again", alive("p1"))
	cancel()
	if err := <-ended; !errors.Is(err, context.Canceled) {
		t.Errorf("KeepVantage ended with %v", err)
	}
	o.until(t, "p1's end", alive())
}

func TestEdgesAreFoundWhileTheyLive(t *testing.T) {
	c := testClient(t)
	want := []Edge{
		{ID: "e1", HTTP: "http://192.0.2.1:8053", DNS: []string{"192.0.2.1:53"}, Version: "v1", Started: storetest.Time},
		{ID: "e2", HTTP: "http://192.0.2.2:8053", Started: storetest.Time},
	}
	put(t, c, c.keys.Edge("broken"), "{")
	var ends []func()
	for _, e := range want {
		ends = append(ends, keepEdge(t, c, e))
	}
	got := edgesUntil(t, c, "both live", living(2))
	for i := range got {
		want[i].Alive, want[i].Seen = true, got[i].Seen
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
	for _, end := range ends {
		end()
	}
	edgesUntil(t, c, "none lives", living(0))
}

func TestOneJudgeLeadsAndOthersFollow(t *testing.T) {
	c := testClient(t)
	other := openTest(t, Config{Endpoints: []string{sharedEndpoint(t)}, Prefix: c.cfg.Prefix})
	v := storetest.VerdictOf("shop", "eu", 1)
	if err := c.PutVerdicts(storetest.Context(t), []health.Verdict{v}); !errors.Is(err, ErrNotLeader) {
		t.Errorf("without office: %v", err)
	}
	term := make(chan string, 10)
	campaign := func(c *Client, id string) context.CancelFunc {
		ctx, cancel := context.WithCancel(storetest.Context(t))
		go func() {
			_ = c.Campaign(ctx, id, func(ctx context.Context) error {
				if err := c.PutVerdicts(ctx, []health.Verdict{v}); err != nil {
					t.Errorf("%s in office: %v", id, err)
				}
				term <- id
				<-ctx.Done()
				return nil
			})
		}()
		return cancel
	}
	resign := campaign(c, "p1")
	if got := <-term; got != "p1" {
		t.Fatalf("%s leads", got)
	}
	defer campaign(other, "p2")()
	if err := other.PutVerdicts(storetest.Context(t), []health.Verdict{v}); !errors.Is(err, ErrNotLeader) {
		t.Errorf("p2 beside p1: %v", err)
	}
	resign()
	if got := <-term; got != "p2" {
		t.Fatalf("%s leads after p1 resigned", got)
	}
	if err := c.PutVerdicts(storetest.Context(t), []health.Verdict{v}); !errors.Is(err, ErrNotLeader) {
		t.Errorf("p1 after its time: %v", err)
	}
	if err := other.DeleteVerdict(storetest.Context(t), v.Pool); err != nil {
		t.Error(err)
	}
}

func TestDeposedJudgeWritesNothing(t *testing.T) {
	c := testClient(t)
	ctx, cancel := context.WithCancel(storetest.Context(t))
	defer cancel()
	terms := make(chan int, 10)
	n := 0
	go func() {
		_ = c.Campaign(ctx, "p1", func(ctx context.Context) error {
			if n++; n > 1 {
				terms <- n
				return errors.New("tired")
			}
			stale := *c.leading.Load()
			if _, err := c.link.Etcd.Delete(context.WithoutCancel(ctx), stale.key); err != nil {
				t.Error(err)
			}
			op := clientv3.OpPut(c.keys.Verdict(health.PoolID{}), "x")
			if _, err := c.fenced(context.WithoutCancel(ctx), stale, []clientv3.Op{op}, 0); !errors.Is(err, ErrNotLeader) {
				t.Errorf("deposed: %v", err)
			}
			<-ctx.Done() // the loss is noticed
			terms <- n
			return nil
		})
	}()
	for want := 1; want <= 3; want++ { // also after lead failed, the campaign goes on
		if got := <-terms; got != want {
			t.Fatalf("term %d, want %d", got, want)
		}
	}
}

func TestManyVerdictsAtOnce(t *testing.T) {
	c := testClient(t)
	f := follow(t, c, nil)
	var verdicts []health.Verdict
	for i := range 250 {
		verdicts = append(verdicts, storetest.VerdictOf("shop", fmt.Sprint(i), 1))
	}
	ctx, cancel := context.WithCancel(storetest.Context(t))
	defer cancel()
	wrote := make(chan error, 1)
	go func() {
		_ = c.Campaign(ctx, "p1", func(ctx context.Context) error {
			wrote <- c.PutVerdicts(ctx, verdicts)
			<-ctx.Done()
			return nil
		})
	}()
	if err := <-wrote; err != nil {
		t.Fatal(err)
	}
	f.until("all verdicts", func() bool { return len(f.mirror.Verdicts()) == len(verdicts) })
}
