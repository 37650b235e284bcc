package store

import (
	"cmp"
	"context"
	"errors"
	"maps"
	"slices"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/gti/gtm/pkg/health"
	"github.com/gti/gtm/pkg/store/layout"
	"github.com/gti/gtm/pkg/store/link"
	"github.com/gti/gtm/pkg/store/pieces"
	"github.com/gti/gtm/pkg/store/state"
)

// observationMost is how many bytes an observation has at most, unpacked.
const observationMost = 32 << 20

// PutObservation writes what a vantage knows of a pool, as a whole; see WriteObservations.
func (c *Client) PutObservation(ctx context.Context, o health.Observation) error {
	return c.WriteObservations(ctx, []ObservationWrite{{Observation: o}})[o.Pool].Err
}

// ObservationWrite is what a vantage knows of a pool, to be written. Was is what the store holds of it, so that of a large pool only what
// changed is written; nil: not known, or a whole is due. NoPieces: the store holds no pieces of the pool, since the last write was a whole
// that has none; a whole costs etcd half as much then.
type ObservationWrite struct {
	Observation health.Observation
	Was         *health.Observation
	NoPieces    bool
}

// WriteObservations writes what a vantage knows of some pools, in as few transactions as fit, each pool in one. It stays until it is
// deleted: a prober that dies leaves its evidence. What etcd finds at fault with one is told with that one, and the others are written.
func (c *Client) WriteObservations(ctx context.Context, writes []ObservationWrite) map[health.PoolID]Written {
	w := observationWriter{c: c, done: make(map[health.PoolID]Written, len(writes))}
	var batch []observationUnit
	ops, bytes := 0, 0
	for i := range writes {
		u, err := c.observationUnit(&writes[i])
		if err != nil {
			w.done[u.of.Pool] = Written{Err: err}
			continue
		}
		if len(batch) > 0 && (ops+u.most() > verdictOps || bytes+u.bytes > verdictBytes) {
			w.write(ctx, batch)
			batch, ops, bytes = nil, 0, 0
		}
		batch, ops, bytes = append(batch, u), ops+u.most(), bytes+u.bytes
	}
	w.write(ctx, batch)
	return w.done
}

// observationUnit is what is written of one pool.
type observationUnit struct {
	of    *health.Observation
	key   string
	ops   []clientv3.Op
	bytes int
	whole bool
	lone  bool // there are no pieces of it, before and after
}

// most is how many operations or comparisons it makes, whichever are more.
func (u *observationUnit) most() int {
	if u.lone {
		return 1
	}
	return max(len(u.ops), 2)
}

func (u *observationUnit) put(c *Client, key string, o *health.Observation) error {
	value, err := state.MarshalPlain(o)
	if err != nil {
		return err
	}
	value = c.pack(value)
	u.ops, u.bytes = append(u.ops, clientv3.OpPut(key, string(value))), u.bytes+len(key)+len(value)
	return nil
}

// putPieces adds pieces, which take away what lies in them.
func (u *observationUnit) putPieces(c *Client, which pieces.Set) error {
	for _, p := range which {
		piece := *u.of
		piece.Endpoints = pieces.Cut(piece.Endpoints, p)
		if err := u.put(c, pieces.Key(u.key, p), &piece); err != nil {
			return err
		}
		if p.Coarse() {
			u.ops = append(u.ops, layout.DropPieces(pieces.Key(u.key, p)))
		}
	}
	return nil
}

func (c *Client) observationUnit(w *ObservationWrite) (observationUnit, error) {
	o := &w.Observation
	u := observationUnit{of: o, key: c.keys.Observation(o.Vantage, o.Pool)}
	if o.Vantage == "" || o.Pool.Tenant == "" || o.Pool.Pool == "" {
		return u, errNoVantage
	}
	if w.Was != nil {
		if changed, ok := pieces.ChangedSights(w.Was.Endpoints, o.Endpoints, c.frame()); ok { // pieces belong to large wholes only
			return u, u.putPieces(c, changed)
		}
	}
	u.whole, u.lone = true, w.NoPieces
	err := u.put(c, u.key, o)
	if !u.lone {
		u.ops = append(u.ops, layout.DropPieces(u.key))
	}
	return u, err
}

type observationWriter struct {
	c    *Client
	done map[health.PoolID]Written
}

