package store

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/gti/gtm/pkg/store/link"
	"github.com/gti/gtm/pkg/store/state"
)

// maxKnownEdges is how many edges Edges lists of those that do not live, the first by ID.
const maxKnownEdges = 20_000

// ErrEdgeAlive: an edge that is alive would be known again at once.
var ErrEdgeAlive = errors.New("it is alive; stop it first")

// knownEdge is an edge as it stays known when its lease is gone.
type knownEdge struct {
	Edge
	Seen time.Time `json:"seen"`
}

// leasedEdge is what stands under the key of an edge that is alive.
type leasedEdge struct {
	Edge
	Forms int `json:"forms,omitempty"` // see state.Forms
}

// KeepEdge lets an edge be found until ctx ends, as KeepVantage does for probers, and lets it be known after that, until ForgetEdge.
// tell is asked whenever something is written; its ID is always the same.
func (c *Client) KeepEdge(ctx context.Context, tell func() Edge, ttl time.Duration) error {
	id := tell().ID
	if id == "" {
		return errors.New("an edge needs an ID to be found by")
	}
	value := func() ([]byte, error) {
		e := tell()
		e.Tenants = nil // they change; who is alive can be asked
		return state.MarshalPlain(leasedEdge{e, state.Forms})
	}
	return c.link.Keep(ctx, link.Leased{Key: c.keys.Edge(id), Value: value, TTL: ttl,
		Beside: func(ctx context.Context) { c.know(ctx, tell()) }})
}

// know writes down an edge that is to be missed when it is gone. That this fails is no reason to be without a lease.
func (c *Client) know(ctx context.Context, e Edge) {
	value, err := state.MarshalPlain(knownEdge{Edge: e, Seen: c.cfg.Now().UTC()})
	if err != nil {
		c.log.Error("an edge cannot be written down", "edge", e.ID, "error", err)
		return
	}
	var resp *clientv3.PutResponse
	err = c.link.Try(ctx, func(ctx context.Context) (err error) { // twice, it finds itself there, which is no twin
		resp, err = c.link.Etcd.Put(ctx, c.keys.KnownEdge(e.ID), string(value), clientv3.WithPrevKV())
		return err
	})
	switch {
	case err != nil && ctx.Err() != nil:
		return // the edge ends
	case err != nil:
		c.log.Warn("the store does not know this edge for later yet, and would not miss it", "edge", e.ID,
			"error", c.link.Explain("writing it down", err))
		return
	}
	var before knownEdge
	if resp.PrevKv == nil || json.Unmarshal(resp.PrevKv.Value, &before) != nil {
		return
	}
	if twin := twinOf(e, before); twin != "" {
		c.log.Error("two edges must not share an ID: give one of them another --id", "edge", e.ID, "other", twin)
	}
}

// twinOf tells of a process that wrote itself down under the ID of e, and after e had started. It goes by the clocks of both.
func twinOf(e Edge, other knownEdge) string {
	if other.Started.Equal(e.Started) || !other.Seen.After(e.Started) {
		return ""
	}
	return fmt.Sprintf("one at %s, started %s, and one at %s, started %s", cmp.Or(e.HTTP, "?"), e.Started.UTC().Format(time.RFC3339),
		cmp.Or(other.HTTP, "?"), other.Started.UTC().Format(time.RFC3339))
}

var errEnough = errors.New("enough")

