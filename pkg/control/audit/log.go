// Package audit keeps a log of who did what: append-only, on this control's disk, each line with the hash of the line before. An entry is
// on the disk before what it tells of is answered. What an entry is, and whether a log is whole, stands in package chain.
package audit

import (
	"cmp"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/gti/gtm/pkg/control/api"
	"github.com/gti/gtm/pkg/control/audit/chain"
	"github.com/gti/gtm/pkg/private"
)

// What a log takes, unless its Config says otherwise.
const (
	defaultSegment = 64 << 20
	defaultMost    = 4 << 30
	reserveBytes   = 4 << 20
	refillEvery    = time.Minute
)

// Config is what a Log needs.
type Config struct {
	Dir  string
	ID   string // of this control
	Most int64  // bytes of all segments: then the oldest goes; 0: 4 GiB
	// Segment is how large one file gets; 0: 64 MiB.
	Segment int64

	Logger     *slog.Logger          // nil: silent
	Registerer prometheus.Registerer // nil: no metrics
	Now        func() time.Time      // nil: time.Now
}

// Log is the audit log of this control. It is safe for concurrent use.
type Log struct {
	cfg     Config
	metrics *metrics
	writer  string

	mu      sync.Mutex
	segs    []segment
	file    file   // of the last segment
	dirty   bool   // a write failed, and may have left something there; whoever writes knows
	seq     uint64 // of the last line that is on the disk
	head    string // its hash
	pending *batch // what the next write takes; nil: nothing
	writing bool
	next    position // behind pending
	fault   string
	since   time.Time // of fault, or of its end
	reserve bool      // its file is there
	refill  time.Time // when that is tried again
	changed chan struct{}
	// How many entries may tell of what was refused, and as of when.
	refusals  float64
	refusedAt time.Time
}

// file is what a segment is written to: an *os.File.
type file interface {
	io.WriteCloser
	Sync() error
	Truncate(size int64) error
}

// position is where a chain is.
type position struct {
	seq  uint64
	head string
}

// batch is lines that are written and synced together.
type batch struct {
	text  []byte
	lines int
	done  chan struct{}
	err   error
}

// Open makes a log of what its folder holds, or a new one. What a crash tore off its end was never answered, and is cut off.
func Open(cfg Config) (*Log, error) {
	cfg.Most, cfg.Segment = cmp.Or(cfg.Most, defaultMost), cmp.Or(cfg.Segment, defaultSegment)
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	l := &Log{cfg: cfg, changed: make(chan struct{})}
	var err error
	if l.metrics, err = newMetrics(cfg.Registerer); err != nil {
		return nil, err
	}
	if err := private.MakeDir(cfg.Dir); err != nil {
		return nil, fmt.Errorf("the audit log: %w", err)
	}
	if l.writer, err = writerOf(cfg.Dir, cfg.ID); err != nil {
		return nil, fmt.Errorf("the audit log: %w", err)
	}
	torn, err := l.load()
	if err != nil {
		return nil, fmt.Errorf("the audit log in %s: %w", cfg.Dir, err)
	}
	l.next = position{l.seq, l.head}
	l.keepReserve()
	l.mu.Lock()
	l.note(nil)
	l.mu.Unlock()
	if torn > 0 {
		_, err = l.Write(chain.Entry{Act: chain.ActLog, Outcome: chain.Done,
			Message: fmt.Sprintf("%d bytes that a crash left at the end were cut off", torn)})
	}
	return l, err
}

// writerOf gives the name of the log: that of the control, and a word of its own, so that a new disk begins another log.
func writerOf(dir, id string) (string, error) {
	path := filepath.Join(dir, "writer")
	text, err := os.ReadFile(path)
	if err == nil {
		if name := strings.TrimSpace(string(text)); name != "" {
			return name, nil
		}
	} else if !errors.Is(err, os.ErrNotExist) {
		return "", err
	}
	name := id + "-" + strings.ToLower(rand.Text()[:8])
	return name, os.WriteFile(path, []byte(name+"\n"), 0o600)
}

