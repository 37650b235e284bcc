package snapshot

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"iter"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/gti/gtm/pkg/spec"
	"github.com/gti/gtm/pkg/store/state"
)

// load reads the newest state that is intact into the mirror, and gives it; nil: there is none. Its error is a *CorruptError.
func (s *Snapshot) load() (*state.Update, error) {
	base, fault := s.loadBase(baseFile)
	if base != nil {
		s.whole = true
		s.bytes.prev = s.sizeOf(basePrev) + s.sizeOf(journalPrev)
	} else if base, fault = s.loadPrev(fault); base == nil {
		if fault == nil {
			return nil, nil
		}
		return nil, fault
	}
	s.mirror.Apply(base.update)
	s.taken = base.at
	told, lost := s.loadJournal(base)
	s.last = s.taken
	u := base.update
	if told {
		u = s.mirror.Full()
	}
	base.addBroken(&u)
	switch {
	case fault == nil && lost == nil:
		return &u, nil
	case fault == nil:
		lost.Serves = fmt.Sprintf("what was written before that, until %s, is served", s.taken.UTC().Format(time.DateTime+"Z"))
		return &u, lost
	}
	fault.Serves = fmt.Sprintf("the state that was kept before it, of %s, is served", s.taken.UTC().Format(time.DateTime+"Z"))
	if lost != nil {
		fault.Serves += "; what was written after that is lost too: " + lost.Reason
	}
	return &u, fault
}

// loadPrev reads the base before the one that is at fault, which is set aside with its journal. Without a fault there is no snapshot.
func (s *Snapshot) loadPrev(fault *CorruptError) (*loaded, *CorruptError) {
	prev, older := s.loadBase(basePrev)
	if fault.absent && older != nil && older.absent {
		return nil, nil // a journal alone has nothing to stand on
	}
	if !fault.absent {
		s.setAside(baseFile, nil, 0)
	}
	if prev == nil {
		fault.Serves = fmt.Sprintf("nor can the one before it be used (%s), and the state is read from etcd", older.Reason)
		if !older.absent {
			s.setAside(basePrev, nil, 0)
		}
	}
	f, _, meta, err := s.openFrames(journalFile, journalMagic)
	if err == nil {
		f.Close()
		s.seq = max(s.seq, meta.Seq)
	}
	if prev == nil || err != nil || meta.Seq != prev.seq {
		s.setAside(journalFile, nil, 0)
	}
	return prev, fault
}

// loaded is a state on its way from disk.
type loaded struct {
	seq    uint64
	at     time.Time // when it was told
	update state.Update
	broken map[spec.Key]state.BrokenResource // not decodable, and not replaced by the journal
	reader spec.Reader
	// foreign: written by a program that reads resources in another way. What it left out, this one may understand.
	foreign bool
}

func (l *loaded) addBroken(u *state.Update) {
	for i := range u.Tenants {
		t := &u.Tenants[i]
		for key, b := range l.broken {
			if key.Tenant == t.Tenant {
				t.Broken = append(t.Broken, b)
			}
		}
		t.Sort()
	}
}

// openFrames opens one of the files and reads its magic and meta. Its error is a *CorruptError.
func (s *Snapshot) openFrames(name, magic string) (*os.File, *frameReader, snapMeta, error) {
	var meta snapMeta
	f, err := os.Open(s.path(name))
	if err != nil {
		return nil, nil, meta, s.unread(name, err)
	}
	fail := func(off int64, reason string) (*os.File, *frameReader, snapMeta, error) {
		f.Close()
		return nil, nil, meta, &CorruptError{File: s.path(name), Offset: off, Reason: reason}
	}
	info, err := f.Stat()
	if err != nil {
		f.Close()
		return nil, nil, meta, s.unread(name, err)
	}
	head := make([]byte, len(magic))
	if _, err := io.ReadFull(f, head); err != nil || string(head) != magic {
		return fail(0, "it does not begin as a snapshot of this version does")
	}
	r := newFrameReader(f, int64(len(magic)), info.Size())
	kind, payload, err := r.next()
	if err != nil || kind != frameMeta || json.Unmarshal(payload, &meta) != nil {
		return fail(r.off, "its first record is not understood")
	}
	s.seq = max(s.seq, meta.Seq)
	if meta.At.IsZero() { // an older program's
		meta.At = info.ModTime()
	}
	return f, r, meta, nil
}

