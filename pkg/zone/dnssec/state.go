package dnssec

import (
	"errors"
	"fmt"
	"slices"
	"time"
)

// Policy says how a zone's keys are to live.
type Policy struct {
	// Sign is false for a zone that is to become unsigned; it goes there by the policy that it was last signed by.
	Sign      bool      `json:"sign"`
	Algorithm Algorithm `json:"algorithm"`
	// ZSKLifetime and KSKLifetime are how long a key is in use before the next one takes over; 0: until somebody
	// asks for it.
	ZSKLifetime time.Duration `json:"zskLifetime"`
	KSKLifetime time.Duration `json:"kskLifetime"`
	// Propagation is the time in which every edge and secondary serves what was published.
	Propagation time.Duration `json:"propagation"`
	// KeyTTL is the TTL of DNSKEY, CDS and CDNSKEY, ParentTTL that of the DS at the parent, MaxTTL the longest in the zone.
	KeyTTL    time.Duration `json:"keyTTL"`
	ParentTTL time.Duration `json:"parentTTL"`
	MaxTTL    time.Duration `json:"maxTTL,omitempty"`
	// Validity is how long signatures of the key sets hold; they are made anew after half of it.
	Validity time.Duration `json:"validity"`
}

// Skew is how far back signatures are dated, for resolvers whose clocks are slow.
const Skew = time.Hour

// State is what is known of the lives of a zone's keys. It is a value: the functions that change it give a new one.
type State struct {
	Keys []KeyState `json:"keys,omitempty"` // KSKs first, then by age
	// Signed is when the key sets were last signed, and Round how often: another Round wants Publish.
	Signed time.Time `json:"signed,omitzero"`
	Round  uint64    `json:"round,omitempty"`
	// Policy is what it was last signed by, without MaxTTL.
	Policy Policy `json:"policy,omitzero"`
	// KeyTTL and MaxTTL are the TTLs that resolvers may still go by.
	KeyTTL Ceiling `json:"keyTTL,omitzero"`
	MaxTTL Ceiling `json:"maxTTL,omitzero"`
	// RollZSK and RollKSK were asked for and have not begun (KSK) or ended (ZSK).
	RollZSK bool `json:"rollZSK,omitempty"`
	RollKSK bool `json:"rollKSK,omitempty"`
	// Withdrawn is since when the parent is asked, by CDS, to remove the DS; Gone is when it had.
	Withdrawn time.Time `json:"withdrawn,omitzero"`
	Gone      time.Time `json:"gone,omitzero"`
}

// KeyState is what is known of one key. A time that is zero has not come.
type KeyState struct {
	Tag       uint16    `json:"tag"`
	Algorithm Algorithm `json:"algorithm"`
	KSK       bool      `json:"ksk,omitempty"`
	Public    []byte    `json:"public"` // RDATA of the DNSKEY
	Created   time.Time `json:"created"`
	// Published: it is in the DNSKEY set. The first zone-signing key of another algorithm signs before.
	Published time.Time `json:"published,omitzero"`
	// Submitted: the parent may have its DS (KSK).
	Submitted time.Time `json:"submitted,omitzero"`
	// Active: it signs (ZSK), the parent has its DS (KSK).
	Active time.Time `json:"active,omitzero"`
	// Retired: it does not sign any more, the next one does (ZSK); the next one's DS was seen (KSK). It goes when
	// nobody can need it any more.
	Retired time.Time `json:"retired,omitzero"`
	// Hidden: it left the DNSKEY set with its algorithm, and still signs (ZSK).
	Hidden time.Time `json:"hidden,omitzero"`
}

// Signs reports whether sets are signed with it: the zone's sets (ZSK), those of the keys (KSK).
func (k *KeyState) Signs() bool {
	if k.KSK {
		return k.Visible()
	}
	return !k.Active.IsZero() && k.Retired.IsZero()
}

// Visible reports whether it stands in the DNSKEY set.
func (k *KeyState) Visible() bool { return !k.Published.IsZero() && k.Hidden.IsZero() }

