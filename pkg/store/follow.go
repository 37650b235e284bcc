package store

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"hash/maphash"
	"maps"
	"slices"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/gti/gtm/pkg/spec"
	"github.com/gti/gtm/pkg/store/link"
	"github.com/gti/gtm/pkg/store/state"
)

// Follow tells of the whole state and then of every change, until ctx ends or OnUpdate fails; it returns
// that error. A generation is told whole or not at all. Follow survives what befalls etcd: it tells so
// through OnStatus and goes on where it stopped, or, where etcd no longer knows how (compaction), reads
// the state anew and tells the difference. A state that is older than the known one, or another under the same numbers, is not told
// until someone accepts it.
func (c *Client) Follow(ctx context.Context, cfg FollowConfig) error {
	f := &follower{c: c, cfg: cfg, known: cfg.From, tenants: map[string]*delivered{},
		seen: witnesses{seed: maphash.MakeSeed()}}
	f.assume(cfg.From, cfg.Has)
	f.cfg.Has = nil
	from, to := c.keys.Followed()
	f.setStatus(state.Connecting, nil)
	fd := &link.Feed{Link: c.link, From: from, To: to, Begin: f.begin, Opened: f.watches, Events: f.events,
		Progress: f.progress, Lost: f.forget, Status: f.setStatus}
	return fd.Run(ctx)
}

// follower knows what its consumer was told.
type follower struct {
	c       *Client
	cfg     FollowConfig
	known   *state.Cursor // never told less than this
	started bool          // a Full update was told
	anew    bool          // what happened since cannot be watched: compare everything
	seen    witnesses     // of what was told
	cursor  int64         // the revision up to which it was, in this session
	tenants map[string]*delivered
	kinds   []tracked
	broken  int              // versions told as broken
	etcd    *clientv3.Client // the connection of this session
	status  state.FollowStatus
	loads   uint32 // how often everything was compared
}

// tracked is a followed kind, with what the consumer was told of it.
type tracked struct {
	prefix []string // of its keys
	state.Tracker
}

// delivered is what the consumer knows of one tenant.
type delivered struct {
	head     state.Generation
	id       string
	versions map[spec.Key]*deliveredVersion
}

type deliveredVersion struct {
	gen             state.Generation
	digest          uint64 // 0: not known
	deleted, broken bool
	load            uint32 // in which it was last found to be the same; see follower.loads
}

// same reports whether a stored version is the one that was told. What it says decides: numbers return when a store went back.
func (t *deliveredVersion) same(v found) bool {
	return t.gen == v.gen && t.digest != 0 && t.digest == state.DigestOf(v.value)
}

// sum tells stored forms apart, for as long as this follower lives.
func (f *follower) sum(value []byte) uint64 { return max(1, maphash.Bytes(f.seen.seed, value)) }

// assume has the follower take as told what the consumer came with.
func (f *follower) assume(from *state.Cursor, has *state.Update) {
	if from == nil {
		has = nil
	}
	for _, kind := range state.Kinds() {
		f.kinds = append(f.kinds, tracked{kind.KeyPrefix(), kind.Track(has, f.c.log)})
	}
	if has == nil {
		return
	}
	f.started, f.anew = true, true
	f.known = &state.Cursor{Cluster: from.Cluster, Revision: from.Revision, Epoch: from.Epoch, Heads: maps.Clone(from.Heads),
		IDs: map[string]string{}}
	maps.Copy(f.known.IDs, from.IDs)
	for _, tu := range has.Tenants {
		t := &delivered{head: tu.Head, id: tu.ID, versions: make(map[spec.Key]*deliveredVersion, len(tu.Put))}
		versions := make([]deliveredVersion, len(tu.Put))
		for i, v := range tu.Put {
			versions[i] = deliveredVersion{gen: v.Generation, digest: v.Digest}
			t.versions[v.Resource.Key] = &versions[i]
		}
		f.tenants[tu.Tenant] = t
	}
}

