package state

import (
	"slices"

	"github.com/gti/gtm/pkg/health"
	"github.com/gti/gtm/pkg/store/pieces"
)

// Verdicts are what the judge says of pools, by pool. Those of large pools stand in several keys: see package pieces.
var Verdicts = Register(Kind[health.PoolID, health.Verdict]{
	Prefix: []string{"verdict"}, Frame: 'H', Gone: "verdictsDeleted", Most: 32 << 20,
	Name:    func(v health.Verdict) health.PoolID { return v.Pool },
	Compare: ComparePools,
	Decode:  ParseVerdict,
	Same:    func(a, b health.Verdict) bool { return a.Judge == b.Judge && a.Equal(b) },
	What:    "pool", Misread: "a verdict in the store is not understood; the one before holds",
	track: func(t *tracker[health.PoolID, health.Verdict]) Tracker {
		return &verdictTracker{tracker: t, large: map[health.PoolID]*largeVerdict{}, unread: map[health.PoolID]bool{}}
	},
})

// Verdicts gives the verdict of each pool that has one. The map must not be changed.
func (m *Mirror) Verdicts() map[health.PoolID]health.Verdict { return Verdicts.All(m) }

// Verdict gives the verdict of one pool; false: it has none.
func (m *Mirror) Verdict(p health.PoolID) (health.Verdict, bool) { return Verdicts.Get(m, p) }

// verdictTracker joins the pieces of large verdicts.
type verdictTracker struct {
	*tracker[health.PoolID, health.Verdict]
	large  map[health.PoolID]*largeVerdict // that were told
	unread map[health.PoolID]bool          // of which a whole or a piece is not understood: pieces of them say too little

	newLarge map[health.PoolID]*largeVerdict   // those among the news
	pending  map[health.PoolID]*pendingVerdict // of the next update
	read     map[health.PoolID][]verdictEntry  // pieces, and then wholes to which some may belong
	wholes   map[health.PoolID]Entry
}

// largeVerdict is what is known of a verdict that may have pieces. Immutable.
type largeVerdict struct {
	verdict health.Verdict // joined
	whole   bool           // there is a whole
	pieces  pieces.Set     // that are there and newer
}

// pendingVerdict gathers what comes of one pool, and joins it once.
type pendingVerdict struct {
	largeVerdict
	news   map[pieces.Piece]health.Verdict
	newest pieces.Piece
}

func (p *pendingVerdict) add(i pieces.Piece, v health.Verdict) {
	p.news, p.newest, p.pieces = pieces.Add(p.news, i, v), i, p.pieces.With(i)
}

// joined gives what is known now.
func (p *pendingVerdict) joined() *largeVerdict {
	p.verdict = pieces.JoinVerdict(p.verdict, p.news, p.newest)
	p.news = nil
	return &p.largeVerdict
}

// verdictEntry is a verdict, or a piece of one, as it was read.
type verdictEntry struct {
	piece pieces.Piece // -1: the whole
	Entry
}

// parseVerdictKey reads the pool and the piece, -1 for the whole, from the components of a key.
func parseVerdictKey(parts []string) (p health.PoolID, piece pieces.Piece, ok bool) {
	if len(parts) < 2 {
		return p, 0, false
	}
	p, piece, ok = health.PoolID{Tenant: parts[0], Pool: parts[1]}, -1, true
	if len(parts) > 2 {
		piece, ok = pieces.Parse(parts[2:])
	}
	return p, piece, ok
}

func (t *verdictTracker) Begin(full, reading bool) {
	t.tracker.Begin(full, reading)
	t.newLarge, t.pending = map[health.PoolID]*largeVerdict{}, map[health.PoolID]*pendingVerdict{}
	t.read, t.wholes = map[health.PoolID][]verdictEntry{}, map[health.PoolID]Entry{}
	if reading {
		clear(t.unread)
	}
}