// write writes units in one transaction, or in halves where etcd finds something at fault with it.
func (w *observationWriter) write(ctx context.Context, units []observationUnit) {
	if len(units) == 0 {
		return
	}
	var over []overwritten
	var ops []clientv3.Op
	bytes := 0
	for i := range units {
		u := &units[i]
		over, ops, bytes = append(over, overwritten{u.key, u.lone}), append(ops, u.ops...), bytes+u.bytes
	}
	err := w.c.overwrite(ctx, over, bytes, ops...)
	switch half := len(units) / 2; {
	case err != nil && faulty(err) && half > 0:
		w.write(ctx, units[:half])
		w.write(ctx, units[half:])
	case link.SizeRefused(err) && len(units[0].of.Endpoints) > pieces.WholeMost:
		w.done[units[0].of.Pool] = w.alone(ctx, units[0])
	default:
		for _, u := range units {
			w.done[u.of.Pool] = Written{Bytes: u.bytes, Whole: u.whole, Err: w.c.link.Explain("writing an observation", err)}
		}
	}
}

// alone writes what no request holds: all of it in pieces, as many at once as one does.
func (w *observationWriter) alone(ctx context.Context, u observationUnit) (done Written) {
	u.ops, u.bytes = nil, 0
	if err := u.putPieces(w.c, pieces.All()); err != nil {
		return Written{Err: err}
	}
	for ops := u.ops; len(ops) > 0; {
		n, bytes := 0, 0
		for n < min(len(ops), verdictOps) && (n == 0 || bytes+len(ops[n].ValueBytes()) <= verdictBytes/2) {
			bytes, n = bytes+len(ops[n].KeyBytes())+len(ops[n].ValueBytes()), n+1
		}
		if err := w.c.overwrite(ctx, []overwritten{{key: u.key}}, bytes, ops[:n]...); err != nil {
			return Written{Bytes: done.Bytes, Err: w.c.link.Explain("writing an observation", err)}
		}
		done.Bytes, ops = done.Bytes+bytes, ops[n:]
	}
	return done
}

// readObservation reads what is stored of one, or of a piece of one.
func readObservation(value []byte) (o health.Observation, err error) {
	if value, err = state.Unpack(value, observationMost); err != nil {
		return o, err
	}
	return state.ParseObservation(value)
}

// DeleteObservation removes what a vantage knew of a pool. There may be nothing.
func (c *Client) DeleteObservation(ctx context.Context, vantage string, p health.PoolID) error {
	key := c.keys.Observation(vantage, p)
	err := c.overwrite(ctx, []overwritten{{key: key}}, 0, clientv3.OpDelete(key), layout.DropPieces(key))
	return c.link.Explain("deleting an observation", err)
}

// FollowObservations calls fn with all observations and live vantages, and then with every change, until
// ctx ends or fn fails; it returns that error. After a loss of contact it begins again with everything.
func (c *Client) FollowObservations(ctx context.Context, fn func(ObservationUpdate) error) error {
	o := &observer{c: c, fn: fn, alive: map[string]health.Vantage{}, releases: map[string]Release{},
		large: map[ObservationKey]largeObservation{}}
	from, to := c.keys.Observed()
	fd := &link.Feed{Link: c.link, From: from, To: to, Begin: o.begin, Events: o.events, Lost: func() {}, Status: o.status}
	return fd.Run(ctx)
}

type observer struct {
	c        *Client
	fn       func(ObservationUpdate) error
	alive    map[string]health.Vantage
	releases map[string]Release // by key
	large    map[ObservationKey]largeObservation
	state    string
}

// largeObservation is one that may have pieces: what was told of it, whether it has a whole, and which pieces. Immutable.
type largeObservation struct {
	health.Observation
	whole  bool
	pieces pieces.Set
}

func (o *observer) status(state string, err error) {
	if state != o.state && err != nil {
		o.c.log.Warn("following the probers' observations is interrupted", "error", err)
	}
	o.state = state
}

// begin reads everything, also after a loss: it is little.
func (o *observer) begin(ctx context.Context, etcd *clientv3.Client) (link.Mark, error) {
	r := o.c.reader(etcd)
	u := ObservationUpdate{Full: true, AliveChanged: true, ReleasesChanged: true}
	if err := o.load(ctx, r, &u); err != nil {
		return link.Mark{}, err
	}
	clear(o.releases)
	err := r.Each(ctx, o.c.keys.Releases(), func(kv *mvccKV) error {
		if rel, ok := o.release(kv); ok {
			o.releases[string(kv.Key)] = rel
		}
		return nil
	})
	if err != nil {
		return link.Mark{}, err
	}
	o.alive = map[string]health.Vantage{}
	err = r.Each(ctx, o.c.keys.Vantages(), func(kv *mvccKV) error {
		if parts := o.c.keys.Split(string(kv.Key)); len(parts) == 3 {
			o.alive[parts[2]] = aboutVantage(kv)
		}
		return nil
	})
	if err != nil {
		return link.Mark{}, err
	}
	o.who(&u)
	if u.Signals, err = o.c.loadSignals(ctx, r); err != nil {
		return link.Mark{}, err
	}
	return link.Mark{Cluster: r.Cluster, Rev: r.Rev}, o.tell(u)
}

