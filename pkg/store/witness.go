package store

import (
	"context"
	"errors"
	"hash/maphash"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	"go.etcd.io/etcd/client/v3"
)

// witness is an event that was seen: as long as etcd still shows it at its revision, its history may be the one that was followed.
type witness struct {
	key  string
	rev  int64 // 0: none
	sum  uint64
	gone bool // it was a deletion
}

// witnesses prove that a store's history is the one that was followed, before following resumes. A record of a change and a pulse are
// like no other, so that one of them vouches for all that was before it; whatever was seen last vouches for what came since.
type witnesses struct {
	seed         maphash.Seed
	unique, last witness
}

// see takes an event or a key that was read. Of several in one revision the last one counts.
func (w *witnesses) see(kv *mvccKV, gone, unique bool) {
	if kv.ModRevision < w.last.rev && (!unique || kv.ModRevision < w.unique.rev) {
		return
	}
	seen := witness{key: string(kv.Key), rev: kv.ModRevision, gone: gone}
	if !gone {
		seen.sum = maphash.Bytes(w.seed, kv.Value)
	}
	if seen.rev >= w.last.rev {
		w.last = seen
	}
	if unique && !gone && seen.rev >= w.unique.rev {
		w.unique = seen
	}
}

// hold reports whether the witnesses stand in the store as they were seen. Without one, or where it was compacted away, they do not.
func (w *witnesses) hold(ctx context.Context, r *reader) (bool, error) {
	if w.unique.rev == 0 || w.unique.rev > r.rev || w.last.rev > r.rev {
		return false, nil
	}
	for _, one := range []witness{w.unique, w.last} {
		ok, err := w.holds(ctx, r, one)
		if err != nil || !ok {
			return false, err
		}
	}
	return true, nil
}

func (w *witnesses) holds(ctx context.Context, r *reader, one witness) (bool, error) {
	var resp *clientv3.GetResponse
	err := r.c.try(ctx, func(ctx context.Context) (err error) {
		resp, err = r.etcd.Get(ctx, one.key, clientv3.WithRev(one.rev))
		return err
	})
	switch {
	case errors.Is(err, rpctypes.ErrCompacted), errors.Is(err, rpctypes.ErrFutureRev):
		return false, nil
	case err != nil:
		return false, err
	case len(resp.Kvs) == 0:
		return one.gone, nil
	}
	kv := resp.Kvs[0]
	return !one.gone && kv.ModRevision == one.rev && maphash.Bytes(w.seed, kv.Value) == one.sum, nil
}

// vouch reports whether the witnesses stand in the store that a watch was opened on just now. One that was compacted away vouches by its
// key, where that has not been written since. Without any nothing is known, and nothing said.
func (w *witnesses) vouch(ctx context.Context, r *reader) (bool, error) {
	for _, one := range []witness{w.unique, w.last} {
		if one.rev == 0 {
			continue
		}
		ok, err := w.holds(ctx, r, one)
		if err == nil && !ok && !one.gone {
			ok, err = w.stands(ctx, r, one)
		}
		if err != nil || !ok {
			return false, err
		}
	}
	return true, nil
}

// stands reports whether a witness is its key's newest event.
func (w *witnesses) stands(ctx context.Context, r *reader, one witness) (bool, error) {
	var resp *clientv3.GetResponse
	err := r.c.try(ctx, func(ctx context.Context) (err error) {
		resp, err = r.etcd.Get(ctx, one.key)
		return err
	})
	if err != nil || len(resp.Kvs) == 0 {
		return false, err
	}
	kv := resp.Kvs[0]
	return kv.ModRevision == one.rev && maphash.Bytes(w.seed, kv.Value) == one.sum, nil
}
