package edge

import (
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/gti/gtm/pkg/gtmtest"
	"github.com/gti/gtm/pkg/gtmtest/declared"
	"github.com/gti/gtm/pkg/spec"
	"github.com/gti/gtm/pkg/store/snapshot"
	"github.com/gti/gtm/pkg/store/state"
)

// savedEdge leaves what an edge had when it ended in dir: the fixtures, a delta, and a verdict.
func savedEdge(t *testing.T, dir string) {
	t.Helper()
	r := start(t, dir, nil)
	r.tell(everything(t, 1))
	u := delta(t, 2, declared.Resources(t, strings.ReplaceAll(shopYAML, euB, "198.51.100.9"))...)
	u.Values = state.Verdicts.Put(down("eu", "a", "b"))
	r.tell(u)
	r.expect("web.shop.gtm.example.", "A", european, "NOERROR "+usA)
	r.stop()
}

func TestStartsFromTheSnapshot(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	savedEdge(t, dir)

	r := start(t, dir, nil)
	r.ready() // though the store is silent
	r.always("web.shop.gtm.example.", "A", european, "NOERROR "+usA)
	r.always("w.other.gtm.example.", "A", "", "NOERROR "+otherA)
	from := <-r.store.from
	if from == nil || from.Cluster != 7 || from.Revision != 102 || from.Heads["shop"] != 2 || from.Heads["other"] != 1 {
		t.Errorf("it follows from %+v", from)
	}
	if s := r.fetchStatus(); s.Source.State != "snapshot" || s.Tenants["shop"] != 2 || s.Services != 2 {
		t.Errorf("status %+v", s)
	}
	if age := r.value("gtm_edge_snapshot_age_seconds"); age <= 0 || age > 3600 {
		t.Errorf("the snapshot is %v s old", age)
	}
	r.status(state.Stale, "connection refused")
	if s := r.sourceIs("snapshot"); s.Error != "connection refused" {
		t.Errorf("the reason is lost: %+v", s)
	}
	r.logged("level=WARN", "connection refused")
	r.status(state.Refused, "the store went back")
	r.sourceIs("refused")
	r.always("web.shop.gtm.example.", "A", european, "NOERROR "+usA)

	full := everything(t, 3)
	r.tell(full)
	if s := r.sourceIs("current"); s.Cursor != full.Cursor {
		t.Errorf("the cursor is %d, want %d", s.Cursor, full.Cursor)
	}
	r.expect("web.shop.gtm.example.", "A", european, "NOERROR "+euA) // the verdict is gone
	r.status(state.Stale, "connection lost")
	r.sourceIs("stale") // no longer what the disk had
}

func TestCorruptSnapshot(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	savedEdge(t, dir)
	base := filepath.Join(dir, "snapshot", "base")
	data, err := os.ReadFile(base)
	if err != nil {
		t.Fatal(err)
	}
	data[len(data)/2] ^= 0x40
	if err := os.WriteFile(base, data, 0o600); err != nil {
		t.Fatal(err)
	}

	r := start(t, dir, nil)
	if from := <-r.store.from; from != nil {
		t.Errorf("it follows from %+v", from)
	}
	r.logged("level=ERROR", "the snapshot on disk cannot be used", base)
	r.valueIs(0, "gtm_edge_snapshot_ok_info")
	if err := r.e.Ready(); err == nil {
		t.Error("it is ready with nothing to answer from")
	}
	if s := r.fetchStatus().Snapshot; s == nil || !strings.Contains(s.Error, base) || s.Written != nil {
		t.Errorf("status tells of the snapshot as %+v", s)
	}
	r.tell(everything(t, 5))
	r.ready()
	r.valueIs(1, "gtm_edge_snapshot_ok_info")
	r.stop()

	again := start(t, dir, nil)
	again.ready()
	again.always("web.shop.gtm.example.", "A", european, "NOERROR "+euA)
}

// TestDamagedJournal: one flipped bit threw everything away, and an edge without a store had no answer.
func TestDamagedJournal(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	savedEdge(t, dir)
	journal := filepath.Join(dir, "snapshot", "journal")
	data, err := os.ReadFile(journal)
	if err != nil {
		t.Fatal(err)
	}
	data[3] ^= 0x40
	if err := os.WriteFile(journal, data, 0o600); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		r := start(t, dir, nil)
		r.ready()
		r.always("web.shop.gtm.example.", "A", european, "NOERROR "+euA) // what the journal told is lost
		if s := r.fetchStatus(); s.Source.State != "snapshot" || s.Snapshot.Written == nil {
			t.Errorf("status %+v", s)
		}
		if data != nil {
			r.logged("level=ERROR", "what is intact of it is served", journal, "until 20")
			r.logged("the snapshot on disk is up to date again") // by itself, though the store is silent
			if s := r.fetchStatus(); !strings.Contains(s.Snapshot.Error, "is served") {
				t.Errorf("what is served came from a damaged copy, and status says %+v", s.Snapshot)
			}
		}
		r.valueIs(1, "gtm_edge_snapshot_ok_info")
		r.stop()
		data = nil
	}
}

