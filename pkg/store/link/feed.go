package link

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

// Feed keeps a consumer up to date with a range of keys. Each attempt has a connection of its own, so that
// one that hangs is left behind instead of waited for.
type Feed struct {
	Link     *Link
	From, To string
	// Begin brings the consumer up to date, and gives the cluster and the revision up to which it is.
	Begin func(ctx context.Context, etcd *clientv3.Client) (Mark, error)
	// Opened checks, once the watch is open, whether it is on the store that Begin read: that may have been restored in between. May be
	// nil.
	Opened func(ctx context.Context, etcd *clientv3.Client) error
	// Events takes the events of whole revisions, in order.
	Events func(ctx context.Context, evs []*clientv3.Event) error
	// Progress tells that everything up to a revision was seen. May be nil.
	Progress func(rev int64)
	// Lost tells that the consumer must be brought up to date from scratch.
	Lost func()
	// Status tells how it goes; err is nil if and only if state is Current.
	Status func(state string, err error)

	reached bool  // it was current once
	rev     int64 // up to which the consumer is up to date
	again   int   // how many sessions ended one after the other without getting on from stuck
	stuck   int64
}

// mostAgain is how often reading may begin again without getting on, before that is told as trouble.
const mostAgain = 5

// Mark is a point in a cluster's history.
type Mark struct {
	Cluster uint64
	Rev     int64
}

// Stop makes an error of a consumer's one that ends its feed: Run returns it.
func Stop(err error) error { return stopError{err} }

// stopError carries a consumer's error out of a feed.
type stopError struct{ error }

func (s stopError) Unwrap() error { return s.error }

var (
	// ErrReadAnew: what happened cannot be followed event by event.
	ErrReadAnew = errors.New("the state is read anew")
	// errBehind: another member of the cluster answers, which has not caught up; or the store went back, which Begin finds out.
	errBehind  = errors.New("etcd answers with an older revision than before")
	errStalled = errors.New("etcd gives no sign of life")
	// errBroken: Begin is to find out whether the store that can be reached again is the same.
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

// Run goes on until ctx ends or the consumer fails.
func (f *Feed) Run(ctx context.Context) error {
	pause := f.Link.Wait.RetryMin
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
		if up && time.Since(begun) > f.Link.Wait.RetryMax {
			pause = f.Link.Wait.RetryMin
		}
		if errors.Is(err, ErrReadAnew) {
			f.Lost()
		}
		if !f.quiet(err) {
			f.report(err)
		}
		if !Sleep(ctx, pause/2+rand.N(pause/2+1)) {
			return ctx.Err()
		}
		pause = min(2*pause, f.Link.Wait.RetryMax)
	}
}

// quiet reports whether the end of a session is no trouble: reading just begins again, and gets on by that.
func (f *Feed) quiet(err error) bool {
	if !errors.Is(err, ErrReadAnew) && !errors.Is(err, errBehind) {
		return false
	}
	if f.rev != f.stuck {
		f.stuck, f.again = f.rev, 0
	}
	f.again++
	return f.again <= mostAgain
}

// wentOn tells that the consumer has got on, or that there is nothing more to get.
func (f *Feed) wentOn(rev int64) {
	f.rev, f.again = rev, 0
	f.Status(state.Current, nil)
}

func (f *Feed) report(err error) {
	var back *state.WentBackError
	switch {
	case errors.As(err, &back):
		f.Status(state.Refused, err)
	case f.reached:
		f.Status(state.Stale, f.Link.Explain("following the store", err))
	default:
		f.Status(state.Connecting, f.Link.Explain("following the store", err))
	}
}

// session follows over one connection until it fails; up reports whether it became current.
func (f *Feed) session(ctx context.Context) (up bool, err error) {
	ctx, end := context.WithCancelCause(ctx)
	defer end(nil)
	etcd, err := f.Link.Connect(grpc.WithChainStreamInterceptor(oneWatch(end)))
	if err != nil {
		return false, err
	}
	defer etcd.Close()
	at, err := f.Begin(ctx, etcd)
	if err != nil {
		return false, err
	}
	f.reached, f.rev = true, at.Rev
	f.Link.metrics.heard()
	if f.again <= mostAgain || at.Rev != f.stuck {
		f.Status(state.Current, nil)
	}

	ctx = clientv3.WithRequireLeader(ctx)
	opened := make(chan clientv3.WatchChan, 1)
	go func() { // Watch waits for etcd's answer
		// From at.rev, not from the next: etcd reports progress only once the first revision asked for exists.
		opened <- etcd.Watch(ctx, f.From, clientv3.WithRange(f.To), clientv3.WithRev(at.Rev), clientv3.WithFragment())
	}()
	return true, f.listen(ctx, etcd, opened, at)
}

// listen passes events on, and gives up when no sign of life comes.
func (f *Feed) listen(ctx context.Context, etcd *clientv3.Client, opened <-chan clientv3.WatchChan, at Mark) error {
	var events clientv3.WatchChan
	tick := time.NewTicker(f.Link.Wait.Progress)
	defer tick.Stop()
	last := time.Now()
	for {
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case events = <-opened:
			if f.Opened != nil {
				if err := f.Opened(ctx, etcd); err != nil {
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
			f.wentOn(at.Rev)
			f.Link.metrics.heard()
			last = time.Now() // after the consumer, whose time is not the connection's
		case <-tick.C:
			if silent := time.Since(last); silent > f.Link.Wait.Stall {
				return fmt.Errorf("%w (for %s)", errStalled, silent.Round(100*time.Millisecond))
			}
			go func() {
				ctx, cancel := context.WithTimeout(ctx, f.Link.Wait.Progress)
				defer cancel()
				_ = etcd.RequestProgress(ctx) // silence is judged by what comes back
			}()
		}
	}
}

func (f *Feed) take(ctx context.Context, resp clientv3.WatchResponse, at *Mark) error {
	if err := resp.Err(); err != nil {
		if errors.Is(err, rpctypes.ErrCompacted) {
			return ErrReadAnew
		}
		return err
	}
	if resp.Header.ClusterId != at.Cluster {
		return ErrReadAnew
	}
	if resp.Header.Revision < at.Rev {
		return errBehind
	}
	if resp.IsProgressNotify() {
		if f.Progress != nil {
			f.Progress(resp.Header.Revision)
		}
		return nil
	}
	evs := resp.Events
	for len(evs) > 0 && evs[0].Kv.ModRevision <= at.Rev {
		evs = evs[1:]
	}
	if len(evs) == 0 {
		return nil
	}
	if err := f.Events(ctx, evs); err != nil {
		return err
	}
	at.Rev = evs[len(evs)-1].Kv.ModRevision
	return nil
}
