package store

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"go.etcd.io/etcd/api/v3/mvccpb"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/gti/gtm/pkg/spec"
	"github.com/gti/gtm/pkg/store/layout"
	"github.com/gti/gtm/pkg/store/link"
	"github.com/gti/gtm/pkg/store/state"
)

// Read gives the state of a tenant at a generation; 0 means its head. ErrNotFound: there is no such
// tenant or generation; a *RemovedError: there was. Where resources cannot be decoded, the error is a *DamagedError, and the state is
// that of all others.
func (c *Client) Read(ctx context.Context, tenant string, at state.Generation) (state.TenantState, error) {
	what := "reading " + tenant
	r := c.reader(c.link.Etcd)
	kv, err := r.Get(ctx, c.keys.Head(tenant))
	if err != nil {
		return state.TenantState{}, c.link.Explain(what, err)
	}
	if kv == nil {
		return state.TenantState{}, fmt.Errorf("tenant %s: %w", tenant, ErrNotFound)
	}
	now, err := r.head(ctx, tenant, kv)
	if err != nil {
		return state.TenantState{}, c.link.Explain(what, err)
	}
	if at == 0 {
		at = now
	}
	if at > now {
		return state.TenantState{}, fmt.Errorf("%s@%d (the head is %d): %w", tenant, at, now, ErrNotFound)
	}
	if err := r.isKept(ctx, tenant, at, now); err != nil {
		return state.TenantState{}, err
	}
	var all []state.Version
	damaged := map[spec.Key]state.BrokenResource{}
	err = r.newest(ctx, c.keys.Tenant(tenant), func(string) state.Generation { return at }, func(f found) error {
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
		return state.TenantState{}, c.link.Explain(what, err)
	}
	record, err := r.Get(ctx, c.keys.Record(tenant, at))
	if err != nil {
		return state.TenantState{}, c.link.Explain(what, err)
	}
	state := state.TenantState{Head: at, ID: identityOf(record).id, Resources: state.NewResources(all...)}
	if len(damaged) > 0 {
		state.Broken = damaged
		return state, &DamagedError{State: tenant + "@" + layout.HeadText(at), Broken: damaged}
	}
	return state, nil
}

// isKept tells where a generation is older than what is kept.
func (r *reader) isKept(ctx context.Context, tenant string, at, head state.Generation) error {
	if at == head {
		return nil
	}
	oldest, err := r.oldest(ctx, tenant)
	if err != nil {
		return r.c.link.Explain("reading "+tenant, err)
	}
	if at < oldest {
		return &RemovedError{Tenant: tenant, At: at, Oldest: oldest, To: head}
	}
	return nil
}

func (r *reader) oldest(ctx context.Context, tenant string) (state.Generation, error) {
	kv, err := r.Get(ctx, r.c.keys.Oldest(tenant))
	if err != nil || kv == nil {
		return 1, err
	}
	o, err := layout.ParseOldest(kv.Value)
	return o.Generation, err
}

// Oldest gives the oldest generation of a tenant that can be read.
func (c *Client) Oldest(ctx context.Context, tenant string) (state.Generation, error) {
	g, err := c.reader(c.link.Etcd).oldest(ctx, tenant)
	return g, c.link.Explain("reading what is kept of "+tenant, err)
}

// Heads gives every tenant's head.
func (c *Client) Heads(ctx context.Context) (map[string]state.Generation, error) {
	heads, err := c.reader(c.link.Etcd).heads(ctx)
	return heads, c.link.Explain("reading the heads", err)
}

// History gives a tenant's last changes, newest first; limit 0: all. In the place of a record that is damaged stands one that says so.
func (c *Client) History(ctx context.Context, tenant string, limit int) ([]state.Record, error) {
	var resp *clientv3.GetResponse
	err := c.link.Attempts(ctx, c.link.Wait.Call, c.link.Wait.Commit, func(ctx context.Context) (err error) {
		resp, err = c.link.Etcd.Get(ctx, c.keys.Log(tenant), clientv3.WithPrefix(),
			clientv3.WithSort(clientv3.SortByKey, clientv3.SortDescend), clientv3.WithLimit(int64(limit)))
		return err
	})
	if err != nil {
		return nil, c.link.Explain("reading the history of "+tenant, err)
	}
	out := make([]state.Record, 0, len(resp.Kvs))
	for _, kv := range resp.Kvs {
		g, ok := layout.ParseRecordKey(c.keys.Split(string(kv.Key)))
		if !ok {
			continue
		}
		var r layout.Record
		if err := json.Unmarshal(kv.Value, &r); err != nil || r.Generation != g {
			c.log.Error("the record of a change is damaged in the store", "tenant", tenant, "generation", g, "error", err)
			r = layout.Record{Record: state.Record{Tenant: tenant, Generation: g,
				Message: "(the record of this change is damaged in the store)"}}
		}
		r.ID = r.Digest
		out = append(out, r.Record)
	}
	return out, nil
}

// Versions gives the last versions of a resource, newest first; one without a resource is a deletion, or cannot be read.
func (c *Client) Versions(ctx context.Context, key spec.Key, limit int) ([]state.Version, error) {
	what := "reading the versions of " + key.String()
	prefix := strings.TrimSuffix(c.keys.Version(key, 0), layout.GenText(0))
	var resp *clientv3.GetResponse
	err := c.link.Attempts(ctx, c.link.Wait.Call, c.link.Wait.Commit, func(ctx context.Context) (err error) {
		resp, err = c.link.Etcd.Get(ctx, prefix, clientv3.WithPrefix(), clientv3.WithSort(clientv3.SortByKey, clientv3.SortDescend),
			clientv3.WithLimit(int64(limit)))
		return err
	})
	if err != nil {
		return nil, c.link.Explain(what, err)
	}
	r := c.reader(c.link.Etcd)
	var out []state.Version
	for _, kv := range resp.Kvs {
		of, gen, ok := layout.ParseVersionKey(c.keys.Split(string(kv.Key)))
		if !ok || of != key {
			continue
		}
		resource, broken := r.decode(ctx, found{key: key, gen: gen, value: kv.Value, kv: kv})
		var gone unreachable
		if errors.As(broken, &gone) {
			return nil, c.link.Explain(what, gone.error)
		}
		out = append(out, state.Version{Resource: resource, Generation: gen})
	}
	return out, nil
}

// MadeAt tells when a generation was made; zero: its record is removed, or damaged.
func (c *Client) MadeAt(ctx context.Context, tenant string, g state.Generation) (time.Time, error) {
	kv, err := c.reader(c.link.Etcd).Get(ctx, c.keys.Record(tenant, g))
	return identityOf(kv).time, c.link.Explain("reading when "+tenant+" was changed", err)
}

// reader reads the store at one revision, that of its first answer.
type reader struct {
	*link.Reader
	c      *Client
	values spec.Reader
}

func (c *Client) reader(etcd *clientv3.Client) *reader {
	return &reader{Reader: c.link.Reader(etcd), c: c}
}

// heads gives every tenant's head; of one that is damaged what the log says.
func (r *reader) heads(ctx context.Context) (map[string]state.Generation, error) {
	heads := map[string]state.Generation{}
	var damaged []*mvccpb.KeyValue
	err := r.Each(ctx, r.c.keys.Heads(), func(kv *mvccpb.KeyValue) error {
		parts := r.c.keys.Split(string(kv.Key))
		if len(parts) != 3 {
			return nil
		}
		g, err := layout.ParseHead(kv.Value)
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
		tenant := r.c.keys.Split(string(kv.Key))[2]
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
	g, damaged := layout.ParseHead(kv.Value)
	if damaged == nil {
		return g, nil
	}
	err = r.Each(ctx, r.c.keys.Log(tenant), func(kv *mvccpb.KeyValue) error {
		if found, ok := layout.ParseRecordKey(r.c.keys.Split(string(kv.Key))); ok {
			g = max(g, found)
		}
		return nil
	}, clientv3.WithKeysOnly())
	if err == nil && g == 0 {
		err = r.Each(ctx, r.c.keys.Tenant(tenant), func(kv *mvccpb.KeyValue) error {
			if _, found, ok := layout.ParseVersionKey(r.c.keys.Split(string(kv.Key))); ok {
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
	err := r.Each(ctx, prefix, func(kv *mvccpb.KeyValue) error {
		key, gen, ok := layout.ParseVersionKey(r.c.keys.Split(string(kv.Key)))
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
	v, err := layout.ParseVersion(f.value)
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
			kv, err := r.Get(ctx, r.c.keys.Text(h))
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
		if s, ok := r.c.texts.Get(h); ok {
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
		asks[i] = clientv3.OpGet(r.c.keys.Text(h), clientv3.WithRev(r.Rev))
	}
	ctx, cancel := context.WithTimeout(ctx, r.c.link.Wait.Call)
	defer cancel()
	resp, err := r.Etcd.Txn(ctx).Then(asks...).Commit()
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
	run := layout.NewRun(string(kv.Value))
	if run.Hash != hash {
		return "", false
	}
	r.c.texts.Put(run)
	return run.Text, true
}

type mvccKV = mvccpb.KeyValue

// wasRemoved tells where a generation is not there since it was removed: whose it was, nothing tells then.
func (c *Client) wasRemoved(ctx context.Context, tenant string, g state.Generation) error {
	oldest, err := c.reader(c.link.Etcd).oldest(ctx, tenant)
	if err == nil && g < oldest {
		return &RemovedError{Tenant: tenant, At: g, Oldest: oldest, To: oldest}
	}
	return err
}

func (c *Client) storedRecord(ctx context.Context, tenant string, g state.Generation) (layout.Record, error) {
	var s layout.Record
	kv, err := c.reader(c.link.Etcd).Get(ctx, c.keys.Record(tenant, g))
	if err != nil {
		return s, err
	}
	if kv == nil {
		return s, ErrNotFound
	}
	return s, json.Unmarshal(kv.Value, &s)
}
