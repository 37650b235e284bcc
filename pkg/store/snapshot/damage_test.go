package snapshot

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/gti/gtm/pkg/store/state"
	"github.com/gti/gtm/pkg/store/storetest"
)

// A history is a snapshot of two pairs, and all states on the way to it, by cursor.
type history struct {
	files  map[string][]byte
	states map[int64]state.Update
	ends   map[string]map[int64]int64 // by journal: how long it was at each cursor
	prev   int64                      // the last cursor of the pair before
	base   int64                      // that of the base
	last   int64
}

var pairFiles = []string{baseFile, journalFile, basePrev, journalPrev}

func newHistory(t *testing.T) *history {
	t.Helper()
	dir := t.TempDir()
	s, _ := openSnapshot(t, dir)
	maker, mirror := storetest.NewUpdateMaker(7), state.NewMirror()
	h := &history{states: map[int64]state.Update{}, ends: map[string]map[int64]int64{journalPrev: {}, journalFile: {}}}
	add := func(full bool, journal string) int64 {
		u := maker.Delta()
		mirror.Apply(u)
		if full {
			u = mirror.Full()
		}
		h.states[u.Cursor] = mirror.Full()
		mustAppend(t, s, u)
		h.ends[journal][u.Cursor] = s.bytes.journal
		return u.Cursor
	}
	for i := range 4 {
		h.prev = add(i == 0, journalPrev)
	}
	h.base = add(true, journalFile)
	for range 4 {
		h.last = add(false, journalFile)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	h.files = readFiles(t, dir)
	for _, name := range pairFiles {
		if len(h.files[name]) == 0 {
			t.Fatalf("there is no %s", name)
		}
	}
	return h
}

func readFiles(t *testing.T, dir string) map[string][]byte {
	t.Helper()
	files := map[string][]byte{}
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		data, err := os.ReadFile(filepath.Join(dir, e.Name()))
		if err != nil {
			t.Fatal(err)
		}
		files[e.Name()] = data
	}
	return files
}

