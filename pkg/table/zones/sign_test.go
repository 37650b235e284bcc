package zones

import (
	"errors"
	"sync/atomic"
	"testing"
)

// TestNoSignatureIsNotAnEmptyOne: where none may be made, or making it fails, the answer is told so, and nothing is kept.
func TestNoSignatureIsNotAnEmptyOne(t *testing.T) {
	var s zoneSigs
	var place atomic.Pointer[signature]
	fails := func(uint32) (*signature, error) { return nil, errors.New("no key") }
	for _, slow := range []bool{false, true} {
		if sig, ok := s.from(&place, &When{Now: 1, Slow: slow}, fails); ok || sig.Count != 0 || place.Load() != nil {
			t.Errorf("slow %v: %v, %+v", slow, ok, sig)
		}
	}
}

// TestSignaturesOfAServiceAreKept as long as what they cover stays: host, TTL and the zone's signer.
func TestSignaturesOfAServiceAreKept(t *testing.T) {
	one, other := NewSigner([]byte{0}, nil, 1), NewSigner([]byte{0}, nil, 1)
	var none *SteeredSigs
	kept := none.KeptFor(one, "\x01a\x00", 30)
	if kept == nil || kept.KeptFor(one, "\x01a\x00", 30) != kept {
		t.Error("nothing changed: want the same signatures")
	}
	if kept.KeptFor(other, "\x01a\x00", 30) == kept || kept.KeptFor(one, "\x01b\x00", 30) == kept ||
		kept.KeptFor(one, "\x01a\x00", 31) == kept {
		t.Error("the signatures are kept though what they cover has changed")
	}
	if kept.KeptFor(nil, "\x01a\x00", 30) != nil {
		t.Error("a zone that is not signed has signatures")
	}
}
