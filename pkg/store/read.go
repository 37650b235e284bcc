package store

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"go.etcd.io/etcd/api/v3/mvccpb"
	"go.etcd.io/etcd/client/v3"

	"github.com/gti/gtm/pkg/spec"
	"github.com/gti/gtm/pkg/store/state"
)

// How many keys one range request reads at most, and how many bytes it is to bring: a version of a large zone lists thousands of
// runs, and a thousand of those would not come in the time that a request has.
const (
	pageKeys  = 1000
	pageBytes = 8 << 20
)

// Read gives the state of a tenant at a generation; 0 means its head. ErrNotFound: there is no such
// tenant or generation. Where resources cannot be decoded, the error is a *DamagedError, and the state is that of all others.
func (c *Client) Read(ctx context.Context, tenant string, at state.Generation) (state.TenantState, error) {
	what := "reading " + tenant
	r := c.reader(c.etcd)
	kv, err := r.get(ctx, c.keys.head(tenant))
	if err != nil {
		return state.TenantState{}, c.explain(what, err)
	}
	if kv == nil {
		return state.TenantState{}, fmt.Errorf("tenant %s: %w", tenant, ErrNotFound)
	}
	now, err := r.head(ctx, tenant, kv)
	if err != nil {
		return state.TenantState{}, c.explain(what, err)
	}
	if at == 0 {
		at = now
	}
	if at > now {
		return state.TenantState{}, fmt.Errorf("%s@%d (the head is %d): %w", tenant, at, now, ErrNotFound)
	}
	var all []state.Version
	damaged := map[spec.Key]state.BrokenResource{}
	err = r.newest(ctx, c.keys.tenant(tenant), func(string) state.Generation { return at }, func(f found) error {
		v, broken := r.decode(ctx, f)
		var gone unreachable
		if errors.As(broken, &gone) {
			return gone.error
		}
		if broken != nil {
			damaged[f.key] = state.BrokenResource{Key: f.key, Generation: f.gen, Err: broken}
		}
		if v != nil {
			all = append(all, state.Version{Resource: v, Generation: f.gen})
		}
		return nil
	})
	if err != nil {
		return state.TenantState{}, c.explain(what, err)
	}
	record, err := r.get(ctx, c.keys.record(tenant, at))
	if err != nil {
		return state.TenantState{}, c.explain(what, err)
	}
	state := state.TenantState{Head: at, ID: identityOf(record).id, Resources: state.NewResources(all...)}
	if len(damaged) > 0 {
		state.Broken = damaged
		return state, &DamagedError{State: tenant + "@" + headText(at), Broken: damaged}
	}
	return state, nil
}

// Heads gives every tenant's head.
func (c *Client) Heads(ctx context.Context) (map[string]state.Generation, error) {
	heads, err := c.reader(c.etcd).heads(ctx)
	return heads, c.explain("reading the heads", err)
}

// History gives a tenant's last changes, newest first; limit 0: all. In the place of a record that is damaged stands one that says so.
func (c *Client) History(ctx context.Context, tenant string, limit int) ([]state.Record, error) {
	var resp *clientv3.GetResponse
	err := c.attempts(ctx, c.wait.call, c.wait.commit, func(ctx context.Context) (err error) {
		resp, err = c.etcd.Get(ctx, c.keys.log(tenant), clientv3.WithPrefix(),
			clientv3.WithSort(clientv3.SortByKey, clientv3.SortDescend), clientv3.WithLimit(int64(limit)))
		return err
	})
	if err != nil {
		return nil, c.explain("reading the history of "+tenant, err)
	}
	out := make([]state.Record, 0, len(resp.Kvs))
	for _, kv := range resp.Kvs {
		g, ok := parseRecordKey(c.keys.split(string(kv.Key)))
		if !ok {
			continue
		}
		var r storedRecord
		if err := json.Unmarshal(kv.Value, &r); err != nil || r.Generation != g {
			c.log.Error("the record of a change is damaged in the store", "tenant", tenant, "generation", g, "error", err)
			r = storedRecord{Record: state.Record{Tenant: tenant, Generation: g,
				Message: "(the record of this change is damaged in the store)"}}
		}
		r.ID = r.Digest
		out = append(out, r.Record)
	}
	return out, nil
}

// reader reads the store at one revision, that of its first answer.
type reader struct {
	c       *Client
	etcd    *clientv3.Client
	rev     int64
	cluster uint64
	values  spec.Reader
	page    int // keys of the next page; 0: as many as may be
	most    int // keys of a page that came in time, after one that did not; 0: pageKeys
}

