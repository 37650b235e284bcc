package snapshot

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/gti/gtm/pkg/health"
	"github.com/gti/gtm/pkg/spec"
	"github.com/gti/gtm/pkg/store/state"
	"github.com/gti/gtm/pkg/store/storetest"
)

func openSnapshot(t testing.TB, dir string) (*Snapshot, *state.Update) {
	t.Helper()
	s, u, err := Open(dir, nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s, u
}

func mustAppend(t testing.TB, s *Snapshot, u state.Update) {
	t.Helper()
	if err := s.Append(u); err != nil {
		t.Fatal(err)
	}
}

// filled writes a base and n updates, and gives the maker of each state on the way.
func filled(t testing.TB, dir string, n int) *storetest.UpdateMaker {
	t.Helper()
	s, _ := openSnapshot(t, dir)
	maker := storetest.NewUpdateMaker(7)
	full := maker.Delta()
	full.Full = true
	mustAppend(t, s, full)
	for range n {
		mustAppend(t, s, maker.Delta())
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	return maker
}

func TestSnapshotHoldsWhatWasTold(t *testing.T) {
	dir := t.TempDir()
	s, u := openSnapshot(t, dir)
	if u != nil || !s.LastWrite().IsZero() || s.Age() != 0 {
		t.Fatalf("an empty folder holds %+v", u)
	}
	maker := storetest.NewUpdateMaker(5)
	for i := range 120 {
		u := maker.Delta()
		u.Full = i == 0
		mustAppend(t, s, u)
		if i%10 != 9 {
			continue
		}
		s.Close()
		var back *state.Update
		s, back = openSnapshot(t, dir)
		m := state.NewMirror()
		m.Apply(*back)
		if diff := cmp.Diff(maker.Sum(), storetest.SumOf(m)); diff != "" {
			t.Fatalf("after %d updates:\n%s", i+1, diff)
		}
		if !back.Full || back.Cursor != maker.Cursor || back.Cluster != 1<<63 || back.Epoch != 4 {
			t.Errorf("position %+v", back.Position())
		}
		if s.LastWrite().IsZero() {
			t.Error("it does not know when it was written")
		}
	}
	if err := s.Close(); err != nil {
		t.Error(err)
	}
	if err := s.Append(state.Update{}); err == nil {
		t.Error("a closed snapshot took an update")
	}
}

func TestJournalIsFoldedIntoTheBase(t *testing.T) {
	dir := t.TempDir()
	s, _ := openSnapshot(t, dir)
	mustAppend(t, s, state.Update{Full: true, Tenants: []state.TenantUpdate{{Tenant: spec.Platform, Head: 1}}})
	first := s.seq
	text := strings.Repeat("x.\t1\tIN\tTXT\ty\n", 20000)
	for g := range 10 {
		mustAppend(t, s, state.Update{Cursor: int64(g), Tenants: []state.TenantUpdate{{Tenant: spec.Platform, Head: state.Generation(g),
			Put: []state.Version{{Resource: storetest.Zone("z.", text), Generation: state.Generation(g)}}}}})
	}
	if s.seq == first || s.bytes.journal > 3<<20 {
		t.Errorf("the journal grew to %d bytes beside a base of %d", s.bytes.journal, s.bytes.base)
	}
	s.Close()
	_, u := openSnapshot(t, dir)
	if len(u.Tenants) != 1 || u.Tenants[0].Head != 9 || len(u.Tenants[0].Put) != 1 {
		t.Errorf("holds %d tenants: %+v", len(u.Tenants), u.Tenants[0].Head)
	}
}

// Whatever of the journal is missing at its end: what was whole is there, and writing goes on.
func TestTornTailIsCutOff(t *testing.T) {
	dir := t.TempDir()
	filled(t, dir, 6)
	whole, err := os.ReadFile(filepath.Join(dir, "journal"))
	if err != nil {
		t.Fatal(err)
	}
	_, u := openAndClose(t, dir)
	last := u.Cursor
	for size := len(whole) - 1; size > len(whole)/2; size -= 23 {
		for _, tail := range [][]byte{nil, make([]byte, 50)} {
			if err := os.WriteFile(filepath.Join(dir, "journal"), append(whole[:size:size], tail...), 0o600); err != nil {
				t.Fatal(err)
			}
			log, said := storetest.Logger(t)
			s, u, err := Open(dir, log)
			if err != nil {
				t.Fatalf("cut to %d of %d: %v", size, len(whole), err)
			}
			if u.Cursor >= last || u.Cursor < 1 {
				t.Errorf("cut to %d of %d: cursor %d of %d", size, len(whole), u.Cursor, last)
			}
			if atEnd := s.bytes.journal == int64(size) && tail == nil; !atEnd && !strings.Contains(said.String(), "power cut") {
				t.Errorf("nobody was told: %s", said)
			}
			mustAppend(t, s, state.Update{Cursor: 99, Cluster: 1 << 63, Epoch: 4})
			s.Close()
			if _, u := openAndClose(t, dir); u.Cursor != 99 {
				t.Fatalf("after going on: cursor %d", u.Cursor)
			}
		}
	}
}

func openAndClose(t testing.TB, dir string) (*Snapshot, *state.Update) {
	t.Helper()
	s, u := openSnapshot(t, dir)
	s.Close()
	return s, u
}

func TestBaseThatIsCutIsRefused(t *testing.T) {
	dir := t.TempDir()
	filled(t, dir, 0)
	good, _ := os.ReadFile(filepath.Join(dir, "base"))
	for size := 0; size < len(good); size += 5 {
		if err := os.WriteFile(filepath.Join(dir, "base"), good[:size], 0o600); err != nil {
			t.Fatal(err)
		}
		s, _, err := Open(dir, nil)
		var corrupt *CorruptError
		if !errors.As(err, &corrupt) {
			t.Fatalf("cut to %d of %d: %v", size, len(good), err)
		}
		s.Close()
	}
}

// Between the renaming of the base and of the journal, the power fails.
func TestJournalOfAnOlderBaseIsLeftOut(t *testing.T) {
	dir := t.TempDir()
	filled(t, dir, 3)
	old, _ := os.ReadFile(filepath.Join(dir, "journal"))
	s, u := openSnapshot(t, dir)
	u.Cursor = 1000
	mustAppend(t, s, *u)
	s.Close()
	if err := os.WriteFile(filepath.Join(dir, "journal"), old, 0o600); err != nil {
		t.Fatal(err)
	}
	s, got := openSnapshot(t, dir)
	if got.Cursor != 1000 {
		t.Errorf("cursor %d", got.Cursor)
	}
	mustAppend(t, s, state.Update{Cursor: 1001, Cluster: 1 << 63, Epoch: 4})
	s.Close()
	if _, got := openAndClose(t, dir); got.Cursor != 1001 {
		t.Errorf("cursor %d after going on", got.Cursor)
	}
}

func TestDiskThatTakesNothingKeepsTheOld(t *testing.T) {
	dir := t.TempDir()
	maker := filled(t, dir, 2)
	s, before := openSnapshot(t, dir)
	// A folder in the way of the new file: whoever runs the tests, that write fails.
	blocked := filepath.Join(dir, "base.new")
	if err := os.Mkdir(blocked, 0o700); err != nil {
		t.Fatal(err)
	}
	u := maker.Delta()
	u.Full = true
	if err := s.Append(u); err == nil || !strings.Contains(err.Error(), dir) {
		t.Errorf("got %v", err)
	}
	s.Close()
	s, after := openSnapshot(t, dir)
	if !cmp.Equal(before, after) {
		t.Error("the state of before is gone")
	}
	s.journal.Close() // as a full disk does, this makes writing fail
	if err := s.Append(maker.Delta()); err == nil {
		t.Error("no error")
	}
	if err := os.Remove(blocked); err != nil {
		t.Fatal(err)
	}
	next := maker.Delta()
	mustAppend(t, s, next)
	s.Close()
	if _, got := openAndClose(t, dir); got.Cursor != next.Cursor {
		t.Errorf("cursor %d, want %d", got.Cursor, next.Cursor)
	}
}

func TestResourceThatIsNotUnderstoodIsBroken(t *testing.T) {
	dir := t.TempDir()
	a := storetest.Site("shop", "a", "EU")
	s, _ := openSnapshot(t, dir)
	mustAppend(t, s, state.Update{Full: true, Tenants: []state.TenantUpdate{{Tenant: "shop", Head: 3,
		Put: []state.Version{{Resource: a, Generation: 1}, {Resource: storetest.Site("shop", "b", "EU"), Generation: 2}}}}})
	s.Close()
	// A Site of what no site can be.
	raw, _ := os.ReadFile(filepath.Join(dir, "base"))
	raw = reframe(t, raw, func(b []byte) []byte {
		return bytes.Replace(b, []byte(`"name":"a","spec":{"region":"EU"}`), []byte(`"name":"a","spec":{"region":1234}`), 1)
	})
	if err := os.WriteFile(filepath.Join(dir, "base"), raw, 0o600); err != nil {
		t.Fatal(err)
	}
	_, u := openAndClose(t, dir)
	if len(u.Tenants) != 1 || len(u.Tenants[0].Put) != 1 || len(u.Tenants[0].Broken) != 1 || u.Tenants[0].Broken[0].Generation != 1 {
		t.Errorf("holds %+v", u.Tenants)
	}
}

// reframe changes payloads and sets the checksums right.
func reframe(t testing.TB, file []byte, change func([]byte) []byte) []byte {
	t.Helper()
	out := bytes.Clone(file[:len(baseMagic)])
	r := newFrameReader(bytes.NewReader(file[len(baseMagic):]), 0, int64(len(file)-len(baseMagic)))
	for {
		kind, payload, err := r.next()
		if err != nil {
			return out
		}
		out = appendFrame(out, kind, change(payload))
	}
}

func FuzzSnapshot(f *testing.F) {
	dir := f.TempDir()
	filled(f, dir, 2)
	base, _ := os.ReadFile(filepath.Join(dir, "base"))
	journal, _ := os.ReadFile(filepath.Join(dir, "journal"))
	f.Add(base, journal, false)
	f.Add(base, journal[:len(journal)-3], false)
	f.Add(base[:len(base)/2], journal, true)
	f.Add([]byte(baseMagic), []byte(journalMagic), true)
	f.Add([]byte{}, []byte{}, false)
	f.Fuzz(func(t *testing.T, base, journal []byte, fix bool) {
		if fix && len(base) > len(baseMagic) && len(journal) > len(journalMagic) {
			base, journal = fixSums(base, baseMagic), fixSums(journal, journalMagic)
		}
		dir := t.TempDir()
		os.WriteFile(filepath.Join(dir, "base"), base, 0o600)
		os.WriteFile(filepath.Join(dir, "journal"), journal, 0o600)
		s, u, err := Open(dir, nil)
		var corrupt *CorruptError
		if err != nil && !errors.As(err, &corrupt) {
			t.Fatal(err)
		}
		if err == nil && u == nil {
			t.Fatal("a base is there, and nothing was read")
		}
		s.Close()
		if err != nil {
			return
		}
		// What was accepted once is accepted again, and is the same.
		_, again := openAndClose(t, dir)
		if diff := cmp.Diff(u, again, cmpErrors); diff != "" {
			t.Fatalf("read twice, it differs:\n%s", diff)
		}
	})
}

var cmpErrors = cmp.Comparer(func(a, b error) bool { return (a == nil) == (b == nil) })

// fixSums puts a file into frames that are valid as such, so that the fuzzer gets behind the checksums:
// one frame per line.
func fixSums(file []byte, magic string) []byte {
	out := []byte(magic)
	for line := range bytes.Lines(file[len(magic):]) {
		out = appendFrame(out, line[0], line[1:])
	}
	return out
}

func BenchmarkSnapshotLoad100k(b *testing.B) {
	dir := b.TempDir()
	s, _ := openSnapshot(b, dir)
	u := state.Update{Full: true, Tenants: []state.TenantUpdate{{Tenant: "shop", Head: 1}}}
	for i := range 100_000 {
		r := &spec.Resource{Key: spec.Key{Tenant: "shop", Kind: spec.KindService, Name: fmt.Sprint(i)}, Spec: &spec.Service{
			Host: fmt.Sprintf("h%d.shop.gtm.example.", i), Rules: []spec.Rule{{When: &spec.When{Geo: []string{"EU"}},
				Pools: []spec.Target{{Pool: "eu"}, {Pool: "us"}}}}}}
		u.Tenants[0].Put = append(u.Tenants[0].Put, state.Version{Resource: r, Generation: 1})
	}
	mustAppend(b, s, u)
	s.Close()
	for b.Loop() {
		openAndClose(b, dir)
	}
}

func TestFramesIn(t *testing.T) {
	var b []byte
	for n := range 5 {
		if got := framesIn(b); got != n {
			t.Errorf("%d frames in %d; want %d", got, len(b), n)
		}
		b = appendFrame(b, frameVersion, bytes.Repeat([]byte{0xff}, 100*n))
	}
	if got := framesIn(b[:len(b)-1]); got != 5 { // never past the end
		t.Errorf("%d frames where the last one is cut; want 5", got)
	}
}

// TestSnapshotLoadsIntoExactRoom: lists that grow while a large snapshot is loaded would leave as much again to the collector.
func TestSnapshotLoadsIntoExactRoom(t *testing.T) {
	dir := t.TempDir()
	s, _ := openSnapshot(t, dir)
	full := state.Update{Full: true, Cursor: 1, Cluster: 1}
	for tenant, n := range map[string]int{"one": 1, "many": 1000, "none": 0} {
		tu := state.TenantUpdate{Tenant: tenant, Head: 1}
		for i := range n {
			tu.Put = append(tu.Put, state.Version{Resource: storetest.Site(tenant, fmt.Sprintf("site-%d", i), "EU"), Generation: 1})
		}
		full.Tenants = append(full.Tenants, tu)
	}
	many := storetest.VerdictOf("many", "pool", 1)
	for i := range 100 {
		many.Endpoints[fmt.Sprintf("e%d", i)] = health.Finding{State: health.Up, Score: 1}
	}
	full.Values = state.Verdicts.Put(many, storetest.VerdictOf("one", "pool", 0.5)) // as they are written
	mustAppend(t, s, full)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	_, u := openSnapshot(t, dir)
	for _, tu := range u.Tenants {
		if most := len(tu.Put) + len(tu.Put)/4; cap(tu.Put) > most {
			t.Errorf("%s: room for %d versions, of which there are %d", tu.Tenant, cap(tu.Put), len(tu.Put))
		}
	}
	if diff := cmp.Diff(state.Verdicts.In(full).Put, state.Verdicts.In(*u).Put); diff != "" {
		t.Errorf("verdicts (-want +got):\n%s", diff)
	}
}
