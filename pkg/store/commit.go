package store

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/gti/gtm/pkg/spec"
	"github.com/gti/gtm/pkg/store/layout"
	"github.com/gti/gtm/pkg/store/link"
	"github.com/gti/gtm/pkg/store/state"
)

// Commit makes a change the tenant's next generation, whole or not at all. *ConflictError: a head has
// moved; *TooLargeError: split it; *UnknownError: it may have been made. With any other error, nothing was
// written but zone content that nothing refers to.
func (c *Client) Commit(ctx context.Context, ch Change) (state.Record, error) {
	start := time.Now()
	rec, err := c.commit(ctx, ch)
	c.metrics.commit(start, err)
	return rec, err
}

func (c *Client) commit(ctx context.Context, ch Change) (state.Record, error) {
	// A short question first: with etcd away, this fails soon, and it is certain that nothing was written.
	base, err := c.ground(ctx, ch)
	if err != nil {
		return state.Record{}, err
	}
	t, err := c.draft(ch, base)
	if err != nil {
		return state.Record{}, err
	}
	if t.bytes > MaxChangeBytes || len(t.ops) > MaxChangeOps {
		return state.Record{}, &TooLargeError{Ops: len(t.ops), MaxOps: MaxChangeOps, Bytes: t.bytes, MaxBytes: MaxChangeBytes}
	}
	if err := c.addTexts(ctx, t); err != nil {
		return state.Record{}, err
	}
	// gofail: var commitNext struct{}
	return c.make(ctx, ch, t)
}

// make makes the transaction, on one member or another. That it was made by an attempt whose answer was lost, its record tells;
// and it is never made twice, since it compares the heads.
func (c *Client) make(ctx context.Context, ch Change, t *draft) (state.Record, error) {
	open := false // an attempt's answer was lost: it may have been made, or may yet be
	for swept := 0; ; {
		resp, err := c.transact(ctx, t, &open)
		again := false
		if err == nil && !resp.Succeeded {
			again, err = c.passDamaged(ctx, ch, t, resp)
			if err == nil && !again && swept < mostSwept {
				swept++
				again, err = c.passSwept(ctx, t)
			}
		}
		if !again {
			return c.outcome(ctx, ch, t, resp, open, err)
		}
	}
}

// transact tries the transaction until a member answers. open is set where an attempt's answer was lost.
func (c *Client) transact(ctx context.Context, t *draft, open *bool) (resp *clientv3.TxnResponse, err error) {
	first := c.attemptFor(t.bytes)
	err = c.link.Attempts(ctx, first, min(8*first, c.link.Wait.Commit), func(ctx context.Context) (err error) {
		resp, err = c.link.Etcd.Txn(ctx).If(t.compares...).Then(t.ops...).Else(t.heads...).Commit()
		*open = *open || link.Lost(err)
		return err
	})
	return resp, err
}

// outcome tells what became of a change.
func (c *Client) outcome(ctx context.Context, ch Change, t *draft, resp *clientv3.TxnResponse, open bool, err error) (state.Record, error) {
	switch {
	case err == nil && resp.Succeeded:
		// gofail: var commitMade struct{}
		return t.record, nil
	case err == nil && !open:
		return state.Record{}, c.conflict(ctx, ch, resp)
	case link.SizeRefused(err):
		return state.Record{}, &TooLargeError{Ops: len(t.ops), Bytes: t.bytes}
	case link.Refused(err) && !open:
		return state.Record{}, c.link.Explain(t.what()+" (nothing was written)", err)
	}
	made, clash, readErr := c.reconcile(ctx, t)
	switch {
	case made:
		return t.record, nil
	case clash != nil:
		return state.Record{}, clash
	case err == nil && readErr == nil: // the heads moved, by others: no attempt can succeed any more
		return state.Record{}, c.conflict(ctx, ch, resp)
	case readErr == nil && !open:
		return state.Record{}, c.link.Explain(t.what()+" (nothing was written)", err)
	}
	err = c.link.Explain(t.what(), cmp.Or(err, readErr))
	return state.Record{}, &UnknownError{Tenant: ch.Tenant, Generation: t.record.Generation, Err: err}
}

// attemptFor gives the time of the first attempt to write so many bytes.
func (c *Client) attemptFor(bytes int) time.Duration {
	return c.link.Wait.Attempt * time.Duration(1+bytes>>20)
}

// draft is a change on its way to a transaction.
type draft struct {
	record   state.Record
	compares []clientv3.Cmp
	heads    []clientv3.Op // reads the compared heads, should the comparison fail
	ops      []clientv3.Op
	bytes    int
	runs     []layout.Run
	passed   map[string]int64 // damaged heads that are let pass, by tenant: etcd's revision of each
	bare     int              // so many of ops are there without runs
	swept    int64            // etcd's revision of when runs were removed last, before it was looked for them
}

