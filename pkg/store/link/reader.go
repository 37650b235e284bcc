package link

import (
	"cmp"
	"context"
	"errors"
	"strings"
	"time"

	"go.etcd.io/etcd/api/v3/mvccpb"
	"go.etcd.io/etcd/client/v3"
)

// How many keys one range request reads at most, and how many bytes it is to bring: a version of a large zone lists thousands of
// runs, and a thousand of those would not come in the time that a request has.
const (
	pageKeys  = 1000
	pageBytes = 8 << 20
)

// Reader reads etcd at one revision, that of its first answer.
type Reader struct {
	Etcd    *clientv3.Client
	Rev     int64  // 0 before the first answer
	Cluster uint64 // etcd's ID of it
	link    *Link
	page    int // keys of the next page; 0: as many as may be
	most    int // keys of a page that came in time, after one that did not; 0: pageKeys
}

// Reader makes a Reader that reads by a connection, the link's or one of Connect.
func (l *Link) Reader(etcd *clientv3.Client) *Reader { return &Reader{link: l, Etcd: etcd} }

// ask makes a read; its first attempt has the time first.
func (r *Reader) ask(ctx context.Context, first time.Duration, key string, opts ...clientv3.OpOption) (*clientv3.GetResponse, error) {
	if r.Rev != 0 {
		opts = append(opts, clientv3.WithRev(r.Rev))
	}
	var resp *clientv3.GetResponse
	err := r.link.Attempts(ctx, first, r.link.Wait.Call, func(ctx context.Context) (err error) {
		resp, err = r.Etcd.Get(ctx, key, opts...)
		return err
	})
	if err != nil {
		return nil, err
	}
	if r.Rev == 0 {
		r.Rev, r.Cluster = resp.Header.Revision, resp.Header.ClusterId
	}
	return resp, nil
}

// Get reads a key; nil: there is none.
func (r *Reader) Get(ctx context.Context, key string) (*mvccpb.KeyValue, error) {
	resp, err := r.ask(ctx, r.link.Wait.Attempt, key)
	if err != nil || len(resp.Kvs) == 0 {
		return nil, err
	}
	return resp.Kvs[0], nil
}

// Each calls fn for every key below prefix, in order, a page at a time.
func (r *Reader) Each(ctx context.Context, prefix string, fn func(*mvccpb.KeyValue) error, opts ...clientv3.OpOption) error {
	from, to := prefix, clientv3.GetPrefixRangeEnd(prefix)
	for {
		limit := cmp.Or(r.page, r.most, pageKeys)
		bounds := []clientv3.OpOption{clientv3.WithRange(to), clientv3.WithLimit(int64(limit))}
		resp, err := r.ask(ctx, r.link.Wait.Call, from, append(bounds, opts...)...)
		if err != nil && ctx.Err() == nil && limit > 1 {
			err = r.UnlessTooMuch(ctx, err, from, to)
			if err == nil {
				r.page, r.most = 0, max(1, limit/10)
				continue
			}
		}
		if err != nil {
			return err
		}
		size := 0
		for _, kv := range resp.Kvs {
			size += len(kv.Key) + len(kv.Value)
			if err := fn(kv); err != nil {
				return err
			}
		}
		if !resp.More {
			return nil
		}
		r.page = min(nextPage(limit, size), cmp.Or(r.most, pageKeys))
		from = string(resp.Kvs[len(resp.Kvs)-1].Key) + "\x00"
	}
}

// nextPage gives how many keys to read after limit of them had so many bytes.
func nextPage(limit, bytes int) int {
	if bytes > pageBytes {
		return max(1, int(int64(limit)*pageBytes/int64(bytes)))
	}
	return 2 * limit
}

// UnlessTooMuch gives why a page did not come; nil: because of its size. Where its time was up, a single key tells: if that does
// not come either, smaller pages will not, and asking for those would only hide for how long etcd is away.
func (r *Reader) UnlessTooMuch(ctx context.Context, err error, from, to string) error {
	if strings.Contains(err.Error(), "message larger than max") {
		return nil
	}
	if !errors.Is(err, context.DeadlineExceeded) || wasNotSent(err) {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, r.link.Wait.Attempt)
	defer cancel()
	_, err = r.ask(ctx, r.link.Wait.Attempt, from, clientv3.WithRange(to), clientv3.WithLimit(1), clientv3.WithKeysOnly())
	return err
}
