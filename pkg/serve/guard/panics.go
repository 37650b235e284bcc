package guard

import (
	"fmt"
	"log/slog"
	"net/netip"
	"os"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/gti/gtm/pkg/serve/seam"
)

const (
	panicKinds  = 64 // kinds of panic that are logged
	panicMemory = 16 // packets kept in memory
	panicFiles  = 64 // packets kept in PanicDir
	panicQueue  = 16 // packets on their way to PanicDir
)

// Panic is one message that made a Handler panic.
type Panic struct {
	Time      time.Time
	Transport seam.Transport
	Source    netip.AddrPort
	Where     string // the line that panicked, "/src/answer/draw.go:42"
	Value     string // what it panicked with
	Packet    []byte // the message as it came
}

// Morgue keeps what made Handlers panic: the last few in memory, and the first few as files. It logs one stack for
// each kind (the line that panicked). Everything in it is bounded. Safe for concurrent use.
type Morgue struct {
	log *slog.Logger
	now func() time.Time
	dir string

	mu    sync.Mutex
	kinds map[string]bool
	last  []Panic

	write chan keptPacket
	done  chan struct{}
}

type keptPacket struct {
	name string
	data []byte
}

// newMorgue makes one that keeps files in dir; where that is empty, none.
func newMorgue(dir string, log *slog.Logger, now func() time.Time) (*Morgue, error) {
	m := &Morgue{log: log, now: now, dir: dir, kinds: make(map[string]bool),
		write: make(chan keptPacket, panicQueue), done: make(chan struct{})}
	have := 0
	if m.dir != "" {
		if err := os.MkdirAll(m.dir, 0o700); err != nil {
			return nil, fmt.Errorf("serve: the folder for packets that cause a panic can't be made: %w; make it, or choose another", err)
		}
		kept, err := filepath.Glob(filepath.Join(m.dir, "packet-*.bin"))
		if err != nil {
			return nil, fmt.Errorf("serve: folder %s for packets that cause a panic: %w", m.dir, err)
		}
		have = len(kept)
	}
	go m.writeFiles(have)
	return m, nil
}

// Close ends the writing of files, after those that are under way. Nothing may be added any more.
func (m *Morgue) Close() {
	close(m.write)
	<-m.done
}

// add takes in one message, or nil if no message is to blame. It is called while the panic unwinds, so that the
// stack is still there to be seen.
func (m *Morgue) add(value any, t seam.Transport, source netip.AddrPort, packet []byte, hash uint64) {
	p := Panic{Time: m.now(), Transport: t, Source: source, Where: panicLine(), Value: panicText(value),
		Packet: slices.Clone(packet)}
	m.mu.Lock()
	defer m.mu.Unlock()
	if len(m.last) == panicMemory {
		m.last = slices.Delete(m.last, 0, 1)
	}
	m.last = append(m.last, p)
	if m.dir != "" && packet != nil {
		name := fmt.Sprintf("packet-%s-%s-%016x.bin", p.Time.UTC().Format("20060102T150405.000Z"), t, hash)
		select {
		case m.write <- keptPacket{name, p.Packet}:
		default: // a storm of panics: the first packets tell enough
		}
	}
	if len(m.kinds) < panicKinds && !m.kinds[p.Where] {
		m.kinds[p.Where] = true
		m.log.Error("the handler panicked; the query, if there was one, got SERVFAIL and is refused for an hour",
			"panic", p.Value, "where", p.Where, "transport", t.String(), "source", source.String(),
			"packet", fmt.Sprintf("%x", packet[:min(len(packet), 512)]), "stack", string(debug.Stack()))
	}
}

// Recent gives the last messages, oldest first.
func (m *Morgue) Recent() []Panic {
	m.mu.Lock()
	defer m.mu.Unlock()
	return slices.Clone(m.last)
}

// writeFiles writes packets until close, or panicFiles are there; no worker waits for the disk.
func (m *Morgue) writeFiles(have int) {
	defer close(m.done)
	for p := range m.write {
		if have >= panicFiles {
			continue
		}
		have++
		if err := os.WriteFile(filepath.Join(m.dir, p.name), p.data, 0o600); err != nil {
			m.log.Warn("a packet that made the handler panic could not be kept", "error", err)
		}
	}
}

func panicText(value any) string {
	text := fmt.Sprint(value)
	return text[:min(len(text), 1024)]
}

// panicLine finds the line that panicked: the first frame below the runtime's own that stands below gopanic.
func panicLine() string {
	pcs := make([]uintptr, 64)
	frames := runtime.CallersFrames(pcs[:runtime.Callers(1, pcs)])
	for panicking := false; ; {
		f, more := frames.Next()
		inRuntime := strings.HasPrefix(f.Function, "runtime.")
		if panicking && !inRuntime {
			return fmt.Sprintf("%s:%d", f.File, f.Line)
		}
		panicking = panicking || f.Function == "runtime.gopanic"
		if !more {
			return "unknown"
		}
	}
}
