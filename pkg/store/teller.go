package store

import (
	"context"
	"encoding/json"

	"go.etcd.io/etcd/client/v3"

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
