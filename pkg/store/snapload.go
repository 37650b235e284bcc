package store

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"iter"
	"maps"
	"os"
	"slices"

	"github.com/gti/gtm/pkg/spec"
)

// load reads both files into the mirror.
func (s *Snapshot) load() (*Update, error) {
	base, err := s.loadBase()
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil // a journal alone has nothing to stand on
	}
	if err != nil {
		return nil, err
	}
	s.mirror.Apply(base.update)
	told, err := s.loadJournal(base)
	if err != nil {
		return nil, err
	}
	u := base.update
	if told {
		u = s.mirror.full()
	}
	base.addBroken(&u)
	return &u, nil
}

// loaded is a state on its way from disk.
type loaded struct {
	seq    uint64
	update Update
	broken map[spec.Key]BrokenResource // not decodable, and not replaced by the journal
	reader spec.Reader
	// foreign: written by a program that reads resources in another way. What it left out, this one may understand.
	foreign bool
}

func (l *loaded) addBroken(u *Update) {
	for i := range u.Tenants {
		t := &u.Tenants[i]
		for key, b := range l.broken {
			if key.Tenant == t.Tenant {
				t.Broken = append(t.Broken, b)
			}
		}
		t.sort()
	}
}

// openFrames opens one of the files and reads its magic and meta.
func (s *Snapshot) openFrames(name, magic string) (*os.File, *frameReader, snapMeta, error) {
	var meta snapMeta
	f, err := os.Open(s.path(name))
	if err != nil {
		return nil, nil, meta, err
	}
	fail := func(off int64, reason string) (*os.File, *frameReader, snapMeta, error) {
		f.Close()
		return nil, nil, meta, &CorruptError{File: s.path(name), Offset: off, Reason: reason}
	}
	info, err := f.Stat()
	if err != nil {
		f.Close()
		return nil, nil, meta, err
	}
	if at := info.ModTime(); at.After(s.last) {
		s.last = at
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
	return f, r, meta, nil
}

func (s *Snapshot) loadBase() (*loaded, error) {
	f, r, meta, err := s.openFrames("base", baseMagic)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	s.seq, s.bytes.base = meta.Seq, r.size
	items, at, err := readBase(r)
	if err != nil {
		return nil, &CorruptError{File: f.Name(), Offset: at, Reason: reasonOf(err)}
	}
	l := &loaded{seq: meta.Seq, broken: map[spec.Key]BrokenResource{}, foreign: meta.Schema != spec.Schema()}
	l.update = Update{Full: true, Cursor: meta.Cursor, Cluster: meta.Cluster, Epoch: meta.Epoch}
	l.fill(items, meta.Heads, meta.IDs)
	return l, nil
}

func reasonOf(err error) string {
	if errors.Is(err, io.EOF) {
		return "its end is missing"
	}
	return err.Error()
}

func isItem(kind byte) bool {
	return kind == frameVersion || kind == frameDigested || kind == frameVerdict || kind == frameKeyset
}

// fill sorts decoded items into the update.
func (l *loaded) fill(items iter.Seq[*item], heads map[string]Generation, ids map[string]string) {
	tenants := map[string]*TenantUpdate{}
	for name, head := range heads {
		tenants[name] = &TenantUpdate{Tenant: name, Head: head, ID: ids[name]}
	}
	l.makeRoom(items, tenants)
	for it := range items {
		switch {
		case it.kind == frameVerdict:
			l.update.Verdicts = append(l.update.Verdicts, *it.verdict)
		case it.kind == frameKeyset:
			l.update.Keysets = append(l.update.Keysets, *it.keyset)
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
}

// makeRoom allocates what fill fills.
func (l *loaded) makeRoom(items iter.Seq[*item], tenants map[string]*TenantUpdate) {
	versions, verdicts := map[string]int{}, 0
	for it := range items {
		switch {
		case it.kind == frameVerdict:
			verdicts++
		case it.version.Resource != nil:
			versions[it.version.Resource.Tenant]++
		}
	}
	l.update.Verdicts = slices.Grow(l.update.Verdicts, verdicts)
	for name, t := range tenants {
		t.Put = slices.Grow(t.Put, versions[name])
	}
}

// loadJournal applies the journal's updates to the mirror, and opens it for more. told: there were some.
func (s *Snapshot) loadJournal(base *loaded) (told bool, err error) {
	f, r, meta, err := s.openFrames("journal", journalMagic)
	if errors.Is(err, os.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	defer f.Close()
	if meta.Seq != base.seq {
		if meta.Seq > base.seq {
			return false, &CorruptError{File: f.Name(), Offset: 0, Reason: "it continues a base that is not there"}
		}
		return false, nil // the base was written, its journal not yet: the base holds everything
	}
	whole := r.off
	for {
		l, err := s.nextUpdate(r, base)
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			if err := s.cutTail(f, whole, r, err); err != nil {
				return false, err
			}
			break
		}
		s.mirror.Apply(l)
		told, whole = true, r.off
	}
	s.bytes.journal = whole
	if base.foreign {
		return told, nil // the next update writes a base of this program's
	}
	s.journal, err = os.OpenFile(s.path("journal"), os.O_WRONLY|os.O_APPEND, 0o600)
	return told, err
}

// cutTail cuts a last, unfinished update off the journal (its commit may be there: disks write in any
// order). With another update behind it, the fault is no power cut.
func (s *Snapshot) cutTail(f *os.File, whole int64, r *frameReader, cause error) error {
	rest := make([]byte, r.size-r.off)
	if _, err := f.ReadAt(rest, r.off); err != nil {
		return err
	}
	torn := errors.Is(cause, errTorn) || errors.Is(cause, errChecksum)
	if !torn || countFrames(rest, frameCommit, commitSize) > 1 {
		return &CorruptError{File: f.Name(), Offset: r.off, Reason: cause.Error()}
	}
	s.log.Warn("the journal of the snapshot ends within an update, as after a power cut; that update is left out",
		"file", f.Name(), "bytes", r.size-whole, "reason", cause)
	return os.Truncate(f.Name(), whole)
}

// nextUpdate reads one update up to its commit; io.EOF: there is none.
func (s *Snapshot) nextUpdate(r *frameReader, base *loaded) (Update, error) {
	kind, payload, err := r.next()
	if err != nil {
		return Update{}, err
	}
	var meta snapUpdate
	if kind != frameUpdate || json.Unmarshal(payload, &meta) != nil {
		return Update{}, errors.New("an update does not begin where it should")
	}
	var items []item
	for {
		kind, payload, err := r.next()
		if errors.Is(err, io.EOF) {
			return Update{}, errTorn
		}
		if err != nil {
			return Update{}, err
		}
		if kind == frameCommit {
			break
		}
		if !isItem(kind) {
			return Update{}, fmt.Errorf("a record of kind %q does not belong here", kind)
		}
		items = append(items, item{kind: kind})
		if err := items[len(items)-1].decode(payload, &base.reader); err != nil {
			return Update{}, err
		}
	}
	l := &loaded{broken: base.broken, foreign: base.foreign}
	l.update = Update{Cursor: meta.Cursor, Cluster: meta.Cluster, Epoch: meta.Epoch,
		VerdictsDeleted: meta.VerdictsDeleted, KeysetsDeleted: meta.KeysetsDeleted}
	l.fill(each(items), meta.Heads, meta.IDs)
	for _, key := range meta.Deleted {
		delete(base.broken, key)
		for i := range l.update.Tenants {
			if t := &l.update.Tenants[i]; t.Tenant == key.Tenant {
				t.Deleted = append(t.Deleted, key)
			}
		}
	}
	return l.update, nil
}
