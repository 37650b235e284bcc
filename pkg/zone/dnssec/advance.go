package dnssec

import (
	"cmp"
	"slices"
	"time"
)

// Event is what comes next in the life of a zone's keys.
type Event struct {
	At   time.Time // zero: nothing comes by itself
	What string
	// Waiting is what somebody has to do before more can come.
	Waiting string
}

// Advance does what is due at now, and reports whether anything was, and what comes next. It is the same at
// whatever times it is called, but for the times that it is late. Keys are made by generate, some perhaps in vain;
// their private parts are the caller's.
//
//	ZSK: published → (KeyTTL) → signs instead of the old one → (MaxTTL) → the old one goes (RFC 7583, 3.2.1, pre-publication)
//	KSK: published, signs too → (KeyTTL) → DS of both wanted → seen → (ParentTTL) → the old one goes (3.3.3, double RRset)
//	algorithm: signs → (MaxTTL) → published → (KeyTTL) → its DS alone → seen → (ParentTTL) → old keys hidden
//	→ (KeyTTL) → old signatures end (RFC 6781, 4.1.4, conservative)
//
// To each pause comes Propagation.
func Advance(s State, p Policy, now time.Time, generate func(Algorithm, bool) (*Key, error)) (State, bool, Event, error) {
	if s.Empty() && !p.Sign {
		return s, false, Event{}, nil
	}
	a := &advance{State: s, p: p, now: now, generate: generate}
	a.Keys = slices.Clone(s.Keys)
	a.keepPolicy()
	for again := true; again; {
		before := a.steps
		a.next = Event{}
		a.sets = a.ceiling(&a.KeyTTL, a.p.KeyTTL) || a.sets
		a.ceiling(&a.MaxTTL, a.p.MaxTTL)
		a.withdraw()
		a.start()
		a.rollZSK()
		a.rollKSK()
		a.rollAlgorithm()
		a.remove()
		a.renew()
		switch {
		case a.err != nil:
			return s, false, Event{}, a.err
		case a.Empty():
			return State{}, true, Event{}, nil
		}
		again = a.steps > before
	}
	return a.State, a.steps > 0, a.next, nil
}

// advance is one call of Advance under way.
type advance struct {
	State
	p        Policy
	now      time.Time
	generate func(Algorithm, bool) (*Key, error)

	steps int
	sets  bool // the key sets changed
	next  Event
	err   error
}

// keepPolicy remembers by what a zone is signed, and goes by it once it is not to be.
func (a *advance) keepPolicy() {
	kept := a.p
	kept.MaxTTL = 0
	switch {
	case a.p.Sign && kept != a.Policy:
		a.Policy = kept
		a.did()
	case !a.p.Sign && a.Policy.Sign:
		longest := a.p.MaxTTL
		a.p = a.Policy
		a.p.Sign, a.p.MaxTTL = false, longest
	}
}

// due reports whether a time has come, and notes what comes otherwise.
func (a *advance) due(at time.Time, what string) bool {
	if !a.now.Before(at) {
		return true
	}
	if a.next.At.IsZero() || at.Before(a.next.At) {
		a.next.At, a.next.What = at, what
	}
	return false
}

func (a *advance) did() { a.steps++ }

// published notes a step that changes the DNSKEY, CDS or CDNSKEY set.
func (a *advance) published() {
	a.steps++
	a.sets = true
}

// after is the time at which what was published at t, with a TTL, is all that anybody holds.
func (a *advance) after(t time.Time, ttl time.Duration) time.Time {
	return t.Add(ttl + a.p.Propagation)
}

// ceiling follows what is declared; news tells that it is another TTL than before.
func (a *advance) ceiling(c *Ceiling, declared time.Duration) (news bool) {
	switch {
	case declared >= c.High && *c != (Ceiling{High: declared}):
		news = true
		*c = Ceiling{High: declared}
	case declared < c.High && (c.Since.IsZero() || declared != c.Declared):
		news = true
		c.Declared, c.Since = declared, a.now
	case declared < c.High && a.due(a.after(c.Since, c.High), "a lower TTL is all that resolvers hold"):
		*c = Ceiling{High: declared}
	default:
		return false
	}
	a.did()
	return news
}