// unread tells of a file that cannot even be opened.
func (s *Snapshot) unread(name string, err error) *CorruptError {
	if errors.Is(err, os.ErrNotExist) {
		return &CorruptError{File: s.path(name), Offset: -1, Reason: "it is missing", absent: true}
	}
	return &CorruptError{File: s.path(name), Offset: -1, Reason: err.Error()}
}

// loadBase reads a base; nil: it is at fault.
func (s *Snapshot) loadBase(name string) (*loaded, *CorruptError) {
	f, r, meta, err := s.openFrames(name, baseMagic)
	if err != nil {
		return nil, err.(*CorruptError)
	}
	defer f.Close()
	items, at, err := readBase(r)
	if err != nil {
		return nil, &CorruptError{File: f.Name(), Offset: at, Reason: reasonOf(err)}
	}
	s.bytes.base = r.size
	l := &loaded{seq: meta.Seq, at: meta.At, broken: map[spec.Key]state.BrokenResource{}, foreign: meta.Schema != spec.Schema()}
	l.update = state.Update{Full: true, Cursor: meta.Cursor, Cluster: meta.Cluster, Epoch: meta.Epoch}
	if err := l.fill(items, meta.Heads, meta.IDs, nil); err != nil {
		return nil, &CorruptError{File: f.Name(), Offset: -1, Reason: err.Error()}
	}
	return l, nil
}

func reasonOf(err error) string {
	if errors.Is(err, io.EOF) {
		return "its end is missing"
	}
	return err.Error()
}

func isItem(kind byte) bool {
	return kind == frameVersion || kind == frameDigested || kindOf(kind) != nil
}

// fill sorts decoded items into the update, and what is gone by the names of fields.
func (l *loaded) fill(items iter.Seq[*item], heads map[string]state.Generation, ids map[string]string,
	gone map[string]json.RawMessage) error {
	tenants := map[string]*state.TenantUpdate{}
	for name, head := range heads {
		tenants[name] = &state.TenantUpdate{Tenant: name, Head: head, ID: ids[name]}
	}
	l.allocate(items, tenants)
	values := map[byte][]any{}
	for it := range items {
		switch {
		case it.value != nil:
			values[it.kind] = append(values[it.kind], it.value)
		case it.broken != nil:
			l.broken[it.broken.Key] = *it.broken
		default:
			delete(l.broken, it.version.Resource.Key)
			if l.foreign {
				it.version.Digest = 0
			}
			if t := tenants[it.version.Resource.Tenant]; t != nil {
				t.Put = append(t.Put, it.version)
			}
		}
	}
	for _, name := range slices.Sorted(maps.Keys(tenants)) {
		l.update.Tenants = append(l.update.Tenants, *tenants[name])
	}
	for _, kind := range state.Kinds() {
		if err := kind.Fill(&l.update, values[kind.FrameKind()], gone[kind.GoneField()]); err != nil {
			return err
		}
	}
	return nil
}

// allocate makes what fill fills.
func (l *loaded) allocate(items iter.Seq[*item], tenants map[string]*state.TenantUpdate) {
	versions := map[string]int{}
	for it := range items {
		if it.version.Resource != nil {
			versions[it.version.Resource.Tenant]++
		}
	}
	for name, t := range tenants {
		t.Put = slices.Grow(t.Put, versions[name])
	}
}

