// Package prune removes from etcd what is older than a retention: generations, and zone content that no version refers to any more.
//
// # Generations
//
// Of each tenant the generations from the oldest that is kept to the head are whole. To make the next one the oldest, what it touched is
// looked at: of each of these resources the versions before are needed by older generations only, and so is a version that tells of a
// deletion. Both go, with the records of older generations, in the transaction that says so (config/oldest). Where the generation
// touched too much for one transaction, that is written first, and what is to go follows; whoever is elected next begins there.
//
// # Zone content
//
// A run goes when no version of a zone refers to it. Changes may come while that is looked for, so the transaction compares the head of
// the platform, which alone has zones, with the one that was looked at; and it writes config/swept, which a change compares that relies
// on runs being there.
package prune

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"go.etcd.io/etcd/api/v3/mvccpb"
	"go.etcd.io/etcd/client/v3"

	"github.com/gti/gtm/pkg/spec"
	"github.com/gti/gtm/pkg/store/layout"
	"github.com/gti/gtm/pkg/store/link"
	"github.com/gti/gtm/pkg/store/state"
)

// What one transaction holds: etcd takes 128 operations as it comes.
const (
	mostOps     = 100
	recordsRead = 64 // of one step
)

// ErrLost: this process is not elected any more, or the tenant changed in what was compared. Nothing was removed.
var ErrLost = errors.New("another control is elected, or something was pointed at meanwhile; nothing was removed")

// Config is what a Pruner needs.
type Config struct {
	Link   *link.Link
	Keys   layout.Keys
	Logger *slog.Logger
	// Office is the key by which whoever has the Pruner is elected, and Created etcd's revision of its creation.
	Office  string
	Created int64
	// Pinned gives the oldest generation of a tenant that something is pointed at, which stays with all after it, and what holds as long
	// as nothing is pointed at an older one; 0: nothing is pinned. nil: nothing ever is.
	Pinned func(ctx context.Context, tenant string) (oldest state.Generation, unchanged []clientv3.Cmp, err error)
}

// Pruner removes. It is for one goroutine.
type Pruner struct{ cfg Config }

// New makes one.
func New(cfg Config) *Pruner { return &Pruner{cfg: cfg} }

// leads holds while this process is elected.
func (p *Pruner) leads() clientv3.Cmp {
	return clientv3.Compare(clientv3.CreateRevision(p.cfg.Office), "=", p.cfg.Created)
}

// Keep says what stays of a tenant: what was in force at Before or later, and at least so many generations.
type Keep struct {
	Before time.Time
	Least  int
}

// Step tells what was done of one tenant.
type Step struct {
	Head, Oldest state.Generation
	Removed      int // generations
	// More tells that another step finds more to do.
	More bool
	// Next was made when: the generation after Oldest becomes the oldest when that is before Keep.Before. Zero: there is none.
	Next time.Time
	// Pinned is the generation that something is pointed at, and for which older ones stay; 0: none stay for that.
	Pinned state.Generation
}

// Tenant removes some of what is old of a tenant. removing is told of the records before they go, and stops that by an error.
func (p *Pruner) Tenant(ctx context.Context, tenant string, keep Keep, removing func([]state.Record) error) (Step, error) {
	t, err := p.read(ctx, tenant)
	if err != nil || t.head == 0 {
		return Step{}, err
	}
	s := Step{Head: t.head, Oldest: t.oldest.Generation}
	if t.oldest.Clearing {
		return p.clear(ctx, t, s, removing)
	}
	n, unchanged := t.due(keep), []clientv3.Cmp(nil)
	if n > 0 && p.cfg.Pinned != nil {
		var pinned state.Generation
		if pinned, unchanged, err = p.cfg.Pinned(ctx, tenant); err != nil {
			return s, fmt.Errorf("what is pointed at of %s: %w", tenant, err)
		}
		if now := t.upTo(n, pinned); now < n {
			n, s.Pinned = now, pinned
		}
	}
	if n = t.batch(n); n == 0 {
		if len(t.records) > 1 {
			s.Next = t.records[1].Time
		}
		return s, nil
	}
	if err := removing(t.known(n)); err != nil {
		return s, err
	}
	// gofail: var pruneNoted struct{}
	to := t.records[n]
	if cost(&to) > mostOps {
		err = p.write(ctx, t, layout.Oldest{Generation: to.Generation, Clearing: true}, unchanged)
		s.Oldest, s.More = to.Generation, true
		return s, err
	}
	ops := []clientv3.Op{}
	for i := 1; i <= n; i++ {
		ops = append(ops, p.superseded(&t.records[i])...)
	}
	err = p.write(ctx, t, layout.Oldest{Generation: to.Generation}, unchanged, append(ops, p.records(t, to.Generation))...)
	if err == nil {
		s.Oldest, s.Removed, s.More = to.Generation, n, true
	}
	return s, err
}

