package store

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync/atomic"
	"time"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	"go.etcd.io/etcd/client/v3"
	"google.golang.org/grpc"

	"github.com/gti/gtm/pkg/store/state"
)

// feed keeps a consumer up to date with a range of keys. Each attempt has a connection of its own, so that
// one that hangs is left behind instead of waited for.
type feed struct {
	c        *Client
	from, to string
	// begin brings the consumer up to date, and gives the cluster and the revision up to which it is.
	begin func(ctx context.Context, etcd *clientv3.Client) (mark, error)
	// opened checks, once the watch is open, whether it is on the store that begin read: that may have been restored in between. May be
	// nil.
	opened func(ctx context.Context, etcd *clientv3.Client) error
	// events takes the events of whole revisions, in order.
	events func(ctx context.Context, evs []*clientv3.Event) error
	// progress tells that everything up to a revision was seen. May be nil.
	progress func(rev int64)
	// lost tells that the consumer must be brought up to date from scratch.
	lost func()
	// status tells how it goes; err is nil if and only if state is Current.
	status func(state string, err error)

	reached bool  // it was current once
	rev     int64 // up to which the consumer is up to date
	again   int   // how many sessions ended one after the other without getting on from stuck
	stuck   int64
}

// mostAgain is how often reading may begin again without getting on, before that is told as trouble.
const mostAgain = 5

// mark is a point in a cluster's history.
type mark struct {
	cluster uint64
	rev     int64
}

// stopError carries a consumer's error out of a feed.
type stopError struct{ error }

func (s stopError) Unwrap() error { return s.error }

var (
	// errReadAnew: what happened cannot be followed event by event.
	errReadAnew = errors.New("the state is read anew")
	// errBehind: another member of the cluster answers, which has not caught up; or the store went back, which begin finds out.
	errBehind  = errors.New("etcd answers with an older revision than before")
	errStalled = errors.New("etcd gives no sign of life")
	// errBroken: begin is to find out whether the store that can be reached again is the same.
	errBroken = errors.New("the connection to etcd broke")
)

const watchMethod = "/etcdserverpb.Watch/Watch"

// oneWatch ends a session when its watch is opened a second time. etcd's client would have a watch whose connection broke go on from
// the next revision by itself, in whatever store it finds then: one that was restored meanwhile, and has come that far again, would
// not be noticed.
func oneWatch(end context.CancelCauseFunc) grpc.StreamClientInterceptor {
	var opened atomic.Bool
	return func(ctx context.Context, desc *grpc.StreamDesc, cc *grpc.ClientConn, method string, next grpc.Streamer,
		opts ...grpc.CallOption) (grpc.ClientStream, error) {
		if method == watchMethod && opened.Swap(true) {
			end(errBroken)
			return nil, errBroken
		}
		return next(ctx, desc, cc, method, opts...)
	}
}

// run goes on until ctx ends or the consumer fails.
func (f *feed) run(ctx context.Context) error {
	pause := f.c.wait.retryMin
	for {
		begun := time.Now()
		up, err := f.session(ctx)
		if ctx.Err() != nil {
			return ctx.Err()
		}
		var stop stopError
		if errors.As(err, &stop) {
			return stop.error
		}
		if up && time.Since(begun) > f.c.wait.retryMax {
			pause = f.c.wait.retryMin
		}
		if errors.Is(err, errReadAnew) {
			f.lost()
		}
		if !f.quiet(err) {
			f.report(err)
		}
		if !sleep(ctx, pause/2+rand.N(pause/2+1)) {
			return ctx.Err()
		}
		pause = min(2*pause, f.c.wait.retryMax)
	}
}

// quiet reports whether the end of a session is no trouble: reading just begins again, and gets on by that.
func (f *feed) quiet(err error) bool {
	if !errors.Is(err, errReadAnew) && !errors.Is(err, errBehind) {
		return false
	}
	if f.rev != f.stuck {
		f.stuck, f.again = f.rev, 0
	}
	f.again++
	return f.again <= mostAgain
}