func writeFiles(t *testing.T, files map[string][]byte) (dir string) {
	t.Helper()
	dir = t.TempDir()
	for name, data := range files {
		if err := os.WriteFile(filepath.Join(dir, name), data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// opens opens a snapshot that may be damaged, and gives the cursor of the state that it has, which must be one that there was; 0: none.
func (h *history) opens(t *testing.T, dir string) (*Snapshot, int64, error) {
	t.Helper()
	s, u, err := Open(dir, nil)
	var corrupt *CorruptError
	if err != nil && !errors.As(err, &corrupt) {
		t.Fatal(err)
	}
	if u == nil {
		return s, 0, err
	}
	m := state.NewMirror()
	m.Apply(*u)
	if diff := cmp.Diff(h.states[u.Cursor], m.Full()); diff != "" {
		t.Fatalf("a state that never was (%v):\n%s", err, diff)
	}
	return s, u.Cursor, err
}

// outlives checks that the state that was found is found again, and written again.
func (h *history) outlives(t *testing.T, dir string, found int64) {
	t.Helper()
	s, again, err := h.opens(t, dir)
	if again != found {
		t.Fatalf("at first the state of %d was found, then that of %d (%v)", found, again, err)
	}
	if err := s.Again(); err != nil {
		t.Fatal(err)
	}
	s.Close()
	if found == 0 {
		return
	}
	s, again, err = h.opens(t, dir)
	if again != found || err != nil {
		t.Fatalf("written again, the state of %d is that of %d (%v)", found, again, err)
	}
	s.Close()
}

// wholeUntil gives the last update that ends before a place in a journal, or the base's.
func (h *history) wholeUntil(journal string, place, base int64) int64 {
	last := base
	for _, cursor := range slices.Sorted(maps.Keys(h.ends[journal])) {
		if h.ends[journal][cursor] <= place {
			last = cursor
		}
	}
	return last
}

// TestOneFlippedBit: of each file any bit may be wrong. What is intact before it is served, and nothing behind it.
func TestOneFlippedBit(t *testing.T) {
	h := newHistory(t)
	rng := rand.New(rand.NewPCG(9, 9))
	for _, name := range pairFiles {
		for i := range 60 {
			files := maps.Clone(h.files)
			files[name] = bytes.Clone(files[name])
			at := rng.IntN(len(files[name]))
			files[name][at] ^= 1 << rng.IntN(8)
			dir := writeFiles(t, files)
			s, found, err := h.opens(t, dir)
			want := h.last
			switch name {
			case baseFile:
				want = h.prev
			case journalFile:
				want = h.wholeUntil(journalFile, int64(at), h.base)
			}
			if found != want {
				t.Fatalf("byte %d of %s: the state of %d is found, not of %d: %v", at, name, found, want, err)
			}
			tail := name == journalFile && int64(at) >= h.ends[name][h.last-1]
			if noticed := err != nil; noticed != (want != h.last) && !tail { // the last update may be one that a power cut left
				t.Fatalf("byte %d of %s: %v", at, name, err)
			}
			if err != nil && !strings.Contains(err.Error(), filepath.Join(dir, name)) {
				t.Errorf("byte %d of %s: %v", at, name, err)
			}
			if aside := readFiles(t, dir)[name+".damaged"]; err != nil && !bytes.Equal(aside, files[name]) {
				t.Errorf("byte %d of %s: it is not set aside as it was", at, name)
			}
			s.Close()
			if i%4 == 0 {
				h.outlives(t, dir, found)
			}
		}
	}
}

// TestAnyDamage: bits, lost ends and lost files, several at once. Whenever a pair is intact, its state is found, or a newer one.
func TestAnyDamage(t *testing.T) {
	h := newHistory(t)
	rng := rand.New(rand.NewPCG(3, 3))
	for i := range 240 {
		files, did := maps.Clone(h.files), []string{}
		hurt := map[string]bool{}
		for _, which := range rng.Perm(len(pairFiles))[:1+rng.IntN(3)] {
			name := pairFiles[which]
			data := bytes.Clone(files[name])
			hurt[name] = true
			switch rng.IntN(4) {
			case 0:
				delete(files, name)
				did = append(did, "no "+name)
				continue
			case 1:
				data = data[:rng.IntN(len(data))]
			case 2:
				at := rng.IntN(len(data))
				data = append(data[:at:at], make([]byte, rng.IntN(100))...)
			default:
				for range 1 + rng.IntN(5) {
					data[rng.IntN(len(data))] ^= 1 << rng.IntN(8)
				}
			}
			did = append(did, fmt.Sprintf("%s of %d bytes", name, len(data)))
			files[name] = data
		}
		dir := writeFiles(t, files)
		s, found, err := h.opens(t, dir)
		least := int64(0)
		switch {
		case !hurt[baseFile] && !hurt[journalFile]:
			least = h.last
		case !hurt[baseFile]:
			least = h.base
		case !hurt[basePrev] && !hurt[journalPrev]:
			least = h.prev
		case !hurt[basePrev]:
			least = 1
		}
		if found < least {
			t.Fatalf("%v: the state of %d is found, not of %d or later: %v", did, found, least, err)
		}
		s.Close()
		if i%4 == 0 {
			h.outlives(t, dir, found)
		}
	}
}

// TestPowerFailsWhileTheBaseIsWritten: whichever of the renamings have reached the disk, the state of before is found, or the new one.
func TestPowerFailsWhileTheBaseIsWritten(t *testing.T) {
	h := newHistory(t)
	dir := writeFiles(t, h.files)
	s, _, _ := h.opens(t, dir)
	after := s.mirror.Full()
	after.Cursor++
	h.states[after.Cursor] = after
	mustAppend(t, s, after)
	s.Close()
	now := readFiles(t, dir)
	for done := range 16 {
		files := maps.Clone(h.files)
		files[baseFile+".new"], files[journalFile+".new"] = now[baseFile], now[journalFile]
		move := func(bit int, from, to string) {
			if done&bit != 0 {
				files[to] = files[from]
				delete(files, from)
			}
		}
		move(1, journalFile, journalPrev)
		move(2, baseFile, basePrev)
		move(4, baseFile+".new", baseFile)
		if done&4 != 0 { // not before that
			move(8, journalFile+".new", journalFile)
		}
		dir := writeFiles(t, files)
		s, found, err := h.opens(t, dir)
		if want := h.last + int64(done&4/4); found != want {
			t.Fatalf("with the renamings %04b, the state of %d is found, not of %d: %v", done, found, want, err)
		}
		s.Close()
		h.outlives(t, dir, found)
	}
}

// TestDamagedJournalKeepsTheBase: one flipped bit in the journal threw the good base away.
func TestDamagedJournalKeepsTheBase(t *testing.T) {
	h := newHistory(t)
	files := maps.Clone(h.files)
	files[journalFile] = bytes.Clone(files[journalFile])
	files[journalFile][h.ends[journalFile][h.base+1]+3] ^= 4
	dir := writeFiles(t, files)
	s, u, err := Open(dir, nil)
	if u == nil || u.Cursor != h.base+1 || err == nil || !strings.Contains(err.Error(), "what was written before that, until ") {
		t.Fatalf("%v with %+v", err, u)
	}
	if s.LastWrite().IsZero() || s.Empty() {
		t.Error("it does not know of when the state is")
	}
	next := *u
	next.Full, next.Tenants, next.Values = false, nil, nil
	next.Cursor = 100
	before := s.seq
	mustAppend(t, s, next)
	if s.seq != before+1 {
		t.Error("the next write did not make a new base")
	}
	s.Close()
	if _, u := openAndClose(t, dir); u.Cursor != 100 {
		t.Errorf("cursor %d", u.Cursor)
	}
}

// TestOlderStateSaysHowOldItIs: a state that was found behind a damaged base keeps its age, also when it is written again.
func TestOlderStateSaysHowOldItIs(t *testing.T) {
	dir := t.TempDir()
	s, _ := openSnapshot(t, dir)
	mustAppend(t, s, state.Update{Full: true, Cursor: 1})
	mustAppend(t, s, state.Update{Cursor: 2})
	old := s.LastWrite()
	mustAppend(t, s, state.Update{Full: true, Cursor: 3})
	s.Close()
	if err := os.Truncate(filepath.Join(dir, baseFile), 20); err != nil {
		t.Fatal(err)
	}
	s, u, err := Open(dir, nil)
	if u == nil || u.Cursor != 2 || err == nil || !strings.Contains(err.Error(), "the state that was kept before it, of ") {
		t.Fatalf("%v with %+v", err, u)
	}
	if err := s.Again(); err != nil || !s.LastWrite().Equal(old) {
		t.Errorf("%v; it is of %v, not of %v", err, s.LastWrite(), old)
	}
	s.Close()
	if s, _ := openAndClose(t, dir); !s.LastWrite().Equal(old) {
		t.Errorf("read again, it is of %v, not of %v", s.LastWrite(), old)
	}
	if old.Before(time.Now().Add(-time.Hour)) {
		t.Error("the clock is wrong")
	}
}

// TestFolderThatCannotBeWritten: the snapshot is read all the same, and written once that can be done.
func TestFolderThatCannotBeWritten(t *testing.T) {
	h := newHistory(t)
	files := maps.Clone(h.files)
	files[journalFile] = bytes.Clone(files[journalFile])
	files[journalFile][h.ends[journalFile][h.base+1]+3] ^= 4 // nothing of it is set aside
	delete(files, "snapshot.lock")
	dir := writeFiles(t, files)
	blocked := filepath.Join(dir, "snapshot.lock")
	if err := os.Mkdir(blocked, 0o700); err != nil { // whoever runs the tests, this cannot be opened as a file
		t.Fatal(err)
	}
	for range 2 {
		s, u, err := Open(dir, nil)
		if u == nil || u.Cursor != h.base+1 || err == nil || !strings.Contains(err.Error(), "cannot be written") {
			t.Fatalf("%v with %+v", err, u)
		}
		if err := s.Append(state.Update{Cursor: 50}); err == nil || s.Again() == nil {
			t.Errorf("it was written: %v", err)
		}
		s.Close()
	}
	s, _, _ := Open(dir, nil)
	if err := s.Append(state.Update{Cursor: 60}); err == nil {
		t.Error("it was written")
	}
	if err := os.Remove(blocked); err != nil {
		t.Fatal(err)
	}
	if err := s.Again(); err != nil {
		t.Fatal(err)
	}
	s.Close()
	if _, u := openAndClose(t, dir); u.Cursor != 60 {
		t.Errorf("cursor %d", u.Cursor)
	}
}

// TestNothingIsNotWritten: an empty base would be served as a store that holds nothing.
func TestNothingIsNotWritten(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, baseFile), []byte("rubbish"), 0o600); err != nil {
		t.Fatal(err)
	}
	s, u, err := Open(dir, nil)
	if u != nil || err == nil || !s.Empty() || !strings.Contains(err.Error(), "the state is read from etcd") {
		t.Fatalf("%v with %+v", err, u)
	}
	if err := s.Again(); err != nil {
		t.Error(err)
	}
	s.Close()
	if _, u := openAndClose(t, dir); u != nil {
		t.Errorf("it holds %+v", u)
	}
}

// TestFullDiskTakesThePairBefore: where there is no room for a third base, the oldest goes; where there is none at all, what is there
// stays.
func TestFullDiskTakesThePairBefore(t *testing.T) {
	h := newHistory(t)
	dir := writeFiles(t, h.files)
	s, _, _ := h.opens(t, dir)
	full := func() {
		t.Helper()
		if err := os.Symlink("/dev/full", filepath.Join(dir, baseFile+".new")); err != nil {
			t.Fatal(err)
		}
	}
	u := s.mirror.Full()
	u.Cursor = 100
	full() // until the first try, which takes the link away
	mustAppend(t, s, u)
	want := []string{baseFile, basePrev, journalFile, journalPrev, "snapshot.lock"}
	if got := slices.Sorted(maps.Keys(readFiles(t, dir))); !slices.Equal(got, want) {
		t.Errorf("there are %v", got)
	}
	for range 2 { // the second time there is no pair before any more
		full()
		s.dropPrev()
		u.Cursor++
		if err := s.Append(u); err == nil || !strings.Contains(err.Error(), "the disk is full") {
			t.Errorf("got %v", err)
		}
		if got, _ := os.ReadFile(filepath.Join(dir, baseFile)); len(got) == 0 {
			t.Fatal("the base is gone")
		}
	}
	if err := s.Again(); err != nil {
		t.Fatal(err)
	}
	s.Close()
	if _, got := openAndClose(t, dir); got.Cursor != u.Cursor {
		t.Errorf("cursor %d, want %d", got.Cursor, u.Cursor)
	}
}
