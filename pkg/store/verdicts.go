package store

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"
	"golang.org/x/sync/errgroup"
	"google.golang.org/grpc/codes"

	"github.com/gti/gtm/pkg/health"
	"github.com/gti/gtm/pkg/store/layout"
	"github.com/gti/gtm/pkg/store/link"
	"github.com/gti/gtm/pkg/store/pieces"
	"github.com/gti/gtm/pkg/store/state"
)

// What one transaction of verdicts holds at most, if it is more than one verdict: etcd's defaults are 128 operations and 1.5 MiB.
const (
	verdictOps   = 100
	verdictBytes = 1 << 20
	// verdictTxns is how many of them are on their way at once: where probers write what they see at the same time, one alone waits for all
	// of these each time.
	verdictTxns = 8
)

// VerdictWrite is a verdict that is to be written. Was is what the store holds of the pool; nil: not known, or a whole is due, which
// programs that know no pieces go by.
type VerdictWrite struct {
	Verdict health.Verdict
	Was     *health.Verdict
}

// PutVerdicts writes verdicts as wholes; see WriteVerdicts. Its error is the first one of any verdict.
func (c *Client) PutVerdicts(ctx context.Context, verdicts []health.Verdict) error {
	writes := make([]VerdictWrite, len(verdicts))
	for i, v := range verdicts {
		writes[i].Verdict = v
	}
	written, err := c.WriteVerdicts(ctx, writes)
	if err != nil {
		return err
	}
	for _, v := range verdicts {
		if err := written[v.Pool].Err; err != nil {
			return err
		}
	}
	return nil
}

// WriteVerdicts writes verdicts in as few transactions as fit, each pool's in one, and some of them at once. What etcd finds at fault with
// one of them is told with that one, and the others are written. An error is of all that is not in the result: it was not written, or that
// is not known. ErrNotLeader: this client does not lead (any more).
func (c *Client) WriteVerdicts(ctx context.Context, writes []VerdictWrite) (map[health.PoolID]Written, error) {
	w := verdictWriter{c: c, fence: c.leading.Load(), done: make(map[health.PoolID]Written, len(writes))}
	if w.fence == nil {
		return nil, ErrNotLeader
	}
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(verdictTxns)
	var batch []verdictUnit
	ops, bytes := 0, 0
	for i := range writes {
		u, err := c.verdictUnit(&writes[i])
		if err != nil {
			w.tell(u.pool, Written{Err: fmt.Errorf("the verdict on %s: %w", u.pool, err)})
			continue
		}
		if len(batch) > 0 && (ops+len(u.ops) > verdictOps || bytes+u.bytes > verdictBytes) {
			full := batch
			g.Go(func() error { return w.write(ctx, full) })
			batch, ops, bytes = nil, 0, 0
		}
		batch, ops, bytes = append(batch, u), ops+len(u.ops), bytes+u.bytes
	}
	g.Go(func() error { return w.write(ctx, batch) })
	err := g.Wait()
	return w.done, err
}

// verdictUnit is what is written of one pool.
type verdictUnit struct {
	c       *Client
	pool    health.PoolID
	verdict *health.Verdict
	ops     []clientv3.Op
	bytes   int
	whole   bool
}

func (u *verdictUnit) put(key string, v health.Verdict) error {
	value, err := state.Verdicts.Encode(v)
	if err != nil {
		return err
	}
	value = u.c.pack(value)
	u.ops, u.bytes = append(u.ops, clientv3.OpPut(key, string(value))), u.bytes+len(key)+len(value)
	return nil
}

// putPieces adds pieces, which take away what lies in them.
func (u *verdictUnit) putPieces(key string, which pieces.Set) error {
	for _, p := range which {
		if err := u.put(pieces.Key(key, p), pieces.OfVerdict(*u.verdict, p)); err != nil {
			return err
		}
		if p.Coarse() {
			u.ops = append(u.ops, layout.DropPieces(pieces.Key(key, p)))
		}
	}
	return nil
}