// tenantLog is the oldest part of a tenant's history.
type tenantLog struct {
	name    string
	head    state.Generation
	oldest  layout.Oldest
	records []record
}

type record struct {
	state.Record
	damaged bool
}

// read gets head, oldest and the oldest records in one request, which is of one revision.
func (p *Pruner) read(ctx context.Context, tenant string) (*tenantLog, error) {
	t := &tenantLog{name: tenant}
	k := p.cfg.Keys
	resp, err := p.ask(ctx, clientv3.OpGet(k.Head(tenant)), clientv3.OpGet(k.Oldest(tenant)),
		clientv3.OpGet(k.Log(tenant), clientv3.WithPrefix(), clientv3.WithSort(clientv3.SortByKey, clientv3.SortAscend),
			clientv3.WithLimit(recordsRead)))
	if err != nil {
		return nil, p.cfg.Link.Explain("looking for what is old of "+tenant, err)
	}
	values := make([][]byte, 2)
	for i := range values {
		if kvs := resp.Responses[i].GetResponseRange().Kvs; len(kvs) > 0 {
			values[i] = kvs[0].Value
		}
	}
	if len(values[0]) == 0 {
		return t, nil
	}
	if t.head, err = layout.ParseHead(values[0]); err != nil {
		return nil, fmt.Errorf("the head of %s: %w; its next change mends it", tenant, err)
	}
	if t.oldest, err = layout.ParseOldest(values[1]); err != nil {
		return nil, fmt.Errorf("%s: %w", tenant, err)
	}
	for _, kv := range resp.Responses[2].GetResponseRange().Kvs {
		if r, ok := p.record(kv); ok && r.Generation <= t.head {
			t.records = append(t.records, r)
		}
	}
	return t, nil
}

func (p *Pruner) ask(ctx context.Context, ops ...clientv3.Op) (resp *clientv3.TxnResponse, err error) {
	err = p.cfg.Link.Try(ctx, func(ctx context.Context) (err error) {
		resp, err = p.cfg.Link.Etcd.Txn(ctx).Then(ops...).Commit()
		return err
	})
	return resp, err
}

// record reads one. Of one that is damaged its generation is known, and that it goes with the others: what it touched goes when that is
// touched again.
func (p *Pruner) record(kv *mvccpb.KeyValue) (record, bool) {
	parts := p.cfg.Keys.Split(string(kv.Key))
	g, ok := layout.ParseRecordKey(parts)
	if !ok {
		return record{}, false
	}
	var r layout.Record
	if err := json.Unmarshal(kv.Value, &r); err != nil || r.Generation != g {
		return record{Record: state.Record{Tenant: parts[2], Generation: g}, damaged: true}, true
	}
	r.ID = r.Digest
	return record{Record: r.Record}, true
}

// due gives how many of the oldest generations are not to be kept.
func (t *tenantLog) due(keep Keep) (n int) {
	for i := 1; i < len(t.records); i++ {
		r := &t.records[i]
		switch {
		case uint64(r.Generation)+uint64(max(keep.Least, 1)) > uint64(t.head)+1:
			return n
		case r.damaged: // when it was made is not known: it goes where one after it does
		case r.Time.After(keep.Before):
			return n
		default:
			n = i
		}
	}
	return n
}