func (f *follower) forget() { f.anew = true }

func (f *follower) progress(rev int64) {
	f.cursor = max(f.cursor, rev)
	f.c.metrics.cursor.Set(float64(f.cursor))
	moved := f.cursor != f.status.Cursor
	f.status.Cursor = f.cursor
	if moved && f.status.State == state.Current && f.cfg.OnStatus != nil {
		f.cfg.OnStatus(f.status)
	}
}

func (f *follower) setStatus(state string, err error) {
	text := ""
	if err != nil {
		text = err.Error()
	}
	if f.status.State == state && f.status.Err == text {
		return
	}
	if f.status.State != state {
		f.status.Since = f.c.cfg.Now()
		f.c.metrics.state(state)
	}
	f.status.State, f.status.Err, f.status.Cursor = state, text, f.cursor
	if f.cfg.OnStatus != nil {
		f.cfg.OnStatus(f.status)
	}
}

// begin checks whether the store went back, and either resumes, or reads everything.
func (f *follower) begin(ctx context.Context, etcd *clientv3.Client) (link.Mark, error) {
	f.etcd = etcd
	r := f.c.reader(etcd)
	epoch, err := f.epoch(ctx, r)
	if err != nil {
		return link.Mark{}, err
	}
	heads, err := r.heads(ctx)
	if err != nil {
		return link.Mark{}, err
	}
	if err := checkBack(f.known, epoch, heads); err != nil {
		f.anew = true // also if it is not accepted: what comes then is yet another store
		return link.Mark{}, err
	}
	same := f.started && f.known.Cluster == r.Cluster && f.known.Epoch == epoch
	if same && !f.anew && f.cursor <= r.Rev {
		resume, err := f.seen.hold(ctx, r)
		if err != nil {
			return link.Mark{}, err
		}
		if resume { // from where history is known to be the same: what came since was told, and is not told again
			f.cursor = f.seen.unique.rev
			return link.Mark{Cluster: r.Cluster, Rev: f.cursor}, nil
		}
	}
	if err := f.checkIDs(ctx, r, epoch, heads); err != nil {
		f.anew = true
		return link.Mark{}, err
	}
	return link.Mark{Cluster: r.Cluster, Rev: r.Rev}, f.load(ctx, r, epoch, heads, !same)
}

// watches makes sure that the watch that was opened is on the store that was read. From now on its connection vouches for that.
func (f *follower) watches(ctx context.Context, etcd *clientv3.Client) error {
	ok, err := f.seen.vouch(ctx, f.c.reader(etcd))
	if err == nil && !ok {
		return link.ErrReadAnew
	}
	return err
}

// epoch gives the store's epoch. One that is not understood says nothing, and the known one counts.
func (f *follower) epoch(ctx context.Context, r *reader) (int64, error) {
	epoch, err := r.epoch(ctx)
	if !errors.Is(err, errEpoch) {
		return epoch, err
	}
	f.c.log.Error("the store's epoch is damaged; the one that was known counts", "error", err)
	if f.known == nil {
		return 0, nil
	}
	return f.known.Epoch, nil
}

// checkBack reports whether the numbers of a store are lower than known. Its revision does not count: a store that lost nothing but what
// nobody follows has not gone back.
func checkBack(known *state.Cursor, epoch int64, heads map[string]state.Generation) error {
	if known == nil || epoch > known.Epoch {
		return nil
	}
	if len(heads) == 0 && len(known.Heads) > 0 {
		return &state.WentBackError{Reason: "it is empty", Empty: true}
	}
	if epoch < known.Epoch {
		return &state.WentBackError{Reason: fmt.Sprintf("it does not hold what was accepted at %s (its epoch is %d, but was %d)",
			time.UnixMilli(known.Epoch).UTC().Format("2006-01-02 15:04:05Z"), epoch, known.Epoch)}
	}
	for _, t := range slices.Sorted(maps.Keys(known.Heads)) {
		if heads[t] < known.Heads[t] {
			return &state.WentBackError{Reason: fmt.Sprintf("%s is at generation %d, but was at %d", t, heads[t], known.Heads[t])}
		}
	}
	return nil
}

