package snapshot

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

	"github.com/gti/gtm/pkg/private"
	"github.com/gti/gtm/pkg/spec"
	"github.com/gti/gtm/pkg/store/state"
)

// Snapshot keeps the followed state on disk, so that an edge starts without etcd: a base file with the
// whole state, and a journal of the updates since. The pair before these two is kept as base.prev and journal.prev, for the day
// on which the base turns out to be damaged. It is safe for concurrent use, and is a prometheus.Collector of its size and age.
//
// base:    magic, meta frame, one frame per version and per value of a followed kind, end frame with their number.
// journal: magic, meta frame that names the base, and per update: update frame, frames as in the base, commit frame.
type Snapshot struct {
	dir string
	log *slog.Logger

	mu      sync.Mutex
	closed  bool
	lock    *os.File // nil: the folder cannot be written
	mirror  *state.Mirror
	seq     uint64    // the highest number of a base that was seen; that of the base, while there is a journal
	whole   bool      // the base on disk is known to be good
	journal *os.File  // nil: the base must be written anew first
	taken   time.Time // when the mirror took in something last; zero: it holds nothing
	last    time.Time // the same for what is on disk
	bytes   struct{ base, journal, prev int64 }
	written int64 // since it was opened
}

const (
	baseMagic    = "GTMBASE1"
	journalMagic = "GTMJRNL1"

	frameMeta     = 'M'
	frameVersion  = 'V'
	frameDigested = 'D' // a version behind the 8 bytes of its digest
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
	Seq     uint64                      `json:"seq"`
	Cursor  int64                       `json:"cursor,omitempty"`
	Cluster uint64                      `json:"cluster,omitempty"`
	Epoch   int64                       `json:"epoch,omitempty"`
	Heads   map[string]state.Generation `json:"heads,omitempty"`
	IDs     map[string]string           `json:"ids,omitempty"`
	// Schema is spec.Schema of the program that wrote it.
	Schema string `json:"schema,omitempty"`
	// At is when the state was told.
	At time.Time `json:"at,omitzero"`
}

// snapUpdate is what an update says beside its versions and values. A field more for each followed kind has what was deleted of it.
type snapUpdate struct {
	Cursor  int64                       `json:"cursor"`
	Cluster uint64                      `json:"cluster"`
	Epoch   int64                       `json:"epoch,omitempty"`
	Heads   map[string]state.Generation `json:"heads,omitempty"`
	IDs     map[string]string           `json:"ids,omitempty"`
	Deleted []spec.Key                  `json:"deleted,omitempty"`
	At      time.Time                   `json:"at,omitzero"`
}

// Open opens the snapshot in dir, which is made where needed, and gives the state that it holds as
// a Full update; nil: none. A journal that ends within an update, as after a power cut, is cut off there.
// Resources that this program cannot decode are Broken in the update.
//
// Beside an error there is what is intact. With a *CorruptError the damaged files are set aside as NAME.damaged. In a folder that
// cannot be written the snapshot is read all the same. In both cases the Snapshot can be used, and Again writes what is missing on
// disk. It is nil only where another process uses the folder.
func Open(dir string, logger *slog.Logger) (*Snapshot, *state.Update, error) {
	if logger == nil {
		logger = slog.New(slog.DiscardHandler)
	}
	s := &Snapshot{dir: dir, log: logger, mirror: state.NewMirror()}
	locked := s.take()
	var busy *private.InUseError
	if errors.As(locked, &busy) {
		return nil, nil, locked
	}
	u, err := s.load()
	if err != nil && locked != nil {
		err = fmt.Errorf("%w; and %w", err, locked)
	}
	if err == nil {
		err = locked
	}
	return s, u, err
}

// take makes the folder this process's own, to write there.
func (s *Snapshot) take() error {
	err := private.MakeDir(s.dir)
	if err == nil {
		s.lock, err = private.LockDir(s.dir, "snapshot.lock")
	}
	if err != nil {
		return fmt.Errorf("the snapshot in %s cannot be written: %w", s.dir, err)
	}
	return nil
}