// TestDiskThatHasRoomAgain: the copy is written again by itself, though nothing comes that is to be written.
func TestDiskThatHasRoomAgain(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	blocked := filepath.Join(dir, "snapshot", "base.new") // a folder in the way of the new base
	if err := os.MkdirAll(filepath.Join(blocked, "full"), 0o700); err != nil {
		t.Fatal(err)
	}
	r := start(t, dir, func(c *Config) { c.Trial = -1 })
	r.tell(everything(t, 1))
	r.logged("level=ERROR", "the snapshot cannot be written; serving on from memory")
	r.valueIs(0, "gtm_edge_snapshot_ok_info")
	u := delta(t, 2, declared.Resources(t, strings.ReplaceAll(shopYAML, euA, "198.51.100.9"))...)
	r.tell(u)
	r.expect("web.shop.gtm.example.", "A", european, "NOERROR 198.51.100.9")
	if err := os.RemoveAll(blocked); err != nil {
		t.Fatal(err)
	}
	r.valueIs(1, "gtm_edge_snapshot_ok_info")
	r.logged("the snapshot on disk is up to date again")
	_, kept, err := snapshot.Open(copyOf(t, filepath.Join(dir, "snapshot")), nil)
	if err != nil || kept == nil || kept.Cursor != u.Cursor {
		t.Errorf("on disk is %+v, %v", kept, err)
	}
}

// copyOf copies the files of a folder.
func copyOf(t *testing.T, dir string) string {
	t.Helper()
	to := t.TempDir()
	if err := os.CopyFS(to, os.DirFS(dir)); err != nil {
		t.Fatal(err)
	}
	return to
}

// A disk that takes nothing harms neither answers nor the end.
func TestSnapshotThatCannotBeWritten(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "snapshot"), nil, 0o600); err != nil { // a file where the folder should be
		t.Fatal(err)
	}
	r := start(t, dir, nil)
	r.tell(everything(t, 1))
	r.ready()
	r.always("web.shop.gtm.example.", "A", european, "NOERROR "+euA)
	r.logged("level=ERROR", "the snapshot on disk cannot be used")
	if got := r.value("gtm_edge_snapshot_ok_info"); got != 0 {
		t.Errorf("ok is %v", got)
	}
	r.stop()
}

// What the store holds of a service cannot be read; its last good form must outlive restarts.
func TestLastGoodFormOutlivesRestarts(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	key := spec.Key{Tenant: "shop", Kind: spec.KindService, Name: "web"}
	whole := everything(t, 1)
	for range 3 {
		r := start(t, dir, nil)
		r.tell(whole)
		r.expect("web.shop.gtm.example.", "A", european, "NOERROR "+euA)
		if len(whole.Tenants[1].Broken) > 0 {
			gtmtest.Eventually(t, "the service is told to be broken", func() error { // the snapshot answers before the store is heard
				if s := r.fetchStatus(); len(s.Broken) != 1 || s.Broken[0].Resource != key.String() {
					return fmt.Errorf("broken: %+v", s.Broken)
				}
				return nil
			})
		}
		r.stop()
		whole = everything(t, 2) // from now on, the store tells of it like this
		breakResource(&whole, key)
	}
}

// breakResource makes an update tell that a resource cannot be read.
func breakResource(u *state.Update, key spec.Key) {
	for i := range u.Tenants {
		tu := &u.Tenants[i]
		for j, v := range tu.Put {
			if v.Resource.Key == key {
				tu.Put = append(tu.Put[:j], tu.Put[j+1:]...)
				tu.Broken = append(tu.Broken, state.BrokenResource{Key: key, Generation: tu.Head, Err: errBroken})
				return
			}
		}
	}
}

