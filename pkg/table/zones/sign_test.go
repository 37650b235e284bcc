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