// add makes a key whose tag no other key of the zone has.
func (a *advance) add(alg Algorithm, ksk bool) *KeyState {
	var k *Key
	for taken := true; taken; {
		var err error
		if k, err = a.generate(alg, ksk); err != nil {
			a.err = err
			return &KeyState{}
		}
		taken = slices.ContainsFunc(a.Keys, func(s KeyState) bool { return s.Tag == k.Tag() })
	}
	a.Keys = append(a.Keys, KeyState{Tag: k.Tag(), Algorithm: alg, KSK: ksk, Public: k.DNSKEY(), Created: a.now})
	slices.SortStableFunc(a.Keys, func(x, y KeyState) int {
		return cmp.Or(cmp.Compare(rank(x.KSK), rank(y.KSK)), x.Created.Compare(y.Created))
	})
	a.published()
	return &a.Keys[slices.IndexFunc(a.Keys, func(s KeyState) bool { return s.Tag == k.Tag() })]
}

func rank(ksk bool) int {
	if ksk {
		return 0
	}
	return 1
}

// withdraw goes from signed to unsigned, or back (RFC 8078, 4).
func (a *advance) withdraw() {
	switch {
	case a.Empty():
	case a.p.Sign && !a.Withdrawn.IsZero():
		a.Withdrawn = time.Time{}
		if !a.Gone.IsZero() { // the parent has to take up the DS again
			a.Gone = time.Time{}
			for i := range a.Keys {
				if a.Keys[i].KSK {
					a.Keys[i].Active = time.Time{}
				}
			}
		}
		a.published()
	case a.p.Sign:
	case !slices.ContainsFunc(a.Keys, func(k KeyState) bool { return !k.Submitted.IsZero() }):
		a.Keys = nil // the parent was never told
		a.published()
	case a.Withdrawn.IsZero():
		a.Withdrawn = a.now
		a.published()
	case a.Gone.IsZero():
		a.next.Waiting = "the parent to remove the DS: see to it, then run gtmctl dnssec ds-gone"
	case a.due(a.after(a.Gone, a.p.ParentTTL), "the zone becomes unsigned"):
		a.Keys = nil
		a.published()
	}
}

// start makes the first keys.
func (a *advance) start() {
	if !a.Empty() || !a.p.Sign || a.err != nil {
		return
	}
	a.add(a.p.Algorithm, true).Published = a.now
	zsk := a.add(a.p.Algorithm, false)
	zsk.Published, zsk.Active = a.now, a.now
}

// algorithms reports whether keys of two algorithms are there.
func (a *advance) algorithms() bool {
	return slices.ContainsFunc(a.Keys, func(k KeyState) bool { return k.Algorithm != a.Keys[0].Algorithm })
}

// rollZSK publishes the next zone-signing key, and puts it in the place of the current one.
func (a *advance) rollZSK() {
	current, next := a.current(false), a.successor(false)
	if a.algorithms() || current == nil {
		return
	}
	rollAt := a.now
	switch {
	case a.RollZSK:
	case a.p.ZSKLifetime == 0:
		return
	default:
		rollAt = current.Active.Add(a.p.ZSKLifetime)
	}
	if next == nil {
		crowded := !a.RollZSK && slices.ContainsFunc(a.Keys, func(k KeyState) bool { return !k.KSK && !k.Retired.IsZero() })
		// When the algorithm is to change, the keys change with it.
		if !crowded && a.p.Algorithm == current.Algorithm && a.due(rollAt.Add(-a.lead()), "the next zone-signing key is published") {
			a.add(current.Algorithm, false).Published = a.now
		}
		return
	}
	if a.due(latest(rollAt, a.after(next.Published, a.KeyTTL.High)), "the next zone-signing key signs") {
		next.Active, current.Retired, a.RollZSK = a.now, a.now, false
		a.did()
	}
}

