package gtmtest

import (
	"bytes"
	"log/slog"
	"sync"
	"testing"
)

// A Log keeps what is written to it, by a logger or a process, and may be read meanwhile. The zero value is ready.
type Log struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

// NewLog gives a Log that is shown if the test fails.
func NewLog(t testing.TB) *Log {
	l := &Log{}
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("log:\n%s", l)
		}
	})
	return l
}

func (l *Log) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.Write(p)
}

func (l *Log) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.String()
}

// Logger gives a logger that writes to l, from level Info on.
func (l *Log) Logger() *slog.Logger { return slog.New(slog.NewTextHandler(l, nil)) }
