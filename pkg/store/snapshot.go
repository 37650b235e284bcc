package store

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/gti/gtm/pkg/health"
	"github.com/gti/gtm/pkg/spec"
)

// Snapshot keeps the followed state on disk, so that an edge starts without etcd: a base file with the
// whole state, and a journal of the updates since. It is safe for concurrent use, and is a
// prometheus.Collector of its size and age.
//
// base:    magic, meta frame, one frame per version, verdict and keyset, end frame with their number.
// journal: magic, meta frame that names the base, and per update: update frame, frames as in the base, commit frame.
type Snapshot struct {
	dir  string
	log  *slog.Logger
	lock *os.File

	mu      sync.Mutex
	mirror  *Mirror
	seq     uint64   // number of the base
	journal *os.File // nil: the base must be written anew first
	bytes   struct{ base, journal int64 }
	written int64 // since it was opened
	last    time.Time
}

const (
	baseMagic    = "GTMBASE1"
	journalMagic = "GTMJRNL1"

	frameMeta     = 'M'
	frameVersion  = 'V'
	frameDigested = 'D' // a version behind the 8 bytes of its digest
	frameVerdict  = 'H'
	frameKeyset   = 'K'
	frameEnd      = 'E'
	frameUpdate   = 'U'
	frameCommit   = 'C'

	// commitSize is the payload of a commit frame: number of the base, cursor.
	commitSize = 16

	// journalLeast is the size below which a journal is not worth a new base.
	journalLeast = 1 << 20
)

// snapMeta opens both files.
type snapMeta struct {
	Seq     uint64                `json:"seq"`
	Cursor  int64                 `json:"cursor,omitempty"`
	Cluster uint64                `json:"cluster,omitempty"`
	Epoch   int64                 `json:"epoch,omitempty"`
	Heads   map[string]Generation `json:"heads,omitempty"`
	IDs     map[string]string     `json:"ids,omitempty"`
	// Schema is spec.Schema of the program that wrote it.
	Schema string `json:"schema,omitempty"`
}

// snapUpdate is what an update says beside its versions, verdicts and keysets.
type snapUpdate struct {
	Cursor          int64                 `json:"cursor"`
	Cluster         uint64                `json:"cluster"`
	Epoch           int64                 `json:"epoch,omitempty"`
	Heads           map[string]Generation `json:"heads,omitempty"`
	IDs             map[string]string     `json:"ids,omitempty"`
	Deleted         []spec.Key            `json:"deleted,omitempty"`
	VerdictsDeleted []health.PoolID       `json:"verdictsDeleted,omitempty"`
	KeysetsDeleted  []string              `json:"keysetsDeleted,omitempty"`
}

// OpenSnapshot opens the snapshot in dir, which is made where needed, and gives the state that it holds as
// a Full update; nil: none. A journal that ends within an update, as after a power cut, is cut off there.
// With a *CorruptError the files are set aside as NAME.damaged, and the Snapshot that is returned beside
// it is empty and can be used. Resources that this program cannot decode are Broken in the update.
func OpenSnapshot(dir string, logger *slog.Logger) (*Snapshot, *Update, error) {
	if logger == nil {
		logger = slog.New(slog.DiscardHandler)
	}
	if err := privateDir(dir); err != nil {
		return nil, nil, err
	}
	lock, err := lockDir(dir, "snapshot.lock")
	if err != nil {
		return nil, nil, err
	}
	s := &Snapshot{dir: dir, log: logger, lock: lock, mirror: NewMirror()}
	u, err := s.load()
	var corrupt *CorruptError
	switch {
	case errors.As(err, &corrupt):
		s.setAside()
		return s, nil, err
	case err != nil:
		lock.Close()
		return nil, nil, fmt.Errorf("reading the snapshot in %s: %w", dir, err)
	}
	return s, u, nil
}

func (s *Snapshot) path(name string) string { return filepath.Join(s.dir, name) }

// setAside keeps damaged files for study, and begins anew.
func (s *Snapshot) setAside() {
	if s.journal != nil {
		s.journal.Close()
	}
	for _, name := range []string{"base", "journal"} {
		if err := os.Rename(s.path(name), s.path(name+".damaged")); err != nil && !errors.Is(err, os.ErrNotExist) {
			s.log.Warn("a damaged snapshot could not be set aside", "file", s.path(name), "error", err)
		}
	}
	s.journal, s.mirror, s.seq, s.last = nil, NewMirror(), s.seq+1, time.Time{}
	s.bytes.base, s.bytes.journal = 0, 0
}

