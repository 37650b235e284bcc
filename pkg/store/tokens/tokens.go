// Package tokens keeps what is known of service tokens in etcd: never the tokens themselves, but what they are recognized by.
package tokens

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"go.etcd.io/etcd/api/v3/mvccpb"
	"go.etcd.io/etcd/client/v3"

	"github.com/gti/gtm/pkg/store/layout"
	"github.com/gti/gtm/pkg/store/link"
	"github.com/gti/gtm/pkg/store/state"
)

// Token is what is known of a service token.
type Token struct {
	Tenant string `json:"tenant"`
	Name   string `json:"name"`
	// ID stands in the token itself, so that it is found; Hash is the SHA-256 of all of it.
	ID      string    `json:"id"`
	Hash    []byte    `json:"hash"`
	Role    string    `json:"role"`
	By      string    `json:"by"`
	Created time.Time `json:"created"`
	Expires time.Time `json:"expires,omitzero"` // zero: never
	Used    time.Time `json:"used,omitzero"`    // to the hour; zero: never
}

// Key names a token.
type Key struct{ Tenant, Name string }

// Key gives the token's key.
func (t *Token) Key() Key { return Key{t.Tenant, t.Name} }

// Update is all tokens (Full), or those that changed.
type Update struct {
	Full    bool
	Put     []Token
	Deleted []Key
}

// Errors of a change.
var (
	ErrExists = errors.New("there is a token of that name")
	ErrFull   = errors.New("the tenant has as many tokens as it may have")
	ErrAbsent = errors.New("there is no token of that name")
)

// Store is where tokens are kept. It is safe for concurrent use.
type Store struct {
	Link *link.Link
	Keys layout.Keys
	Log  *slog.Logger
}

// Create writes a new token, of which a tenant may have so many. Two controls that create at the same time may pass that by one each.
func (s *Store) Create(ctx context.Context, t Token, most int) error {
	value, err := json.Marshal(t)
	if err != nil {
		return err
	}
	key := s.Keys.Token(t.Tenant, t.Name)
	err = s.Link.Try(ctx, func(ctx context.Context) error {
		from := s.Keys.TokensOf(t.Tenant)
		there, err := s.Link.Etcd.Get(ctx, from, clientv3.WithPrefix(), clientv3.WithCountOnly())
		if err != nil {
			return err
		}
		if there.Count >= int64(most) {
			return ErrFull
		}
		resp, err := s.Link.Etcd.Txn(ctx).If(clientv3.Compare(clientv3.CreateRevision(key), "=", 0)).
			Then(clientv3.OpPut(key, string(value))).Else(clientv3.OpGet(key)).Commit()
		if err != nil || resp.Succeeded {
			return err
		}
		// An attempt before this one may have been made, although its answer was lost: the ID is random.
		for _, kv := range resp.Responses[0].GetResponseRange().Kvs {
			var other Token
			if json.Unmarshal(kv.Value, &other) == nil && other.ID == t.ID {
				return nil
			}
		}
		return ErrExists
	})
	return s.explain("writing a token", err)
}

// Delete takes a token away, so that nobody comes in by it any more.
func (s *Store) Delete(ctx context.Context, k Key) error {
	again := false // an attempt before may have been made, although its answer was lost
	err := s.Link.Try(ctx, func(ctx context.Context) error {
		resp, err := s.Link.Etcd.Delete(ctx, s.Keys.Token(k.Tenant, k.Name))
		if err == nil && resp.Deleted == 0 && !again {
			return ErrAbsent
		}
		again = true
		return err
	})
	return s.explain("taking a token away", err)
}

// Used notes when a token was used, if it is still the same one.
func (s *Store) Used(ctx context.Context, t Token, at time.Time) error {
	key := s.Keys.Token(t.Tenant, t.Name)
	err := s.Link.Try(ctx, func(ctx context.Context) error {
		resp, err := s.Link.Etcd.Get(ctx, key)
		if err != nil || len(resp.Kvs) == 0 {
			return err
		}
		var now Token
		if json.Unmarshal(resp.Kvs[0].Value, &now) != nil || now.ID != t.ID || !now.Used.Before(at) {
			return nil
		}
		now.Used = at
		value, err := json.Marshal(now)
		if err != nil {
			return err
		}
		_, err = s.Link.Etcd.Txn(ctx).If(clientv3.Compare(clientv3.ModRevision(key), "=", resp.Kvs[0].ModRevision)).
			Then(clientv3.OpPut(key, string(value))).Commit()
		return err
	})
	return s.explain("noting that a token was used", err)
}

func (s *Store) explain(what string, err error) error {
	if err == nil || errors.Is(err, ErrExists) || errors.Is(err, ErrFull) || errors.Is(err, ErrAbsent) {
		return err
	}
	return s.Link.Explain(what, err)
}

// Follow calls fn with all tokens, and then with every change, until ctx ends. After a loss of contact it begins again with everything.
func (s *Store) Follow(ctx context.Context, fn func(Update)) error {
	from := s.Keys.Tokens()
	begin := func(ctx context.Context, etcd *clientv3.Client) (link.Mark, error) {
		r, u := s.Link.Reader(etcd), Update{Full: true}
		err := r.Each(ctx, from, func(kv *mvccpb.KeyValue) error {
			s.note(&u, kv)
			return nil
		})
		if err == nil {
			fn(u)
		}
		return link.Mark{Cluster: r.Cluster, Rev: r.Rev}, err
	}
	events := func(_ context.Context, evs []*clientv3.Event) error {
		var u Update
		for _, ev := range evs {
			if ev.Type == clientv3.EventTypeDelete {
				if parts := s.Keys.Split(string(ev.Kv.Key)); len(parts) == 4 {
					u.Deleted = append(u.Deleted, Key{parts[2], parts[3]})
				}
				continue
			}
			s.note(&u, ev.Kv)
		}
		fn(u)
		return nil
	}
	told := ""
	status := func(now string, err error) { // who is not heard is told of with the configuration; what only these keys lack, here
		if err == nil {
			told = ""
		} else if now != state.Current && err.Error() != told {
			told = err.Error()
			s.Log.Warn("service tokens are not followed; those that are known hold, and no new one is", "error", err)
		}
	}
	fd := &link.Feed{Link: s.Link, From: from, To: clientv3.GetPrefixRangeEnd(from), Begin: begin, Events: events, Lost: func() {},
		Status: status}
	return fd.Run(ctx)
}

// note adds a token to an update. One that is not understood opens nothing.
func (s *Store) note(u *Update, kv *mvccpb.KeyValue) {
	parts := s.Keys.Split(string(kv.Key))
	if len(parts) != 4 {
		return
	}
	var t Token
	err := json.Unmarshal(kv.Value, &t)
	if err == nil && t.Key() != (Key{parts[2], parts[3]}) {
		err = fmt.Errorf("it says that it is %s/%s", t.Tenant, t.Name)
	}
	if err != nil {
		s.Log.Warn("a service token in the store is not understood, and opens nothing", "key", string(kv.Key), "error", err)
		u.Deleted = append(u.Deleted, Key{parts[2], parts[3]})
		return
	}
	u.Put = append(u.Put, t)
}
