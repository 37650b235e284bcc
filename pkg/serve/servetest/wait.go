package servetest

import (
	"bytes"
	"log/slog"
	"sync"
	"testing"
	"time"
)

// Patience bounds waits for what must happen; only a failing test reaches it.
const Patience = 10 * time.Second

// Eventually waits for what other goroutines are about to do.
func Eventually(t testing.TB, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(Patience); !ok(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("waited in vain: %s", what)
		}
	}
}

// LockedBuffer is a log that a test may read while it is written.
type LockedBuffer struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (b *LockedBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.Write(p)
}

func (b *LockedBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.String()
}

// Logger gives what writes to b.
func (b *LockedBuffer) Logger() *slog.Logger { return slog.New(slog.NewTextHandler(b, nil)) }

// WaitFor waits for done, but not for ever.
func WaitFor(t testing.TB, what string, done <-chan struct{}) {
	t.Helper()
	select {
	case <-done:
	case <-Within(t).Done():
		t.Errorf("waited in vain: %s", what)
	}
}