// wentOn tells that the consumer has got on, or that there is nothing more to get.
func (f *feed) wentOn(rev int64) {
	f.rev, f.again = rev, 0
	f.status(state.Current, nil)
}

func (f *feed) report(err error) {
	var back *state.WentBackError
	switch {
	case errors.As(err, &back):
		f.status(state.Refused, err)
	case f.reached:
		f.status(state.Stale, f.c.explain("following the store", err))
	default:
		f.status(state.Connecting, f.c.explain("following the store", err))
	}
}

// session follows over one connection until it fails; up tells whether it became current.
func (f *feed) session(ctx context.Context) (up bool, err error) {
	ctx, end := context.WithCancelCause(ctx)
	defer end(nil)
	etcd, err := f.c.connect(grpc.WithChainStreamInterceptor(oneWatch(end)))
	if err != nil {
		return false, err
	}
	defer etcd.Close()
	at, err := f.begin(ctx, etcd)
	if err != nil {
		return false, err
	}
	f.reached, f.rev = true, at.rev
	f.c.metrics.heard()
	if f.again <= mostAgain || at.rev != f.stuck {
		f.status(state.Current, nil)
	}

	ctx = clientv3.WithRequireLeader(ctx)
	opened := make(chan clientv3.WatchChan, 1)
	go func() { // Watch waits for etcd's answer
		// From at.rev, not from the next: etcd reports progress only once the first revision asked for exists.
		opened <- etcd.Watch(ctx, f.from, clientv3.WithRange(f.to), clientv3.WithRev(at.rev), clientv3.WithFragment())
	}()
	return true, f.listen(ctx, etcd, opened, at)
}

// listen passes events on, and gives up when no sign of life comes.
func (f *feed) listen(ctx context.Context, etcd *clientv3.Client, opened <-chan clientv3.WatchChan, at mark) error {
	var events clientv3.WatchChan
	tick := time.NewTicker(f.c.wait.progress)
	defer tick.Stop()
	last := time.Now()
	for {
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case events = <-opened:
			if f.opened != nil {
				if err := f.opened(ctx, etcd); err != nil {
					return err
				}
			}
		case resp, ok := <-events:
			if !ok {
				return cmp.Or(context.Cause(ctx), errors.New("the watch ended"))
			}
			if err := f.take(ctx, resp, &at); err != nil {
				return err
			}
			f.wentOn(at.rev)
			f.c.metrics.heard()
			last = time.Now() // after the consumer, whose time is not the connection's
		case <-tick.C:
			if silent := time.Since(last); silent > f.c.wait.stall {
				return fmt.Errorf("%w (for %s)", errStalled, silent.Round(100*time.Millisecond))
			}
			go func() {
				ctx, cancel := context.WithTimeout(ctx, f.c.wait.progress)
				defer cancel()
				_ = etcd.RequestProgress(ctx) // silence is judged by what comes back
			}()
		}
	}
}

func (f *feed) take(ctx context.Context, resp clientv3.WatchResponse, at *mark) error {
	if err := resp.Err(); err != nil {
		if errors.Is(err, rpctypes.ErrCompacted) {
			return errReadAnew
		}
		return err
	}
	if resp.Header.ClusterId != at.cluster {
		return errReadAnew
	}
	if resp.Header.Revision < at.rev {
		return errBehind
	}
	if resp.IsProgressNotify() {
		if f.progress != nil {
			f.progress(resp.Header.Revision)
		}
		return nil
	}
	evs := resp.Events
	for len(evs) > 0 && evs[0].Kv.ModRevision <= at.rev {
		evs = evs[1:]
	}
	if len(evs) == 0 {
		return nil
	}
	if err := f.events(ctx, evs); err != nil {
		return err
	}
	at.rev = evs[len(evs)-1].Kv.ModRevision
	return nil
}
