package store

import (
	"context"
	"errors"
	"net"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"github.com/gti/gtm/pkg/health"
	"github.com/gti/gtm/pkg/store/state"
	"github.com/gti/gtm/pkg/store/storetest"
	"github.com/gti/gtm/pkg/zone/dnssec"
)

// A network is what lies between a client and etcd. carry makes the call.
type network func(ctx context.Context, req any, carry func() error) error

// through has a client's calls go through a network.
func through(t testing.TB, c *Client, n network) {
	t.Helper()
	etcd := behind(t, c, n)
	c.link.Etcd.Close()
	c.link.Etcd = etcd
}

// behind gives a connection whose calls go through a network, which counts as connected.
func behind(t testing.TB, c *Client, n network) *clientv3.Client {
	t.Helper()
	etcd, err := c.link.Connect(grpc.WithChainUnaryInterceptor(func(ctx context.Context, method string, req, reply any, cc *grpc.ClientConn,
		invoke grpc.UnaryInvoker, opts ...grpc.CallOption) error {
		defer func() {
			for _, o := range opts {
				if p, ok := o.(grpc.PeerCallOption); ok {
					p.PeerAddr.Addr = &net.UnixAddr{}
				}
			}
		}()
		return n(ctx, req, func() error { return invoke(ctx, method, req, reply, cc, opts...) })
	}))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { etcd.Close() })
	return etcd
}

// writes reports whether a request is a change's transaction.
func writes(req any) bool {
	txn, ok := req.(*etcdserverpb.TxnRequest)
	return ok && len(txn.Compare) > 0
}

// onWrites is a network that does something to the first writes, and carries all else.
func onWrites(first int, do func(ctx context.Context, carry func() error) error) network {
	var n atomic.Int64
	return func(ctx context.Context, req any, carry func() error) error {
		if writes(req) && n.Add(1) <= int64(first) {
			return do(ctx, carry)
		}
		return carry()
	}
}

const always = 1 << 30

func silence(ctx context.Context, _ func() error) error {
	<-ctx.Done()
	return status.FromContextError(ctx.Err()).Err()
}

func losesTheAnswer(ctx context.Context, carry func() error) error {
	if err := carry(); err != nil {
		return err
	}
	return silence(ctx, nil)
}

func says(err error) func(context.Context, func() error) error {
	return func(context.Context, func() error) error { return err }
}

func saysAfterwards(err error) func(context.Context, func() error) error {
	return func(_ context.Context, carry func() error) error {
		if failed := carry(); failed != nil {
			return failed
		}
		return err
	}
}

