//go:build interop

package rig

import (
	"testing"
	"time"
)

// Eventually tries until there is no error, or fails with the last one.
func Eventually(t testing.TB, limit time.Duration, what string, try func() error) {
	t.Helper()
	if err := Within(limit, try); err != nil {
		t.Fatalf("not within %v: %s: %v", limit, what, err)
	}
}

// Within tries until there is no error, or gives the last one.
func Within(limit time.Duration, try func() error) error {
	deadline := time.Now().Add(limit)
	for {
		err := try()
		if err == nil || time.Now().After(deadline) {
			return err
		}
		time.Sleep(50 * time.Millisecond)
	}
}
