package audit

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/gti/gtm/pkg/control/audit/chain"
	"github.com/gti/gtm/pkg/gtmtest"
	"github.com/gti/gtm/pkg/store/state"
)

var began = time.Date(2026, 5, 4, 3, 2, 1, 0, time.UTC)

func open(t testing.TB, cfg Config) *Log {
	t.Helper()
	if cfg.Dir == "" {
		cfg.Dir = filepath.Join(t.TempDir(), "audit")
	}
	cfg.ID = "fra"
	if cfg.Now == nil {
		cfg.Now = func() time.Time { return began }
	}
	if cfg.Logger == nil {
		cfg.Logger = gtmtest.NewLog(t).Logger()
	}
	l, err := Open(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	return l
}

func write(t testing.TB, l *Log, n int) {
	t.Helper()
	for i := range n {
		message := fmt.Sprintf("change %d: grüße, 🙂 \u202e", i)
		if _, err := l.Write(chain.Entry{Act: chain.ActChange, Outcome: chain.Done, Author: "alice", Message: message}); err != nil {
			t.Fatal(err)
		}
	}
}

// lines gives all lines of a log behind a number.
func lines(t testing.TB, l *Log, after uint64) (all []string) {
	t.Helper()
	if err := l.Read(after, func(_ uint64, line []byte) error { all = append(all, string(line)); return nil }); err != nil {
		t.Fatal(err)
	}
	return all
}

// verify checks lines, and gives what is wrong.
func verify(lines ...string) *chain.Verifier {
	v := &chain.Verifier{}
	_ = v.Add(strings.NewReader(strings.Join(lines, "\n") + "\n"))
	return v
}

// TestALogIsAChain over restarts and files, and of each line its number tells where it is.
func TestALogIsAChain(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "audit")
	for range 3 {
		l := open(t, Config{Dir: dir, Segment: 2000})
		write(t, l, 20)
		l.Close()
	}
	l := open(t, Config{Dir: dir, Segment: 2000})
	all := lines(t, l, 0)
	v := verify(all...)
	s := l.Status()
	if len(all) != 60 || len(v.Faults()) != 0 || len(v.Chains()) != 1 || v.Chains()[0].Last != 60 || v.Chains()[0].Head != s.Head ||
		s.Last != 60 || s.First != 1 {
		t.Errorf("%d lines, %v, %+v, %+v", len(all), v.Faults(), v.Chains(), s)
	}
	if files, _ := filepath.Glob(filepath.Join(dir, "audit-*")); len(files) < 5 {
		t.Errorf("%d files", len(files))
	}
	for _, after := range []uint64{0, 1, 19, 20, 21, 59, 60, 61} {
		if got := lines(t, l, after); len(got) != max(0, 60-int(after)) || len(got) > 0 && got[0] != all[after] {
			t.Errorf("behind %d: %d lines", after, len(got))
		}
	}
	for _, line := range all {
		if strings.ContainsFunc(line, func(r rune) bool { return r < ' ' || r >= 0x7F }) {
			t.Errorf("a terminal may obey it: %q", line)
		}
	}
	e, err := chain.Parse([]byte(all[3]))
	if err != nil || e.Message != "change 3: grüße, 🙂 \u202e" || !e.Time.Equal(began) {
		t.Errorf("%+v, %v", e, err)
	}
}

// TestWritersAtOnceShareAChain, and each entry is there when its writer hears so.
func TestWritersAtOnceShareAChain(t *testing.T) {
	l := open(t, Config{Segment: 5000})
	var wg sync.WaitGroup
	for w := range 8 {
		wg.Go(func() {
			for range 25 {
				e, err := l.Write(chain.Entry{Act: chain.ActChange, Outcome: chain.Done, Author: fmt.Sprint(w)})
				if err != nil {
					t.Error(err)
					return
				}
				found := false
				_ = l.Read(e.Seq-1, func(seq uint64, line []byte) error {
					found = seq == e.Seq && strings.Contains(string(line), fmt.Sprintf(`"author":"%d"`, w))
					return errors.New("enough")
				})
				if !found {
					t.Errorf("entry %d is not on the disk", e.Seq)
				}
			}
		})
	}
	wg.Wait()
	all := lines(t, l, 0)
	if v := verify(all...); len(all) != 200 || len(v.Faults()) != 0 {
		t.Errorf("%d lines, %v", len(all), v.Faults())
	}
}

