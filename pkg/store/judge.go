package store

import (
	"context"
	"fmt"
	"sync/atomic"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.etcd.io/etcd/client/v3/concurrency"

	"github.com/gti/gtm/pkg/store/layout"
	"github.com/gti/gtm/pkg/store/link"
	"github.com/gti/gtm/pkg/store/state"
)

// Campaign stands for election as the judge until ctx ends, and returns ctx's error. While it leads, lead
// runs; its ctx ends when leadership is lost. When lead returns, leadership is given up and the campaign
// goes on. A client leads one campaign at a time.
func (c *Client) Campaign(ctx context.Context, id string, lead func(context.Context) error) error {
	return c.campaign(ctx, office{name: "judge", key: c.keys.Judge(), holds: &c.leading}, id, lead)
}

// office is what one of several is elected to.
type office struct {
	name, key string
	holds     *atomic.Pointer[fence] // where writes that only who holds it may make find what proves that; nil: there are none
}

func (c *Client) campaign(ctx context.Context, o office, id string, lead func(context.Context) error) error {
	pause := c.link.Wait.RetryMin
	for {
		led, err := c.candidate(ctx, o, id, lead)
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if led {
			pause = c.link.Wait.RetryMin
		}
		if err != nil {
			c.log.Warn("the campaign for "+o.name+" starts anew", "id", id, "error", err)
		}
		if !link.Sleep(ctx, pause) {
			return ctx.Err()
		}
		pause = min(2*pause, c.link.Wait.RetryMax)
	}
}

// candidate goes through one election and, if won, one time in office.
func (c *Client) candidate(ctx context.Context, o office, id string, lead func(context.Context) error) (led bool, err error) {
	lease, err := c.link.Grant(ctx, int64(c.judgeTTL/time.Second))
	if err != nil {
		return false, c.link.Explain("standing for election", err)
	}
	defer c.link.Revoke(ctx, lease)
	// Its lease is renewed by a stream of its own: one that was opened before may lead to a member that is of no use any more.
	own := clientv3.NewCtxClient(ctx)
	own.KV, own.Watcher, own.Lease = c.link.Etcd.KV, c.link.Etcd.Watcher, clientv3.NewLease(c.link.Etcd)
	defer own.Lease.Close()
	session, err := concurrency.NewSession(own, concurrency.WithLease(lease), concurrency.WithContext(ctx))
	if err != nil {
		return false, c.link.Explain("standing for election", err)
	}
	defer session.Orphan()

	waiting, stop := context.WithCancel(clientv3.WithRequireLeader(ctx))
	defer stop()
	defer context.AfterFunc(session.Ctx(), stop)()
	election := concurrency.NewElection(session, o.key)
	won := make(chan error, 1)
	go func() { won <- election.Campaign(waiting, id) }() // it tidies up before it returns, however long that takes
	select {
	case err = <-won:
	case <-waiting.Done():
		err = waiting.Err()
	}
	if err != nil {
		return false, c.link.Explain("standing for election", err)
	}
	return true, c.govern(waiting, o, fence{election.Key(), election.Rev()}, lead)
}

// govern runs lead until it returns, or the election key is gone.
func (c *Client) govern(ctx context.Context, o office, f fence, lead func(context.Context) error) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	if o.holds != nil {
		o.holds.Store(&f)
		defer o.holds.CompareAndSwap(&f, nil)
	}
	go func() {
		defer cancel()
		for resp := range c.link.Etcd.Watch(ctx, f.key, clientv3.WithRev(f.rev+1)) {
			if resp.Err() != nil {
				return
			}
			for _, ev := range resp.Events {
				if ev.Type == clientv3.EventTypeDelete {
					return
				}
			}
		}
	}()
	if err := lead(ctx); err != nil && ctx.Err() == nil {
		return fmt.Errorf("the %s gave up: %w", o.name, err)
	}
	return nil
}

// PutPulse tells that the judge lives; for the leader only, as WriteVerdicts.
func (c *Client) PutPulse(ctx context.Context, p state.Pulse) error {
	value, err := state.MarshalPlain(p)
	if err != nil {
		return err
	}
	return c.asLeader(ctx, []clientv3.Op{clientv3.OpPut(c.keys.Pulse(), string(value))})
}

func (c *Client) asLeader(ctx context.Context, ops []clientv3.Op) error {
	f := c.leading.Load()
	if f == nil {
		return ErrNotLeader
	}
	_, err := c.fenced(ctx, *f, ops, 0)
	return err
}

// fenced makes a transaction of the leader, of so many bytes, and gives its revision.
func (c *Client) fenced(ctx context.Context, f fence, ops []clientv3.Op, bytes int) (int64, error) {
	var resp *clientv3.TxnResponse
	within := c.link.Wait.Call + c.attemptFor(bytes) - c.link.Wait.Attempt
	// The same leader's verdicts twice are the same verdicts.
	err := c.link.Attempts(ctx, c.attemptFor(bytes), within, func(ctx context.Context) (err error) {
		resp, err = c.link.Etcd.Txn(ctx).If(clientv3.Compare(clientv3.CreateRevision(f.key), "=", f.rev)).Then(ops...).Commit()
		return err
	})
	if err != nil {
		return 0, c.link.Explain("writing verdicts", err)
	}
	if !resp.Succeeded {
		return 0, ErrNotLeader
	}
	return resp.Header.Revision, nil
}

// overwritten is a key; lone: there is nothing below it.
type overwritten struct {
	key  string
	lone bool
}

// overwrite changes keys, and what is below them, that nobody else writes. A member that stood still may carry an attempt out a minute
// after its time was up, when newer ones were made elsewhere. So each attempt says up to which revision of the store it knows the keys.
func (c *Client) overwrite(ctx context.Context, over []overwritten, bytes int, ops ...clientv3.Op) error {
	first := c.attemptFor(bytes)
	return c.link.Attempts(ctx, first, c.link.Wait.Call+first-c.link.Wait.Attempt, func(ctx context.Context) error {
		for {
			rev := c.written.Load()
			known := make([]clientv3.Cmp, 0, 2*len(over))
			for _, o := range over {
				known = append(known, clientv3.Compare(clientv3.ModRevision(o.key), "<", rev+1))
				if !o.lone {
					from, to := layout.PiecesOf(o.key)
					known = append(known, clientv3.Compare(clientv3.ModRevision(from), "<", rev+1).WithRange(to))
				}
			}
			resp, err := c.link.Etcd.Txn(ctx).If(known...).Then(ops...).Commit()
			if err != nil {
				return err
			}
			for now := resp.Header.Revision; rev < now && !c.written.CompareAndSwap(rev, now); {
				rev = c.written.Load()
			}
			if resp.Succeeded {
				return nil
			}
		}
	})
}
