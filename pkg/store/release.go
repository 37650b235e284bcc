package store

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"go.etcd.io/etcd/api/v3/mvccpb"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/gti/gtm/pkg/health"
	"github.com/gti/gtm/pkg/spec"
	"github.com/gti/gtm/pkg/store/state"
)

// Release is a person's word to the judge, which follows it and takes it away: that what the brake holds has really failed, and is to
// go down.
type Release struct {
	Tenant string    `json:"tenant"`
	Pool   string    `json:"pool,omitempty"` // empty: all of the tenant
	Time   time.Time `json:"time"`
	Author string    `json:"author,omitempty"`
	Reason string    `json:"reason"`
	// Resume is another word: that a pool which is kept out may come back. Its key is one that programs which do
	// not know it pass over.
	Resume bool `json:"-"`

	rev int64 // at which it was written
}

// Covers reports whether it speaks of a pool.
func (r Release) Covers(p health.PoolID) bool {
	p, _ = p.Declared() // for the clients of whichever region
	return r.Tenant == p.Tenant && (r.Pool == "" || r.Pool == p.Pool)
}

// maxReleaseText bounds what a person says with a release, in bytes.
const maxReleaseText = 4096

// PutRelease writes a release, in one attempt: one that is carried out late, behind another, would be followed twice. Where no judge
// takes it, it is gone after ttl: nobody wants it to be followed long after.
func (c *Client) PutRelease(ctx context.Context, r Release, ttl time.Duration) error {
	r.Reason, r.Author = clip(r.Reason, maxReleaseText), clip(r.Author, maxReleaseText)
	value, err := state.MarshalPlain(r)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, c.link.Wait.Call)
	defer cancel()
	lease, err := c.link.Etcd.Grant(ctx, max(int64((ttl+time.Second-1)/time.Second), 2))
	if err == nil {
		_, err = c.link.Etcd.Put(ctx, c.releaseKey(r), string(value), clientv3.WithLease(lease.ID))
	}
	return c.link.Explain("writing a release (it may be followed)", err)
}

func clip(s string, most int) string {
	if len(s) <= most {
		return s
	}
	return strings.ToValidUTF8(s[:most], "")
}

func (c *Client) releaseKey(r Release) string {
	if r.Resume {
		return c.keys.Resume(r.Tenant, r.Pool)
	}
	return c.keys.Release(r.Tenant, r.Pool)
}

// HasRelease reports whether such a release waits for the judge still.
func (c *Client) HasRelease(ctx context.Context, r Release) (bool, error) {
	var resp *clientv3.GetResponse
	err := c.link.Try(ctx, func(ctx context.Context) (err error) {
		resp, err = c.link.Etcd.Get(ctx, c.releaseKey(r), clientv3.WithCountOnly())
		return err
	})
	if err != nil {
		return false, c.link.Explain("looking for a release", err)
	}
	return resp.Count > 0, nil
}

// WithdrawRelease takes such a release back that nobody has followed.
func (c *Client) WithdrawRelease(ctx context.Context, r Release) error {
	err := c.link.Try(ctx, func(ctx context.Context) error {
		_, err := c.link.Etcd.Delete(ctx, c.releaseKey(r))
		return err
	})
	return c.link.Explain("withdrawing a release", err)
}

// TakeRelease removes a release that was followed, unless there is a newer one; as PutVerdicts, for the leader only.
func (c *Client) TakeRelease(ctx context.Context, r Release) error {
	f := c.leading.Load()
	if f == nil {
		return ErrNotLeader
	}
	key := c.releaseKey(r)
	own := clientv3.OpTxn([]clientv3.Cmp{clientv3.Compare(clientv3.ModRevision(key), "=", r.rev)},
		[]clientv3.Op{clientv3.OpDelete(key)}, nil)
	var resp *clientv3.TxnResponse
	err := c.link.Try(ctx, func(ctx context.Context) (err error) { // a second time there is nothing left of that revision
		resp, err = c.link.Etcd.Txn(ctx).If(clientv3.Compare(clientv3.CreateRevision(f.key), "=", f.rev)).Then(own).Commit()
		return err
	})
	if err != nil {
		return c.link.Explain("taking a release", err)
	}
	if !resp.Succeeded {
		return ErrNotLeader
	}
	return nil
}

// waiting gives the releases that nobody has followed, sorted.
func (o *observer) waiting() []Release {
	all := make([]Release, 0, len(o.releases))
	for _, key := range slices.Sorted(maps.Keys(o.releases)) {
		all = append(all, o.releases[key])
	}
	return all
}

