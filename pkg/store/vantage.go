package store

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/gti/gtm/pkg/health"
	"github.com/gti/gtm/pkg/store/layout"
	"github.com/gti/gtm/pkg/store/link"
	"github.com/gti/gtm/pkg/store/pieces"
	"github.com/gti/gtm/pkg/store/state"
)

// Vantage is a prober as the store knows it.
type Vantage struct {
	ID string
	// Region and Network are what its prober says of itself, while it is alive; see health.Vantage.
	Region, Network string
	// Alive: it holds its lease.
	Alive bool
	// Pools is on how many pools there is evidence of it.
	Pools int
}

// ErrVantageAlive: a prober that is alive would write its evidence again.
var ErrVantageAlive = errors.New("its prober is alive; stop that first")

// leasedVantage is what stands under the key of a vantage that is alive.
type leasedVantage struct {
	ID      string `json:"id"`
	Region  string `json:"region,omitempty"`
	Network string `json:"network,omitempty"`
	Forms   int    `json:"forms,omitempty"` // see state.Forms
}

// readVantage reads what a vantage says of itself. What is not understood is not known: that it is alive the key says.
func readVantage(value []byte) (v leasedVantage) {
	if json.Unmarshal(value, &v) != nil {
		return leasedVantage{}
	}
	return v
}

// KeepVantage tells that a prober is alive, and where, by a leased key, until ctx ends; its error is ctx's. When
// the process dies, the key goes after ttl (whole seconds, at least 2). Trouble is logged and retried.
func (c *Client) KeepVantage(ctx context.Context, v Vantage, ttl time.Duration) error {
	value, err := state.MarshalPlain(leasedVantage{v.ID, v.Region, v.Network, state.Forms})
	if err != nil {
		return err
	}
	return c.link.Keep(ctx, link.Leased{Key: c.keys.Vantage(v.ID), Value: func() ([]byte, error) { return value, nil }, TTL: ttl})
}

// Vantages lists the vantages that are alive or have left evidence, sorted by ID.
func (c *Client) Vantages(ctx context.Context) ([]Vantage, error) {
	found := map[string]Vantage{}
	r := c.reader(c.link.Etcd)
	pools := map[ObservationKey]bool{} // which may be in pieces
	err := r.Each(ctx, c.keys.Observations(), func(kv *mvccKV) error {
		if key, _, ok := parseObservation(c.keys.Split(string(kv.Key))); ok && !pools[key] {
			pools[key] = true
			v := found[key.Vantage]
			v.Pools++
			found[key.Vantage] = v
		}
		return nil
	}, clientv3.WithKeysOnly())
	if err == nil {
		err = r.Each(ctx, c.keys.Vantages(), func(kv *mvccKV) error {
			if parts := c.keys.Split(string(kv.Key)); len(parts) == 3 {
				v, says := found[parts[2]], readVantage(kv.Value)
				v.Alive, v.Region, v.Network = true, says.Region, says.Network
				found[parts[2]] = v
			}
			return nil
		})
	}
	if err != nil {
		return nil, c.link.Explain("listing the vantages", err)
	}
	all := make([]Vantage, 0, len(found))
	for _, id := range slices.Sorted(maps.Keys(found)) {
		v := found[id]
		v.ID = id
		all = append(all, v)
	}
	return all, nil
}

// ForgetVantage removes all evidence of a prober that is no more, in one transaction, and gives on how many pools there was any.
// ErrVantageAlive: it is alive; ErrNotFound: there is none of it.
func (c *Client) ForgetVantage(ctx context.Context, id string) (pools int, err error) {
	var resp *clientv3.TxnResponse
	open := false // an attempt's answer was lost: it may have removed everything
	err = c.link.Try(ctx, func(ctx context.Context) (err error) {
		resp, err = c.link.Etcd.Txn(ctx).If(clientv3.Compare(clientv3.CreateRevision(c.keys.Vantage(id)), "=", 0)).
			Then(clientv3.OpGet(c.keys.ObservationsOf(id), clientv3.WithPrefix(), clientv3.WithKeysOnly()),
				clientv3.OpDelete(c.keys.ObservationsOf(id), clientv3.WithPrefix())).Commit()
		open = open || link.Lost(err)
		return err
	})
	if err != nil {
		return 0, c.link.Explain("forgetting vantage "+id, err)
	}
	if !resp.Succeeded {
		return 0, fmt.Errorf("vantage %s cannot be forgotten: %w", id, ErrVantageAlive)
	}
	known := map[ObservationKey]bool{} // which may be in pieces
	for _, kv := range resp.Responses[0].GetResponseRange().Kvs {
		if key, _, ok := parseObservation(c.keys.Split(string(kv.Key))); ok {
			known[key] = true
		}
	}
	if pools = len(known); pools == 0 && !open {
		return 0, fmt.Errorf("evidence of vantage %s: %w", id, ErrNotFound)
	}
	return pools, nil
}

