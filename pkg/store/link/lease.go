package link

import (
	"context"
	"fmt"
	"time"

	"go.etcd.io/etcd/client/v3"
)

// Leased is a key that goes with its process.
type Leased struct {
	Key   string
	Value func() ([]byte, error)
	TTL   time.Duration
	// Beside, if not nil, is called whenever the key was made, and again and again while it is held.
	Beside func(context.Context)
}

// Keep holds a leased key until ctx ends.
func (l *Link) Keep(ctx context.Context, k Leased) error {
	pause := l.Wait.RetryMin
	for {
		held, err := l.hold(ctx, k)
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if held {
			pause = l.Wait.RetryMin
		}
		l.log.Warn("a leased key was lost and is made again", "key", k.Key, "error", l.Explain("holding a lease", err))
		if !Sleep(ctx, pause) {
			return ctx.Err()
		}
		pause = min(2*pause, l.Wait.RetryMax)
	}
}

// hold makes the key once, and returns when its lease is lost or ctx ends; then it takes the key away.
func (l *Link) hold(ctx context.Context, k Leased) (held bool, err error) {
	value, err := k.Value()
	if err != nil {
		return false, err
	}
	seconds := max(int64((k.TTL+time.Second-1)/time.Second), 2)
	lease, err := l.Grant(ctx, seconds)
	if err != nil {
		return false, err
	}
	defer l.Revoke(ctx, lease)
	err = l.Try(ctx, func(ctx context.Context) error {
		_, err := l.Etcd.Put(ctx, k.Key, string(value), clientv3.WithLease(lease))
		return err
	})
	if err != nil {
		return false, err
	}
	// By a stream of its own: one that was opened before may lead to a member that is of no use any more.
	renewing := clientv3.NewLease(l.Etcd)
	defer renewing.Close()
	alive, err := renewing.KeepAlive(ctx, lease)
	if err != nil {
		return false, err
	}
	l.attend(ctx, alive, lease, k)
	return true, fmt.Errorf("the lease of %d s ran out", seconds)
}

// Grant makes a lease. One whose answer is lost runs out.
func (l *Link) Grant(ctx context.Context, seconds int64) (id clientv3.LeaseID, err error) {
	err = l.Try(ctx, func(ctx context.Context) error {
		lease, err := l.Etcd.Grant(ctx, seconds)
		if err == nil {
			id = lease.ID
		}
		return err
	})
	return id, err
}

// startTime is how long after its start a process is what it will be (an edge has a view).
const startTime = 10 * time.Second

// attend does what is to be done beside a lease, until that is lost.
func (l *Link) attend(ctx context.Context, alive <-chan *clientv3.LeaseKeepAliveResponse, lease clientv3.LeaseID, k Leased) {
	beside := k.Beside
	if beside == nil {
		beside = func(context.Context) {}
	}
	beside(ctx)
	again := time.NewTimer(min(l.Wait.Known, startTime))
	defer again.Stop()
	tick := time.NewTicker(l.Wait.Check)
	defer tick.Stop()
	for {
		select {
		case _, held := <-alive:
			if !held {
				return
			}
		case <-tick.C:
			l.remake(ctx, lease, k)
		case <-again.C:
			beside(ctx)
			again.Reset(l.Wait.Known)
		}
	}
}

// remake makes a key anew that is gone though its lease is held: another process under the same ID took it along when it ended, or a
// person deleted it. Where there is one, be it another's, it stays.
func (l *Link) remake(ctx context.Context, lease clientv3.LeaseID, k Leased) {
	ctx, cancel := context.WithTimeout(ctx, l.Wait.Attempt)
	defer cancel()
	there, err := l.Etcd.Get(ctx, k.Key, clientv3.WithCountOnly())
	if err != nil || there.Count > 0 {
		return // the lease tells of an etcd that is not there
	}
	value, err := k.Value()
	if err == nil {
		_, err = l.Etcd.Txn(ctx).If(clientv3.Compare(clientv3.CreateRevision(k.Key), "=", 0)).
			Then(clientv3.OpPut(k.Key, string(value), clientv3.WithLease(lease))).Commit()
	}
	l.log.Warn("a leased key was taken away while its lease was held, and is made again", "key", k.Key, "error", err)
}

// Revoke ends a lease at once where etcd can be reached; else it ends by itself.
func (l *Link) Revoke(ctx context.Context, id clientv3.LeaseID) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), l.Wait.Call/4)
	defer cancel()
	if _, err := l.Etcd.Revoke(ctx, id); err != nil {
		l.log.Debug("a lease could not be given back and will run out", "error", err)
	}
}
