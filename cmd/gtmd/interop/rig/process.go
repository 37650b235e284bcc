//go:build interop

package rig

import (
	"bytes"
	"sync"
	"testing"
	"time"
)

// StopTimeout is how long a process may take to end when it is asked to.
const StopTimeout = 30 * time.Second

// tailBuffer keeps the end of what a process wrote, for the day that its test fails.
type tailBuffer struct {
	mu  sync.Mutex
	buf []byte
}

const tailSize = 64 << 10

func (b *tailBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.buf = append(b.buf, p...); len(b.buf) > 2*tailSize {
		b.buf = bytes.Clone(b.buf[len(b.buf)-tailSize:])
	}
	return len(p), nil
}

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