// TestWhatACrashToreIsCutOff, wherever it tore it: what was answered is there, and the chain goes on.
func TestWhatACrashToreIsCutOff(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "audit")
	l := open(t, Config{Dir: dir})
	write(t, l, 3)
	l.Close()
	path := l.path(1)
	whole, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	last := bytes.LastIndexByte(whole[:len(whole)-1], '\n') + 1
	for cut := last; cut <= len(whole); cut++ {
		if err := os.WriteFile(path, whole[:cut], 0o600); err != nil {
			t.Fatal(err)
		}
		l := open(t, Config{Dir: dir})
		write(t, l, 1)
		all := lines(t, l, 0)
		l.Close()
		want := 4 // two, that something was cut off, the new one
		if cut == last {
			want = 3
		}
		if v := verify(all...); len(v.Faults()) != 0 || len(all) != want ||
			want == 4 && cut < len(whole) && !strings.Contains(all[2], "were cut off") {
			t.Fatalf("torn at %d: %d lines, %v", cut-last, len(all), v.Faults())
		}
	}
}

// TestASegmentThatWasJustBegunIsNoEnd: a crash came behind its beginning, and before its first line.
func TestASegmentThatWasJustBegunIsNoEnd(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "audit")
	l := open(t, Config{Dir: dir})
	write(t, l, 3)
	l.Close()
	if err := os.WriteFile(l.path(4), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	l = open(t, Config{Dir: dir})
	write(t, l, 1)
	if all := lines(t, l, 0); len(all) != 4 || len(verify(all...).Faults()) != 0 {
		t.Errorf("%d lines, %v", len(all), verify(all...).Faults())
	}
}

// faulty is a segment on a disk that may not take what is written to it.
type faulty struct {
	file
	unsynced int // bytes
	syncs    error
}

func (f *faulty) Write(b []byte) (int, error) {
	n, err := f.file.Write(b)
	f.unsynced += n
	return n, err
}

func (f *faulty) Sync() error {
	if f.syncs != nil {
		return f.syncs
	}
	f.unsynced = 0
	return f.file.Sync()
}

// TestAnEntryIsOnTheDiskBeforeItIsAnswered: a machine that loses its power has lost none. What the disk did not take was not written.
func TestAnEntryIsOnTheDiskBeforeItIsAnswered(t *testing.T) {
	l := open(t, Config{})
	disk := &faulty{file: l.file}
	l.file = disk
	for range 3 {
		write(t, l, 1)
		if disk.unsynced > 0 {
			t.Fatalf("%d bytes were answered before they were on the disk", disk.unsynced)
		}
	}
	disk.syncs = syscall.EIO
	if _, err := l.Write(chain.Entry{Act: chain.ActChange, Outcome: chain.Asked}); !errors.Is(err, syscall.EIO) {
		t.Errorf("the disk did not take it, and its writer hears %v", err)
	}
	if disk.syncs = nil; l.Status().Last != 3 {
		t.Errorf("what the disk did not take counts: %+v", l.Status())
	}
	write(t, l, 1)
	if all := lines(t, l, 0); len(all) != 4 || len(verify(all...).Faults()) != 0 {
		t.Errorf("%d lines, %v", len(all), verify(all...).Faults())
	}
}

// TestTheOldestGoWhereThereIsTooMuch, and the rest is whole.
func TestTheOldestGoWhereThereIsTooMuch(t *testing.T) {
	l := open(t, Config{Segment: 2000, Most: 10_000})
	write(t, l, 300)
	all := lines(t, l, 0)
	s := l.Status()
	if v := verify(all...); len(v.Faults()) != 0 || s.First < 100 || v.Chains()[0].First != s.First ||
		s.Last != 300 || s.Bytes > 10_000 || s.Bytes < 6_000 {
		t.Errorf("%+v, %v", s, v.Faults())
	}
}

