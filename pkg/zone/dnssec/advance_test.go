package dnssec

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"
)

const day = 24 * time.Hour

var began = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

func testPolicy() Policy {
	return Policy{Sign: true, Algorithm: Ed25519, ZSKLifetime: 30 * day, Propagation: time.Hour, KeyTTL: time.Hour,
		ParentTTL: 2 * day, MaxTTL: 6 * time.Hour, Validity: 14 * day}
}

// script drives one zone's state through time.
type script struct {
	t     *testing.T
	p     Policy
	s     State
	now   time.Time
	event Event
}

func newScript(t *testing.T) *script {
	sc := &script{t: t, p: testPolicy(), now: began}
	sc.advance()
	return sc
}

func (sc *script) advance() {
	sc.t.Helper()
	s, changed, event, err := Advance(sc.s, sc.p, sc.now, Generate)
	if err != nil {
		sc.t.Fatal(err)
	}
	if again, more, _, _ := Advance(s, sc.p, sc.now, Generate); more {
		sc.t.Fatalf("at %v there was more to do at once: %+v became %+v", sc.now, s, again)
	}
	if !changed && describe(s) != describe(sc.s) {
		sc.t.Fatalf("a change was not told")
	}
	sc.s, sc.event = s, event
}

// to goes from event to event, up to a time after the beginning.
func (sc *script) to(after time.Duration) {
	sc.t.Helper()
	end := began.Add(after)
	for !sc.event.At.IsZero() && !sc.event.At.After(end) {
		if !sc.event.At.After(sc.now) {
			sc.t.Fatalf("the next event, %v, is not in the future of %v", sc.event, sc.now)
		}
		sc.now = sc.event.At
		sc.advance()
	}
	sc.now = end
	sc.advance()
}

// describe gives the keys in a line, as in K15 active, Z15 active.
func describe(s State) string {
	var parts []string
	for _, k := range s.Keys {
		role := "Z"
		if k.KSK {
			role = "K"
		}
		parts = append(parts, fmt.Sprintf("%s%d %s", role, k.Algorithm, k.Phase()))
	}
	return strings.Join(parts, "; ")
}

func (sc *script) is(want string) {
	sc.t.Helper()
	if got := describe(sc.s); got != want {
		sc.t.Errorf("after %v:\n got %s\nwant %s", sc.now.Sub(began), got, want)
	}
}

func (sc *script) seen() {
	sc.t.Helper()
	s, err := sc.s.DSSeen(sc.now)
	if err != nil {
		sc.t.Fatal(err)
	}
	sc.s = s
	sc.advance()
}

func (sc *script) roll(ksk bool) {
	sc.t.Helper()
	s, err := sc.s.Roll(ksk)
	if err != nil {
		sc.t.Fatal(err)
	}
	sc.s = s
	sc.advance()
}

func TestFirstKeys(t *testing.T) {
	sc := newScript(t)
	sc.is("K15 published; Z15 active")
	if len(sc.s.Offered()) != 0 {
		t.Error("the DS is offered while caches hold answers without signatures")
	}
	sc.to(7*time.Hour - time.Second)
	sc.is("K15 published; Z15 active")
	sc.to(7 * time.Hour) // MaxTTL and Propagation
	sc.is("K15 waits for its DS; Z15 active")
	if len(sc.s.Offered()) != 1 || !strings.Contains(sc.event.Waiting, "ds-seen") {
		t.Errorf("offered %v, waiting for %q", sc.s.Offered(), sc.event.Waiting)
	}
	sc.seen()
	sc.is("K15 active; Z15 active")
}

func TestZSKRoll(t *testing.T) {
	sc := newScript(t)
	sc.to(day)
	sc.seen()
	first := sc.s.Keys[1].Tag
	sc.to(29*day - time.Minute)
	sc.is("K15 active; Z15 active")
	sc.to(29 * day)
	sc.is("K15 active; Z15 active; Z15 published")
	sc.to(30 * day)
	sc.is("K15 active; Z15 retired; Z15 active")
	sc.to(30*day + 7*time.Hour)
	sc.is("K15 active; Z15 active")
	if sc.s.Keys[1].Tag == first {
		t.Error("the old key stayed")
	}
}