func (t *verdictTracker) Read(e Entry) {
	p, piece, ok := parseVerdictKey(e.Parts)
	switch {
	case !ok:
	case piece >= 0:
		t.read[p] = append(t.read[p], verdictEntry{piece, e})
	case t.readWhole(p, e):
		t.wholes[p] = e
	}
}

// readWhole takes a whole that was read, and reports whether pieces may belong to it.
func (t *verdictTracker) readWhole(p health.PoolID, e Entry) (large bool) {
	had := t.large[p]
	inPieces := had != nil && len(had.pieces) > 0
	if t.knows(p, e) && !t.full && !inPieces {
		t.kept[p] = true
		return had != nil
	}
	t.addWhole(p, e)
	n, ok := t.news[p]
	if !ok {
		return false
	}
	l := t.newLarge[p]
	if t.had(p, n.value) {
		t.keep(p, n.sum)
		t.remember(p, l)
	}
	return l != nil
}

// ReadAll joins what was read in pieces.
func (t *verdictTracker) ReadAll() {
	for p, all := range t.read {
		_, small := t.news[p]
		if e, is := t.wholes[p]; is {
			all = append(all, verdictEntry{-1, e})
		} else if small || t.kept[p] {
			continue // the whole is not understood, or too small for pieces
		}
		t.addJoined(p, all)
	}
	t.read, t.wholes = nil, nil
	t.tracker.ReadAll()
}

// addJoined adds what the keys of a pool in pieces say; if one of them is not understood, what was before holds.
func (t *verdictTracker) addJoined(p health.PoolID, all []verdictEntry) {
	joined, err := joinRead(p, all)
	if err != nil {
		t.log.Error(Verdicts.Misread, "pool", p, "error", err)
		delete(t.news, p)
		t.kept[p], t.unread[p] = true, true
		return
	}
	sum := uint64(0)
	if n, is := t.news[p]; is {
		sum = n.sum
	} else if joined.whole {
		sum = t.delivered[p]
	}
	if before := t.large[p]; !t.full && before != nil && before.verdict.Equal(joined.verdict) || t.had(p, joined.verdict) {
		t.keep(p, sum)
		t.remember(p, joined)
		return
	}
	delete(t.kept, p)
	t.put(p, joined, sum)
}

// joinRead gives the verdict that the keys of one pool make, which were read at one revision. An error is of the first that is not
// understood.
func joinRead(p health.PoolID, all []verdictEntry) (*largeVerdict, error) {
	slices.SortStableFunc(all, func(a, b verdictEntry) int { return int(min(max(a.Rev-b.Rev, -1), 1)) })
	out := pendingVerdict{largeVerdict: largeVerdict{verdict: health.Verdict{Pool: p}}}
	since := int64(0)
	if i := slices.IndexFunc(all, func(one verdictEntry) bool { return one.piece < 0 }); i >= 0 {
		v, err := Verdicts.Read(p, all[i].Value)
		if err != nil {
			return nil, err
		}
		out.verdict, out.whole, since = v, true, all[i].Rev
	}
	for _, one := range all {
		if one.piece < 0 || one.Rev <= since {
			continue
		}
		v, err := Verdicts.Read(p, one.Value)
		if err != nil {
			return nil, err
		}
		out.add(one.piece, v)
	}
	return out.joined(), nil
}

// put adds a verdict that may have pieces.
func (t *verdictTracker) put(p health.PoolID, l *largeVerdict, sum uint64) {
	t.news[p], t.newLarge[p] = news[health.Verdict]{value: l.verdict, sum: sum}, l
}

func (t *verdictTracker) remember(p health.PoolID, l *largeVerdict) {
	if l == nil {
		delete(t.large, p)
	} else {
		t.large[p] = l
	}
}

// addWhole adds a whole.
func (t *verdictTracker) addWhole(p health.PoolID, e Entry) {
	if !t.add(p, e) {
		t.unread[p] = t.large[p] == nil
		return
	}
	delete(t.unread, p)
	delete(t.pending, p)
	delete(t.newLarge, p)
	if v := t.news[p].value; len(v.Endpoints) > pieces.WholeMost {
		t.newLarge[p] = &largeVerdict{verdict: v, whole: true}
	}
}