// Write appends an entry. It returns when the entry is on the disk, and an error says that it is not.
func (l *Log) Write(e chain.Entry) (chain.Entry, error) {
	l.mu.Lock()
	e.Seq, e.Writer, e.Prev = l.next.seq+1, l.writer, l.next.head
	if e.Time.IsZero() {
		e.Time = l.cfg.Now().UTC()
	}
	text, err := chain.Line(e)
	if err != nil {
		l.mu.Unlock()
		return e, err
	}
	if l.pending == nil {
		l.pending = &batch{done: make(chan struct{})}
	}
	b := l.pending
	b.text, b.lines = append(append(b.text, text...), '\n'), b.lines+1
	l.next = position{e.Seq, chain.Hash(text)}
	if !l.writing {
		l.writing = true
		go l.flushAll()
	}
	l.mu.Unlock()
	<-b.done
	return e, b.err
}

// flushAll writes until nothing is pending. What comes while it writes is the next batch.
func (l *Log) flushAll() {
	l.mu.Lock()
	defer l.mu.Unlock()
	for l.pending != nil {
		l.flush()
	}
	l.writing = false
}

// flush writes what is pending. l.mu is held, but not while it writes.
func (l *Log) flush() {
	b, to := l.pending, l.next
	l.pending = nil
	l.mu.Unlock()
	start := time.Now()
	err := l.append(b.text)
	l.metrics.seconds.Observe(time.Since(start).Seconds())
	l.mu.Lock()
	if err != nil { // what came meanwhile names lines that are not there
		l.next = position{l.seq, l.head}
		if later := l.pending; later != nil {
			l.pending = nil
			later.err = fmt.Errorf("the audit log cannot be written: %w", err)
			close(later.done)
		}
		b.err = fmt.Errorf("the audit log cannot be written: %w", err)
		l.metrics.entries.WithLabelValues("failed").Add(float64(b.lines))
	} else {
		l.seq, l.head = to.seq, to.head
		l.metrics.entries.WithLabelValues("written").Add(float64(b.lines))
		close(l.changed)
		l.changed = make(chan struct{})
	}
	close(b.done)
	l.note(err)
}

// append writes lines to the disk. Where that is full, the reserve is given up for it.
func (l *Log) append(text []byte) error {
	err := l.put(text)
	if errors.Is(err, syscall.ENOSPC) && l.dropReserve() {
		if again := l.put(text); again != nil {
			err = errors.Join(err, again)
		} else {
			err = nil
		}
	}
	if err == nil {
		l.keepReserve()
	}
	return err
}

// note tells a fault of the disk once, and when it is over. l.mu is held.
func (l *Log) note(err error) {
	text := ""
	switch {
	case err != nil:
		text = err.Error() + ": changes are refused until it can be written"
	case !l.reserve:
		text = "the disk is full, and what was held in reserve is used up bit by bit: make room in " + l.cfg.Dir +
			", or changes are refused soon"
	}
	l.metrics.failing.Set(map[bool]float64{true: 1}[text != ""])
	if text == l.fault {
		return
	}
	if (text == "") != (l.fault == "") {
		l.since = l.cfg.Now().UTC()
	}
	if l.fault = text; text != "" {
		l.cfg.Logger.Error("the audit log", "error", text)
	} else {
		l.cfg.Logger.Info("the audit log is written again as it should be")
	}
}

// Changed is closed when an entry was added.
func (l *Log) Changed() <-chan struct{} {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.changed
}

// Status tells how the log is.
func (l *Log) Status() api.AuditStatus {
	l.mu.Lock()
	defer l.mu.Unlock()
	s := api.AuditStatus{Writer: l.writer, Last: l.seq, Head: l.head, Error: l.fault, Since: l.since}
	for _, seg := range l.segs {
		s.Bytes += seg.size
	}
	if len(l.segs) > 0 {
		s.First = min(l.segs[0].first, l.seq)
	}
	return s
}

// Close ends writing.
func (l *Log) Close() error {
	if l == nil {
		return nil
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.file == nil {
		return nil
	}
	return l.file.Close()
}
