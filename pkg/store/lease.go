package store

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"go.etcd.io/etcd/client/v3"
)

// KeepVantage tells that the prober id is alive, by a leased key, until ctx ends; its error is ctx's. When
// the process dies, the key goes after ttl (whole seconds, at least 2). Trouble is logged and retried.
func (c *Client) KeepVantage(ctx context.Context, id string, ttl time.Duration) error {
	value, err := marshalPlain(map[string]string{"id": id})
	if err != nil {
		return err
	}
	return c.keep(ctx, c.keys.vantage(id), value, ttl)
}

// KeepEdge lets an edge be found until ctx ends, as KeepVantage does for probers.
func (c *Client) KeepEdge(ctx context.Context, e Edge, ttl time.Duration) error {
	if e.ID == "" {
		return errors.New("an edge needs an ID to be found by")
	}
	value, err := marshalPlain(e)
	if err != nil {
		return err
	}
	return c.keep(ctx, c.keys.edge(e.ID), value, ttl)
}

// Edges lists the edges that are alive, sorted by ID.
func (c *Client) Edges(ctx context.Context) ([]Edge, error) {
	var edges []Edge
	err := c.reader(c.etcd).each(ctx, c.keys.edges(), func(kv *mvccKV) error {
		var e Edge
		if err := json.Unmarshal(kv.Value, &e); err != nil {
			c.log.Warn("an edge's entry in the store is not understood and left out", "key", string(kv.Key), "error", err)
			return nil
		}
		edges = append(edges, e)
		return nil
	})
	return edges, c.explain("listing the edges", err)
}

// keep holds a leased key until ctx ends.
func (c *Client) keep(ctx context.Context, key string, value []byte, ttl time.Duration) error {
	pause := c.wait.retryMin
	for {
		held, err := c.hold(ctx, key, value, ttl)
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if held {
			pause = c.wait.retryMin
		}
		c.log.Warn("a leased key was lost and is made again", "key", key, "error", c.explain("holding a lease", err))
		if !sleep(ctx, pause) {
			return ctx.Err()
		}
		pause = min(2*pause, c.wait.retryMax)
	}
}

// hold makes the key once, and returns when its lease is lost or ctx ends; then it takes the key away.
func (c *Client) hold(ctx context.Context, key string, value []byte, ttl time.Duration) (held bool, err error) {
	seconds := max(int64((ttl+time.Second-1)/time.Second), 2)
	lease, err := c.grant(ctx, seconds)
	if err != nil {
		return false, err
	}
	defer c.revoke(ctx, lease)
	err = c.try(ctx, func(ctx context.Context) error {
		_, err := c.etcd.Put(ctx, key, string(value), clientv3.WithLease(lease))
		return err
	})
	if err != nil {
		return false, err
	}
	// By a stream of its own: one that was opened before may lead to a member that is of no use any more.
	renewing := clientv3.NewLease(c.etcd)
	defer renewing.Close()
	alive, err := renewing.KeepAlive(ctx, lease)
	if err != nil {
		return false, err
	}
	for range alive {
	}
	return true, fmt.Errorf("the lease of %d s ran out", seconds)
}

// grant makes a lease. One whose answer is lost runs out.
func (c *Client) grant(ctx context.Context, seconds int64) (id clientv3.LeaseID, err error) {
	err = c.try(ctx, func(ctx context.Context) error {
		lease, err := c.etcd.Grant(ctx, seconds)
		if err == nil {
			id = lease.ID
		}
		return err
	})
	return id, err
}

// revoke ends a lease at once where etcd can be reached; else it ends by itself.
func (c *Client) revoke(ctx context.Context, id clientv3.LeaseID) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), c.wait.call/4)
	defer cancel()
	if _, err := c.etcd.Revoke(ctx, id); err != nil {
		c.log.Debug("a lease could not be given back and will run out", "error", err)
	}
}