// TestAFullDiskIsToldAndThenRefuses: the reserve carries on for a while, what cannot be written fails, and the chain is whole when there is
// space again.
func TestAFullDiskIsToldAndThenRefuses(t *testing.T) {
	now := began
	l := open(t, Config{Now: func() time.Time { return now }})
	write(t, l, 2)
	reserve := filepath.Join(l.cfg.Dir, reserveName)
	if info, err := os.Stat(reserve); err != nil || info.Size() != reserveBytes {
		t.Fatalf("nothing is held in reserve: %v", err)
	}
	full, err := os.OpenFile("/dev/full", os.O_WRONLY, 0)
	if err != nil {
		t.Fatal("there is no /dev/full")
	}
	well := l.file
	l.file = full
	_, err = l.Write(chain.Entry{Act: chain.ActChange, Outcome: chain.Asked})
	if !errors.Is(err, syscall.ENOSPC) {
		t.Errorf("%v", err)
	}
	if _, err := os.Stat(reserve); !os.IsNotExist(err) {
		t.Error("the reserve was not given up")
	}
	if s := l.Status(); !strings.Contains(s.Error, "changes are refused") || s.Since.IsZero() || s.Last != 2 {
		t.Errorf("%+v", s)
	}
	l.file = well
	write(t, l, 1)
	if s := l.Status(); !strings.Contains(s.Error, "reserve is used up") || s.Last != 3 {
		t.Errorf("%+v", s)
	}
	now = now.Add(2 * refillEvery)
	write(t, l, 1)
	if s := l.Status(); s.Error != "" || s.Last != 4 {
		t.Errorf("%+v", s)
	}
	if v := verify(lines(t, l, 0)...); len(v.Faults()) != 0 {
		t.Error(v.Faults())
	}
}

// TestWhatAFullDiskToreDoesNotStayInASegment: a write that failed leaves a part of a line, and the next one is for another segment.
func TestWhatAFullDiskToreDoesNotStayInASegment(t *testing.T) {
	l := open(t, Config{Segment: 1000})
	write(t, l, 1)
	if _, err := l.file.Write([]byte(`{"seq":2,`)); err != nil {
		t.Fatal(err)
	}
	l.dirty = true
	for len(l.segs) < 2 {
		write(t, l, 1)
		if len(l.segs) < 2 { // it went on behind what was torn: once more
			if _, err := l.file.Write([]byte(`{"seq":3,`)); err != nil {
				t.Fatal(err)
			}
			l.dirty = true
		}
	}
	text, err := os.ReadFile(l.path(1))
	if err != nil {
		t.Fatal(err)
	}
	if !strings.HasSuffix(string(text), "}\n") || int64(len(text)) != l.segs[0].size {
		t.Errorf("the first segment has %d bytes, and should have %d: %s", len(text), l.segs[0].size, text)
	}
	if v := verify(lines(t, l, 0)...); len(v.Faults()) != 0 {
		t.Error(v.Faults())
	}
}

// TestWhatIsRefusedDoesNotFillTheLog.
func TestWhatIsRefusedDoesNotFillTheLog(t *testing.T) {
	now := began
	l := open(t, Config{Now: func() time.Time { return now }})
	for range refusedAtOnce + 500 {
		l.Refuse(chain.ActChange, "mallory", []string{"shop"}, "", "", errors.New("no"))
	}
	now = now.Add(time.Second)
	for range 100 {
		l.Refuse(chain.ActChange, "mallory", []string{"shop"}, "", "", errors.New("no"))
	}
	if s := l.Status(); s.Last != refusedAtOnce+refusedEach {
		t.Errorf("%d entries", s.Last)
	}
}

// TestPrunedGenerationsAreTold with all that history had of them.
func TestPrunedGenerationsAreTold(t *testing.T) {
	l := open(t, Config{})
	if err := l.Pruned([]state.Record{{Tenant: "shop", Generation: 7, ID: "x", Author: "alice", Message: "m", Approved: "bob",
		Time: began}}); err != nil {
		t.Fatal(err)
	}
	e, err := chain.Parse([]byte(lines(t, l, 0)[0]))
	if err != nil || len(e.Generations) != 1 || e.Generations[0].Author != "alice" ||
		e.Generations[0].Approved != "bob" || e.Generations[0].Generation != 7 || e.Generations[0].ID != "x" {
		t.Errorf("%+v, %v", e, err)
	}
	if chains := verify(lines(t, l, 0)...).Chains(); len(chains[0].Open) != 0 {
		t.Error("a prune waits for nothing")
	}
}