// who adds who is alive and what waits.
func (o *observer) who(u *ObservationUpdate) {
	u.Alive, u.About, u.Releases = slices.Sorted(maps.Keys(o.alive)), maps.Clone(o.alive), o.waiting()
}

func (o *observer) tell(u ObservationUpdate) error {
	if err := o.fn(u); err != nil {
		return link.Stop(err)
	}
	return nil
}

// readPiece is a piece as it was read.
type readPiece struct {
	piece pieces.Piece
	rev   int64
	health.Observation
}

// load reads all observations. Pieces that are older than their whole are what an older program left behind.
func (o *observer) load(ctx context.Context, r *reader, u *ObservationUpdate) error {
	clear(o.large)
	inPieces, since := map[ObservationKey][]readPiece{}, map[ObservationKey]int64{}
	err := r.Each(ctx, o.c.keys.Observations(), func(kv *mvccKV) error {
		key, piece, obs, ok := o.decode(kv)
		switch {
		case !ok:
		case piece >= 0:
			inPieces[key] = append(inPieces[key], readPiece{piece, kv.ModRevision, obs})
		default:
			since[key] = kv.ModRevision
			o.large[key] = largeObservation{Observation: obs, whole: true}
		}
		return nil
	})
	if err != nil {
		return err
	}
	for key, all := range inPieces {
		w := pendingObservation{largeObservation: o.large[key]}
		if w.whole && len(w.Endpoints) <= pieces.WholeMost {
			continue
		}
		w.Vantage, w.Pool = key.Vantage, key.Pool
		slices.SortStableFunc(all, func(a, b readPiece) int { return cmp.Compare(a.rev, b.rev) })
		for _, one := range all {
			if one.rev > since[key] {
				w.add(one.piece, one.Observation)
			}
		}
		o.large[key] = w.joined()
	}
	for _, key := range slices.SortedFunc(maps.Keys(o.large), compareObservations) {
		l := o.large[key]
		u.Put = append(u.Put, l.Observation)
		if len(l.pieces) == 0 && len(l.Endpoints) <= pieces.WholeMost {
			delete(o.large, key)
		}
	}
	return nil
}

// decode reads an observation, or a piece of one; -1: the whole. One that is not understood is left out.
func (o *observer) decode(kv *mvccKV) (key ObservationKey, piece pieces.Piece, obs health.Observation, ok bool) {
	if key, piece, ok = parseObservation(o.c.keys.Split(string(kv.Key))); !ok {
		return key, piece, obs, false
	}
	var err error
	if obs, err = readObservation(kv.Value); err != nil || obs.Vantage != key.Vantage || obs.Pool != key.Pool {
		o.c.log.Warn("an observation in the store is not understood and left out", "key", string(kv.Key), "error", err)
		return key, piece, obs, false
	}
	return key, piece, obs, true
}

// parseObservation reads the components of a key; piece is -1 for the whole.
func parseObservation(parts []string) (key ObservationKey, piece pieces.Piece, ok bool) {
	if len(parts) < 5 || parts[0] != "world" || parts[1] != "obs" {
		return key, 0, false
	}
	key, piece, ok = ObservationKey{Vantage: parts[2], Pool: health.PoolID{Tenant: parts[3], Pool: parts[4]}}, -1, true
	if len(parts) > 5 {
		piece, ok = pieces.Parse(parts[5:])
	}
	return key, piece, ok
}

// pendingObservation gathers what comes of one observation, and joins it once.
type pendingObservation struct {
	largeObservation
	news map[pieces.Piece]map[string]health.Sight
	gone bool
}

func (w *pendingObservation) add(p pieces.Piece, obs health.Observation) {
	w.news, w.pieces, w.gone = pieces.Add(w.news, p, obs.Endpoints), w.pieces.With(p), false
}

