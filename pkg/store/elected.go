package store

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"sync/atomic"

	"go.etcd.io/etcd/client/v3"

	"github.com/gti/gtm/pkg/spec"
	"github.com/gti/gtm/pkg/store/prune"
	"github.com/gti/gtm/pkg/store/state"
)

// Told is how far the targets of a tenant were told of events, by their names. Whoever tells next goes on there.
type Told map[string]ToldMark

// ToldMark is how far one target was told: of all that was so before Revision (in Epoch), and of what was so at Revision the events IDs.
type ToldMark struct {
	Epoch    int64    `json:"epoch,omitempty"`
	Revision int64    `json:"revision"`
	IDs      []string `json:"ids,omitempty"`
}

// CampaignTeller stands for election as the control that tells events to webhooks, as Campaign does for judges.
func (c *Client) CampaignTeller(ctx context.Context, id string, lead func(context.Context) error) error {
	return c.campaign(ctx, office{name: "teller", key: c.keys.Teller()}, id, lead)
}

// Tolds gives what the store knows of who was told what, by tenant. What is not understood is left out: then it is told again.
func (c *Client) Tolds(ctx context.Context) (map[string]Told, error) {
	all := map[string]Told{}
	err := c.reader(c.link.Etcd).Each(ctx, c.keys.Tolds(), func(kv *mvccKV) error {
		parts := c.keys.Split(string(kv.Key))
		var t Told
		if len(parts) == 4 && json.Unmarshal(kv.Value, &t) == nil {
			all[parts[3]] = t
		}
		return nil
	})
	if err != nil {
		return nil, c.link.Explain("reading what was told of events", err)
	}
	return all, nil
}

// PutTold writes how far the targets of a tenant were told; none: the tenant has no targets any more.
func (c *Client) PutTold(ctx context.Context, tenant string, t Told) error {
	op := clientv3.OpDelete(c.keys.Told(tenant))
	if len(t) > 0 {
		value, err := state.MarshalPlain(t)
		if err != nil {
			return err
		}
		op = clientv3.OpPut(c.keys.Told(tenant), string(value))
	}
	err := c.link.Try(ctx, func(ctx context.Context) error { // twice is as once
		_, err := c.link.Etcd.Do(ctx, op)
		return err
	})
	return c.link.Explain("writing what was told of events", err)
}

// CampaignFinder stands for election as the control that looks for endpoints, as Campaign does for judges.
func (c *Client) CampaignFinder(ctx context.Context, id string, lead func(context.Context) error) error {
	return c.campaign(ctx, office{name: "finder", key: c.keys.Finder(), holds: &c.finding}, id, lead)
}

// CampaignPruner stands for election as the control that removes what is old, as Campaign does for judges. What it removes by is good
// while it leads.
func (c *Client) CampaignPruner(ctx context.Context, id string, lead func(context.Context, *prune.Pruner) error) error {
	var holds atomic.Pointer[fence]
	return c.campaign(ctx, office{name: "pruner", key: c.keys.Pruner(), holds: &holds}, id, func(ctx context.Context) error {
		f := holds.Load()
		return lead(ctx, prune.New(prune.Config{Link: c.link, Keys: c.keys, Logger: c.log,
			Office: f.key, Created: f.rev}))
	})
}

// PutFound writes what a source has; for the finder only. ErrNotLeader: this client is not that (any more).
func (c *Client) PutFound(ctx context.Context, f spec.Found) error {
	value, err := state.Discovered.Encode(f)
	if err != nil {
		return err
	}
	return c.asFinder(ctx, nil, clientv3.OpPut(c.keys.Found(state.SourceOf(f)), string(value)))
}

// DropFound takes away what a source had that is not declared any more; for the finder only.
func (c *Client) DropFound(ctx context.Context, id state.SourceID) error {
	return c.asFinder(ctx, nil, clientv3.OpDelete(c.keys.Found(id)))
}

// ErrFoundChanged: what the store has of a source is not what was gone by. Nothing was written.
var ErrFoundChanged = errors.New("what the store has of the source has changed meanwhile; nothing was written")

