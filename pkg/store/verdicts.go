package store

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	"go.etcd.io/etcd/client/v3"
	"google.golang.org/grpc/codes"

	"github.com/gti/gtm/pkg/health"
	"github.com/gti/gtm/pkg/store/state"
)

// What one transaction of verdicts holds at most, if it is more than one verdict: etcd's defaults are 128 operations and 1.5 MiB.
const (
	verdictOps   = 100
	verdictBytes = 1 << 20
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

// WriteVerdicts writes verdicts in as few transactions as fit, each pool's in one. What etcd finds at fault with one of them is told with
// that one, and the others are written. An error is of all that is not in the result: it was not written, or that is not known.
// ErrNotLeader: this client does not lead (any more).
func (c *Client) WriteVerdicts(ctx context.Context, writes []VerdictWrite) (map[health.PoolID]Written, error) {
	w := verdictWriter{c: c, fence: c.leading.Load(), done: make(map[health.PoolID]Written, len(writes))}
	if w.fence == nil {
		return nil, ErrNotLeader
	}
	var batch []verdictUnit
	ops, bytes := 0, 0
	for i := range writes {
		u, err := c.verdictUnit(&writes[i])
		if err != nil {
			w.done[u.pool] = Written{Err: fmt.Errorf("the verdict on %s: %w", u.pool, err)}
			continue
		}
		if len(batch) > 0 && (ops+len(u.ops) > verdictOps || bytes+u.bytes > verdictBytes) {
			if err := w.write(ctx, batch); err != nil {
				return w.done, err
			}
			batch, ops, bytes = nil, 0, 0
		}
		batch, ops, bytes = append(batch, u), ops+len(u.ops), bytes+u.bytes
	}
	return w.done, w.write(ctx, batch)
}

// verdictUnit is what is written of one pool.
type verdictUnit struct {
	pool    health.PoolID
	verdict *health.Verdict
	ops     []clientv3.Op
	bytes   int
	whole   bool
}

func (u *verdictUnit) put(key string, v health.Verdict) error {
	value, err := state.MarshalPlain(v)
	if err != nil {
		return err
	}
	u.ops, u.bytes = append(u.ops, clientv3.OpPut(key, string(value))), u.bytes+len(key)+len(value)
	return nil
}

// putPieces adds pieces.
func (u *verdictUnit) putPieces(key string, pieces pieceSet) (err error) {
	pieces.each(func(i int) {
		if err == nil {
			err = u.put(pieceKey(key, i), verdictPiece(*u.verdict, i))
		}
	})
	return err
}

func (c *Client) verdictUnit(w *VerdictWrite) (verdictUnit, error) {
	u := verdictUnit{pool: w.Verdict.Pool, verdict: &w.Verdict}
	key := c.keys.verdict(u.pool)
	if w.Was != nil {
		// Pieces belong to large wholes only.
		if changed := changedFindings(w.Was, &w.Verdict); worthPieces(min(len(w.Was.Endpoints), len(w.Verdict.Endpoints)), changed) {
			return u, u.putPieces(key, changed)
		}
	}
	u.whole = true
	err := u.put(key, w.Verdict)
	if w.Was == nil || max(len(w.Was.Endpoints), len(w.Verdict.Endpoints)) > WholeMost {
		u.ops = append(u.ops, opDropPieces(key))
	}
	return u, err
}

// verdictWriter writes as the leader.
type verdictWriter struct {
	c     *Client
	fence *fence
	done  map[health.PoolID]Written
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
			w.done[u.pool] = Written{Bytes: u.bytes, Whole: u.whole, Revision: rev}
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
	if !sizeRefused(err) || len(u.verdict.Endpoints) <= WholeMost {
		w.done[u.pool] = Written{Err: fmt.Errorf("the verdict on %s (%d bytes): %w", u.pool, u.bytes, err)}
		return nil
	}
	p := verdictUnit{pool: u.pool, verdict: u.verdict}
	if err := p.putPieces(w.c.keys.verdict(u.pool), allPieces); err != nil {
		return err // it was encoded before
	}
	for ops := p.ops; len(ops) > 0; {
		n, bytes := 0, 0
		for n < len(ops) && (n == 0 || bytes+len(ops[n].ValueBytes()) <= verdictBytes/2) {
			bytes, n = bytes+len(ops[n].KeyBytes())+len(ops[n].ValueBytes()), n+1
		}
		switch rev, err := w.c.fenced(ctx, *w.fence, ops[:n], bytes); {
		case err != nil && faulty(err):
			w.done[u.pool] = Written{Err: fmt.Errorf("the verdict on %s (%d bytes, in pieces): %w", u.pool, p.bytes, err)}
			return nil
		case err != nil:
			return err
		default:
			w.done[u.pool] = Written{Bytes: p.bytes, Revision: rev}
		}
		ops = ops[n:]
	}
	return nil
}

// faulty tells whether etcd refused a request for what it is, so that another one may fare better.
func faulty(err error) bool {
	var e rpctypes.EtcdError
	return sizeRefused(err) || errors.As(err, &e) && e.Code() == codes.InvalidArgument
}

// DeleteVerdict removes the verdict of a pool that is no more; for the leader only, as WriteVerdicts.
func (c *Client) DeleteVerdict(ctx context.Context, p health.PoolID) error {
	key := c.keys.verdict(p)
	return c.asLeader(ctx, []clientv3.Op{clientv3.OpDelete(key), opDropPieces(key)})
}

// largeVerdict is what a follower knows of a verdict that may have pieces. Immutable.
type largeVerdict struct {
	verdict health.Verdict // joined
	whole   bool           // there is a whole
	pieces  pieceSet       // that are there and newer
}

// pendingVerdict gathers what comes of one pool, and joins it once.
type pendingVerdict struct {
	largeVerdict
	news   map[int]health.Verdict
	newest int
}

func (p *pendingVerdict) add(i int, v health.Verdict) {
	if p.news == nil {
		p.news = map[int]health.Verdict{}
	}
	p.news[i], p.newest, p.pieces = v, i, p.pieces.with(i)
}

// joined gives what is known now.
func (p *pendingVerdict) joined() *largeVerdict {
	p.verdict = joinVerdict(p.verdict, p.news, p.newest)
	p.news = nil
	return &p.largeVerdict
}

// verdictKV is a verdict, or a piece of one, as it was read.
type verdictKV struct {
	piece int // -1: the whole
	kv    *mvccKV
}

// joinRead gives the verdict that the keys of one pool make, which were read at one revision. An error is of the first that is not understood.
func joinRead(p health.PoolID, all []verdictKV) (*largeVerdict, error) {
	slices.SortStableFunc(all, func(a, b verdictKV) int { return int(min(max(a.kv.ModRevision-b.kv.ModRevision, -1), 1)) })
	out := pendingVerdict{largeVerdict: largeVerdict{verdict: health.Verdict{Pool: p}}}
	for _, one := range all {
		if one.piece >= 0 {
			continue
		}
		v, err := parsePoolVerdict(p, one.kv.Value)
		if err != nil {
			return nil, err
		}
		out.verdict, out.whole = v, true
	}
	since := int64(0)
	if i := slices.IndexFunc(all, func(one verdictKV) bool { return one.piece < 0 }); i >= 0 {
		since = all[i].kv.ModRevision
	}
	for _, one := range all {
		if one.piece < 0 || one.kv.ModRevision <= since {
			continue
		}
		v, err := parsePoolVerdict(p, one.kv.Value)
		if err != nil {
			return nil, err
		}
		out.add(one.piece, v)
	}
	return out.joined(), nil
}

// parsePoolVerdict reads a verdict that stands under the key of a pool.
func parsePoolVerdict(p health.PoolID, value []byte) (health.Verdict, error) {
	v, err := state.ParseVerdict(value)
	if err == nil && v.Pool != p {
		err = fmt.Errorf("it stands under the key of %s, but says that it is of %s", p, v.Pool)
	}
	return v, err
}

// parseVerdictKey reads the pool and the piece, -1 for the whole, from the components of a key.
func parseVerdictKey(parts []string) (p health.PoolID, piece int, ok bool) {
	if len(parts) < 3 || len(parts) > 4 || parts[0] != "verdict" {
		return p, 0, false
	}
	p, piece, ok = health.PoolID{Tenant: parts[1], Pool: parts[2]}, -1, true
	if len(parts) == 4 {
		piece, ok = parsePiece(parts[3])
	}
	return p, piece, ok
}

// loadVerdicts reads all verdicts.
func (f *follower) loadVerdicts(ctx context.Context, r *reader, d *delta) error {
	clear(f.unread)
	inPieces := map[health.PoolID][]verdictKV{}
	wholes := map[health.PoolID]*mvccKV{} // of large pools
	err := r.each(ctx, f.c.keys.verdicts(), func(kv *mvccKV) error {
		if string(kv.Key) == f.c.keys.pulse() {
			d.seen.see(kv, false, f.pulse(kv))
			return nil
		}
		d.seen.see(kv, false, false)
		p, piece, ok := parseVerdictKey(f.c.keys.split(string(kv.Key)))
		switch {
		case !ok:
		case piece >= 0:
			inPieces[p] = append(inPieces[p], verdictKV{piece, kv})
		default:
			if f.loadWhole(d, p, kv) {
				wholes[p] = kv
			}
		}
		return nil
	})
	for p, all := range inPieces {
		_, small := d.verdicts[p]
		if kv := wholes[p]; kv != nil {
			all = append(all, verdictKV{-1, kv})
		} else if small || d.kept[p] {
			continue // the whole is not understood, or too small for pieces
		}
		f.addJoined(d, p, all)
	}
	return err
}

// loadWhole takes a whole that was read, and tells whether pieces may belong to it.
func (f *follower) loadWhole(d *delta, p health.PoolID, kv *mvccKV) (large bool) {
	had := f.large[p]
	inPieces := had != nil && had.pieces != 0
	if sum := f.verdicts[p]; sum != 0 && !d.full && !inPieces && sum == f.sum(kv.Value) {
		d.kept[p] = true
		return had != nil
	}
	f.addVerdict(d, p, kv)
	c, ok := d.verdicts[p]
	if !ok {
		return false
	}
	if f.had(d, c.verdict) {
		delete(d.verdicts, p)
		d.kept[p], f.verdicts[p] = true, c.sum
		f.rememberLarge(p, c.large)
	}
	return c.large != nil
}

// addJoined adds what the keys of a pool in pieces say; if one of them is not understood, what was before holds.
func (f *follower) addJoined(d *delta, p health.PoolID, all []verdictKV) {
	joined, err := joinRead(p, all)
	if err != nil {
		f.c.log.Error("a verdict in the store is not understood; the one before holds", "pool", p, "error", err)
		delete(d.verdicts, p)
		d.kept[p], f.unread[p] = true, true
		return
	}
	sum := uint64(0)
	if c, is := d.verdicts[p]; is {
		sum = c.sum
	} else if joined.whole {
		sum = f.verdicts[p]
	}
	if before := f.large[p]; !d.full && before != nil && before.verdict.Equal(joined.verdict) || f.had(d, joined.verdict) {
		delete(d.verdicts, p)
		d.kept[p], f.verdicts[p] = true, sum
		f.rememberLarge(p, joined)
		return
	}
	delete(d.kept, p)
	d.verdicts[p] = verdictChange{verdict: joined.verdict, sum: sum, large: joined}
}

// had tells whether the consumer came with that verdict.
func (f *follower) had(d *delta, v health.Verdict) bool {
	if f.has == nil || d.full {
		return false
	}
	was, is := f.has.Verdict(v.Pool)
	return is && was.Judge == v.Judge && was.Equal(v)
}

func (f *follower) rememberLarge(p health.PoolID, l *largeVerdict) {
	if l == nil {
		delete(f.large, p)
	} else {
		f.large[p] = l
	}
}

// addVerdict adds a whole; one that is not understood leaves the last one in force.
func (f *follower) addVerdict(d *delta, p health.PoolID, kv *mvccKV) {
	v, err := parsePoolVerdict(p, kv.Value)
	if err != nil {
		f.c.log.Error("a verdict in the store is not understood; the one before holds", "pool", p, "error", err)
		d.kept[p], f.unread[p] = true, f.large[p] == nil
		return
	}
	delete(f.unread, p)
	c := verdictChange{verdict: v, sum: f.sum(kv.Value)}
	if len(v.Endpoints) > WholeMost {
		c.large = &largeVerdict{verdict: v, whole: true}
	}
	delete(d.pending, p)
	d.verdicts[p] = c
}

// verdictEvent sorts an event of a verdict, or of a piece of one, into d.
func (f *follower) verdictEvent(ev *clientv3.Event, parts []string, d *delta) {
	p, piece, ok := parseVerdictKey(parts)
	if !ok {
		return
	}
	put := ev.Type == clientv3.EventTypePut
	switch {
	case piece >= 0 && put:
		f.pieceEvent(ev, p, piece, d)
	case piece >= 0:
		f.pieceGone(p, piece, d)
	case put:
		large := f.large[p]
		inPieces := large != nil && large.pieces != 0 || d.pending[p] != nil
		if sum := f.verdicts[p]; sum != 0 && !inPieces && sum == f.sum(ev.Kv.Value) {
			delete(d.verdicts, p) // as it was told
			return
		}
		f.addVerdict(d, p, ev.Kv)
	default:
		f.verdictGone(p, d)
	}
}

func (f *follower) verdictGone(p health.PoolID, d *delta) {
	delete(d.pending, p)
	delete(f.unread, p)
	if _, told := f.verdicts[p]; told {
		d.verdicts[p] = verdictChange{deleted: true}
	} else {
		delete(d.verdicts, p)
	}
}

// pending gives what is known of a pool as of the events so far; nil: what is known has no pieces.
func (f *follower) pending(p health.PoolID, d *delta) *pendingVerdict {
	if w := d.pending[p]; w != nil {
		return w
	}
	l := f.large[p]
	_, told := f.verdicts[p]
	if c, is := d.verdicts[p]; is {
		l, told = c.large, !c.deleted
	}
	switch {
	case l != nil:
		return &pendingVerdict{largeVerdict: *l}
	case told || f.unread[p]:
		return nil // the whole is small, or was not understood: the judge writes one
	}
	return &pendingVerdict{largeVerdict: largeVerdict{verdict: health.Verdict{Pool: p}}}
}

func (f *follower) pieceEvent(ev *clientv3.Event, p health.PoolID, piece int, d *delta) {
	v, err := parsePoolVerdict(p, ev.Kv.Value)
	if err != nil {
		f.c.log.Error("a part of a verdict in the store is not understood; the one before holds",
			"pool", p, "piece", piece, "error", err)
		return
	}
	if w := f.pending(p, d); w != nil {
		w.add(piece, v)
		d.pending[p] = w
	}
}

// pieceGone notes that a piece was taken away: with a whole that replaces it, or with the last piece of a verdict that has no whole.
func (f *follower) pieceGone(p health.PoolID, piece int, d *delta) {
	w := f.pending(p, d)
	if w == nil || !w.pieces.has(piece) {
		return
	}
	w.pieces &^= 1 << piece
	if w.pieces == 0 && !w.whole {
		f.verdictGone(p, d)
		return
	}
	d.pending[p] = w
}

// settlePending joins what came in pieces.
func (d *delta) settlePending(f *follower) {
	for p, w := range d.pending {
		large := w.joined()
		sum := f.verdicts[p]
		if c, is := d.verdicts[p]; is {
			sum = c.sum
		}
		d.verdicts[p] = verdictChange{verdict: large.verdict, sum: sum, large: large}
	}
	clear(d.pending)
}
