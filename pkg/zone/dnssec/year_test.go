package dnssec

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"
)

// A year of a zone: control acts at odd times and is away for days, edges lag, the operator and the parent take
// their time, policies change. At every moment, whatever a resolver may hold must validate together.

// edition is what was published from a time on.
type edition struct {
	from           time.Time
	signed         time.Time
	keys           map[uint16]Algorithm // DNSKEY set
	ksks           []uint16             // of them, those that sign it
	sigs           map[uint16]Algorithm // the keys that sign the zone's sets
	keyTTL, maxTTL time.Duration
}

// parentSet is what a parent's DS set was from a time on.
type parentSet struct {
	from time.Time
	ds   map[uint16]Algorithm
}

type year struct {
	t      *testing.T
	r      *rand.Rand
	p      Policy
	s      State
	now    time.Time
	event  Event
	zone   []edition
	parent []parentSet

	awayUntil time.Time     // control is not running
	lag       time.Duration // of the parent's slowest server
	changed   time.Time     // when the parent last changed
	confirmed time.Time     // the change that was told
	seen      map[string]int
}

func (y *year) between(a, b time.Duration) time.Duration {
	return a + time.Duration(y.r.Int64N(int64(b-a)))
}

// act is one call of Advance, and what it publishes.
func (y *year) act() {
	s, changed, event, err := Advance(y.s, y.p, y.now, Generate)
	if err != nil {
		y.t.Fatal(err)
	}
	y.s, y.event = s, event
	if last := y.zone[len(y.zone)-1]; !changed && last.maxTTL == y.p.MaxTTL {
		return
	}
	ttl := y.p.KeyTTL
	if y.zone[len(y.zone)-1].signed.Equal(s.Signed) {
		ttl = y.zone[len(y.zone)-1].keyTTL // as it was signed
	}
	e := edition{from: y.now, signed: s.Signed, keys: map[uint16]Algorithm{}, sigs: map[uint16]Algorithm{},
		keyTTL: ttl, maxTTL: y.p.MaxTTL}
	for _, k := range s.Keys {
		y.seen[k.Phase()]++
		if k.Visible() {
			e.keys[k.Tag] = k.Algorithm
		}
		if k.KSK && k.Signs() {
			e.ksks = append(e.ksks, k.Tag)
		}
		if !k.KSK && k.Signs() {
			e.sigs[k.Tag] = k.Algorithm
		}
	}
	y.zone = append(y.zone, e)
}

// held gives the editions of which something with a TTL may be in a cache now.
func held[E any](all []E, from func(E) time.Time, oldest func(E) time.Time) []E {
	var out []E
	for i, e := range all {
		if i+1 < len(all) && !from(all[i+1]).After(oldest(e)) {
			continue
		}
		out = append(out, e)
	}
	return out
}

func (y *year) check() {
	born := func(e edition) time.Time { return e.from }
	keys := held(y.zone, born, func(e edition) time.Time { return y.now.Add(-e.keyTTL - y.p.Propagation) })
	sets := held(y.zone, born, func(e edition) time.Time { return y.now.Add(-e.maxTTL - y.p.Propagation) })
	parents := held(y.parent, func(p parentSet) time.Time { return p.from },
		func(parentSet) time.Time { return y.now.Add(-y.p.ParentTTL - y.lag) })
	for _, ds := range parents {
		if len(ds.ds) == 0 {
			continue
		}
		for _, k := range keys {
			y.checkChain(ds, k)
		}
		for _, set := range sets {
			if len(set.sigs) == 0 {
				y.t.Fatalf("%v: a set of %v has no signature, and the DS of %v is there", y.now, set.from, ds.from)
			}
		}
	}
	if slices.ContainsFunc(parents, func(p parentSet) bool { return len(p.ds) > 0 }) { // else nobody validates
		for _, k := range keys {
			for _, set := range sets {
				y.checkSets(k, set)
			}
		}
	}
	if last := y.zone[len(y.zone)-1]; len(last.keys) > 0 && !y.now.Before(last.signed.Add(y.p.Validity-y.p.KeyTTL)) {
		y.t.Fatalf("%v: the key sets' signatures of %v run out", y.now, last.signed)
	}
}

// checkChain wants, of each algorithm in the DS set, a key in both that signs (RFC 4035, 2.2; RFC 6840, 5.11).
func (y *year) checkChain(ds parentSet, k edition) {
	for _, alg := range ds.ds {
		if !slices.ContainsFunc(k.ksks, func(tag uint16) bool { return ds.ds[tag] == alg }) {
			y.t.Fatalf("%v: no DS of %v (%v, algorithm %v) leads to the DNSKEY set of %v (%v, signed by %v)",
				y.now, ds.from, ds.ds, alg, k.from, k.keys, k.ksks)
		}
	}
}