// ExpireFound writes what becomes of a list that was pushed, if it is still was; for the finder only.
func (c *Client) ExpireFound(ctx context.Context, was, is spec.Found) error {
	before, err := state.Discovered.Encode(was)
	if err != nil {
		return err
	}
	value, err := state.Discovered.Encode(is)
	if err != nil {
		return err
	}
	key := c.keys.Found(state.SourceOf(is))
	return c.asFinder(ctx, []clientv3.Cmp{clientv3.Compare(clientv3.Value(key), "=", string(before))}, clientv3.OpPut(key, string(value)))
}

// asFinder makes a transaction of the finder, if besides what stands in its way holds.
func (c *Client) asFinder(ctx context.Context, besides []clientv3.Cmp, op clientv3.Op) error {
	f := c.finding.Load()
	if f == nil {
		return ErrNotLeader
	}
	leads := clientv3.Compare(clientv3.CreateRevision(f.key), "=", f.rev)
	var resp *clientv3.TxnResponse
	err := c.link.Try(ctx, func(ctx context.Context) (err error) { // twice is as once
		resp, err = c.link.Etcd.Txn(ctx).If(append([]clientv3.Cmp{leads}, besides...)...).Then(op).Else(clientv3.OpGet(f.key)).Commit()
		return err
	})
	switch {
	case err != nil:
		return c.link.Explain("writing endpoints that were found", err)
	case resp.Succeeded:
		return nil
	}
	if kvs := resp.Responses[0].GetResponseRange().Kvs; len(kvs) > 0 && kvs[0].CreateRevision == f.rev {
		return ErrFoundChanged
	}
	return ErrNotLeader
}

// PushFound writes lists of endpoints that the API was told, all of them or none.
func (c *Client) PushFound(ctx context.Context, lists ...spec.Found) error {
	ops := make([]clientv3.Op, len(lists))
	err := c.eachPushed(lists, func(i int, key, value string) { ops[i] = clientv3.OpPut(key, value) })
	if err != nil {
		return err
	}
	err = c.link.Try(ctx, func(ctx context.Context) error { // twice is as once
		_, err := c.link.Etcd.Txn(ctx).Then(ops...).Commit()
		return err
	})
	if err = c.link.Explain("writing endpoints that were pushed", err); err != nil {
		err = fmt.Errorf("%w; they may have been written, or not: push them again, which does no harm", err)
	}
	return err
}

// HasFound reports whether the store has just these lists, as they were written. It writes nothing.
func (c *Client) HasFound(ctx context.Context, lists ...spec.Found) (has bool, err error) {
	same := make([]clientv3.Cmp, len(lists))
	err = c.eachPushed(lists, func(i int, key, value string) { same[i] = clientv3.Compare(clientv3.Value(key), "=", value) })
	if err != nil {
		return false, err
	}
	err = c.link.Try(ctx, func(ctx context.Context) error {
		resp, err := c.link.Etcd.Txn(ctx).If(same...).Commit()
		has = err == nil && resp.Succeeded
		return err
	})
	return has, c.link.Explain("asking for endpoints that were pushed", err)
}

// eachPushed gives the keys and values of lists that go into one request.
func (c *Client) eachPushed(lists []spec.Found, fn func(i int, key, value string)) error {
	bytes := 0
	for i, f := range lists {
		value, err := state.Discovered.Encode(f)
		if err != nil {
			return fmt.Errorf("%s/%s %s: %w", f.Tenant, f.Pool, f.Source, err)
		}
		if bytes += len(value); bytes > MostPushed {
			return fmt.Errorf("the lists have more than %d bytes in the store: push them in several requests", MostPushed)
		}
		fn(i, c.keys.Found(state.SourceOf(f)), string(value))
	}
	return nil
}

// MostPushed and MostLists are how much one push can have: etcd takes 1.5 MiB, and 128 keys, at once.
const (
	MostPushed = 1 << 20
	MostLists  = 100
)