func (s *Snapshot) path(name string) string { return filepath.Join(s.dir, name) }

// Append adds an update and returns when the disk has it. A Full update, or a journal that has grown to
// the size of the base, writes the base anew. After an error the state of before stays on disk, and the
// next Append, or Again, tries to write the whole.
func (s *Snapshot) Append(u state.Update) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return errors.New("the snapshot is closed")
	}
	s.mirror.Apply(u)
	s.taken = time.Now()
	return s.done(s.write(&u))
}

// Again brings the disk up to date after an error of Open or Append.
func (s *Snapshot) Again() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed || s.journal != nil {
		return nil
	}
	return s.done(s.write(nil))
}

// Empty reports whether it has neither found nor been told anything.
func (s *Snapshot) Empty() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.taken.IsZero()
}

// write brings to disk what the mirror took in; u is what came last, nil: nothing did.
func (s *Snapshot) write(u *state.Update) error {
	if s.lock == nil {
		if err := s.take(); err != nil {
			return err
		}
	}
	if u == nil || u.Full || s.journal == nil {
		if s.taken.IsZero() {
			return nil // an empty base would be served
		}
		return s.writeBase()
	}
	if err := s.writeUpdate(*u); err != nil {
		s.journal.Close()
		s.journal = nil
		return err
	}
	if s.bytes.journal > max(journalLeast, s.bytes.base) {
		return s.writeBase()
	}
	return nil
}

func (s *Snapshot) done(err error) error {
	switch {
	case err == nil:
		s.last = s.taken
		return nil
	case diskFull(err):
		return fmt.Errorf("the snapshot in %s was not brought up to date, and the one before stays: "+
			"the disk is full; make room there: %w", s.dir, err)
	}
	return fmt.Errorf("the snapshot in %s was not brought up to date, and the one before stays: %w", s.dir, err)
}

// Close ends writing. The files stay.
func (s *Snapshot) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return nil
	}
	s.closed = true
	var err error
	if s.journal != nil {
		err = s.journal.Close()
	}
	if s.lock != nil {
		err = errors.Join(err, s.lock.Close())
	}
	s.journal, s.lock = nil, nil
	return err
}

// LastWrite is when the state on disk was told; zero: there is none.
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

// writeUpdate adds an update to the journal, in one write.
func (s *Snapshot) writeUpdate(u state.Update) error {
	meta := snapUpdate{Cursor: u.Cursor, Cluster: u.Cluster, Epoch: u.Epoch, Heads: map[string]state.Generation{}, IDs: map[string]string{},
		At: s.taken}
	for _, t := range u.Tenants {
		meta.Heads[t.Tenant] = t.Head
		if t.ID != "" {
			meta.IDs[t.Tenant] = t.ID
		}
		meta.Deleted = append(meta.Deleted, t.Deleted...)
	}
	w := &frameWriter{}
	w.update(meta, u)
	for _, t := range u.Tenants {
		for _, v := range t.Put {
			w.version(v)
		}
	}
	for _, kind := range state.Kinds() {
		_ = kind.EachPut(u, func(v any) error { w.json(kind.FrameKind(), v); return w.err })
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

func writeState(f io.Writer, u state.Update, seq uint64, at time.Time) error {
	w := &frameWriter{buf: []byte(baseMagic)}
	where := u.Position()
	w.json(frameMeta, snapMeta{Seq: seq, Cursor: u.Cursor, Cluster: u.Cluster, Epoch: u.Epoch, Heads: where.Heads, IDs: where.IDs,
		Schema: spec.Schema(), At: at})
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
	for _, kind := range state.Kinds() {
		err := kind.EachPut(u, func(v any) error {
			w.json(kind.FrameKind(), v)
			count++
			return w.spill(f)
		})
		if err != nil {
			return err
		}
	}
	w.buf = appendFrame(w.buf, frameEnd, binary.BigEndian.AppendUint64(nil, count))
	return w.flush(f)
}