// loadJournal applies the base's journal to the mirror, up to where it is damaged, and opens it for more if it is not. told: there
// were updates.
func (s *Snapshot) loadJournal(base *loaded) (told bool, lost *CorruptError) {
	f, r, lost := s.findJournal(base)
	if f == nil {
		return false, lost
	}
	defer f.Close()
	whole, err := r.off, error(nil)
	for err == nil {
		var u state.Update
		var at time.Time
		if u, at, err = s.nextUpdate(r, base); err != nil {
			break
		}
		s.mirror.Apply(u)
		told, whole = true, r.off
		if s.taken = at; at.IsZero() {
			s.taken = modTime(f)
		}
	}
	name := filepath.Base(f.Name())
	s.bytes.journal = whole
	switch {
	case errors.Is(err, io.EOF):
	case isTorn(f, r, err):
		s.log.Warn("the journal of the snapshot ends within an update, as after a power cut; that update is left out",
			"file", f.Name(), "bytes", r.size-whole, "reason", err)
		if s.lock == nil || !s.whole || os.Truncate(f.Name(), whole) != nil {
			return told, nil // the next update writes a base
		}
	default:
		if s.whole {
			s.setAside(name, f, whole)
		}
		return told, &CorruptError{File: f.Name(), Offset: r.off, Reason: err.Error()}
	}
	if base.foreign || !s.whole || s.lock == nil {
		return told, nil // the next update writes a base, of this program's
	}
	if err := s.openJournal(name); err != nil {
		return told, s.unread(name, err)
	}
	return told, nil
}

// findJournal opens the journal that continues base, whichever name it has; nil: there is none. lost: there was one.
func (s *Snapshot) findJournal(base *loaded) (_ *os.File, _ *frameReader, lost *CorruptError) {
	for _, name := range []string{journalFile, journalPrev} {
		own := (name == journalFile) == s.whole // the name that it has but in the midst of renamings
		f, r, meta, err := s.openFrames(name, journalMagic)
		if err != nil {
			if c := err.(*CorruptError); own && !c.absent {
				lost = c
			}
			continue
		}
		if meta.Seq == base.seq {
			return f, r, nil
		}
		f.Close()
		if own && meta.Seq > base.seq {
			lost = &CorruptError{File: s.path(name), Reason: "it continues a base that is not there"}
		}
	}
	if lost != nil && s.whole {
		s.setAside(journalFile, nil, 0)
	}
	return nil, nil, lost
}

func modTime(f *os.File) (at time.Time) {
	if info, err := f.Stat(); err == nil {
		at = info.ModTime()
	}
	return at
}

// isTorn reports whether the journal ends within its last update (whose commit may be there: disks write in any
// order). With a part of another update behind it, the fault is no power cut.
func isTorn(f *os.File, r *frameReader, cause error) bool {
	if !errors.Is(cause, errTorn) && !errors.Is(cause, errChecksum) {
		return false
	}
	rest := make([]byte, r.size-r.off)
	_, err := f.ReadAt(rest, r.off)
	return err == nil && countFrames(rest, frameCommit) <= 1 && countFrames(rest, frameUpdate) == 0
}

// nextUpdate reads one update up to its commit, and when it was told; io.EOF: there is none.
func (s *Snapshot) nextUpdate(r *frameReader, base *loaded) (u state.Update, at time.Time, err error) {
	kind, payload, err := r.next()
	if err != nil {
		return u, at, err
	}
	var meta snapUpdate
	var gone map[string]json.RawMessage // the same, with what each kind lost
	if kind != frameUpdate || json.Unmarshal(payload, &meta) != nil || json.Unmarshal(payload, &gone) != nil {
		return u, at, errors.New("an update does not begin where it should")
	}
	var items []item
	for {
		kind, payload, err := r.next()
		if errors.Is(err, io.EOF) {
			return u, at, errTorn
		}
		if err != nil {
			return u, at, err
		}
		if kind == frameCommit {
			break
		}
		if !isItem(kind) {
			return u, at, fmt.Errorf("a record of kind %q does not belong here", kind)
		}
		items = append(items, item{kind: kind})
		if err := items[len(items)-1].decode(payload, &base.reader); err != nil {
			return u, at, err
		}
	}
	l := &loaded{broken: base.broken, foreign: base.foreign}
	l.update = state.Update{Cursor: meta.Cursor, Cluster: meta.Cluster, Epoch: meta.Epoch}
	if err := l.fill(each(items), meta.Heads, meta.IDs, gone); err != nil {
		return u, at, err
	}
	for _, key := range meta.Deleted {
		delete(base.broken, key)
		for i := range l.update.Tenants {
			if t := &l.update.Tenants[i]; t.Tenant == key.Tenant {
				t.Deleted = append(t.Deleted, key)
			}
		}
	}
	return l.update, meta.At, nil
}