// upTo gives how many of n generations are older than the pinned one.
func (t *tenantLog) upTo(n int, pinned state.Generation) int {
	for pinned != 0 && n > 0 && t.records[n].Generation > pinned {
		n--
	}
	return n
}

// batch gives how many of n generations one transaction removes; 1 also where that is too much for one.
func (t *tenantLog) batch(n int) int {
	ops := 0
	for i := 1; i <= n; i++ {
		if ops += cost(&t.records[i]); ops > mostOps {
			return max(i-1, 1)
		}
	}
	return n
}

func cost(r *record) int { return len(r.Put) + len(r.Deleted) }

// known gives the records of the n oldest generations.
func (t *tenantLog) known(n int) []state.Record {
	var out []state.Record
	for i := range n {
		if t.records[i].Generation < t.records[n].Generation {
			out = append(out, t.records[i].Record)
		}
	}
	return out
}

// superseded removes the versions that a generation replaced, and what tells of its deletions.
func (p *Pruner) superseded(r *record) (ops []clientv3.Op) {
	before := func(k spec.Key, g state.Generation) {
		ops = append(ops, clientv3.OpDelete(p.cfg.Keys.Version(k, 0), clientv3.WithRange(p.cfg.Keys.Version(k, g))))
	}
	for _, k := range r.Put {
		before(k, r.Generation)
	}
	for _, k := range r.Deleted {
		before(k, r.Generation+1)
	}
	return ops
}

// records removes those of generations before one.
func (p *Pruner) records(t *tenantLog, before state.Generation) clientv3.Op {
	return clientv3.OpDelete(p.cfg.Keys.Record(t.name, 0), clientv3.WithRange(p.cfg.Keys.Record(t.name, before)))
}

// write makes one transaction, if this process is still elected and what else is compared holds.
func (p *Pruner) write(ctx context.Context, t *tenantLog, oldest layout.Oldest, besides []clientv3.Cmp, ops ...clientv3.Op) error {
	value, err := state.MarshalPlain(oldest)
	if err != nil {
		return err
	}
	ops = append(ops, clientv3.OpPut(p.cfg.Keys.Oldest(t.name), string(value)))
	return p.commit(ctx, "removing what is old of "+t.name, besides, ops...)
}

func (p *Pruner) commit(ctx context.Context, what string, besides []clientv3.Cmp, ops ...clientv3.Op) error {
	var resp *clientv3.TxnResponse
	// gofail: var pruneNext struct{}
	err := p.cfg.Link.Try(ctx, func(ctx context.Context) (err error) { // twice is as once
		resp, err = p.cfg.Link.Etcd.Txn(ctx).If(append([]clientv3.Cmp{p.leads()}, besides...)...).Then(ops...).Commit()
		return err
	})
	switch {
	case err != nil:
		return p.cfg.Link.Explain(what, err)
	case !resp.Succeeded:
		return fmt.Errorf("%s: %w", what, ErrLost)
	}
	// gofail: var pruned struct{}
	return nil
}

// clear removes what only generations before the oldest needed, which is more than one transaction holds.
func (p *Pruner) clear(ctx context.Context, t *tenantLog, s Step, removing func([]state.Record) error) (Step, error) {
	var gone []state.Record
	var ops []clientv3.Op
	for i := range t.records {
		switch r := &t.records[i]; {
		case r.Generation < s.Oldest:
			gone = append(gone, r.Record)
		case r.Generation == s.Oldest:
			ops = p.superseded(r)
		}
	}
	if err := removing(gone); err != nil {
		return s, err
	}
	for len(ops) > mostOps {
		if err := p.commit(ctx, "removing what is old of "+t.name, nil, ops[:mostOps]...); err != nil {
			return s, err
		}
		ops = ops[mostOps:]
	}
	err := p.write(ctx, t, layout.Oldest{Generation: s.Oldest}, nil, append(ops, p.records(t, s.Oldest))...)
	if err == nil {
		s.Removed, s.More = len(gone), true
	}
	return s, err
}