// mostSwept is how often a change looks anew for its runs since some were removed meanwhile.
const mostSwept = 10

func (d *draft) what() string {
	return fmt.Sprintf("changing %s to generation %d", d.record.Tenant, d.record.Generation)
}

func (d *draft) put(key string, value []byte) {
	d.ops = append(d.ops, clientv3.OpPut(key, string(value)))
	d.bytes += len(key) + len(value) + 16
}

func (d *draft) expect(key string, g state.Generation) {
	cmp := clientv3.Compare(clientv3.Value(key), "=", layout.HeadText(g))
	if g == 0 {
		cmp = clientv3.Compare(clientv3.CreateRevision(key), "=", 0)
	}
	d.compares = append(d.compares, cmp)
	d.heads = append(d.heads, clientv3.OpGet(key))
	d.bytes += 2*len(key) + 32
}

// draft lays out the transaction, all but the runs of zone content. base is the generation that it follows.
func (c *Client) draft(ch Change, base identity) (*draft, error) {
	if ch.Tenant == "" {
		return nil, errors.New("a change without a tenant")
	}
	if len(ch.Put)+len(ch.Delete) == 0 {
		return nil, fmt.Errorf("the change of %s touches nothing; a generation holds at least one resource", ch.Tenant)
	}
	gen := ch.Base + 1
	t := &draft{passed: map[string]int64{}}
	t.record = state.Record{Tenant: ch.Tenant, Generation: gen, Time: ch.Time.UTC(), Author: ch.Author, Message: ch.Message,
		BreakGlass: ch.BreakGlass, Approved: ch.Approved}
	t.expect(c.keys.Head(ch.Tenant), ch.Base)
	for _, name := range readsOf(ch) {
		t.expect(c.keys.Head(name), ch.Reads[name])
	}
	if ch.Base != 0 {
		t.compares = append(t.compares, clientv3.Compare(clientv3.ModRevision(c.keys.Record(ch.Tenant, ch.Base)), "=", base.mod))
	}
	sum := sha256.New()
	fmt.Fprintf(sum, "%s %s %d\n", base.id, ch.Tenant, gen)
	seen := map[spec.Key]bool{}
	add := func(key spec.Key, value []byte) error {
		if key.Tenant != ch.Tenant || seen[key] {
			return fmt.Errorf("%s: a change of %s holds each of that tenant's resources once at most", key, ch.Tenant)
		}
		seen[key] = true
		fmt.Fprintf(sum, "%s %d %s\n", key, len(value), value)
		t.put(c.keys.Version(key, gen), value)
		return nil
	}
	for _, r := range ch.Put {
		value, runs, err := layout.EncodeVersion(r)
		if err != nil {
			return nil, err
		}
		if err := add(r.Key, value); err != nil {
			return nil, err
		}
		t.record.Put = append(t.record.Put, r.Key)
		t.runs = append(t.runs, runs...)
	}
	for _, key := range ch.Delete {
		if err := add(key, []byte(`{"deleted":true}`)); err != nil {
			return nil, err
		}
		t.record.Deleted = append(t.record.Deleted, key)
	}
	state.SortKeys(t.record.Put)
	state.SortKeys(t.record.Deleted)
	fmt.Fprintf(sum, "%q %q %s", t.record.Author, t.record.Message, t.record.Time.Format(time.RFC3339Nano))
	if t.record.BreakGlass != "" || t.record.Approved != "" { // few have that, and what older programs wrote keeps its ID
		fmt.Fprintf(sum, " %q %q", t.record.BreakGlass, t.record.Approved)
	}
	t.record.ID = hex.EncodeToString(sum.Sum(nil))
	return t, c.seal(t)
}

// seal adds the record and the head.
func (c *Client) seal(t *draft) error {
	value, err := state.MarshalPlain(layout.Record{Record: t.record, Digest: t.record.ID})
	if err != nil {
		return err
	}
	t.put(c.keys.Record(t.record.Tenant, t.record.Generation), value)
	t.put(c.keys.Head(t.record.Tenant), []byte(layout.HeadText(t.record.Generation)))
	return nil
}

// How many runs one request asks for or writes, and the bytes that it writes: what etcd takes as it comes, 128 operations and 1.5 MB.
const (
	textBatch      = 100
	textBatchBytes = 1 << 20
)

