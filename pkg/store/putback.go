package store

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"slices"

	"go.etcd.io/etcd/client/v3"

	"github.com/gti/gtm/pkg/health"
	"github.com/gti/gtm/pkg/store/state"
	"github.com/gti/gtm/pkg/zone/dnssec"
)

// PutBack writes what a store lost that was emptied or restored: keysets that it has not, or has older ones of, and verdicts that it
// has not. It gives the zones whose keyset is now the one given, sorted.
func (c *Client) PutBack(ctx context.Context, keysets []dnssec.Keyset, verdicts []health.Verdict) (zones []string, err error) {
	for _, ks := range keysets {
		ours, err := c.putBackKeyset(ctx, ks)
		if err != nil {
			return zones, c.link.Explain("writing back the keys of "+ks.Zone, err)
		}
		if ours {
			zones = append(zones, ks.Zone)
		}
	}
	for _, v := range verdicts {
		value, err := state.Verdicts.Encode(v)
		if err != nil {
			return zones, err
		}
		if _, err := c.putIfAt(ctx, c.keys.Verdict(v.Pool), 0, value); err != nil {
			return zones, c.link.Explain(fmt.Sprintf("writing back the verdict on %s/%s", v.Pool.Tenant, v.Pool.Pool), err)
		}
	}
	slices.Sort(zones)
	return zones, nil
}

func (c *Client) putBackKeyset(ctx context.Context, ks dnssec.Keyset) (ours bool, err error) {
	value, err := state.Keysets.Encode(ks)
	if err != nil {
		return false, err
	}
	key, mod := c.keys.Keyset(ks.Zone), int64(0)
	has, err := c.getKey(ctx, key)
	if err != nil {
		return false, err
	}
	if has != nil {
		var old dnssec.Keyset
		if json.Unmarshal(has.Value, &old) == nil && old.Serial >= ks.Serial {
			return string(has.Value) == string(value), nil
		}
		mod = has.ModRevision
	}
	return c.putIfAt(ctx, key, mod, value)
}

func (c *Client) getKey(ctx context.Context, key string) (*mvccKV, error) {
	return c.reader(c.link.Etcd).Get(ctx, key)
}

// putIfAt writes a key if it is of that revision; 0: if there is none. Otherwise somebody else wrote it, and it is left alone. ours: it
// has the value now, be it by an attempt whose answer was lost.
func (c *Client) putIfAt(ctx context.Context, key string, mod int64, value []byte) (ours bool, err error) {
	var resp *clientv3.TxnResponse
	err = c.link.Try(ctx, func(ctx context.Context) (err error) { // that it is done twice does no harm
		resp, err = c.link.Etcd.Txn(ctx).If(clientv3.Compare(clientv3.ModRevision(key), "=", mod)).
			Then(clientv3.OpPut(key, string(value))).Else(clientv3.OpGet(key)).Commit()
		return err
	})
	if err != nil || resp.Succeeded {
		return err == nil, err
	}
	there := resp.Responses[0].GetResponseRange().Kvs
	return len(there) > 0 && bytes.Equal(there[0].Value, value), nil
}
