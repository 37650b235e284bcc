package store

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strconv"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/gti/gtm/pkg/health"
	"github.com/gti/gtm/pkg/store/link"
	"github.com/gti/gtm/pkg/store/pieces"
	"github.com/gti/gtm/pkg/store/state"
)

// SignalKey names a group of a pool's endpoints, whose signals are one value: that of the largest pool would be too large, and what several
// controls write at once would meet in it.
type SignalKey struct {
	Pool  health.PoolID
	Group int
}

// SignalGroups is how many groups a pool has.
const SignalGroups = pieces.Groups

// SignalKeyOf gives where the signal of an endpoint stands.
func SignalKeyOf(pool health.PoolID, endpoint string) SignalKey {
	return SignalKey{pool, pieces.Group(endpoint)}
}

// SignalGroup is what is said of the endpoints of a group. None: nothing, any more.
type SignalGroup struct {
	SignalKey
	Endpoints map[string]health.Signal
}

// SignalUpdate is all that is said (Full), or the groups that changed.
type SignalUpdate struct {
	Full bool
	Put  []SignalGroup
}

// storedSignals is the value of a group.
type storedSignals struct {
	Pool      health.PoolID            `json:"pool"`
	Endpoints map[string]health.Signal `json:"endpoints"`
}

// ChangeSignals changes what is said of a group. change gives what is to be said, and whether that is anything else; it may be asked
// several times, whenever another control was quicker. It gives how many bytes were written.
func (c *Client) ChangeSignals(ctx context.Context, at SignalKey,
	change func(now map[string]health.Signal) (map[string]health.Signal, bool)) (bytes int, err error) {
	key := c.keys.Signal(at.Pool, at.Group)
	err = c.link.Try(ctx, func(ctx context.Context) error {
		for {
			kv, err := c.reader(c.link.Etcd).Get(ctx, key)
			if err != nil {
				return err
			}
			var was storedSignals
			rev := int64(0)
			if kv != nil {
				rev = kv.ModRevision
				_ = json.Unmarshal(kv.Value, &was) // what is not understood nobody goes by: it is replaced
			}
			now, changed := change(was.Endpoints)
			if !changed {
				return nil
			}
			op := clientv3.OpDelete(key)
			if len(now) > 0 {
				value, err := state.MarshalPlain(storedSignals{at.Pool, now})
				if err != nil {
					return err
				}
				bytes, op = len(key)+len(value), clientv3.OpPut(key, string(value))
			}
			resp, err := c.link.Etcd.Txn(ctx).If(clientv3.Compare(clientv3.ModRevision(key), "=", rev)).Then(op).Commit()
			if err != nil || resp.Succeeded {
				return err
			}
		}
	})
	return bytes, c.link.Explain("writing signals", err)
}

// FollowSignals calls fn with all that is said, and then with every change, until ctx ends or fn fails; it returns that error. After a loss
// of contact it begins again with everything.
func (c *Client) FollowSignals(ctx context.Context, fn func(SignalUpdate) error) error {
	tell := func(u SignalUpdate) error {
		if err := fn(u); err != nil {
			return link.Stop(err)
		}
		return nil
	}
	begin := func(ctx context.Context, etcd *clientv3.Client) (link.Mark, error) {
		r := c.reader(etcd)
		all, err := c.loadSignals(ctx, r)
		if err == nil {
			err = tell(SignalUpdate{Full: true, Put: all})
		}
		return link.Mark{Cluster: r.Cluster, Rev: r.Rev}, err
	}
	events := func(_ context.Context, evs []*clientv3.Event) error {
		changed := map[SignalKey]SignalGroup{}
		for _, ev := range evs {
			c.noteSignal(changed, ev)
		}
		if len(changed) == 0 {
			return nil
		}
		return tell(SignalUpdate{Put: sortedSignals(changed)})
	}
	from := c.keys.Signals()
	fd := &link.Feed{Link: c.link, From: from, To: clientv3.GetPrefixRangeEnd(from), Begin: begin, Events: events, Lost: func() {},
		Status: func(string, error) {}} // whoever follows signals follows more, and hears of it there
	return fd.Run(ctx)
}

func (c *Client) loadSignals(ctx context.Context, r *reader) (all []SignalGroup, err error) {
	err = r.Each(ctx, c.keys.Signals(), func(kv *mvccKV) error {
		if g, ok := c.readSignals(kv); ok {
			all = append(all, g)
		}
		return nil
	})
	return all, err
}

// noteSignal adds what an event tells of signals, if it does.
func (c *Client) noteSignal(to map[SignalKey]SignalGroup, ev *clientv3.Event) {
	if key, ok := parseSignal(c.keys.Split(string(ev.Kv.Key))); ok && ev.Type == clientv3.EventTypeDelete {
		to[key] = SignalGroup{SignalKey: key}
	} else if g, ok := c.readSignals(ev.Kv); ok {
		to[g.SignalKey] = g
	}
}

// readSignals reads a group. One that is not understood is left out, so that what was heard before holds until it expires.
func (c *Client) readSignals(kv *mvccKV) (g SignalGroup, ok bool) {
	key, ok := parseSignal(c.keys.Split(string(kv.Key)))
	if !ok {
		return g, false
	}
	var v storedSignals
	if err := json.Unmarshal(kv.Value, &v); err != nil || v.Pool != key.Pool {
		c.log.Warn("signals in the store are not understood and left out", "key", string(kv.Key), "error", err)
		return g, false
	}
	return SignalGroup{key, v.Endpoints}, true
}

// parseSignal reads the components of a group's key.
func parseSignal(parts []string) (key SignalKey, ok bool) {
	if len(parts) != 5 || joinTwo(parts) != "world/signal" {
		return key, false
	}
	group, err := strconv.Atoi(parts[4])
	return SignalKey{health.PoolID{Tenant: parts[2], Pool: parts[3]}, group}, err == nil && fmt.Sprintf("%02d", group) == parts[4]
}

func sortedSignals(all map[SignalKey]SignalGroup) []SignalGroup {
	return slices.SortedFunc(maps.Values(all), func(a, b SignalGroup) int {
		if d := state.ComparePools(a.Pool, b.Pool); d != 0 {
			return d
		}
		return a.Group - b.Group
	})
}