// TestWhatWaitsIsWrittenAsOne: updates that gathered while the disk was busy cost it one text of a zone, and lead to the same copy.
func TestWhatWaitsIsWrittenAsOne(t *testing.T) {
	dir := t.TempDir()
	s, _, err := snapshot.Open(dir, nil)
	if err != nil {
		t.Fatal(err)
	}
	e := &Edge{save: saveQueue{signal: make(chan struct{}, 1)}, log: slog.New(slog.DiscardHandler)}
	failing := false
	e.save.put(everything(t, 1))
	e.write(s, &failing)
	put := func(gen uint64) {
		e.save.put(delta(t, gen, declared.Resources(t, strings.ReplaceAll(platformYAML, "192.0.2.80", fmt.Sprint("192.0.2.", gen)))...))
	}
	put(2)
	one := e.write(s, &failing)
	for gen := range uint64(50) {
		put(3 + gen)
	}
	if many := e.write(s, &failing); one < 100 || many > one+20 {
		t.Errorf("one update takes %d bytes, fifty that waited take %d", one, many)
	}
	if e.write(s, &failing) != 0 || failing || s.Close() != nil {
		t.Error("the queue is not empty, or writing failed")
	}
	s, u, err := snapshot.Open(dir, nil)
	if err != nil || u == nil || u.Cursor != 152 {
		t.Fatalf("the copy is %+v, %v", u, err)
	}
	defer s.Close()
	for _, tu := range u.Tenants {
		for _, v := range tu.Put {
			if z, ok := v.Resource.Spec.(*spec.Zone); ok && strings.Contains(z.Content, "static") &&
				!strings.Contains(z.Content, "192.0.2.52") {
				t.Errorf("the zone is not that of the last update:\n%s", z.Content)
			}
		}
	}
}

// TestWhatWaitsHoldsTheFormBeforeABrokenOne: while the disk is busy a service changes, and then everything is told anew, that service as
// broken. The copy keeps its last good form, which only what waited has.
func TestWhatWaitsHoldsTheFormBeforeABrokenOne(t *testing.T) {
	dir := t.TempDir()
	s, _, err := snapshot.Open(dir, nil)
	if err != nil {
		t.Fatal(err)
	}
	e := &Edge{save: saveQueue{signal: make(chan struct{}, 1)}, log: slog.New(slog.DiscardHandler)}
	failing := false
	e.save.put(everything(t, 1))
	e.write(s, &failing)
	key := spec.Key{Tenant: "shop", Kind: spec.KindService, Name: "web"}
	e.save.put(delta(t, 2, declared.Resources(t, shopYAML)...))
	whole := everything(t, 3)
	breakResource(&whole, key)
	e.save.put(whole)
	e.save.put(delta(t, 4, declared.Resources(t, platformYAML)...))
	if e.write(s, &failing); failing || s.Close() != nil {
		t.Error("writing failed")
	}
	s, u, err := snapshot.Open(dir, nil)
	if err != nil || u == nil {
		t.Fatalf("the copy is %+v, %v", u, err)
	}
	defer s.Close()
	gens := map[spec.Key]state.Generation{}
	for _, tu := range u.Tenants {
		for _, v := range tu.Put {
			gens[v.Resource.Key] = v.Generation
		}
	}
	for k, got := range gens {
		want := state.Generation(3)
		switch k.Tenant {
		case "shop":
			if k == key {
				want = 2
			}
		case "platform":
			want = 4
		}
		if got != want {
			t.Errorf("%v is of generation %d, want %d", k, got, want)
		}
	}
	if gens[key] == 0 {
		t.Errorf("%v is lost", key)
	}
}

func TestPauseAfter(t *testing.T) {
	for bytes, want := range map[int64]time.Duration{0: 0, 4 << 10: 976562, 1 << 20: 250 * time.Millisecond, 4 << 20: time.Second,
		1 << 40: 2 * time.Second} {
		if got := pauseAfter(bytes); got != want {
			t.Errorf("after %d bytes %v, want %v", bytes, got, want)
		}
	}
}

// TestUpdatesAreNotKeptForAFolderOfAnotherProcess: they were, each of them, for as long as the edge ran.
func TestUpdatesAreNotKeptForAFolderOfAnotherProcess(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	start(t, dir, nil).tell(everything(t, 1))
	gtmtest.Eventually(t, "one has the folder", func() error {
		_, err := os.Stat(filepath.Join(dir, "snapshot", "base"))
		return err
	})
	r := start(t, dir, nil)
	r.tell(everything(t, 1))
	r.ready()
	for gen := uint64(2); gen < 5; gen++ {
		r.tell(delta(t, gen, declared.Resources(t, shopYAML)...))
	}
	gtmtest.Eventually(t, "nothing waits for the disk", func() error {
		if r.fetchStatus().Tenants["shop"] != 4 {
			return errors.New("it has not heard all")
		}
		r.e.save.mu.Lock()
		defer r.e.save.mu.Unlock()
		if n := len(r.e.save.waiting); n > 0 {
			return fmt.Errorf("%d updates wait", n)
		}
		return nil
	})
}
