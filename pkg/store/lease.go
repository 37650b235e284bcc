package store

import (
	"context"
	"fmt"
	"time"

	"go.etcd.io/etcd/client/v3"

	"github.com/gti/gtm/pkg/store/state"
)

// KeepVantage tells that the prober id is alive, by a leased key, until ctx ends; its error is ctx's. When
// the process dies, the key goes after ttl (whole seconds, at least 2). Trouble is logged and retried.
func (c *Client) KeepVantage(ctx context.Context, id string, ttl time.Duration) error {
	value, err := state.MarshalPlain(map[string]string{"id": id})
	if err != nil {
		return err
	}
	return c.keep(ctx, leased{key: c.keys.vantage(id), value: func() ([]byte, error) { return value, nil }, ttl: ttl})
}

// leased is a key that goes with its process.
type leased struct {
	key   string
	value func() ([]byte, error)
	ttl   time.Duration
	// beside, if not nil, is called whenever the key was made, and again and again while it is held.
	beside func(context.Context)
}

// keep holds a leased key until ctx ends.
func (c *Client) keep(ctx context.Context, l leased) error {
	pause := c.wait.retryMin
	for {
		held, err := c.hold(ctx, l)
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if held {
			pause = c.wait.retryMin
		}
		c.log.Warn("a leased key was lost and is made again", "key", l.key, "error", c.explain("holding a lease", err))
		if !sleep(ctx, pause) {
			return ctx.Err()
		}
		pause = min(2*pause, c.wait.retryMax)
	}
}

// hold makes the key once, and returns when its lease is lost or ctx ends; then it takes the key away.
func (c *Client) hold(ctx context.Context, l leased) (held bool, err error) {
	value, err := l.value()
	if err != nil {
		return false, err
	}
	seconds := max(int64((l.ttl+time.Second-1)/time.Second), 2)
	lease, err := c.grant(ctx, seconds)
	if err != nil {
		return false, err
	}
	defer c.revoke(ctx, lease)
	err = c.try(ctx, func(ctx context.Context) error {
		_, err := c.etcd.Put(ctx, l.key, string(value), clientv3.WithLease(lease))
		return err
	})
	if err != nil {
		return false, err
	}
	// By a stream of its own: one that was opened before may lead to a member that is of no use any more.
	renewing := clientv3.NewLease(c.etcd)
	defer renewing.Close()
	alive, err := renewing.KeepAlive(ctx, lease)
	if err != nil {
		return false, err
	}
	c.attend(ctx, alive, lease, l)
	return true, fmt.Errorf("the lease of %d s ran out", seconds)
}

// grant makes a lease. One whose answer is lost runs out.
func (c *Client) grant(ctx context.Context, seconds int64) (id clientv3.LeaseID, err error) {
	err = c.try(ctx, func(ctx context.Context) error {
		lease, err := c.etcd.Grant(ctx, seconds)
		if err == nil {
			id = lease.ID
		}
		return err
	})
	return id, err
}

// settledAfter is how long after its start a process is what it will be (an edge has a view).
const startTime = 10 * time.Second

// attend does what is to be done beside a lease, until that is lost.
func (c *Client) attend(ctx context.Context, alive <-chan *clientv3.LeaseKeepAliveResponse, lease clientv3.LeaseID, l leased) {
	beside := l.beside
	if beside == nil {
		beside = func(context.Context) {}
	}
	beside(ctx)
	again := time.NewTimer(min(c.wait.known, startTime))
	defer again.Stop()
	tick := time.NewTicker(c.wait.check)
	defer tick.Stop()
	for {
		select {
		case _, held := <-alive:
			if !held {
				return
			}
		case <-tick.C:
			c.remake(ctx, lease, l)
		case <-again.C:
			beside(ctx)
			again.Reset(c.wait.known)
		}
	}
}

// remake makes a key anew that is gone though its lease is held: another process under the same ID took it along when it ended, or a
// person deleted it. Where there is one, be it another's, it stays.
func (c *Client) remake(ctx context.Context, lease clientv3.LeaseID, l leased) {
	ctx, cancel := context.WithTimeout(ctx, c.wait.attempt)
	defer cancel()
	there, err := c.etcd.Get(ctx, l.key, clientv3.WithCountOnly())
	if err != nil || there.Count > 0 {
		return // the lease tells of an etcd that is not there
	}
	value, err := l.value()
	if err == nil {
		_, err = c.etcd.Txn(ctx).If(clientv3.Compare(clientv3.CreateRevision(l.key), "=", 0)).
			Then(clientv3.OpPut(l.key, string(value), clientv3.WithLease(lease))).Commit()
	}
	c.log.Warn("a leased key was taken away while its lease was held, and is made again", "key", l.key, "error", err)
}

// revoke ends a lease at once where etcd can be reached; else it ends by itself.
func (c *Client) revoke(ctx context.Context, id clientv3.LeaseID) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), c.wait.call/4)
	defer cancel()
	if _, err := c.etcd.Revoke(ctx, id); err != nil {
		c.log.Debug("a lease could not be given back and will run out", "error", err)
	}
}