// Append adds an update and returns when the disk has it. A Full update, or a journal that has grown to
// the size of the base, writes the base anew. After an error the state of before stays on disk, and the
// next Append tries to write the whole.
func (s *Snapshot) Append(u Update) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.lock == nil {
		return errors.New("the snapshot is closed")
	}
	s.mirror.Apply(u)
	if u.Full || s.journal == nil {
		return s.failure(s.writeBase())
	}
	if err := s.writeUpdate(u); err != nil {
		s.journal.Close()
		s.journal = nil
		return s.failure(err)
	}
	if s.bytes.journal > max(journalLeast, s.bytes.base) {
		return s.failure(s.writeBase())
	}
	return nil
}

func (s *Snapshot) failure(err error) error {
	if err == nil {
		s.last = time.Now()
		return nil
	}
	return fmt.Errorf("the snapshot in %s was not brought up to date (the one before stays; is the disk full?): %w", s.dir, err)
}

// Close ends writing. The files stay.
func (s *Snapshot) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.lock == nil {
		return nil
	}
	var err error
	if s.journal != nil {
		err = s.journal.Close()
	}
	err = errors.Join(err, s.lock.Close())
	s.journal, s.lock = nil, nil
	return err
}

// LastWrite is when the snapshot was last brought up to date; zero: it holds nothing.
func (s *Snapshot) LastWrite() time.Time {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.last
}

// Written tells how many bytes were written to the disk since the snapshot was opened.
func (s *Snapshot) Written() int64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.written
}

// Age is the time since LastWrite; 0 if it holds nothing.
func (s *Snapshot) Age() time.Duration {
	last := s.LastWrite()
	if last.IsZero() {
		return 0
	}
	return time.Since(last)
}

var (
	descSnapshotBytes = prometheus.NewDesc("gtm_store_snapshot_bytes", "Size of the snapshot on disk, by file: base, journal.", []string{"file"}, nil)
	descSnapshotWrote = prometheus.NewDesc("gtm_store_snapshot_written_bytes_total", "Bytes written to the snapshot on disk since the start.", nil, nil)
	descSnapshotAge   = prometheus.NewDesc("gtm_store_snapshot_age_seconds", "Time since the snapshot on disk was brought up to date; -1: it holds nothing.", nil, nil)
)

// Describe is part of prometheus.Collector.
func (s *Snapshot) Describe(ch chan<- *prometheus.Desc) {
	ch <- descSnapshotBytes
	ch <- descSnapshotAge
	ch <- descSnapshotWrote
}

// Collect is part of prometheus.Collector.
func (s *Snapshot) Collect(ch chan<- prometheus.Metric) {
	s.mu.Lock()
	defer s.mu.Unlock()
	age := -1.0
	if !s.last.IsZero() {
		age = time.Since(s.last).Seconds()
	}
	ch <- prometheus.MustNewConstMetric(descSnapshotAge, prometheus.GaugeValue, age)
	ch <- prometheus.MustNewConstMetric(descSnapshotWrote, prometheus.CounterValue, float64(s.written))
	ch <- prometheus.MustNewConstMetric(descSnapshotBytes, prometheus.GaugeValue, float64(s.bytes.base), "base")
	ch <- prometheus.MustNewConstMetric(descSnapshotBytes, prometheus.GaugeValue, float64(s.bytes.journal), "journal")
}

// writeUpdate adds an update to the journal, in one write.
func (s *Snapshot) writeUpdate(u Update) error {
	meta := snapUpdate{Cursor: u.Cursor, Cluster: u.Cluster, Epoch: u.Epoch, Heads: map[string]Generation{}, IDs: map[string]string{},
		VerdictsDeleted: u.VerdictsDeleted, KeysetsDeleted: u.KeysetsDeleted}
	for _, t := range u.Tenants {
		meta.Heads[t.Tenant] = t.Head
		if t.ID != "" {
			meta.IDs[t.Tenant] = t.ID
		}
		meta.Deleted = append(meta.Deleted, t.Deleted...)
	}
	w := &frameWriter{}
	w.json(frameUpdate, meta)
	for _, t := range u.Tenants {
		for _, v := range t.Put {
			w.version(v)
		}
	}
	for _, v := range u.Verdicts {
		w.json(frameVerdict, v)
	}
	for _, ks := range u.Keysets {
		w.json(frameKeyset, ks)
	}
	var commit [commitSize]byte
	binary.BigEndian.PutUint64(commit[:], s.seq)
	binary.BigEndian.PutUint64(commit[8:], uint64(u.Cursor))
	w.buf = appendFrame(w.buf, frameCommit, commit[:])
	if w.err != nil {
		return w.err
	}
	if _, err := s.journal.Write(w.buf); err != nil {
		// Half an update would be cut off when it is read; take it away already now.
		_ = s.journal.Truncate(s.bytes.journal)
		return err
	}
	if err := s.journal.Sync(); err != nil {
		return err
	}
	s.bytes.journal += int64(len(w.buf))
	s.written += int64(len(w.buf))
	return nil
}