func (c *Client) reader(etcd *clientv3.Client) *reader { return &reader{c: c, etcd: etcd} }

// ask makes a read; its first attempt has the time first.
func (r *reader) ask(ctx context.Context, first time.Duration, key string, opts ...clientv3.OpOption) (*clientv3.GetResponse, error) {
	if r.rev != 0 {
		opts = append(opts, clientv3.WithRev(r.rev))
	}
	var resp *clientv3.GetResponse
	err := r.c.attempts(ctx, first, r.c.wait.call, func(ctx context.Context) (err error) {
		resp, err = r.etcd.Get(ctx, key, opts...)
		return err
	})
	if err != nil {
		return nil, err
	}
	if r.rev == 0 {
		r.rev, r.cluster = resp.Header.Revision, resp.Header.ClusterId
	}
	return resp, nil
}

func (r *reader) get(ctx context.Context, key string) (*mvccpb.KeyValue, error) {
	resp, err := r.ask(ctx, r.c.wait.attempt, key)
	if err != nil || len(resp.Kvs) == 0 {
		return nil, err
	}
	return resp.Kvs[0], nil
}

// each calls fn for every key below prefix, in order, a page at a time.
func (r *reader) each(ctx context.Context, prefix string, fn func(*mvccpb.KeyValue) error, opts ...clientv3.OpOption) error {
	from, to := prefix, clientv3.GetPrefixRangeEnd(prefix)
	for {
		limit := cmp.Or(r.page, r.most, pageKeys)
		bounds := []clientv3.OpOption{clientv3.WithRange(to), clientv3.WithLimit(int64(limit))}
		resp, err := r.ask(ctx, r.c.wait.call, from, append(bounds, opts...)...)
		if err != nil && ctx.Err() == nil && limit > 1 {
			err = r.unlessTooMuch(ctx, err, from, to)
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

// unlessTooMuch gives why a page did not come; nil: because of its size. Where its time was up, a single key tells: if that does
// not come either, smaller pages will not, and asking for those would only hide for how long etcd is away.
func (r *reader) unlessTooMuch(ctx context.Context, err error, from, to string) error {
	if strings.Contains(err.Error(), "message larger than max") {
		return nil
	}
	if !errors.Is(err, context.DeadlineExceeded) || wasNotSent(err) {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, r.c.wait.attempt)
	defer cancel()
	_, err = r.ask(ctx, r.c.wait.attempt, from, clientv3.WithRange(to), clientv3.WithLimit(1), clientv3.WithKeysOnly())
	return err
}

// heads gives every tenant's head; of one that is damaged what the log says.
func (r *reader) heads(ctx context.Context) (map[string]state.Generation, error) {
	heads := map[string]state.Generation{}
	var damaged []*mvccpb.KeyValue
	err := r.each(ctx, r.c.keys.heads(), func(kv *mvccpb.KeyValue) error {
		parts := r.c.keys.split(string(kv.Key))
		if len(parts) != 3 {
			return nil
		}
		g, err := parseHead(kv.Value)
		if err != nil {
			damaged = append(damaged, kv)
			return nil
		}
		heads[parts[2]] = g
		return nil
	})
	for _, kv := range damaged {
		if err != nil {
			break
		}
		tenant := r.c.keys.split(string(kv.Key))[2]
		var g state.Generation
		if g, err = r.head(ctx, tenant, kv); g != 0 {
			heads[tenant] = g
		}
	}
	return heads, err
}

// head reads a tenant's head. Of one that is damaged it gives the newest generation that left anything, a record or else a version:
// those are written with the head. 0: nothing is left.
func (r *reader) head(ctx context.Context, tenant string, kv *mvccpb.KeyValue) (g state.Generation, err error) {
	g, damaged := parseHead(kv.Value)
	if damaged == nil {
		return g, nil
	}
	err = r.each(ctx, r.c.keys.log(tenant), func(kv *mvccpb.KeyValue) error {
		if found, ok := parseRecordKey(r.c.keys.split(string(kv.Key))); ok {
			g = max(g, found)
		}
		return nil
	}, clientv3.WithKeysOnly())
	if err == nil && g == 0 {
		err = r.each(ctx, r.c.keys.tenant(tenant), func(kv *mvccpb.KeyValue) error {
			if _, found, ok := parseVersion(r.c.keys.split(string(kv.Key))); ok {
				g = max(g, found)
			}
			return nil
		}, clientv3.WithKeysOnly())
	}
	if err == nil {
		r.c.log.Error("the head of a tenant in the store is damaged; the newest change that stands in its log counts, "+
			"and the next one mends it",
			"tenant", tenant, "generation", g, "error", damaged)
	}
	return g, err
}

// found is a stored version and where it stood.
type found struct {
	key   spec.Key
	gen   state.Generation
	value []byte
	kv    *mvccpb.KeyValue
}

// newest calls fn with the newest version of each resource below prefix that is not newer than headOf its
// tenant; deletions too.
func (r *reader) newest(ctx context.Context, prefix string, headOf func(tenant string) state.Generation, fn func(found) error) error {
	var last *found
	flush := func() error {
		if last == nil {
			return nil
		}
		f := *last
		last = nil
		return fn(f)
	}
	err := r.each(ctx, prefix, func(kv *mvccpb.KeyValue) error {
		key, gen, ok := parseVersion(r.c.keys.split(string(kv.Key)))
		if !ok || gen > headOf(key.Tenant) {
			return nil
		}
		if last != nil && last.key != key {
			if err := flush(); err != nil {
				return err
			}
		}
		last = &found{key: key, gen: gen, value: kv.Value, kv: kv}
		return nil
	})
	if err != nil {
		return err
	}
	return flush()
}

// decode makes the resource of a version; nil without an error is a deletion. Errors tell that the version
// is broken; a failure to read its text is one too, but for the end of ctx.
func (r *reader) decode(ctx context.Context, f found) (*spec.Resource, error) {
	v, err := parseVersionValue(f.value)
	if err != nil || v.Deleted {
		return nil, err
	}
	text, err := r.text(ctx, v.Text)
	if err != nil {
		return nil, err
	}
	return state.DecodeResource(&r.values, f.key, v.Resource, text)
}

// unreachable marks an error of the connection, not of the data.
type unreachable struct{ error }

func (u unreachable) Unwrap() error { return u.error }

// text joins runs, from the cache or else from etcd.
func (r *reader) text(ctx context.Context, hashes []string) (string, error) {
	got := r.runs(ctx, hashes)
	var b strings.Builder
	for _, h := range hashes {
		s, ok := got[h]
		if !ok {
			kv, err := r.get(ctx, r.c.keys.text(h))
			if err != nil {
				return "", unreachable{err}
			}
			if kv == nil {
				return "", fmt.Errorf("the run %.12s of its content is not in the store", h)
			}
			if s, ok = r.keep(h, kv); !ok {
				return "", fmt.Errorf("the run %.12s of its content is damaged in the store", h)
			}
		}
		b.WriteString(s)
	}
	return b.String(), nil
}

// runsAtOnce is how many runs one request reads: some 40 KB each, 1.3 MB at most.
const runsAtOnce = 16

// runs gives those runs that the cache has, or that come in requests for several: a zone that is larger than the cache needs hundreds
// with each change, and one after the other they would take as many round trips. What fails is left out, for text to look into.
func (r *reader) runs(ctx context.Context, hashes []string) map[string]string {
	got := make(map[string]string, len(hashes))
	var absent []string
	for _, h := range hashes {
		if s, ok := r.c.texts.get(h); ok {
			got[h] = s
		} else {
			absent = append(absent, h)
		}
	}
	for part := range slices.Chunk(absent, runsAtOnce) {
		if len(part) == 1 || !r.runsOf(ctx, part, got) {
			break
		}
	}
	return got
}

// runsOf adds some runs, in one request; false: it failed.
func (r *reader) runsOf(ctx context.Context, hashes []string, got map[string]string) bool {
	asks := make([]clientv3.Op, len(hashes))
	for i, h := range hashes {
		asks[i] = clientv3.OpGet(r.c.keys.text(h), clientv3.WithRev(r.rev))
	}
	ctx, cancel := context.WithTimeout(ctx, r.c.wait.call)
	defer cancel()
	resp, err := r.etcd.Txn(ctx).Then(asks...).Commit()
	if err != nil {
		return false
	}
	for i, h := range hashes {
		if kvs := resp.Responses[i].GetResponseRange().Kvs; len(kvs) > 0 {
			if s, ok := r.keep(h, kvs[0]); ok {
				got[h] = s
			}
		}
	}
	return true
}

// keep puts a run that came from etcd into the cache; false: it is not the one of that hash.
func (r *reader) keep(hash string, kv *mvccpb.KeyValue) (string, bool) {
	run := newRun(string(kv.Value))
	if run.hash != hash {
		return "", false
	}
	r.c.texts.put(run)
	return run.text, true
}

type mvccKV = mvccpb.KeyValue