// Edges lists the edges that are alive, and those that were and are not forgotten, sorted by ID. Of the latter it lists 20,000 at most.
func (c *Client) Edges(ctx context.Context) ([]Edge, error) {
	known := map[string]knownEdge{}
	r := c.reader(c.link.Etcd)
	err := r.Each(ctx, c.keys.KnownEdges(), func(kv *mvccKV) error {
		if len(known) == maxKnownEdges {
			c.log.Warn("more edges are known than are listed; forget those that are no more: gtmctl edge forget", "listed", maxKnownEdges)
			return errEnough
		}
		parts := c.keys.Split(string(kv.Key))
		if len(parts) != 3 {
			return nil
		}
		var k knownEdge
		if err := json.Unmarshal(kv.Value, &k); err != nil {
			c.log.Warn("what an edge wrote down is not understood", "key", string(kv.Key), "error", err)
			k = knownEdge{} // that there is one is known all the same
		}
		k.ID = parts[2]
		known[k.ID] = k
		return nil
	})
	if err != nil && !errors.Is(err, errEnough) {
		return nil, c.link.Explain("listing the edges", err)
	}
	found := make(map[string]Edge, len(known))
	for id, k := range known {
		k.Edge.Seen = k.Seen
		found[id] = k.Edge
	}
	err = r.Each(ctx, c.keys.Edges(), func(kv *mvccKV) error {
		var e Edge
		if err := json.Unmarshal(kv.Value, &e); err != nil {
			c.log.Warn("an edge's entry in the store is not understood and left out", "key", string(kv.Key), "error", err)
			return nil
		}
		// An edge may write its own key, and speaks for itself alone.
		if parts := c.keys.Split(string(kv.Key)); len(parts) != 3 || parts[2] != e.ID {
			c.log.Warn("an edge's entry in the store names another edge and is left out", "key", string(kv.Key))
			return nil
		}
		e.Alive = true
		if k, ok := known[e.ID]; ok {
			e.Seen, e.Tenants, e.Twin = k.Seen, k.Tenants, twinOf(e, k)
		}
		found[e.ID] = e
		return nil
	})
	if err != nil {
		return nil, c.link.Explain("listing the edges", err)
	}
	edges := make([]Edge, 0, len(found))
	for _, id := range slices.Sorted(maps.Keys(found)) {
		edges = append(edges, found[id])
	}
	return edges, nil
}

// ForgetEdge has an edge that is no more not be missed. ErrEdgeAlive: it is alive; ErrNotFound: it is not known.
func (c *Client) ForgetEdge(ctx context.Context, id string) error {
	var resp *clientv3.TxnResponse
	open := false // an attempt's answer was lost: it may have removed it
	err := c.link.Try(ctx, func(ctx context.Context) (err error) {
		resp, err = c.link.Etcd.Txn(ctx).If(clientv3.Compare(clientv3.CreateRevision(c.keys.Edge(id)), "=", 0)).
			Then(clientv3.OpDelete(c.keys.KnownEdge(id))).Commit()
		open = open || link.Lost(err)
		return err
	})
	switch {
	case err != nil:
		return c.link.Explain("forgetting edge "+id, err)
	case !resp.Succeeded:
		return fmt.Errorf("edge %s cannot be forgotten: %w", id, ErrEdgeAlive)
	case resp.Responses[0].GetResponseDeleteRange().Deleted == 0 && !open:
		return fmt.Errorf("edge %s: %w", id, ErrNotFound)
	}
	return nil
}

// Edge is what an edge tells of itself, so that it can be found and asked.
type Edge struct {
	ID   string `json:"id"`
	HTTP string `json:"http"`
	// Pin is what HTTP is known by: it speaks TLS. Empty: it is plain.
	Pin     string    `json:"pin,omitempty"`
	DNS     []string  `json:"dns,omitempty"`
	Version string    `json:"version,omitempty"`
	Started time.Time `json:"started"`
	// Recipient is the age recipient for which zone-signing keys are to be sealed; empty: it does not sign.
	Recipient string `json:"recipient,omitempty"`
	// Tenants are the generations that it answered from when it wrote this.
	Tenants map[string]state.Generation `json:"tenants,omitempty"`

	// Alive: it holds its lease. Filled in by Client.Edges.
	Alive bool `json:"-"`
	// Seen is when it last wrote what it is, by its own clock; zero: it is of a program that does not.
	Seen time.Time `json:"-"`
	// Twin, if not empty, says in which way another process seems to go by the same ID.
	Twin string `json:"-"`
}

// PutBackEdges has edges known again that a store was emptied of, so that those which are silent are missed. One that has written itself
// down meanwhile is left as it is.
func (c *Client) PutBackEdges(ctx context.Context, edges []Edge) error {
	for _, e := range edges {
		value, err := state.MarshalPlain(knownEdge{Edge: e, Seen: e.Seen})
		if err != nil {
			return err
		}
		if _, err := c.putIfAt(ctx, c.keys.KnownEdge(e.ID), 0, value); err != nil {
			return c.link.Explain("writing back that edge "+e.ID+" is known", err)
		}
	}
	return nil
}