func (w *pendingObservation) joined() largeObservation {
	if len(w.news) > 0 {
		w.Endpoints, w.news = pieces.Join(w.Endpoints, w.news), nil
	}
	return w.largeObservation
}

// sights gathers the events of observations.
type sights struct {
	o       *observer
	pending map[ObservationKey]*pendingObservation
}

// of gives what is known of an observation as of the events so far.
func (s *sights) of(key ObservationKey) *pendingObservation {
	w := s.pending[key]
	if w == nil {
		w = &pendingObservation{largeObservation: s.o.large[key]}
		w.Vantage, w.Pool = key.Vantage, key.Pool
	}
	return w
}

func (s *sights) event(ev *clientv3.Event) {
	key, piece, ok := parseObservation(s.o.c.keys.Split(string(ev.Kv.Key)))
	if !ok {
		return
	}
	w := s.of(key)
	if ev.Type == clientv3.EventTypeDelete {
		if piece < 0 {
			w = &pendingObservation{gone: true}
		} else if !w.pieces.Has(piece) {
			return // with a whole that replaces it
		} else if w.pieces = w.pieces.Without(piece); len(w.pieces) == 0 && !w.whole {
			w = &pendingObservation{gone: true}
		}
		s.pending[key] = w
		return
	}
	_, _, obs, ok := s.o.decode(ev.Kv)
	switch {
	case !ok:
		return
	case piece < 0:
		w = &pendingObservation{largeObservation: largeObservation{Observation: obs, whole: true}}
	default:
		w.add(piece, obs)
	}
	s.pending[key] = w
}

// tell adds what came to an update.
func (s *sights) tell(u *ObservationUpdate) {
	for _, key := range slices.SortedFunc(maps.Keys(s.pending), compareObservations) {
		w := s.pending[key]
		if w.gone {
			u.Deleted = append(u.Deleted, key)
			delete(s.o.large, key)
			continue
		}
		l := w.joined()
		u.Put = append(u.Put, l.Observation)
		if s.o.large[key] = l; len(l.pieces) == 0 && len(l.Endpoints) <= pieces.WholeMost {
			delete(s.o.large, key)
		}
	}
}

func (o *observer) events(_ context.Context, evs []*clientv3.Event) error {
	u := ObservationUpdate{}
	seen, signals := sights{o, map[ObservationKey]*pendingObservation{}}, map[SignalKey]SignalGroup{}
	for _, ev := range evs {
		o.c.noteSignal(signals, ev)
		parts := o.c.keys.Split(string(ev.Kv.Key))
		if joinTwo(parts) == "world/vantage" && len(parts) == 3 {
			before, was := o.alive[parts[2]]
			delete(o.alive, parts[2])
			is := ev.Type == clientv3.EventTypePut
			if is {
				o.alive[parts[2]] = aboutVantage(ev.Kv)
			}
			u.AliveChanged = u.AliveChanged || was != is || o.alive[parts[2]] != before
			continue
		}
		if joinTwo(parts) == "world/release" {
			u.ReleasesChanged = true
			delete(o.releases, string(ev.Kv.Key))
			if rel, ok := o.release(ev.Kv); ok && ev.Type == clientv3.EventTypePut {
				o.releases[string(ev.Kv.Key)] = rel
			}
			continue
		}
		seen.event(ev)
	}
	seen.tell(&u)
	o.who(&u)
	u.Signals = sortedSignals(signals)
	if len(u.Put)+len(u.Deleted)+len(u.Signals) == 0 && !u.AliveChanged && !u.ReleasesChanged {
		return nil
	}
	return o.tell(u)
}

// errNoVantage guards against keys that name nobody.
var errNoVantage = errors.New("an observation needs a vantage, a tenant and a pool")

// ObservationUpdate is all that the probers told (Full), or what changed.
type ObservationUpdate struct {
	Full    bool
	Put     []health.Observation
	Deleted []ObservationKey
	// Alive are all vantages that hold a lease now, sorted; AliveChanged tells that it is news.
	Alive        []string
	AliveChanged bool
	// About is what those say of themselves.
	About map[string]health.Vantage
	// Releases are all that wait for the judge; ReleasesChanged tells that it is news.
	Releases        []Release
	ReleasesChanged bool
	// Signals are what is said of endpoints: of all, or the groups that changed.
	Signals []SignalGroup
}

// ObservationKey names one vantage's observation of one pool.
type ObservationKey struct {
	Vantage string
	Pool    health.PoolID
}
