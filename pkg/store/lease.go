package store

import (
	"context"
	"fmt"
	"time"

	"go.etcd.io/etcd/client/v3"
)

// leased is a key that goes with its process.
type leased struct {
	key   string
	value func() ([]byte, error)
	ttl   time.Duration
	// beside, if not nil, is called whenever the key was made, and again and again while it is held.
	beside func(context.Context)
}

// keep holds a leased key until ctx ends.
func (l *Link) keep(ctx context.Context, k leased) error {
	pause := l.wait.retryMin
	for {
		held, err := l.hold(ctx, k)
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if held {
			pause = l.wait.retryMin
		}
		l.log.Warn("a leased key was lost and is made again", "key", k.key, "error", l.explain("holding a lease", err))
		if !sleep(ctx, pause) {
			return ctx.Err()
		}
		pause = min(2*pause, l.wait.retryMax)
	}
}

// hold makes the key once, and returns when its lease is lost or ctx ends; then it takes the key away.
func (l *Link) hold(ctx context.Context, k leased) (held bool, err error) {
	value, err := k.value()
	if err != nil {
		return false, err
	}
	seconds := max(int64((k.ttl+time.Second-1)/time.Second), 2)
	lease, err := l.grant(ctx, seconds)
	if err != nil {
		return false, err
	}
	defer l.revoke(ctx, lease)
	err = l.try(ctx, func(ctx context.Context) error {
		_, err := l.etcd.Put(ctx, k.key, string(value), clientv3.WithLease(lease))
		return err
	})
	if err != nil {
		return false, err
	}
	// By a stream of its own: one that was opened before may lead to a member that is of no use any more.
	renewing := clientv3.NewLease(l.etcd)
	defer renewing.Close()
	alive, err := renewing.KeepAlive(ctx, lease)
	if err != nil {
		return false, err
	}
	l.attend(ctx, alive, lease, k)
	return true, fmt.Errorf("the lease of %d s ran out", seconds)
}

// grant makes a lease. One whose answer is lost runs out.
func (l *Link) grant(ctx context.Context, seconds int64) (id clientv3.LeaseID, err error) {
	err = l.try(ctx, func(ctx context.Context) error {
		lease, err := l.etcd.Grant(ctx, seconds)
		if err == nil {
			id = lease.ID
		}
		return err
	})
	return id, err
}

// settledAfter is how long after its start a process is what it will be (an edge has a view).
const settledAfter = 10 * time.Second

// attend does what is to be done beside a lease, until that is lost.
func (l *Link) attend(ctx context.Context, alive <-chan *clientv3.LeaseKeepAliveResponse, lease clientv3.LeaseID, k leased) {
	beside := k.beside
	if beside == nil {
		beside = func(context.Context) {}
	}
	beside(ctx)
	again := time.NewTimer(min(l.wait.known, settledAfter))
	defer again.Stop()
	look := time.NewTicker(l.wait.look)
	defer look.Stop()
	for {
		select {
		case _, held := <-alive:
			if !held {
				return
			}
		case <-look.C:
			l.remake(ctx, lease, k)
		case <-again.C:
			beside(ctx)
			again.Reset(l.wait.known)
		}
	}
}

// remake makes a key anew that is gone though its lease is held: another process under the same ID took it along when it ended, or a
// person deleted it. Where there is one, be it another's, it stays.
func (l *Link) remake(ctx context.Context, lease clientv3.LeaseID, k leased) {
	ctx, cancel := context.WithTimeout(ctx, l.wait.attempt)
	defer cancel()
	there, err := l.etcd.Get(ctx, k.key, clientv3.WithCountOnly())
	if err != nil || there.Count > 0 {
		return // the lease tells of an etcd that is not there
	}
	value, err := k.value()
	if err == nil {
		_, err = l.etcd.Txn(ctx).If(clientv3.Compare(clientv3.CreateRevision(k.key), "=", 0)).
			Then(clientv3.OpPut(k.key, string(value), clientv3.WithLease(lease))).Commit()
	}
	l.log.Warn("a leased key was taken away while its lease was held, and is made again", "key", k.key, "error", err)
}

// revoke ends a lease at once where etcd can be reached; else it ends by itself.
func (l *Link) revoke(ctx context.Context, id clientv3.LeaseID) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), l.wait.call/4)
	defer cancel()
	if _, err := l.etcd.Revoke(ctx, id); err != nil {
		l.log.Debug("a lease could not be given back and will run out", "error", err)
	}
}