// checkIDs reports whether what stands in the store under the known generations is what was known. A record that is damaged or absent
// says nothing.
func (f *follower) checkIDs(ctx context.Context, r *reader, epoch int64, heads map[string]state.Generation) error {
	if f.known == nil || epoch > f.known.Epoch {
		return nil
	}
	at := map[string]state.Generation{}
	for t, id := range f.known.IDs {
		if g := f.known.Heads[t]; id != "" && g != 0 && heads[t] != 0 {
			at[t] = g
		}
	}
	var back error
	err := r.records(ctx, at, func(t string, kv *mvccKV) {
		i := identityOf(kv)
		if i.id == "" {
			f.c.log.Error("the record of a known change is damaged or gone in the store; its number alone counts", "tenant", t,
				"generation", at[t])
		}
		if back == nil {
			back = i.differs(t, at[t], f.known.IDs[t])
		}
	})
	return cmp.Or(err, back)
}

// load reads everything at r's revision, and tells all of it or what differs from what was told.
func (f *follower) load(ctx context.Context, r *reader, epoch int64, heads map[string]state.Generation, full bool) error {
	d := f.beginDelta(full, true)
	f.loads++
	d.seen = witnesses{seed: f.seen.seed}
	err := r.records(ctx, heads, func(t string, kv *mvccKV) {
		td := d.tenant(t)
		td.head, td.id = heads[t], identityOf(kv).id
		if kv != nil {
			d.seen.see(kv, false, td.id != "")
		}
	})
	if err != nil {
		return err
	}
	err = r.newest(ctx, f.c.keys.Resources(), func(t string) state.Generation { return heads[t] }, func(v found) error {
		d.seen.see(v.kv, false, false)
		if was := f.version(v.key); was != nil && !full && was.same(v) {
			was.load = f.loads
			return nil
		}
		return d.add(ctx, r, v)
	})
	if err != nil {
		return err
	}
	if err := f.loadKinds(ctx, r, d); err != nil {
		return err
	}
	if !full {
		f.addVanished(d, heads)
	}
	f.c.metrics.resyncs.Inc()
	f.anew = false
	return f.tell(d, link.Mark{Cluster: r.Cluster, Rev: r.Rev}, epoch)
}

// loadKinds reads the values of all followed kinds.
func (f *follower) loadKinds(ctx context.Context, r *reader, d *delta) error {
	for _, k := range f.kinds {
		err := r.Each(ctx, f.c.keys.Below(k.prefix), func(kv *mvccKV) error {
			if string(kv.Key) == f.c.keys.Pulse() {
				d.seen.see(kv, false, f.pulse(kv))
				return nil
			}
			d.seen.see(kv, false, false)
			if parts := f.c.keys.Split(string(kv.Key)); len(parts) > len(k.prefix) {
				k.Read(f.entry(parts[len(k.prefix):], kv))
			}
			return nil
		})
		if err != nil {
			return err
		}
	}
	for _, k := range f.kinds {
		k.ReadAll()
	}
	return nil
}

// addVanished adds what was told and is no longer there.
func (f *follower) addVanished(d *delta, heads map[string]state.Generation) {
	for name, t := range f.tenants {
		for key, v := range t.versions {
			if v.load == f.loads || v.deleted {
				continue
			}
			found := d.tenant(name).versions
			if _, other := found[key]; !other {
				found[key] = change{version: deliveredVersion{gen: heads[name], deleted: true}}
			}
		}
	}
}

// version gives what was told of a resource; nil: nothing.
func (f *follower) version(k spec.Key) *deliveredVersion {
	if t := f.tenants[k.Tenant]; t != nil {
		return t.versions[k]
	}
	return nil
}

