package store

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/gti/gtm/pkg/health"
	"github.com/gti/gtm/pkg/store/link"
	"github.com/gti/gtm/pkg/store/state"
	"github.com/gti/gtm/pkg/zone/dnssec"
)

// ErrKeysetChanged: the keyset in the store is not the one that was gone by. Nothing was written.
var ErrKeysetChanged = errors.New("the zone's keys in the store have changed meanwhile; nothing was written")

// PutKeyset writes a zone's keyset if the one in the store has the serial before its own (0: there is none),
// else the error is ErrKeysetChanged. So of several who go by the same keyset, one goes on.
func (c *Client) PutKeyset(ctx context.Context, ks dnssec.Keyset) error {
	if ks.Zone == "" || ks.Serial == 0 {
		return errors.New("a keyset needs a zone and a serial")
	}
	value, err := state.Keysets.Encode(ks)
	if err != nil {
		return err
	}
	return c.replaceKeyset(ctx, ks.Zone, ks.Serial-1, value)
}

// DeleteKeyset removes a zone's keyset if it has that serial, else the error is ErrKeysetChanged.
func (c *Client) DeleteKeyset(ctx context.Context, zone string, serial uint64) error {
	return c.replaceKeyset(ctx, zone, serial, nil)
}

// replaceKeyset puts value in the place of the keyset of that serial; nil: it deletes that.
func (c *Client) replaceKeyset(ctx context.Context, zone string, serial uint64, value []byte) error {
	w := keysetWrite{c: c, key: c.keys.Keyset(zone), zone: zone, serial: serial, value: value}
	err := c.link.Try(ctx, w.attempt)
	switch what := "writing the keys of " + zone; {
	case w.broken != nil:
		return fmt.Errorf("%s: what the store holds is not understood: %w", what, w.broken)
	case err != nil && w.open:
		return c.link.Explain(what+" (they may have been written)", err)
	case err != nil:
		return c.link.Explain(what, err)
	case !w.done:
		return ErrKeysetChanged
	}
	return nil
}

// keysetWrite is a keyset on its way into the store.
type keysetWrite struct {
	c         *Client
	key, zone string
	serial    uint64
	value     []byte
	open      bool  // an attempt's answer was lost
	done      bool  // it was written
	broken    error // what is there cannot be compared
}

func (w *keysetWrite) attempt(ctx context.Context) error {
	for {
		kv, err := w.c.reader(w.c.link.Etcd).Get(ctx, w.key)
		if err != nil {
			return err
		}
		var old dnssec.Keyset
		var there []byte
		mod := int64(0)
		if kv != nil {
			mod, there = kv.ModRevision, kv.Value
		}
		if w.open && bytes.Equal(there, w.value) {
			w.done = true // by the attempt whose answer was lost: nobody else makes the same keys
			return nil
		}
		if kv != nil {
			var damaged error
			switch old, damaged = state.Keysets.Read(w.zone, there); {
			case damaged == nil:
			case w.serial == 0: // who knows of none would make new keys, which nobody can verify
				w.broken = damaged
				return nil
			default: // who holds the one before mends it
				w.c.log.Error("the keys of a zone in the store are damaged, and are replaced", "zone", w.zone, "error", damaged)
				old.Serial = w.serial
			}
		}
		if old.Serial != w.serial {
			return nil
		}
		op := clientv3.OpDelete(w.key)
		if w.value != nil {
			op = clientv3.OpPut(w.key, string(w.value))
		}
		resp, err := w.c.link.Etcd.Txn(ctx).If(clientv3.Compare(clientv3.ModRevision(w.key), "=", mod)).Then(op).Commit()
		w.open = w.open || link.Lost(err)
		if err != nil {
			return err
		}
		if w.done = resp.Succeeded; w.done || !w.open {
			return nil
		}
	}
}

// Keyset reads a zone's keyset; ErrNotFound: it has none.
func (c *Client) Keyset(ctx context.Context, zone string) (dnssec.Keyset, error) {
	kv, err := c.reader(c.link.Etcd).Get(ctx, c.keys.Keyset(zone))
	if err != nil {
		return dnssec.Keyset{}, c.link.Explain("reading the keys of "+zone, err)
	}
	if kv == nil {
		return dnssec.Keyset{}, fmt.Errorf("the keys of %s: %w", zone, ErrNotFound)
	}
	return state.Keysets.Read(zone, kv.Value)
}

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