func TestZSKRollNow(t *testing.T) {
	sc := newScript(t)
	sc.to(day)
	sc.seen()
	sc.p.ZSKLifetime = 0
	sc.roll(false)
	sc.is("K15 active; Z15 active; Z15 published")
	sc.to(day + 2*time.Hour) // KeyTTL and Propagation
	sc.is("K15 active; Z15 retired; Z15 active")
	sc.to(day + 9*time.Hour)
	sc.is("K15 active; Z15 active")
	sc.to(400 * day)
	sc.is("K15 active; Z15 active")
}

func TestKSKRoll(t *testing.T) {
	sc := newScript(t)
	sc.p.ZSKLifetime = 0
	sc.to(day)
	sc.seen()
	sc.roll(true)
	sc.is("K15 active; K15 published; Z15 active")
	if _, err := sc.s.Roll(true); err == nil {
		t.Error("a second roll was accepted beside the first")
	}
	if _, err := sc.s.DSSeen(sc.now); err == nil {
		t.Error("a DS was seen that nobody was told of")
	}
	sc.to(day + 2*time.Hour)
	sc.is("K15 active; K15 waits for its DS; Z15 active")
	if len(sc.s.Offered()) != 2 {
		t.Errorf("%d DS are offered, want both", len(sc.s.Offered()))
	}
	sc.to(100 * day) // nothing goes on without the parent
	sc.is("K15 active; K15 waits for its DS; Z15 active")
	sc.seen()
	sc.is("K15 retired; K15 active; Z15 active")
	if len(sc.s.Offered()) != 1 {
		t.Errorf("%d DS are offered, want the new one", len(sc.s.Offered()))
	}
	sc.to(102 * day)
	sc.is("K15 retired; K15 active; Z15 active")
	sc.to(102*day + time.Hour)
	sc.is("K15 active; Z15 active")
}

func TestKSKRollByLifetime(t *testing.T) {
	sc := newScript(t)
	sc.p.KSKLifetime = 365 * day
	sc.to(day)
	sc.seen()
	sc.to(366*day - time.Second)
	if len(sc.s.Offered()) != 1 || sc.s.successor(true) != nil {
		t.Error("the key-signing key rolled early")
	}
	sc.to(366 * day)
	if sc.s.successor(true) == nil {
		t.Error("the key-signing key did not roll")
	}
}

func TestAlgorithmRoll(t *testing.T) {
	sc := newScript(t)
	sc.to(day)
	sc.seen()
	sc.p.Algorithm = ECDSAP256
	sc.advance()
	sc.is("K15 active; Z15 active; Z13 signs, not yet published")
	sc.to(day + 7*time.Hour)
	sc.is("K15 active; K13 published; Z15 active; Z13 active")
	sc.to(day + 9*time.Hour)
	sc.is("K15 active; K13 waits for its DS; Z15 active; Z13 active")
	if o := sc.s.Offered(); len(o) != 1 || o[0].Algorithm != ECDSAP256 {
		t.Errorf("offered %v, want the DS of the new algorithm alone", o)
	}
	sc.to(2 * day)
	sc.seen()
	sc.is("K15 retired; K13 active; Z15 active; Z13 active")
	sc.to(4*day + time.Hour)
	sc.is("K13 active; Z15 signs, left the DNSKEY set; Z13 active")
	sc.to(4*day + 3*time.Hour)
	sc.is("K13 active; Z13 active")
	sc.to(29 * day)
	sc.is("K13 active; Z13 active")
	sc.to(31 * day)
	sc.is("K13 active; Z13 retired; Z13 active")
}

func TestAlgorithmWaitsForRolls(t *testing.T) {
	sc := newScript(t)
	sc.to(day)
	sc.p.Algorithm = ECDSAP256
	sc.advance()
	sc.is("K15 waits for its DS; Z15 active")
	sc.p.Algorithm = Ed25519
	sc.seen()
	sc.to(29 * day)
	sc.p.Algorithm = ECDSAP256
	sc.advance()
	sc.is("K15 active; Z15 active; Z15 published")
	sc.to(30 * day)
	sc.is("K15 active; Z15 retired; Z15 active")
	sc.to(30*day + 7*time.Hour)
	sc.is("K15 active; Z15 active; Z13 signs, not yet published")
}

