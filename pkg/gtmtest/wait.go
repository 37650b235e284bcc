package gtmtest

import (
	"testing"
	"time"
)

// Patience is how long Eventually waits: long enough for a machine that has much else to do.
const Patience = 30 * time.Second

// Eventually tries until there is no error. The test fails, with the last one, if that takes longer than Patience.
func Eventually(t testing.TB, what string, try func() error) {
	t.Helper()
	for deadline := time.Now().Add(Patience); ; time.Sleep(5 * time.Millisecond) {
		err := try()
		if err == nil {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("waited in vain until %s: %v", what, err)
		}
	}
}