// checkSets wants, of each algorithm in the DNSKEY set, a signature, and no signature whose key is missing.
func (y *year) checkSets(k, set edition) {
	if len(k.keys) == 0 || len(set.sigs) == 0 {
		return // checked with the DS
	}
	for _, alg := range k.keys {
		ok := false
		for tag, a := range set.sigs {
			_, there := k.keys[tag]
			ok = ok || a == alg && there
		}
		if !ok {
			y.t.Fatalf("%v: sets of %v (signed by %v) have no signature of algorithm %v by the DNSKEY set of %v (%v)",
				y.now, set.from, set.sigs, alg, k.from, k.keys)
		}
	}
}

// live lets the operator, the parent and control do what comes to their minds.
func (y *year) live() {
	if y.now.After(y.awayUntil) {
		if y.r.IntN(400) == 0 {
			y.awayUntil = y.now.Add(y.between(time.Hour, 5*day))
		}
		y.act()
	}
	y.liveParent()
	if y.now.Before(y.awayUntil) {
		return // who asks control gets no answer
	}
	switch y.r.IntN(1500) {
	case 0:
		y.ask(y.s.Roll(false))
	case 1:
		y.ask(y.s.Roll(true))
	case 2:
		y.p.Algorithm = []Algorithm{ECDSAP256, Ed25519}[y.r.IntN(2)]
	case 3:
		if !y.s.Empty() { // what an unsigned zone's TTLs were, nobody keeps
			y.p.MaxTTL = y.between(time.Minute, 3*day)
		}
	case 4:
		if !y.s.Empty() {
			y.p.KeyTTL = y.between(time.Minute, 6*time.Hour)
		}
	case 5:
		y.p.Sign = y.r.IntN(3) > 0
	case 6:
		y.p.ZSKLifetime = y.between(0, 60*day)
	case 7:
		y.p.KSKLifetime = y.between(0, 100*day)
	}
}

func (y *year) ask(s State, err error) {
	if err == nil {
		y.s = s
		y.act()
	}
}

// liveParent takes up what is offered, at once (as CDS lets it) or beside the old DS, and tells of it later.
func (y *year) liveParent() {
	current := y.parent[len(y.parent)-1].ds
	want := map[uint16]Algorithm{}
	if y.s.Withdrawn.IsZero() {
		for _, k := range y.s.Offered() {
			want[k.Tag] = k.Algorithm
		}
	}
	same := fmt.Sprint(want) == fmt.Sprint(current)
	if !same && y.r.IntN(60) == 0 && (len(want) > 0 || !y.s.Withdrawn.IsZero()) {
		y.parent = append(y.parent, parentSet{from: y.now, ds: want})
		y.changed, y.lag = y.now, y.between(0, y.p.Propagation)
		return
	}
	if same && y.confirmed.Before(y.changed) && y.now.After(y.changed.Add(y.lag)) && y.r.IntN(20) == 0 && y.now.After(y.awayUntil) {
		y.confirmed = y.now
		if y.s.Withdrawn.IsZero() {
			y.ask(y.s.DSSeen(y.now))
		} else {
			y.ask(y.s.DSGone(y.now))
		}
	}
}

func TestYear(t *testing.T) {
	seen := map[string]int{}
	for seed := range uint64(40) {
		y := &year{t: t, r: rand.New(rand.NewPCG(seed, 1)), p: testPolicy(), now: began, seen: seen, parent: []parentSet{{}}}
		y.p.ParentTTL = y.between(time.Hour, 3*day)
		y.p.Propagation = y.between(time.Minute, 5*time.Hour)
		y.p.KSKLifetime = 60 * day
		y.zone = []edition{{from: began.Add(-100 * day), keyTTL: time.Hour, maxTTL: y.p.MaxTTL}} // unsigned so far
		y.act()
		for y.now.Before(began.Add(365 * day)) {
			step := y.between(time.Second, 3*time.Hour)
			if at := y.event.At; y.r.IntN(3) == 0 && at.After(y.now) && at.Before(y.now.Add(step)) {
				step = at.Sub(y.now) // exactly then, too
			}
			y.now = y.now.Add(step)
			y.live()
			y.check()
			y.forget()
		}
	}
	for _, phase := range []string{"published", "waits for its DS", "active", "retired", "signs, not yet published",
		"signs, left the DNSKEY set"} {
		if seen[phase] < 10 {
			t.Errorf("in all these years a key was %q %d times", phase, seen[phase])
		}
	}
}

// forget drops what no cache can hold any more.
func (y *year) forget() {
	for len(y.zone) > 1 && y.zone[1].from.Before(y.now.Add(-20*day)) {
		y.zone = y.zone[1:]
	}
	for len(y.parent) > 1 && y.parent[1].from.Before(y.now.Add(-20*day)) {
		y.parent = y.parent[1:]
	}
}
