package store

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"hash/maphash"
	"maps"
	"slices"
	"time"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/gti/gtm/pkg/store/state"
)

// identity is what the log tells of one generation.
type identity struct {
	id     string // empty: not known, since the record is damaged, absent, or older than IDs are
	mod    int64  // etcd's revision of the record; 0: there is none
	author string
	time   time.Time
}

// identityOf reads a record; nil: there is none.
func identityOf(kv *mvccKV) identity {
	if kv == nil {
		return identity{}
	}
	var s struct {
		Digest string    `json:"digest"`
		Author string    `json:"author"`
		Time   time.Time `json:"time"`
	}
	if json.Unmarshal(kv.Value, &s) != nil {
		return identity{mod: kv.ModRevision}
	}
	return identity{id: s.Digest, mod: kv.ModRevision, author: s.Author, time: s.Time}
}

// differs tells why a generation in the store is not the one that was known under that number; nil: nothing speaks for it.
func (i identity) differs(tenant string, g state.Generation, known string) error {
	if known == "" || i.id == "" || i.id == known {
		return nil
	}
	return &state.WentBackError{Reason: fmt.Sprintf("%s@%d in the store is not the %s@%d that was known: it was changed by %s at %s",
		tenant, g, tenant, g, cmp.Or(i.author, "someone"), i.time.UTC().Format("2006-01-02 15:04:05Z"))}
}

// recordsAtOnce is how many records one request reads: etcd's default limit is 128 operations.
const recordsAtOnce = 100

// records calls fn with the record of one generation of each tenant; nil: there is none.
func (r *reader) records(ctx context.Context, at map[string]state.Generation, fn func(tenant string, kv *mvccKV)) error {
	for tenants := range slices.Chunk(slices.Sorted(maps.Keys(at)), recordsAtOnce) {
		if err := r.someRecords(ctx, tenants, at, fn); err != nil {
			return err
		}
	}
	return nil
}

// someRecords reads records in one request, or in halves where that brings too much.
func (r *reader) someRecords(ctx context.Context, tenants []string, at map[string]state.Generation, fn func(string, *mvccKV)) error {
	asks := make([]clientv3.Op, len(tenants))
	for i, t := range tenants {
		asks[i] = clientv3.OpGet(r.c.keys.Record(t, at[t]), clientv3.WithRev(r.Rev))
	}
	var resp *clientv3.TxnResponse
	err := r.c.link.Try(ctx, func(ctx context.Context) (err error) {
		resp, err = r.Etcd.Txn(ctx).Then(asks...).Commit()
		return err
	})
	first := r.c.keys.Record(tenants[0], at[tenants[0]])
	if err != nil && ctx.Err() == nil && len(tenants) > 1 && r.UnlessTooMuch(ctx, err, first, first+"\x00") == nil {
		half := len(tenants) / 2
		if err := r.someRecords(ctx, tenants[:half], at, fn); err != nil {
			return err
		}
		return r.someRecords(ctx, tenants[half:], at, fn)
	}
	if err != nil {
		return err
	}
	for i, t := range tenants {
		if kvs := resp.Responses[i].GetResponseRange().Kvs; len(kvs) > 0 {
			fn(t, kvs[0])
		} else {
			fn(t, nil)
		}
	}
	return nil
}

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
	if w.unique.rev == 0 || w.unique.rev > r.Rev || w.last.rev > r.Rev {
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
	err := r.c.link.Try(ctx, func(ctx context.Context) (err error) {
		resp, err = r.Etcd.Get(ctx, one.key, clientv3.WithRev(one.rev))
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
	err := r.c.link.Try(ctx, func(ctx context.Context) (err error) {
		resp, err = r.Etcd.Get(ctx, one.key)
		return err
	})
	if err != nil || len(resp.Kvs) == 0 {
		return false, err
	}
	kv := resp.Kvs[0]
	return kv.ModRevision == one.rev && maphash.Bytes(w.seed, kv.Value) == one.sum, nil
}
