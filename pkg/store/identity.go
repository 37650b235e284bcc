package store

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"time"

	"go.etcd.io/etcd/client/v3"

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
		asks[i] = clientv3.OpGet(r.c.keys.record(t, at[t]), clientv3.WithRev(r.rev))
	}
	var resp *clientv3.TxnResponse
	err := r.c.try(ctx, func(ctx context.Context) (err error) {
		resp, err = r.etcd.Txn(ctx).Then(asks...).Commit()
		return err
	})
	first := r.c.keys.record(tenants[0], at[tenants[0]])
	if err != nil && ctx.Err() == nil && len(tenants) > 1 && r.unlessTooMuch(ctx, err, first, first+"\x00") == nil {
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