func TestUnsign(t *testing.T) {
	sc := newScript(t)
	sc.p.Sign = false
	sc.advance()
	if !sc.s.Empty() {
		t.Error("a zone of which the parent knows nothing stays signed")
	}
	sc = newScript(t)
	sc.to(day)
	sc.p.Sign = false
	sc.advance()
	if sc.s.Empty() || sc.s.Withdrawn.IsZero() || !strings.Contains(sc.event.Waiting, "ds-gone") {
		t.Fatalf("%+v, waiting for %q", sc.s, sc.event.Waiting)
	}
	if _, err := sc.s.Roll(true); !errors.Is(err, errWithdrawing) {
		t.Errorf("a roll: %v", err)
	}
	sc.to(3 * day)
	sc.p.Sign = true // changed their mind
	sc.advance()
	if !sc.s.Withdrawn.IsZero() || len(sc.s.Offered()) != 1 {
		t.Fatalf("%+v", sc.s)
	}
	if _, err := sc.s.DSGone(sc.now); err == nil {
		t.Error("the DS of a signed zone was let go")
	}
	sc.p.Sign = false
	sc.advance()
	s, err := sc.s.DSGone(sc.now)
	if err != nil {
		t.Fatal(err)
	}
	sc.s = s
	sc.to(5*day + time.Hour - time.Second)
	if sc.s.Empty() {
		t.Error("the zone is unsigned while resolvers hold its DS")
	}
	sc.to(5*day + time.Hour)
	if !sc.s.Empty() {
		t.Error("the zone stays signed")
	}
}

// What was declared of the parent goes with the declaration; the zone goes by it all the same.
func TestUnsignByThePolicyBefore(t *testing.T) {
	sc := newScript(t)
	sc.p.ParentTTL = 5 * day
	sc.to(day)
	sc.seen()
	sc.p = Policy{Algorithm: ECDSAP256, ParentTTL: time.Hour, KeyTTL: time.Minute, MaxTTL: time.Minute, Validity: day}
	sc.advance()
	sc.s, _ = sc.s.DSGone(sc.now)
	sc.to(6*day + time.Hour - time.Second)
	sc.is("K15 active; Z15 active")
	sc.to(6*day + time.Hour)
	if !sc.s.Empty() {
		t.Error("the zone stays signed")
	}
}

func TestSignAgainAfterGone(t *testing.T) {
	sc := newScript(t)
	sc.to(day)
	sc.seen()
	sc.p.Sign = false
	sc.advance()
	sc.s, _ = sc.s.DSGone(sc.now)
	sc.to(2 * day)
	sc.p.Sign = true
	sc.advance()
	sc.is("K15 waits for its DS; Z15 active")
}

// A second DSSeen took the old key for the one that is waited for, when neither had been active since the DS had gone.
func TestDSSeenTwiceAfterGone(t *testing.T) {
	sc := newScript(t)
	sc.p.ZSKLifetime = 0
	sc.to(day)
	sc.seen()
	sc.roll(true)
	sc.to(2 * day)
	sc.p.Sign = false
	sc.advance()
	sc.s, _ = sc.s.DSGone(sc.now)
	sc.p.Sign = true
	sc.advance()
	sc.is("K15 waits for its DS; K15 waits for its DS; Z15 active")
	sc.seen()
	if _, err := sc.s.DSSeen(sc.now); !errors.Is(err, errNoDSWanted) {
		t.Errorf("error %v", err)
	}
	sc.is("K15 retired; K15 active; Z15 active")
}

func TestTTLsSinkLate(t *testing.T) {
	sc := newScript(t)
	sc.to(day)
	sc.p.MaxTTL, sc.p.KeyTTL = time.Minute, time.Minute
	sc.advance()
	if sc.s.MaxTTL.High != 6*time.Hour || sc.s.KeyTTL.High != time.Hour {
		t.Errorf("lower TTLs count at once: %v %v", sc.s.MaxTTL, sc.s.KeyTTL)
	}
	sc.to(day + 2*time.Hour)
	if sc.s.MaxTTL.High != 6*time.Hour || sc.s.KeyTTL.High != time.Minute {
		t.Errorf("after two hours: %v %v", sc.s.MaxTTL, sc.s.KeyTTL)
	}
	sc.p.MaxTTL = 6 * time.Hour
	sc.advance()
	if sc.s.MaxTTL != (Ceiling{High: 6 * time.Hour}) {
		t.Errorf("up again: %v", sc.s.MaxTTL)
	}
	sc.p.MaxTTL = 7 * time.Hour
	sc.advance()
	if sc.s.MaxTTL != (Ceiling{High: 7 * time.Hour}) {
		t.Errorf("higher: %v", sc.s.MaxTTL)
	}
}