// addTexts adds the runs that the store does not have. The transaction compares that none was removed since, so that what is there now
// is there when it runs; and since nothing looks at a run that no version names, those that do not fit one
// request together with what names them are written before, in requests of their own.
func (c *Client) addTexts(ctx context.Context, t *draft) error {
	if len(t.runs) == 0 {
		return nil
	}
	if err := c.compareSwept(ctx, t); err != nil {
		return err
	}
	runs, err := c.missing(ctx, t.runs)
	if err != nil {
		return err
	}
	size := t.bytes // beside the resources: a cluster may be one with etcd's defaults
	for _, r := range runs {
		size += len(r.Text)
	}
	if size <= textBatchBytes && len(t.ops)+len(runs) <= textBatch {
		for _, r := range runs {
			t.put(c.keys.Text(r.Hash), []byte(r.Text))
		}
		return nil
	}
	for len(runs) > 0 {
		n := 0
		for size := 0; n < len(runs) && n < textBatch && (n == 0 || size+len(runs[n].Text) <= textBatchBytes); n++ {
			size += len(runs[n].Text)
		}
		if err := c.writeTexts(ctx, runs[:n]); err != nil {
			return err
		}
		// gofail: var runsWritten struct{}
		runs = runs[n:]
	}
	return nil
}

// compareSwept has the transaction fail where runs are removed from now on.
func (c *Client) compareSwept(ctx context.Context, t *draft) error {
	kv, err := c.reader(c.link.Etcd).Get(ctx, c.keys.Swept())
	if err != nil {
		return c.link.Explain("looking for zone content (nothing was written)", err)
	}
	if t.bare == 0 {
		t.bare = len(t.ops)
		t.compares = append(t.compares, clientv3.Cmp{})
	}
	t.swept = 0
	if kv != nil {
		t.swept = kv.ModRevision
	}
	t.compares[len(t.compares)-1] = clientv3.Compare(clientv3.ModRevision(c.keys.Swept()), "=", t.swept)
	return nil
}

// passSwept has a transaction that failed since runs were removed look for its own anew; again: that is worth another try.
func (c *Client) passSwept(ctx context.Context, t *draft) (again bool, err error) {
	if len(t.runs) == 0 {
		return false, nil
	}
	kv, err := c.reader(c.link.Etcd).Get(ctx, c.keys.Swept())
	if err != nil || kv == nil || kv.ModRevision == t.swept {
		return false, err
	}
	t.ops = t.ops[:t.bare]
	return true, c.addTexts(ctx, t)
}

// missing gives the runs that the store does not have, once each.
func (c *Client) missing(ctx context.Context, all []layout.Run) (absent []layout.Run, err error) {
	all = slices.SortedFunc(slices.Values(all), func(a, b layout.Run) int { return strings.Compare(a.Hash, b.Hash) })
	all = slices.CompactFunc(all, func(a, b layout.Run) bool { return a.Hash == b.Hash })
	for runs := range slices.Chunk(all, textBatch) {
		asks := make([]clientv3.Op, len(runs))
		for i, r := range runs {
			asks[i] = clientv3.OpGet(c.keys.Text(r.Hash), clientv3.WithCountOnly())
		}
		resp, err := c.askTexts(ctx, asks)
		if err != nil {
			return nil, c.link.Explain("looking for zone content (nothing was written)", err)
		}
		for i, r := range runs {
			if resp.Responses[i].GetResponseRange().Count == 0 {
				absent = append(absent, r)
			}
		}
	}
	return absent, nil
}

func (c *Client) askTexts(ctx context.Context, asks []clientv3.Op) (*clientv3.TxnResponse, error) {
	var resp *clientv3.TxnResponse
	err := c.link.Try(ctx, func(ctx context.Context) (err error) {
		resp, err = c.link.Etcd.Txn(ctx).Then(asks...).Commit()
		return err
	})
	return resp, err
}

// writeTexts writes runs that no version names yet.
func (c *Client) writeTexts(ctx context.Context, runs []layout.Run) error {
	ops, size := make([]clientv3.Op, len(runs)), 0
	for i, r := range runs {
		ops[i] = clientv3.OpPut(c.keys.Text(r.Hash), r.Text)
		size += len(r.Text)
	}
	first := c.attemptFor(size)
	err := c.link.Attempts(ctx, first, min(8*first, c.link.Wait.Commit), func(ctx context.Context) error {
		_, err := c.link.Etcd.Txn(ctx).Then(ops...).Commit()
		return err
	})
	if err != nil {
		return c.link.Explain("writing zone content (nothing has changed, since nothing refers to it yet)", err)
	}
	return nil
}