// lead is how long before it signs a zone-signing key is published: some more than it needs.
func (a *advance) lead() time.Duration {
	return min(max(24*time.Hour, 2*(a.KeyTTL.High+a.p.Propagation)), a.p.ZSKLifetime/2)
}

func latest(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

// rollKSK publishes the next key-signing key, and offers its DS.
func (a *advance) rollKSK() {
	current, next := a.current(true), a.successor(true)
	switch {
	case !a.Withdrawn.IsZero():
	case next != nil && !next.Submitted.IsZero():
		a.next.Waiting = "the parent to take up the DS: see gtmctl dnssec ds, then run gtmctl dnssec ds-seen"
	case next != nil:
		ready := a.after(next.Published, a.KeyTTL.High)
		if current == nil { // what is cached from before has no signatures
			ready = latest(ready, a.after(next.Published, a.MaxTTL.High))
		}
		if a.due(ready, "the parent may take up the DS") {
			next.Submitted = a.now
			a.published()
		}
	case current == nil || a.algorithms() || a.p.Algorithm != current.Algorithm:
	case a.RollKSK || a.p.KSKLifetime > 0 && a.due(current.Active.Add(a.p.KSKLifetime), "the next key-signing key is published"):
		a.RollKSK = false
		a.add(current.Algorithm, true).Published = a.now
	}
}

// rollAlgorithm goes from one algorithm to another.
func (a *advance) rollAlgorithm() {
	old, ksk := a.current(false), a.current(true)
	if !a.Withdrawn.IsZero() || old == nil {
		return
	}
	if !a.algorithms() {
		busy := ksk == nil || a.successor(true) != nil || a.successor(false) != nil ||
			slices.ContainsFunc(a.Keys, func(k KeyState) bool { return !k.Retired.IsZero() })
		if a.p.Algorithm != old.Algorithm && !busy {
			a.RollZSK, a.RollKSK = false, false
			a.add(a.p.Algorithm, false).Active = a.now
		}
		return
	}
	next := &a.Keys[len(a.Keys)-1] // the youngest ZSK
	switch {
	case next.Published.IsZero():
		if a.due(a.after(next.Active, a.MaxTTL.High), "the keys of the next algorithm are published") {
			next.Published = a.now
			a.add(next.Algorithm, true).Published = a.now
		}
	case !old.Hidden.IsZero():
		if a.due(a.after(old.Hidden, a.KeyTTL.High), "signing with the old algorithm ends") {
			a.drop(func(k *KeyState) bool { return !k.Hidden.IsZero() })
		}
	case ksk != nil && ksk.Algorithm == next.Algorithm:
		if a.due(a.after(ksk.Active, a.p.ParentTTL), "the keys of the old algorithm leave the DNSKEY set") {
			old.Hidden = a.now
			gone := old.Algorithm
			a.drop(func(k *KeyState) bool { return k.KSK && k.Algorithm == gone })
		}
	}
}

// remove takes keys away that nobody can need any more.
func (a *advance) remove() {
	if a.algorithms() {
		return // rollAlgorithm knows
	}
	a.drop(func(k *KeyState) bool {
		switch {
		case k.Retired.IsZero():
			return false
		case k.KSK:
			return a.due(a.after(k.Retired, a.p.ParentTTL), "the old key-signing key goes")
		}
		return a.due(a.after(k.Retired, a.MaxTTL.High), "the old zone-signing key goes")
	})
}

func (a *advance) drop(which func(*KeyState) bool) {
	n := len(a.Keys)
	a.Keys = slices.DeleteFunc(a.Keys, func(k KeyState) bool { return which(&k) })
	if len(a.Keys) != n {
		a.published()
	}
}

// renew notes when the key sets are to be signed.
func (a *advance) renew() {
	if a.sets || a.due(a.Signed.Add(a.p.Validity/2), "the key sets are signed anew") {
		a.Signed, a.sets = a.now, false
		a.Round++
		a.did()
	}
}
