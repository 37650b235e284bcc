package store

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"sync/atomic"

	clientv3 "go.etcd.io/etcd/client/v3"

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
			Office: f.key, Created: f.rev, Pinned: c.pinned}))
	})
}

// pinned gives the oldest generation of a tenant that a rollout points at or may go back to, and what holds while that is so.
func (c *Client) pinned(ctx context.Context, tenant string) (state.Generation, []clientv3.Cmp, error) {
	a, mod, err := c.readAim(ctx, tenant)
	if err != nil {
		return 0, nil, err
	}
	var oldest state.Generation
	for _, m := range a.Marks() {
		if oldest == 0 || m.Generation < oldest {
			oldest = m.Generation
		}
	}
	return oldest, []clientv3.Cmp{clientv3.Compare(clientv3.ModRevision(c.keys.Aim(tenant)), "=", mod)}, nil
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

// CampaignDriver stands for election as the control that drives rollouts, as Campaign does for judges.
func (c *Client) CampaignDriver(ctx context.Context, id string, lead func(context.Context) error) error {
	return c.campaign(ctx, office{name: "driver", key: c.keys.Driver(), holds: &c.driving}, id, lead)
}

// editsMost is how often an edit of an aim is tried where others write, too.
const editsMost = 10

// ErrAimMoved: others changed where a rollout points again and again.
var ErrAimMoved = errors.New("others change where the rollout points at the same time; look at gtmctl rollout status, and try again")

// EditAim changes where the edges of a tenant are pointed at. edit is given what stands there, and may be called several times; its error
// ends it, and nothing is written. fenced: only the driver writes; ErrNotLeader: this client is not that (any more).
func (c *Client) EditAim(ctx context.Context, tenant string, fenced bool, edit func(*state.Aim) error) (state.Aim, error) {
	key := c.keys.Aim(tenant)
	for range editsMost {
		a, mod, err := c.readAim(ctx, tenant)
		if err != nil {
			return a, err
		}
		if err := edit(&a); err != nil {
			return a, err
		}
		op, err := aimOp(key, &a)
		if err != nil {
			return a, err
		}
		conditions := []clientv3.Cmp{clientv3.Compare(clientv3.ModRevision(key), "=", mod)}
		var f *fence
		if fenced {
			if f = c.driving.Load(); f == nil {
				return a, ErrNotLeader
			}
			conditions = append(conditions, clientv3.Compare(clientv3.CreateRevision(f.key), "=", f.rev))
		}
		var resp *clientv3.TxnResponse
		// gofail: var aimNext struct{}
		err = c.link.Try(ctx, func(ctx context.Context) (err error) {
			resp, err = c.link.Etcd.Txn(ctx).If(conditions...).Then(op).Commit()
			return err
		})
		switch {
		case err != nil:
			return a, c.link.Explain("writing where the rollout of "+tenant+" points", err)
		case resp.Succeeded:
			// gofail: var aimWritten struct{}
			return a, nil
		}
	}
	if fenced {
		return state.Aim{}, ErrNotLeader
	}
	return state.Aim{}, ErrAimMoved
}

// readAim gives an aim and etcd's revision of it; 0: there is none.
func (c *Client) readAim(ctx context.Context, tenant string) (a state.Aim, mod int64, err error) {
	kv, err := c.getKey(ctx, c.keys.Aim(tenant))
	if err != nil {
		return a, 0, c.link.Explain("reading where the rollout of "+tenant+" points", err)
	}
	if kv != nil {
		mod = kv.ModRevision
		if a, err = state.Aims.Read(tenant, kv.Value); err != nil {
			c.log.Error("where a rollout points is damaged in the store, and is written anew", "tenant", tenant, "error", err)
		}
	}
	a.Tenant = tenant
	return a, mod, nil
}

// aimOp writes an aim, or takes it away where it says nothing.
func aimOp(key string, a *state.Aim) (clientv3.Op, error) {
	if len(a.Groups) == 0 && a.Accept.Generation == 0 {
		return clientv3.OpDelete(key), nil
	}
	if err := a.Check(); err != nil {
		return clientv3.Op{}, err
	}
	value, err := state.Aims.Encode(*a)
	return clientv3.OpPut(key, string(value)), err
}

// AimedAt gives the generations that groups of edges are pointed at, or are to go back to, by tenant: they are to be kept, however old.
func (c *Client) AimedAt(ctx context.Context) (map[string][]state.Generation, error) {
	kept := map[string][]state.Generation{}
	err := c.reader(c.link.Etcd).Each(ctx, c.keys.Aims(), func(kv *mvccKV) error {
		parts := c.keys.Split(string(kv.Key))
		if len(parts) != 3 {
			return nil
		}
		a, err := state.Aims.Read(parts[2], kv.Value)
		if err != nil {
			return err // what is not known may need anything
		}
		for _, m := range a.Marks() {
			kept[parts[2]] = append(kept[parts[2]], m.Generation)
		}
		return nil
	})
	return kept, c.link.Explain("reading what rollouts point at", err)
}