// TestAChangeWhoseAnswerIsLostIsMadeOnce: a member that is silent, or gives up, leaves open what became of a change. It is tried again,
// is not made twice, and what is told of it is true: it was made, it was not, or nobody knows.
func TestAChangeWhoseAnswerIsLostIsMadeOnce(t *testing.T) {
	const made, conflict, unmade, unknown = "made", "conflict", "nothing was written", "it may have been made: look at gtmctl history shop"
	gone := status.Error(codes.Unavailable, "error reading from server: EOF")
	for _, row := range []struct {
		name string
		n    func(t *testing.T, c *Client) network
		want string
		head state.Generation
	}{
		{"a silent member", func(*testing.T, *Client) network { return onWrites(1, silence) }, made, 1},
		{"a lost answer", func(*testing.T, *Client) network { return onWrites(1, losesTheAnswer) }, made, 1},
		{"a lost connection", func(*testing.T, *Client) network { return onWrites(1, saysAfterwards(gone)) }, made, 1},
		{"a timeout of etcd's", func(*testing.T, *Client) network {
			return onWrites(2, says(rpctypes.ErrGRPCTimeoutDueToConnectionLost))
		}, made, 1},
		{"lost answers without end", func(*testing.T, *Client) network { return onWrites(always, losesTheAnswer) }, made, 1},
		{"silence without end", func(*testing.T, *Client) network { return onWrites(always, silence) }, unknown, 0},
		{"no leader for a moment", func(*testing.T, *Client) network { return onWrites(3, says(rpctypes.ErrGRPCNoLeader)) }, made, 1},
		{"no leader", func(*testing.T, *Client) network { return onWrites(always, says(rpctypes.ErrGRPCNoLeader)) }, unmade, 0},
		{"no room", func(*testing.T, *Client) network { return onWrites(always, says(rpctypes.ErrGRPCNoSpace)) }, unmade, 0},
		{"no room after this", func(*testing.T, *Client) network { return onWrites(1, saysAfterwards(rpctypes.ErrGRPCNoSpace)) }, made, 1},
		{"silence, then no leader", func(*testing.T, *Client) network {
			silent := onWrites(1, silence)
			return func(ctx context.Context, req any, carry func() error) error {
				return silent(ctx, req, func() error {
					if writes(req) {
						return rpctypes.ErrGRPCNoLeader
					}
					return carry()
				})
			}
		}, unknown, 0},
		{"others were faster", func(t *testing.T, c *Client) network {
			return onWrites(1, func(ctx context.Context, _ func() error) error {
				mustCommit(t, c, Change{Tenant: "shop", Put: storetest.Resources(storetest.Site("shop", "b", "EU"))})
				return silence(ctx, nil)
			})
		}, conflict, 1},
		{"others went on from it", func(t *testing.T, c *Client) network {
			return onWrites(1, func(ctx context.Context, carry func() error) error {
				if err := carry(); err != nil {
					return err
				}
				mustCommit(t, c, Change{Tenant: "shop", Base: 1, Put: storetest.Resources(storetest.Site("shop", "b", "EU"))})
				return silence(ctx, nil)
			})
		}, made, 2},
	} {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			other := testClient(t)
			c := openTest(t, Config{Endpoints: []string{sharedEndpoint(t)}, Prefix: other.cfg.Prefix})
			c.link.Wait.Attempt, c.link.Wait.Call, c.link.Wait.Commit = 300*time.Millisecond, 3*time.Second, 3*time.Second
			through(t, c, row.n(t, other))
			rec, err := c.Commit(storetest.Context(t), Change{Tenant: "shop", Put: storetest.Resources(storetest.Site("shop", "a", "EU")),
				Time: storetest.Time})
			var moved *ConflictError
			var open *UnknownError
			switch {
			case row.want == made && (err != nil || rec.Generation != 1), row.want == conflict && !errors.As(err, &moved),
				row.want == unknown && !errors.As(err, &open), row.want == unmade && (err == nil || errors.As(err, &open)),
				row.want != made && row.want != conflict && !strings.Contains(err.Error(), row.want):
				t.Errorf("%+v, %v; want: %s", rec, err, row.want)
			}
			if heads, err := other.Heads(storetest.Context(t)); err != nil || heads["shop"] != row.head {
				t.Errorf("the head is %d, %v; want %d", heads["shop"], err, row.head)
			}
		})
	}
}

func TestAChangeThatItsCallerLeavesIsOpen(t *testing.T) {
	c := testClient(t)
	ctx, cancel := context.WithCancel(storetest.Context(t))
	through(t, c, onWrites(always, func(ctx context.Context, _ func() error) error {
		cancel()
		return silence(ctx, nil)
	}))
	var open *UnknownError
	_, err := c.Commit(ctx, Change{Tenant: "shop", Put: storetest.Resources(storetest.Site("shop", "a", "EU"))})
	if !errors.As(err, &open) || !errors.Is(err, context.Canceled) {
		t.Errorf("%v; want that it is open", err)
	}
}

func TestKeysWhoseAnswerIsLostAreWrittenOnce(t *testing.T) {
	t.Parallel()
	for name, do := range map[string]func(context.Context, func() error) error{"silence": silence, "lost answer": losesTheAnswer} {
		c := testClient(t)
		c.link.Wait.Attempt = 300 * time.Millisecond
		through(t, c, onWrites(1, do))
		if err := c.PutKeyset(storetest.Context(t), dnssec.Keyset{Zone: "gtm.example.", Serial: 1}); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		through(t, c, onWrites(1, do))
		if err := c.DeleteKeyset(storetest.Context(t), "gtm.example.", 1); err != nil {
			t.Errorf("%s, deleted: %v", name, err)
		}
		if err := c.DeleteKeyset(storetest.Context(t), "gtm.example.", 1); !errors.Is(err, ErrKeysetChanged) {
			t.Errorf("%s, deleted twice: %v", name, err)
		}
	}
}

