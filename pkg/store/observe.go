package store

import (
	"context"
	"encoding/json"
	"maps"
	"slices"
	"strings"

	"go.etcd.io/etcd/client/v3"

	"github.com/gti/gtm/pkg/health"
)

// PutObservation writes what a vantage knows of a pool. It stays until it is deleted: a prober that dies
// leaves its evidence.
func (c *Client) PutObservation(ctx context.Context, o health.Observation) error {
	if o.Vantage == "" || o.Pool.Tenant == "" || o.Pool.Pool == "" {
		return errNoVantage
	}
	value, err := marshalPlain(o)
	if err != nil {
		return err
	}
	key := c.keys.observation(o.Vantage, o.Pool)
	return c.explain("writing an observation", c.overwrite(ctx, key, clientv3.OpPut(key, string(value))))
}

// overwrite puts or deletes a key that nobody else writes. A member that stood still may carry an attempt out a minute after its
// time was up, when newer ones were made elsewhere. So each attempt says up to which revision of the store it knows the key.
func (c *Client) overwrite(ctx context.Context, key string, op clientv3.Op) error {
	return c.try(ctx, func(ctx context.Context) error {
		for {
			rev := c.written.Load()
			resp, err := c.etcd.Txn(ctx).If(clientv3.Compare(clientv3.ModRevision(key), "<", rev+1)).Then(op).Commit()
			if err != nil {
				return err
			}
			for now := resp.Header.Revision; rev < now && !c.written.CompareAndSwap(rev, now); {
				rev = c.written.Load()
			}
			if resp.Succeeded {
				return nil
			}
		}
	})
}

// DeleteObservation removes what a vantage knew of a pool. There may be nothing.
func (c *Client) DeleteObservation(ctx context.Context, vantage string, p health.PoolID) error {
	key := c.keys.observation(vantage, p)
	return c.explain("deleting an observation", c.overwrite(ctx, key, clientv3.OpDelete(key)))
}

// FollowObservations calls fn with all observations and live vantages, and then with every change, until
// ctx ends or fn fails; it returns that error. After a loss of contact it begins again with everything.
func (c *Client) FollowObservations(ctx context.Context, fn func(ObservationUpdate) error) error {
	o := &observer{c: c, fn: fn, alive: map[string]bool{}, releases: map[string]Release{}}
	from, to := c.keys.observed()
	fd := &feed{c: c, from: from, to: to, begin: o.begin, events: o.events, lost: func() {}, status: o.status}
	return fd.run(ctx)
}

type observer struct {
	c        *Client
	fn       func(ObservationUpdate) error
	alive    map[string]bool
	releases map[string]Release // by key
	state    string
}

func (o *observer) status(state string, err error) {
	if state != o.state && err != nil {
		o.c.log.Warn("following the probers' observations is interrupted", "error", err)
	}
	o.state = state
}

// begin reads everything, also after a loss: it is little.
func (o *observer) begin(ctx context.Context, etcd *clientv3.Client) (mark, error) {
	r := o.c.reader(etcd)
	u := ObservationUpdate{Full: true, AliveChanged: true, ReleasesChanged: true}
	err := r.each(ctx, o.c.keys.observations(), func(kv *mvccKV) error {
		if obs, ok := o.decode(kv); ok {
			u.Put = append(u.Put, obs)
		}
		return nil
	})
	if err != nil {
		return mark{}, err
	}
	clear(o.releases)
	err = r.each(ctx, o.c.keys.releases(), func(kv *mvccKV) error {
		if rel, ok := o.release(kv); ok {
			o.releases[string(kv.Key)] = rel
		}
		return nil
	})
	if err != nil {
		return mark{}, err
	}
	o.alive = map[string]bool{}
	err = r.each(ctx, o.c.keys.vantages(), func(kv *mvccKV) error {
		if parts := o.c.keys.split(string(kv.Key)); len(parts) == 3 {
			o.alive[parts[2]] = true
		}
		return nil
	})
	if err != nil {
		return mark{}, err
	}
	u.Alive, u.Releases = slices.Sorted(maps.Keys(o.alive)), o.waiting()
	return mark{cluster: r.cluster, rev: r.rev}, o.tell(u)
}

func (o *observer) tell(u ObservationUpdate) error {
	if err := o.fn(u); err != nil {
		return stopError{err}
	}
	return nil
}

// decode reads an observation; one that is not understood is left out.
func (o *observer) decode(kv *mvccKV) (health.Observation, bool) {
	key, ok := parseObservation(o.c.keys.split(string(kv.Key)))
	if !ok {
		return health.Observation{}, false
	}
	var obs health.Observation
	if err := json.Unmarshal(kv.Value, &obs); err != nil || obs.Vantage != key.Vantage || obs.Pool != key.Pool {
		o.c.log.Warn("an observation in the store is not understood and left out", "key", string(kv.Key), "error", err)
		return health.Observation{}, false
	}
	return obs, true
}

func parseObservation(parts []string) (ObservationKey, bool) {
	if len(parts) != 5 || parts[0] != "world" || parts[1] != "obs" {
		return ObservationKey{}, false
	}
	return ObservationKey{Vantage: parts[2], Pool: health.PoolID{Tenant: parts[3], Pool: parts[4]}}, true
}

func (o *observer) events(_ context.Context, evs []*clientv3.Event) error {
	u := ObservationUpdate{}
	put, deleted := map[ObservationKey]health.Observation{}, map[ObservationKey]bool{}
	for _, ev := range evs {
		parts := o.c.keys.split(string(ev.Kv.Key))
		if joinTwo(parts) == "world/vantage" && len(parts) == 3 {
			is := ev.Type == clientv3.EventTypePut
			u.AliveChanged = u.AliveChanged || o.alive[parts[2]] != is
			if o.alive[parts[2]] = is; !is {
				delete(o.alive, parts[2])
			}
			continue
		}
		if joinTwo(parts) == "world/release" {
			u.ReleasesChanged = true
			delete(o.releases, string(ev.Kv.Key))
			if rel, ok := o.release(ev.Kv); ok && ev.Type == clientv3.EventTypePut {
				o.releases[string(ev.Kv.Key)] = rel
			}
			continue
		}
		key, ok := parseObservation(parts)
		if !ok {
			continue
		}
		if ev.Type == clientv3.EventTypeDelete {
			deleted[key] = true
			delete(put, key)
		} else if obs, ok := o.decode(ev.Kv); ok {
			put[key] = obs
			delete(deleted, key)
		}
	}
	for _, k := range slices.SortedFunc(maps.Keys(put), compareObservations) {
		u.Put = append(u.Put, put[k])
	}
	u.Deleted = slices.SortedFunc(maps.Keys(deleted), compareObservations)
	u.Alive, u.Releases = slices.Sorted(maps.Keys(o.alive)), o.waiting()
	if len(u.Put)+len(u.Deleted) == 0 && !u.AliveChanged && !u.ReleasesChanged {
		return nil
	}
	return o.tell(u)
}

func compareObservations(a, b ObservationKey) int {
	if d := strings.Compare(a.Vantage, b.Vantage); d != 0 {
		return d
	}
	return comparePools(a.Pool, b.Pool)
}