func (t *verdictTracker) Event(e Entry, deleted bool) {
	p, piece, ok := parseVerdictKey(e.Parts)
	switch {
	case !ok:
	case piece >= 0 && deleted:
		t.pieceGone(p, piece)
	case piece >= 0:
		t.addPiece(p, piece, e)
	case deleted:
		t.wholeGone(p)
	default:
		large := t.large[p]
		inPieces := large != nil && len(large.pieces) > 0 || t.pending[p] != nil
		if t.knows(p, e) && !inPieces {
			t.forget(p) // as it was told
			return
		}
		t.addWhole(p, e)
	}
}

// forget takes a pool out of the news.
func (t *verdictTracker) forget(p health.PoolID) {
	delete(t.news, p)
	delete(t.newLarge, p)
}

func (t *verdictTracker) wholeGone(p health.PoolID) {
	delete(t.pending, p)
	delete(t.unread, p)
	delete(t.newLarge, p)
	t.gone(p)
}

// pendingOf gives what is known of a pool as of the events so far; nil: what is known has no pieces.
func (t *verdictTracker) pendingOf(p health.PoolID) *pendingVerdict {
	if w := t.pending[p]; w != nil {
		return w
	}
	l := t.large[p]
	_, delivered := t.delivered[p]
	if n, is := t.news[p]; is {
		l, delivered = t.newLarge[p], !n.deleted
	}
	switch {
	case l != nil:
		return &pendingVerdict{largeVerdict: *l}
	case delivered || t.unread[p]:
		return nil // the whole is small, or was not understood: the judge writes one
	}
	return &pendingVerdict{largeVerdict: largeVerdict{verdict: health.Verdict{Pool: p}}}
}

func (t *verdictTracker) addPiece(p health.PoolID, piece pieces.Piece, e Entry) {
	v, err := Verdicts.Read(p, e.Value)
	if err != nil {
		t.log.Error("a part of a verdict in the store is not understood; the one before holds", "pool", p, "piece", piece, "error", err)
		return
	}
	if w := t.pendingOf(p); w != nil {
		w.add(piece, v)
		t.pending[p] = w
	}
}

// pieceGone notes that a piece was taken away: with a whole that replaces it, or with the last piece of a verdict that has no whole.
func (t *verdictTracker) pieceGone(p health.PoolID, piece pieces.Piece) {
	w := t.pendingOf(p)
	if w == nil || !w.pieces.Has(piece) {
		return
	}
	if w.pieces = w.pieces.Without(piece); len(w.pieces) == 0 && !w.whole {
		t.wholeGone(p)
		return
	}
	t.pending[p] = w
}

// Tell joins what came in pieces. What comes to the verdict that was told is not told again.
func (t *verdictTracker) Tell(u *Update) {
	for p, w := range t.pending {
		sum := t.delivered[p]
		if n, is := t.news[p]; is {
			sum = n.sum
		}
		t.put(p, w.joined(), sum)
	}
	clear(t.pending)
	t.tracker.Tell(u)
	if t.full {
		return
	}
	c := Verdicts.In(*u)
	put := slices.DeleteFunc(slices.Clone(c.Put), func(v health.Verdict) bool {
		before := t.large[v.Pool]
		return before != nil && Verdicts.Same(before.verdict, v)
	})
	if len(put) < len(c.Put) {
		c.Put = slices.Clip(put)
		Verdicts.Set(u, c)
	}
}

// Told also notes which of them have pieces.
func (t *verdictTracker) Told() {
	if t.full {
		large := map[health.PoolID]*largeVerdict{}
		for p := range t.kept {
			if l := t.large[p]; l != nil {
				large[p] = l
			}
		}
		t.large = large
	}
	for p := range t.news {
		t.remember(p, t.newLarge[p])
	}
	t.tracker.Told()
	t.newLarge, t.pending = nil, nil
}
