package prune

import (
	"context"
	"fmt"

	"go.etcd.io/etcd/api/v3/mvccpb"
	"go.etcd.io/etcd/client/v3"

	"github.com/gti/gtm/pkg/spec"
	"github.com/gti/gtm/pkg/store/layout"
)

const (
	mostRuns  = 50 // of one transaction
	mostLooks = 20 // at zones that were changed meanwhile, for one transaction
)

// Revision gives the store's: what is written from now on is younger.
func (p *Pruner) Revision(ctx context.Context) (int64, error) {
	r := p.cfg.Link.Reader(p.cfg.Link.Etcd)
	_, err := r.Get(ctx, p.cfg.Keys.Swept())
	return r.Rev, p.cfg.Link.Explain("looking for zone content that is old", err)
}

// Sweep removes the runs of zone content that are not younger than a revision and that no version refers to. pause is called between two
// transactions, and ends it by an error.
func (p *Pruner) Sweep(ctx context.Context, upTo int64, pause func() error) (removed int, err error) {
	s := &sweep{p: p, used: map[string]bool{}}
	if err := s.look(ctx); err != nil {
		return 0, err
	}
	runs, err := s.unused(ctx, upTo)
	for len(runs) > 0 && err == nil {
		n := min(mostRuns, len(runs))
		var gone int
		if gone, err = s.remove(ctx, runs[:n]); err == nil {
			err = pause()
		}
		removed, runs = removed+gone, runs[n:]
	}
	return removed, err
}

// sweep knows which runs are referred to, as of a head of the platform.
type sweep struct {
	p         *Pruner
	used      map[string]bool // by hash
	rev       int64           // of the last look; 0: none yet
	head      int64           // etcd's revision of the platform's head then
	swept     int64           // likewise of when runs were removed last
	unchanged []clientv3.Cmp
}

// look adds what versions refer to that were written since the last look.
func (s *sweep) look(ctx context.Context) error {
	const what = "looking for zone content that nothing refers to"
	k, l := s.p.cfg.Keys, s.p.cfg.Link
	r := l.Reader(l.Etcd)
	mod := func(key string) (int64, error) {
		kv, err := r.Get(ctx, key)
		if err != nil || kv == nil {
			return 0, err
		}
		return kv.ModRevision, nil
	}
	var err error
	if s.head, err = mod(k.Head(spec.Platform)); err == nil {
		s.swept, err = mod(k.Swept())
	}
	if err != nil {
		return l.Explain(what, err)
	}
	err = r.Each(ctx, k.Zones(), func(kv *mvccpb.KeyValue) error {
		v, err := layout.ParseVersion(kv.Value)
		if err != nil { // what it refers to is not known, so nothing can go
			return fmt.Errorf("%s: %w", kv.Key, err)
		}
		for _, hash := range v.Text {
			s.used[hash] = true
		}
		return nil
	}, clientv3.WithMinModRev(s.rev+1))
	s.rev = r.Rev
	s.unchanged = []clientv3.Cmp{clientv3.Compare(clientv3.ModRevision(k.Head(spec.Platform)), "=", s.head),
		clientv3.Compare(clientv3.ModRevision(k.Swept()), "=", s.swept)}
	return l.Explain(what, err)
}

// unused gives the hashes of runs that can go.
func (s *sweep) unused(ctx context.Context, upTo int64) (hashes []string, err error) {
	k, l := s.p.cfg.Keys, s.p.cfg.Link
	r := l.Reader(l.Etcd)
	err = r.Each(ctx, k.Texts(), func(kv *mvccpb.KeyValue) error {
		if parts := k.Split(string(kv.Key)); len(parts) == 3 && kv.ModRevision <= upTo && !s.used[parts[2]] {
			hashes = append(hashes, parts[2])
		}
		return nil
	}, clientv3.WithKeysOnly())
	return hashes, l.Explain("looking for zone content that nothing refers to", err)
}

// remove removes some runs, but those that a change refers to that came meanwhile.
func (s *sweep) remove(ctx context.Context, hashes []string) (removed int, err error) {
	k := s.p.cfg.Keys
	for range mostLooks {
		ops := []clientv3.Op{clientv3.OpPut(k.Swept(), "")}
		for _, hash := range hashes {
			if !s.used[hash] {
				ops = append(ops, clientv3.OpDelete(k.Text(hash)))
			}
		}
		if len(ops) == 1 {
			return 0, nil
		}
		// gofail: var sweepNext struct{}
		resp, err := s.commit(ctx, ops)
		if err != nil {
			return 0, err
		}
		if resp.Succeeded {
			// gofail: var swept struct{}
			s.swept = resp.Header.Revision
			s.unchanged[1] = clientv3.Compare(clientv3.ModRevision(k.Swept()), "=", s.swept)
			return len(ops) - 1, nil
		}
		if kvs := resp.Responses[0].GetResponseRange().Kvs; len(kvs) == 0 || kvs[0].CreateRevision != s.p.cfg.Created {
			return 0, fmt.Errorf("removing zone content: %w", ErrLost)
		}
		if err := s.look(ctx); err != nil {
			return 0, err
		}
	}
	return 0, nil // it is left for the next time
}

// commit makes the transaction. Where it does not hold, its answer tells whether this process is still elected.
func (s *sweep) commit(ctx context.Context, ops []clientv3.Op) (resp *clientv3.TxnResponse, err error) {
	compares := append([]clientv3.Cmp{s.p.leads()}, s.unchanged...)
	err = s.p.cfg.Link.Try(ctx, func(ctx context.Context) (err error) {
		resp, err = s.p.cfg.Link.Etcd.Txn(ctx).If(compares...).Then(ops...).Else(clientv3.OpGet(s.p.cfg.Office)).Commit()
		return err
	})
	return resp, s.p.cfg.Link.Explain("removing zone content that nothing refers to", err)
}