func (c *Client) verdictUnit(w *VerdictWrite) (verdictUnit, error) {
	u := verdictUnit{c: c, pool: w.Verdict.Pool, verdict: &w.Verdict}
	key := c.keys.Verdict(u.pool)
	if w.Was != nil {
		// Pieces belong to large wholes only.
		if changed, ok := pieces.ChangedFindings(w.Was, &w.Verdict, c.frame()); ok {
			return u, u.putPieces(key, changed)
		}
	}
	u.whole = true
	err := u.put(key, w.Verdict)
	if w.Was == nil || max(len(w.Was.Endpoints), len(w.Verdict.Endpoints)) > pieces.WholeMost {
		u.ops = append(u.ops, layout.DropPieces(key))
	}
	return u, err
}

// verdictWriter writes as the leader.
type verdictWriter struct {
	c     *Client
	fence *fence
	mu    sync.Mutex
	done  map[health.PoolID]Written // guarded by mu
}

func (w *verdictWriter) tell(id health.PoolID, what Written) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.done[id] = what
}

// write writes units in one transaction, or in halves where etcd finds something at fault with it.
func (w *verdictWriter) write(ctx context.Context, units []verdictUnit) error {
	if len(units) == 0 {
		return nil
	}
	var ops []clientv3.Op
	bytes := 0
	for i := range units {
		ops, bytes = append(ops, units[i].ops...), bytes+units[i].bytes
	}
	rev, err := w.c.fenced(ctx, *w.fence, ops, bytes)
	switch {
	case err == nil:
		for _, u := range units {
			w.tell(u.pool, Written{Bytes: u.bytes, Whole: u.whole, Revision: rev})
		}
		return nil
	case !faulty(err):
		return err
	case len(units) == 1:
		return w.alone(ctx, units[0], err)
	}
	half := len(units) / 2
	if err := w.write(ctx, units[:half]); err != nil {
		return err
	}
	return w.write(ctx, units[half:])
}

// alone writes what etcd did not take as it was: all of it in pieces, some at a time.
func (w *verdictWriter) alone(ctx context.Context, u verdictUnit, err error) error {
	if !link.SizeRefused(err) || len(u.verdict.Endpoints) <= pieces.WholeMost {
		w.tell(u.pool, Written{Err: fmt.Errorf("the verdict on %s (%d bytes): %w", u.pool, u.bytes, err)})
		return nil
	}
	p := verdictUnit{c: w.c, pool: u.pool, verdict: u.verdict}
	if err := p.putPieces(w.c.keys.Verdict(u.pool), pieces.All()); err != nil {
		return err // it was encoded before
	}
	for ops := p.ops; len(ops) > 0; {
		n, bytes := 0, 0
		for n < min(len(ops), verdictOps) && (n == 0 || bytes+len(ops[n].ValueBytes()) <= verdictBytes/2) {
			bytes, n = bytes+len(ops[n].KeyBytes())+len(ops[n].ValueBytes()), n+1
		}
		switch rev, err := w.c.fenced(ctx, *w.fence, ops[:n], bytes); {
		case err != nil && faulty(err):
			w.tell(u.pool, Written{Err: fmt.Errorf("the verdict on %s (%d bytes, in pieces): %w", u.pool, p.bytes, err)})
			return nil
		case err != nil:
			return err
		default:
			w.tell(u.pool, Written{Bytes: p.bytes, Revision: rev})
		}
		ops = ops[n:]
	}
	return nil
}

// faulty reports whether etcd refused a request for what it is, so that another one may fare better.
func faulty(err error) bool {
	var e rpctypes.EtcdError
	return link.SizeRefused(err) || errors.As(err, &e) && e.Code() == codes.InvalidArgument
}

// DeleteVerdict removes the verdict of a pool that is no more; for the leader only, as WriteVerdicts.
func (c *Client) DeleteVerdict(ctx context.Context, p health.PoolID) error {
	key := c.keys.Verdict(p)
	return c.asLeader(ctx, []clientv3.Op{clientv3.OpDelete(key), layout.DropPieces(key)})
}

// Written tells what became of something that was to be written.
type Written struct {
	Bytes int  // of keys and values
	Whole bool // it was written as one value, not in pieces
	// Revision is etcd's at or after the write, of verdicts: a Mirror at that revision has seen it.
	Revision int64
	Err      error
}