func TestKeySetsAreRenewed(t *testing.T) {
	sc := newScript(t)
	sc.p.ZSKLifetime = 0
	sc.to(day)
	sc.seen()
	last := sc.s.Signed
	for d := day; d < 60*day; d += 5 * time.Hour {
		sc.to(d)
		if sc.now.Sub(sc.s.Signed) > 7*day {
			t.Fatalf("at %v the signatures are of %v", sc.now, sc.s.Signed)
		}
	}
	if n := sc.s.Signed.Sub(last); n < 49*day {
		t.Errorf("last signed %v after the first", n)
	}
}

func TestAnotherTTLIsSigned(t *testing.T) {
	sc := newScript(t)
	sc.to(day)
	for _, ttl := range []time.Duration{2 * time.Hour, time.Hour, time.Minute, time.Hour} {
		sc.now = sc.now.Add(time.Second)
		sc.p.KeyTTL = ttl
		sc.advance()
		if !sc.s.Signed.Equal(sc.now) {
			t.Errorf("a KeyTTL of %v was not signed", ttl)
		}
	}
}

func TestShortLifetimesDoNotPileUpKeys(t *testing.T) {
	sc := newScript(t)
	sc.p.ZSKLifetime, sc.p.MaxTTL = 4*time.Hour, 2*day
	for d := time.Duration(0); d < 20*day; d += time.Hour {
		sc.to(d)
		if len(sc.s.Keys) > 3 {
			t.Fatalf("after %v: %s", d, describe(sc.s))
		}
	}
}

func TestNothingToAskOfUnsigned(t *testing.T) {
	var s State
	_, err1 := s.Roll(false)
	_, err2 := s.DSSeen(began)
	_, err3 := s.DSGone(began)
	for _, err := range []error{err1, err2, err3} {
		if !errors.Is(err, errUnsigned) {
			t.Errorf("error %v", err)
		}
	}
}

func TestGenerateFails(t *testing.T) {
	full := errors.New("the disk is full")
	s, changed, _, err := Advance(State{}, testPolicy(), began, func(Algorithm, bool) (*Key, error) { return nil, full })
	if !errors.Is(err, full) || changed || !s.Empty() {
		t.Errorf("%v %v %v", s, changed, err)
	}
}

func TestTagsDiffer(t *testing.T) {
	same := mustKey(t, Ed25519, true)
	twin, err := ParseKey(same.DNSKEY())
	if err != nil {
		t.Fatal(err)
	}
	made := []*Key{same, twin, mustKey(t, Ed25519, false)}
	s, _, _, err := Advance(State{}, testPolicy(), began, func(Algorithm, bool) (*Key, error) {
		k := made[0]
		made = made[1:]
		return k, nil
	})
	if err != nil || len(s.Keys) != 2 || s.Keys[0].Tag == s.Keys[1].Tag {
		t.Errorf("%+v %v", s.Keys, err)
	}
}

func TestAdvanceLeavesItsInput(t *testing.T) {
	sc := newScript(t)
	sc.to(29 * day)
	before := slices.Clone(sc.s.Keys)
	if _, changed, _, err := Advance(sc.s, sc.p, began.Add(31*day), Generate); !changed || err != nil {
		t.Fatalf("%v %v", changed, err)
	}
	if fmt.Sprint(before) != fmt.Sprint(sc.s.Keys) {
		t.Error("Advance wrote into the state that it was given")
	}
	if _, err := sc.s.DSSeen(sc.now); err != nil {
		t.Fatal(err)
	}
	if fmt.Sprint(before) != fmt.Sprint(sc.s.Keys) {
		t.Error("DSSeen wrote into the state that it was given")
	}
}