// passDamaged lets a change pass heads that are damaged where they should be at what the change expects: those it compares by etcd's
// revision from now on. again: there were some, and the transaction is worth another try.
func (c *Client) passDamaged(ctx context.Context, ch Change, t *draft, resp *clientv3.TxnResponse) (again bool, err error) {
	for i, name := range append([]string{ch.Tenant}, readsOf(ch)...) {
		kvs := resp.Responses[i].GetResponseRange().Kvs
		if len(kvs) == 0 {
			continue
		}
		if _, damaged := layout.ParseHead(kvs[0].Value); damaged == nil {
			continue
		}
		g, err := c.reader(c.link.Etcd).head(ctx, name, kvs[0])
		if err != nil {
			return false, err
		}
		want := ch.Base
		if i > 0 {
			want = ch.Reads[name]
		}
		if g != want {
			return false, nil // conflict tells it
		}
		if t.passed[name] != kvs[0].ModRevision {
			t.compares[i] = clientv3.Compare(clientv3.ModRevision(string(kvs[0].Key)), "=", kvs[0].ModRevision)
			t.passed[name], again = kvs[0].ModRevision, true
		}
	}
	return again, nil
}

// conflict tells which head was not where the change wanted it.
func (c *Client) conflict(ctx context.Context, ch Change, resp *clientv3.TxnResponse) error {
	names := append([]string{ch.Tenant}, readsOf(ch)...)
	for i, name := range names {
		want := ch.Base
		if i > 0 {
			want = ch.Reads[name]
		}
		var have state.Generation
		if kvs := resp.Responses[i].GetResponseRange().Kvs; len(kvs) > 0 {
			g, err := c.reader(c.link.Etcd).head(ctx, name, kvs[0])
			if err != nil {
				return c.link.Explain("changing "+ch.Tenant+" (nothing was written)", err)
			}
			have = g
		}
		if have == want {
			continue
		}
		e := &ConflictError{Tenant: name, Want: want, Have: have}
		if stored, err := c.storedRecord(ctx, name, have); err == nil {
			e.Last = stored.Record
		}
		return e
	}
	return errors.New("a head moved and moved back while the change was made; plan the change anew")
}

// reconcile checks whether a change was made whose answer got lost, or another in its place, which is a conflict; neither, and no error:
// there is no such generation yet.
func (c *Client) reconcile(ctx context.Context, t *draft) (made bool, conflict, err error) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), c.link.Wait.Attempt)
	defer cancel()
	stored, err := c.storedRecord(ctx, t.record.Tenant, t.record.Generation)
	switch {
	case err == nil && stored.Digest == t.record.ID:
		return true, nil, nil
	case err == nil:
		return false, &ConflictError{Tenant: t.record.Tenant, Want: t.record.Generation - 1, Have: t.record.Generation,
			Last: stored.Record}, nil
	case errors.Is(err, ErrNotFound):
		return false, nil, c.wasRemoved(ctx, t.record.Tenant, t.record.Generation)
	}
	return false, nil, err
}

func readsOf(ch Change) []string {
	var names []string
	for name := range ch.Reads {
		if name != ch.Tenant {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names
}

// Change is a tenant's next generation.
type Change struct {
	Tenant string
	// Base is the head that the change was planned on; 0: the tenant has none yet.
	Base state.Generation
	// Reads are the heads of other tenants that the change relies on; 0: must not exist.
	Reads map[string]state.Generation
	// IDs identify Base (under Tenant) and Reads, as far as they are known.
	IDs map[string]string
	// Put and Delete must all belong to Tenant, and name a key at most once.
	Put    []*spec.Resource
	Delete []spec.Key

	Author, Message string
	Time            time.Time
	// BreakGlass and Approved are as in state.Record.
	BreakGlass, Approved string
}

// ground looks at what a change stands on, and gives the generation that it follows. Where that, or what the change relies on, is
// another than was known under its number, the error is a *WentBackError.
func (c *Client) ground(ctx context.Context, ch Change) (identity, error) {
	what := "changing " + ch.Tenant + " (nothing was written)"
	r := c.reader(c.link.Etcd)
	if _, err := r.Get(ctx, c.keys.Head(ch.Tenant)); err != nil { // is tried again over an election
		return identity{}, c.link.Explain(what, err)
	}
	at := map[string]state.Generation{}
	for tenant := range ch.IDs {
		if g := ch.Reads[tenant]; g != 0 {
			at[tenant] = g
		}
	}
	delete(at, ch.Tenant)
	if ch.Base != 0 {
		at[ch.Tenant] = ch.Base
	}
	var base identity
	var back error
	err := r.records(ctx, at, func(tenant string, kv *mvccKV) {
		i := identityOf(kv)
		if err := i.differs(tenant, at[tenant], ch.IDs[tenant]); err != nil && back == nil {
			back = err
		}
		if tenant == ch.Tenant {
			base = i
		}
	})
	if err != nil {
		return identity{}, c.link.Explain(what, err)
	}
	return base, back
}