// TestAnObservationFromBeforeOverwritesNothing: a member that stood still for a minute carries out what waited in it.
func TestAnObservationFromBeforeOverwritesNothing(t *testing.T) {
	t.Parallel()
	c, ctx := testClient(t), storetest.Context(t)
	other := openTest(t, Config{Endpoints: []string{sharedEndpoint(t)}, Prefix: c.cfg.Prefix})
	c.link.Wait.Attempt = 300 * time.Millisecond
	var late []*etcdserverpb.TxnRequest
	obs := health.Observation{Vantage: "fra", Pool: health.PoolID{Tenant: "shop", Pool: "eu"}}
	well := func(_ context.Context, carry func() error) error { return carry() }
	for i, do := range []func(context.Context, func() error) error{well, silence, losesTheAnswer} {
		silent := onWrites(1, do)
		through(t, c, func(ctx context.Context, req any, carry func() error) error {
			if writes(req) {
				late = append(late, req.(*etcdserverpb.TxnRequest))
			}
			return silent(ctx, req, carry)
		})
		obs.Endpoints = map[string]health.Sight{"a": {State: health.Up, Since: storetest.Time.Add(time.Duration(i) * time.Second)}}
		if err := c.PutObservation(ctx, obs); err != nil {
			t.Fatal(err)
		}
	}
	for _, req := range slices.Backward(late) {
		if _, err := etcdserverpb.NewKVClient(other.link.Etcd.ActiveConnection()).Txn(ctx, req); err != nil {
			t.Fatal(err)
		}
	}
	kv, err := other.reader(other.link.Etcd).Get(ctx, c.keys.Observation(obs.Vantage, obs.Pool))
	if want, _ := state.MarshalPlain(obs); err != nil || string(kv.Value) != string(want) || len(late) < 5 {
		t.Errorf("%s, %v after %d late attempts; want %s", kv.Value, err, len(late), want)
	}
	if err := c.DeleteObservation(ctx, obs.Vantage, obs.Pool); err != nil {
		t.Error(err)
	}
	if kv, err := other.reader(other.link.Etcd).Get(ctx, c.keys.Observation(obs.Vantage, obs.Pool)); kv != nil || err != nil {
		t.Errorf("after its deletion: %v, %v", kv, err)
	}
}

// TestEveryCallAsksForALeader: a member that is cut off from the others refuses then, instead of keeping the call until its end.
func TestEveryCallAsksForALeader(t *testing.T) {
	c, ctx := testClient(t), storetest.Context(t)
	calls := 0
	through(t, c, func(ctx context.Context, req any, carry func() error) error {
		calls++
		md, _ := metadata.FromOutgoingContext(ctx)
		if !slices.Equal(md.Get(rpctypes.MetadataRequireLeaderKey), []string{rpctypes.MetadataHasLeader}) {
			t.Errorf("%T asks for %v", req, md)
		}
		if _, ok := ctx.Deadline(); !ok {
			t.Errorf("%T has no end", req)
		}
		return carry()
	})
	mustCommit(t, c, Change{Tenant: "shop", Put: storetest.Resources(storetest.Site("shop", "a", "EU"))})
	if _, err := c.Read(ctx, "shop", 0); err != nil {
		t.Error(err)
	}
	if id, err := c.link.Grant(ctx, 5); err != nil {
		t.Error(err)
	} else {
		c.link.Revoke(ctx, id)
	}
	if _, err := c.link.Etcd.Get(context.Background(), "any"); err != nil || calls < 6 {
		t.Errorf("%d calls, %v", calls, err)
	}
}

// TestOneSilentMemberCostsOneAttempt: turns without regard gave every third call to the member that is silent.
func TestOneSilentMemberCostsOneAttempt(t *testing.T) {
	t.Parallel()
	socket := strings.TrimPrefix(sharedEndpoint(t), "unix://")
	good, bad := newProxy(t, socket), newProxy(t, socket)
	c := openTest(t, Config{Endpoints: []string{"http://" + good.addr, "http://" + bad.addr}, Prefix: freshPrefix()})
	c.link.Wait.Attempt, c.link.Wait.Call = time.Second, 20*time.Second
	var silent atomic.Int64
	through(t, c, func(_ context.Context, _ any, carry func() error) error {
		err := carry()
		if err != nil {
			silent.Add(1)
		}
		return err
	})
	for range 10 { // both are connected
		if err := c.Ping(storetest.Context(t)); err != nil {
			t.Fatal(err)
		}
	}
	bad.blackhole()
	for range 20 {
		if err := c.Ping(storetest.Context(t)); err != nil {
			t.Fatal(err)
		}
	}
	if n := silent.Load(); n > 1 {
		t.Errorf("%d calls waited for the silent member", n)
	}
}

// TestAReadThatIsNotAnsweredFailsAfterOneCall: that its time was up counted as "too large", and it was tried with smaller pages, four
// times.
func TestAReadThatIsNotAnsweredFailsAfterOneCall(t *testing.T) {
	t.Parallel()
	c := testClient(t)
	c.link.Wait.Attempt, c.link.Wait.Call = 200*time.Millisecond, 500*time.Millisecond
	var limits []int64
	through(t, c, func(ctx context.Context, req any, _ func() error) error {
		limits = append(limits, req.(*etcdserverpb.RangeRequest).Limit)
		return silence(ctx, nil)
	})
	_, err := c.Heads(storetest.Context(t))
	if !errors.Is(err, context.DeadlineExceeded) || !slices.Equal(limits, []int64{1000, 1}) {
		t.Errorf("%v after pages of %v", err, limits)
	}
}