// tell delivers a delta and remembers it.
func (f *follower) tell(d *delta, at link.Mark, epoch int64) error {
	u := d.update(f)
	u.Cursor, u.Cluster, u.Epoch = at.Rev, at.Cluster, epoch
	if !u.Empty() {
		if err := f.cfg.OnUpdate(u); err != nil {
			return link.Stop(err)
		}
	}
	if d.full {
		f.forgetAll()
	}
	d.remember(f)
	f.started, f.seen = true, d.seen
	f.known.Cluster, f.known.Revision, f.known.Epoch = at.Cluster, at.Rev, epoch
	f.cursor = at.Rev // also downwards: this store's numbers count from now on
	f.progress(at.Rev)
	return nil
}

// forgetAll prepares for a full delta.
func (f *follower) forgetAll() {
	f.tenants, f.broken = map[string]*delivered{}, 0
	f.known = &state.Cursor{Heads: map[string]state.Generation{}, IDs: map[string]string{}}
}

// Accept lets the store's present state be followed even where it is older than what edges know: it writes
// a newer epoch, which says who took that decision.
func (c *Client) Accept(ctx context.Context, author string) error {
	err := c.link.Try(ctx, func(ctx context.Context) error { return c.accept(ctx, author) }) // that it is done twice does no harm
	return c.link.Explain("accepting the store's state", err)
}

// accept writes the next epoch once.
func (c *Client) accept(ctx context.Context, author string) error {
	for {
		kv, err := c.reader(c.link.Etcd).Get(ctx, c.keys.Epoch())
		if err != nil {
			return err
		}
		var old epochValue
		mod := int64(0)
		if kv != nil {
			mod = kv.ModRevision
			_ = json.Unmarshal(kv.Value, &old) // one that is not understood is replaced
		}
		// By the clock, because a restored store does not know the epochs that were accepted since.
		now := c.cfg.Now()
		value, err := state.MarshalPlain(epochValue{Epoch: max(old.Epoch+1, now.UnixMilli()), Author: author, Time: now.UTC()})
		if err != nil {
			return err
		}
		resp, err := c.link.Etcd.Txn(ctx).If(clientv3.Compare(clientv3.ModRevision(c.keys.Epoch()), "=", mod)).
			Then(clientv3.OpPut(c.keys.Epoch(), string(value))).Commit()
		if err != nil || resp.Succeeded {
			return err
		}
	}
}

type epochValue struct {
	Epoch  int64     `json:"epoch"`
	Author string    `json:"author,omitempty"`
	Time   time.Time `json:"time"`
}

// epoch also fixes the revision at which r reads.
func (r *reader) epoch(ctx context.Context) (int64, error) {
	kv, err := r.Get(ctx, r.c.keys.Epoch())
	if err != nil || kv == nil {
		return 0, err
	}
	return parseEpoch(kv.Value)
}

// errEpoch: the epoch in the store is damaged.
var errEpoch = errors.New("the store's epoch is not understood")

func parseEpoch(value []byte) (int64, error) {
	var v epochValue
	if err := json.Unmarshal(value, &v); err != nil || v.Epoch <= 0 {
		return 0, fmt.Errorf("%w: %.40q", errEpoch, value)
	}
	return v.Epoch, nil
}

// FollowConfig says where following starts and whom it tells. The functions are called from one
// goroutine, one at a time.
type FollowConfig struct {
	// From is a known past, as from a snapshot; nil: none.
	From *state.Cursor
	// Has, if not nil, is the state at From, which the consumer holds already: as long as the store is the same one, only what
	// differs from it is told, and versions with the Digest of the stored ones are not read again.
	Has *state.Update
	// OnUpdate takes the next update; its error ends Follow.
	OnUpdate func(state.Update) error
	// OnPulse, if not nil, is called with each pulse of the judge that comes while following, and with the last one at the start.
	OnPulse func(state.Pulse)
	// OnStatus, if not nil, is called whenever the state or its reason changes, and when the cursor moves while the
	// state is Current.
	OnStatus func(state.FollowStatus)
}