// writeBase writes the whole state, and an empty journal that belongs to it.
func (s *Snapshot) writeBase() error {
	if s.journal != nil {
		s.journal.Close()
		s.journal = nil
	}
	u := s.mirror.full()
	seq := s.seq + 1
	size, err := s.replace("base", func(f io.Writer) error { return writeState(f, u, seq) })
	if err != nil {
		return err
	}
	s.seq, s.bytes.base = seq, size
	s.written += size
	size, err = s.replace("journal", func(f io.Writer) error {
		w := &frameWriter{buf: []byte(journalMagic)}
		w.json(frameMeta, snapMeta{Seq: seq})
		return w.flush(f)
	})
	if err != nil {
		return err
	}
	s.bytes.journal = size
	s.journal, err = os.OpenFile(s.path("journal"), os.O_WRONLY|os.O_APPEND, 0o600)
	return err
}

// replace writes a file beside the one that it replaces, and lets it take its place when the disk has it.
func (s *Snapshot) replace(name string, write func(io.Writer) error) (int64, error) {
	temp := s.path(name + ".new")
	f, err := os.OpenFile(temp, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return 0, err
	}
	err = write(f)
	var size int64
	if err == nil {
		size, err = f.Seek(0, io.SeekCurrent)
	}
	if err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err == nil {
		err = os.Rename(temp, s.path(name))
	}
	if err != nil {
		os.Remove(temp)
		return 0, err
	}
	return size, syncDir(s.dir)
}

func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer d.Close()
	return d.Sync()
}

func writeState(f io.Writer, u Update, seq uint64) error {
	w := &frameWriter{buf: []byte(baseMagic)}
	at := u.Position()
	w.json(frameMeta, snapMeta{Seq: seq, Cursor: u.Cursor, Cluster: u.Cluster, Epoch: u.Epoch, Heads: at.Heads, IDs: at.IDs, Schema: spec.Schema()})
	count := uint64(0)
	for _, t := range u.Tenants {
		for _, v := range t.Put {
			w.version(v)
			count++
			if err := w.spill(f); err != nil {
				return err
			}
		}
	}
	for _, v := range u.Verdicts {
		w.json(frameVerdict, v)
		count++
		if err := w.spill(f); err != nil {
			return err
		}
	}
	for _, ks := range u.Keysets {
		w.json(frameKeyset, ks)
		count++
		if err := w.spill(f); err != nil {
			return err
		}
	}
	w.buf = appendFrame(w.buf, frameEnd, binary.BigEndian.AppendUint64(nil, count))
	return w.flush(f)
}

// frameWriter gathers frames; its error is the first one.
type frameWriter struct {
	buf []byte
	err error
}

func (w *frameWriter) json(kind byte, v any) {
	b, err := marshalPlain(v)
	if err != nil && w.err == nil {
		w.err = err
	}
	w.buf = appendFrame(w.buf, kind, b)
}

// version: generation, length of the resource, resource, zone content.
func (w *frameWriter) version(v Version) {
	bare, text := stripText(v.Resource)
	b, err := marshalPlain(bare)
	if err != nil && w.err == nil {
		w.err = err
	}
	head := binary.AppendUvarint(nil, uint64(v.Generation))
	head = binary.AppendUvarint(head, uint64(len(b)))
	if v.Digest != 0 {
		w.buf = appendFrame(w.buf, frameDigested, binary.BigEndian.AppendUint64(nil, v.Digest), head, b, []byte(text))
		return
	}
	w.buf = appendFrame(w.buf, frameVersion, head, b, []byte(text))
}

// spill writes when there is enough.
func (w *frameWriter) spill(f io.Writer) error {
	if len(w.buf) < 1<<20 {
		return w.err
	}
	return w.flush(f)
}

func (w *frameWriter) flush(f io.Writer) error {
	if w.err != nil {
		return w.err
	}
	_, err := f.Write(w.buf)
	w.buf = w.buf[:0]
	return err
}