// Phase says in a few words where the key is in its life.
func (k *KeyState) Phase() string {
	switch {
	case !k.Hidden.IsZero():
		return "signs, left the DNSKEY set"
	case !k.Retired.IsZero():
		return "retired"
	case k.Published.IsZero():
		return "signs, not yet published"
	case !k.Active.IsZero():
		return "active"
	case !k.Submitted.IsZero():
		return "waits for its DS"
	}
	return "published"
}

// Ceiling is a duration that sinks only once nobody can go by the higher one any more.
type Ceiling struct {
	High time.Duration `json:"high,omitzero"`
	// Declared is what is declared, if less, since Since.
	Declared time.Duration `json:"declared,omitzero"`
	Since    time.Time     `json:"since,omitzero"`
}

// Empty tells that the zone is not signed, and nothing needs to be kept of it.
func (s *State) Empty() bool { return len(s.Keys) == 0 }

// Offered gives the key-signing keys whose DS the parent is to have, newest last.
func (s *State) Offered() []KeyState {
	var keys []KeyState
	for _, k := range s.Keys {
		if k.KSK && !k.Submitted.IsZero() && k.Retired.IsZero() {
			keys = append(keys, k)
		}
	}
	if len(keys) == 0 {
		return nil
	}
	// All algorithms of the DS set must sign (RFC 6840, 5.11): an algorithm is replaced, not added.
	newest := keys[len(keys)-1].Algorithm
	return slices.DeleteFunc(keys, func(k KeyState) bool { return k.Algorithm != newest })
}

// What cannot be asked for.
var (
	errUnsigned    = errors.New("the zone is not signed: declare dnssec in its spec")
	errWithdrawing = errors.New("the zone is on its way to being unsigned")
	errNoDSWanted  = errors.New("no DS is waited for at the parent: gtmctl dnssec status shows what comes next")
)

// Roll asks for the next key. Advance does the rest.
func (s State) Roll(ksk bool) (State, error) {
	switch {
	case s.Empty():
		return s, errUnsigned
	case !s.Withdrawn.IsZero():
		return s, errWithdrawing
	case ksk && s.successor(true) != nil:
		return s, fmt.Errorf("key-signing key %d is on its way already: see gtmctl dnssec status", s.successor(true).Tag)
	case ksk:
		s.RollKSK = true
	default:
		s.RollZSK = true
	}
	return s, nil
}

// DSSeen tells that, at now, all of the parent's servers gave the DS that was Offered, and where the algorithm
// changes no other.
func (s State) DSSeen(now time.Time) (State, error) {
	if s.Empty() {
		return s, errUnsigned
	}
	if !s.Withdrawn.IsZero() {
		return s, errWithdrawing
	}
	s.Keys = slices.Clone(s.Keys)
	next := s.successor(true)
	if next == nil || next.Submitted.IsZero() {
		return s, errNoDSWanted
	}
	for i := range s.Keys {
		if k := &s.Keys[i]; k.KSK && k != next && k.Retired.IsZero() {
			k.Retired = now
		}
	}
	next.Active = now
	return s, nil
}

// DSGone tells that, at now, none of the parent's servers gave any DS.
func (s State) DSGone(now time.Time) (State, error) {
	switch {
	case s.Empty():
		return s, errUnsigned
	case s.Withdrawn.IsZero():
		return s, errors.New("the zone is to stay signed: take dnssec out of its spec first")
	case s.Gone.IsZero():
		s.Gone = now
	}
	return s, nil
}

// successor gives the youngest key of a role if it is not in use yet, or nil.
func (s *State) successor(ksk bool) *KeyState {
	for i := len(s.Keys) - 1; i >= 0; i-- {
		if k := &s.Keys[i]; k.KSK == ksk && k.Active.IsZero() && k.Retired.IsZero() {
			return k
		}
	}
	return nil
}

// current gives the key of a role that is in use, or nil: of two algorithms the older.
func (s *State) current(ksk bool) *KeyState {
	for i := range s.Keys {
		if k := &s.Keys[i]; k.KSK == ksk && !k.Active.IsZero() && k.Retired.IsZero() {
			return k
		}
	}
	return nil
}