// mostSights is how many vantages Sights asks for at most: so many operations a transaction can have.
const mostSights = 60

// Sights gives what each vantage that is alive knows of a pool. What is not understood, or not there, is left out.
func (c *Client) Sights(ctx context.Context, pool health.PoolID) (map[string]health.Observation, error) {
	var vantages *clientv3.GetResponse
	err := c.link.Try(ctx, func(ctx context.Context) (err error) {
		from := c.keys.Vantages()
		vantages, err = c.link.Etcd.Get(ctx, from, clientv3.WithPrefix(), clientv3.WithKeysOnly(), clientv3.WithLimit(mostSights))
		return err
	})
	if err != nil {
		return nil, c.link.Explain("asking what vantages see", err)
	}
	var ids []string
	var ops []clientv3.Op
	for _, kv := range vantages.Kvs {
		if parts := c.keys.Split(string(kv.Key)); len(parts) == 3 {
			key := c.keys.Observation(parts[2], pool)
			from, to := layout.PiecesOf(key)
			ids, ops = append(ids, parts[2]), append(ops, clientv3.OpGet(key), clientv3.OpGet(from, clientv3.WithRange(to)))
		}
	}
	if len(ids) == 0 {
		return nil, nil
	}
	var resp *clientv3.TxnResponse
	err = c.link.Try(ctx, func(ctx context.Context) (err error) {
		resp, err = c.link.Etcd.Txn(ctx).Then(ops...).Commit()
		return err
	})
	if err != nil {
		return nil, c.link.Explain("asking what vantages see", err)
	}
	found := map[string]health.Observation{}
	for i, id := range ids {
		whole, parts := resp.Responses[2*i].GetResponseRange().Kvs, resp.Responses[2*i+1].GetResponseRange().Kvs
		if o, ok := c.joinSights(pool, whole, parts); ok {
			o.Vantage, found[id] = id, o
		}
	}
	return found, nil
}

// joinSights joins an observation and the pieces that are newer.
func (c *Client) joinSights(pool health.PoolID, whole, parts []*mvccKV) (o health.Observation, ok bool) {
	o.Pool = pool
	since := int64(0)
	if len(whole) == 1 {
		if read, err := readObservation(whole[0].Value); err == nil && read.Pool == pool {
			o, since, ok = read, whole[0].ModRevision, true
		}
	}
	if ok && len(o.Endpoints) <= pieces.WholeMost {
		return o, true // what stands below is of an older program
	}
	slices.SortFunc(parts, func(a, b *mvccKV) int { return cmp.Compare(a.ModRevision, b.ModRevision) })
	var cut map[pieces.Piece]map[string]health.Sight
	for _, kv := range parts {
		_, i, known := parseObservation(c.keys.Split(string(kv.Key)))
		if !known || i < 0 || kv.ModRevision <= since {
			continue
		}
		if piece, err := readObservation(kv.Value); err == nil && piece.Pool == pool {
			cut = pieces.Add(cut, i, piece.Endpoints)
		}
	}
	if len(cut) > 0 {
		o.Endpoints, ok = pieces.Join(o.Endpoints, cut), true
	}
	return o, ok
}

// SurveyReaders asks which edges and vantages are alive, and gives one that reads plain values alone, as in "edge fra-1"; empty: there is
// none. From then on what this client writes of health is packed where all of them read that. Where nobody can be asked, what was known
// before holds; at first it is plain.
//
// A control is not asked: it is upgraded before probers are, and where it is not, it says that a verdict is not understood, and has the one
// before.
func (c *Client) SurveyReaders(ctx context.Context) (older string, err error) {
	r := c.reader(c.link.Etcd)
	look := func(what, keys string) {
		if err != nil || older != "" {
			return
		}
		err = r.Each(ctx, keys, func(kv *mvccKV) error {
			var says struct{ Forms int }
			if json.Unmarshal(kv.Value, &says) != nil || says.Forms < state.Forms {
				older = what + strings.TrimPrefix(string(kv.Key), keys)
			}
			return nil
		})
	}
	look("edge ", c.keys.Edges())
	look("vantage ", c.keys.Vantages())
	if err != nil {
		return "", c.link.Explain("asking who reads the store", err)
	}
	c.packs.Store(older == "")
	return older, nil
}

func aboutVantage(kv *mvccKV) health.Vantage {
	v := readVantage(kv.Value)
	return health.Vantage{Region: v.Region, Network: v.Network}
}

func compareObservations(a, b ObservationKey) int {
	if d := strings.Compare(a.Vantage, b.Vantage); d != 0 {
		return d
	}
	return state.ComparePools(a.Pool, b.Pool)
}