// release reads a release. What it speaks of is in its key.
func (o *observer) release(kv *mvccKV) (Release, bool) {
	where, ok := parseRelease(o.c.keys.Split(string(kv.Key)))
	var r Release
	if !ok || len(kv.Value) == 0 { // a deletion has no value
		return Release{}, false
	}
	if err := json.Unmarshal(kv.Value, &r); err != nil {
		o.c.log.Warn("a release in the store is not understood; it is left to run out", "key", string(kv.Key), "error", err)
		return Release{}, false
	}
	r.Tenant, r.Pool, r.Resume, r.rev = where.Tenant, where.Pool, where.Resume, kv.ModRevision
	return r, true
}

// parseRelease reads what a release speaks of from the components of its key.
func parseRelease(parts []string) (r Release, ok bool) {
	if len(parts) < 3 || len(parts) > 5 || joinTwo(parts) != "world/release" || parts[2] == "" {
		return r, false
	}
	r.Tenant = parts[2]
	if len(parts) > 3 {
		r.Pool = parts[3]
	}
	r.Resume = len(parts) == 5
	return r, !r.Resume || r.Pool != "" && parts[4] == "resume"
}

// Pending is a change that waits for a second person, as it was asked for. It is gone when it expires.
type Pending struct {
	ID      string    `json:"id"`
	Tenant  string    `json:"tenant"` // among whose changes it waits
	Author  string    `json:"author"`
	Message string    `json:"message,omitempty"`
	Time    time.Time `json:"time"`
	Expires time.Time `json:"expires"`
	Why     []string  `json:"why,omitempty"`
	// Put are resources as they were declared, in a form of who writes it.
	Put    []json.RawMessage `json:"put,omitempty"`
	Delete []spec.Key        `json:"delete,omitempty"`
	// Versions are the generations that wrote what was there of each, by the key as text: where another did since, it is not made.
	Versions map[string]state.Generation `json:"versions,omitempty"`
}

// Bounds of what waits.
const (
	MostPending = 50      // of one tenant
	maxPending  = 1 << 20 // bytes of one change
)

// PendingError: a change cannot wait.
type PendingError struct{ Why string }

func (e *PendingError) Error() string { return e.Why }

// PutPending has a change wait until it expires.
func (c *Client) PutPending(ctx context.Context, p Pending) error {
	const what = "keeping a change until it is approved"
	value, err := state.MarshalPlain(p)
	if err != nil {
		return err
	}
	if len(value) > maxPending {
		return &PendingError{fmt.Sprintf("the change has %d bytes, and only %d can wait for a second person: make it in smaller ones",
			len(value), maxPending)}
	}
	ctx, cancel := context.WithTimeout(ctx, c.link.Wait.Call)
	defer cancel()
	waiting, err := c.link.Etcd.Get(ctx, c.keys.Approvals(p.Tenant), clientv3.WithPrefix(), clientv3.WithCountOnly())
	if err != nil {
		return c.link.Explain(what, err)
	}
	if waiting.Count >= MostPending {
		return &PendingError{fmt.Sprintf("%d changes of %s wait for a second person already, which is as many as can: approve or reject "+
			"some (gtmctl pending)", waiting.Count, p.Tenant)}
	}
	lease, err := c.link.Etcd.Grant(ctx, max(int64(p.Expires.Sub(p.Time)/time.Second), 2))
	if err == nil {
		_, err = c.link.Etcd.Put(ctx, c.keys.Approval(p.Tenant, p.ID), string(value), clientv3.WithLease(lease.ID))
	}
	return c.link.Explain(what, err)
}

// Pendings gives the changes that wait, of a tenant or (empty) of all, by tenant and ID. What cannot be read is left out, and logged.
func (c *Client) Pendings(ctx context.Context, tenant string) (list []Pending, err error) {
	prefix := c.keys.AllApprovals()
	if tenant != "" {
		prefix = c.keys.Approvals(tenant)
	}
	err = c.reader(c.link.Etcd).Each(ctx, prefix, func(kv *mvccpb.KeyValue) error {
		var p Pending
		parts := c.keys.Split(string(kv.Key))
		if err := json.Unmarshal(kv.Value, &p); err != nil || len(parts) != 4 || parts[2] != p.Tenant || parts[3] != p.ID {
			c.log.Error("a change that waits for approval is damaged in the store", "key", string(kv.Key), "error", err)
			return nil
		}
		list = append(list, p)
		return nil
	})
	return list, c.link.Explain("reading the changes that wait for approval", err)
}

// DropPending ends the wait of a change: it was made, or is not to be.
func (c *Client) DropPending(ctx context.Context, tenant, id string) error {
	err := c.link.Try(ctx, func(ctx context.Context) error {
		_, err := c.link.Etcd.Delete(ctx, c.keys.Approval(tenant, id))
		return err
	})
	return c.link.Explain("ending the wait of a change", err)
}
