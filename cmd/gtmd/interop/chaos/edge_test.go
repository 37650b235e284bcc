//go:build interop

package chaos

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/gti/gtm/cmd/gtmd/interop/rig"
	"github.com/gti/gtm/pkg/store/state"
)

// Point 4: an edge is killed, frozen, or cut off. It is missed: status and wait end with 1 and name it, for as long as
// it is not back, also when its lease is long gone; and until it is forgotten.
func TestAnEdgeThatIsGoneIsMissed(t *testing.T) {
	r := rig.New(t, small, world())
	w := newWriter(r, "t1")
	startLoad(r, w)
	lost := r.Edges[1]
	for _, c := range []struct {
		name       string
		lose, back func()
	}{
		{"cut", lost.Cut, lost.Heal},
		{"frozen", lost.Freeze, lost.Thaw},
		{"killed", lost.Kill, func() { lost.Start(); r.WaitReady(lost) }},
	} {
		t.Run(c.name, func(t *testing.T) {
			wellAgain(t, r)
			c.lose()
			isMissed(t, r, w, lost)
			leaseGone(t, r, lost)
			isMissed(t, r, w, lost)
			c.back()
			wellAgain(t, r)
			agree(t, r)
		})
	}
	lost.Kill()
	isMissed(t, r, w, lost)
	rig.Eventually(t, time.Minute, "it can be forgotten", func() error {
		out, err := r.TryGtmctl(0, "edge", "forget", lost.Name)
		if err != nil {
			err = fmt.Errorf("%w: %s", err, out)
		}
		return err
	})
	wellAgain(t, r)
	if out := r.Gtmctl("wait", "--all", "--timeout", "30s"); strings.Contains(out, lost.Name) {
		t.Errorf("wait still knows it:\n%s", out)
	}
}

// isMissed makes a change, and checks that status and wait name the edge that does not take it, and end with 1.
func isMissed(t *testing.T, r *rig.Rig, w *writer, lost *rig.Node) {
	t.Helper()
	w.writeMany(t, 1, soon)
	for _, words := range [][]string{{"wait", "--all", "--timeout", "4s"}, {"status"}} {
		out, err := r.TryGtmctl(0, words...)
		var ended *exec.ExitError
		if !errors.As(err, &ended) || ended.ExitCode() != 1 || !strings.Contains(out, lost.Name) {
			t.Errorf("%s is gone, and gtmctl %s ends with %v and says:\n%s", lost.Name, strings.Join(words, " "), err, out)
		}
	}
}

func wellAgain(t *testing.T, r *rig.Rig) {
	t.Helper()
	rig.Eventually(t, time.Minute, "status is well", func() error {
		out, err := r.TryGtmctl(0, "status")
		if err != nil {
			err = fmt.Errorf("%w\n%s", err, out)
		}
		return err
	})
}

// S7: an edge is started again and again under load. Until it has answers, its sockets are not open; it never answers that it has none.
func TestAStartIsNoServfail(t *testing.T) {
	var more strings.Builder // so that a start takes a while
	for i := range 6000 {
		name := fmt.Sprintf("s%d", i)
		more.WriteString(serviceYAML("t2", name, name+".t2.gtm.test.", "a"))
	}
	r := rig.New(t, small, world()+more.String())
	w := newWriter(r, "t1")
	startLoadOf(r, 2*time.Millisecond, w)
	edge := r.Edges[1]
	for range 5 {
		w.writeMany(t, 2, soon)
		edge.Kill()
		edge.Start()
		r.WaitReady(edge)
	}
	agree(t, r)
}

// S7: the journal of an edge's snapshot has a flipped bit, and the store cannot be reached. What is intact is served,
// and nothing is SERVFAIL.
func TestAFlippedBitInTheJournal(t *testing.T) {
	r := rig.New(t, small, world())
	w := newWriter(r, "t1")
	l := startLoad(r, w)
	edge := r.Edges[1]
	edge.Stop() // it began with an empty store, and so with an empty base
	r.Wipe(edge)
	edge.Start()
	r.WaitReady(edge)
	w.writeMany(t, 20, time.Minute)
	agree(t, r)
	edge.Stop()
	edge.Cut()
	saved := t.TempDir()
	copyDir(t, edge.Dir, saved)
	journal := filepath.Join("edge", "snapshot", "journal")
	whole, err := os.ReadFile(filepath.Join(saved, journal))
	if err != nil {
		t.Fatal(err)
	}
	for i := range 6 {
		at := (i*2 + 1) * len(whole) / 12
		copyDir(t, saved, edge.Dir)
		flipped := bytes.Clone(whole)
		flipped[at] ^= 0x10
		writeFile(t, filepath.Join(edge.Dir, journal), string(flipped))
		l.newEra() // what came behind the bit is lost, until the store is heard again
		edge.Start()
		for _, pool := range writerPools {
			rig.Eventually(t, soon, fmt.Sprintf("the edge answers, with a bit flipped at byte %d of %d", at, len(whole)), func() error {
				_, err := answer(edge, writerHost("t1", pool))
				return err
			})
		}
		edge.Kill()
	}
	edge.Start()
	edge.Heal()
	r.WaitReady(edge)
	agree(t, r)
	stateIs(t, r, state.Current, r.Edges...)
}

// S7: an edge's data folder can only be read. It serves what stands there while the store cannot be reached, and follows
// the store when it can.
func TestADataFolderThatCanOnlyBeRead(t *testing.T) {
	r := rig.New(t, small, world())
	w := newWriter(r, "t1")
	startLoad(r, w)
	edge := r.Edges[1]
	w.writeMany(t, 4, soon)
	agree(t, r)
	edge.Stop()
	r.Run("mount", "--bind", edge.Dir, edge.Dir)
	defer func() { edge.Kill(); r.Run("umount", edge.Dir) }()
	r.Run("mount", "-o", "remount,bind,ro", edge.Dir)
	edge.Cut()
	edge.Start()
	agree(t, r)
	edge.Heal()
	r.WaitReady(edge)
	w.writeMany(t, 4, soon)
	agree(t, r)
	stateIs(t, r, state.Current, edge)
}

// S7: an edge's disk is full for a while. It follows all the same, and when there is room again, the snapshot is written
// without a further change: an edge that starts without the store then has all.
func TestADiskThatWasFull(t *testing.T) {
	r := rig.New(t, small, world())
	w := newWriter(r, "t1")
	startLoad(r, w)
	edge := r.Edges[1]
	edge.Stop()
	r.Run("mount", "-t", "tmpfs", "-o", "size=4m,mode=700", "tmpfs", edge.Dir)
	defer func() { edge.Kill(); r.Run("umount", edge.Dir) }()
	edge.Start()
	r.WaitReady(edge)
	agree(t, r)
	fill := filepath.Join(edge.Dir, "fill")
	fillDisk(t, fill)
	rig.Eventually(t, time.Minute, "the snapshot cannot be written", func() error { // the file's last page has room at first
		w.writeMany(t, 2, soon)
		if !strings.Contains(edge.Log(16<<10), "no space left") {
			return errors.New("it was")
		}
		return nil
	})
	agree(t, r)
	freed := time.Now()
	if err := os.Remove(fill); err != nil {
		t.Fatal(err)
	}
	rig.Eventually(t, 3*time.Minute, "the snapshot is written again", func() error { // with what has passed its trial, which takes seconds
		if err := writtenSince(edge.Dir, freed); err != nil {
			return err
		}
		return onDisk(t, r, edge.Dir)
	})
	edge.Kill()
	edge.Cut()
	edge.Start()
	agree(t, r)
	edge.Heal()
	r.WaitReady(edge)
}

// onDisk is an error as long as the snapshot lacks what the store has of the writers' pools.
func onDisk(t *testing.T, r *rig.Rig, data string) error {
	var text []byte
	for _, name := range []string{"base", "journal"} {
		part, err := os.ReadFile(filepath.Join(data, "edge", "snapshot", name))
		if err != nil {
			return err
		}
		text = append(text, part...)
	}
	for _, tenant := range writerTenants {
		for pool, want := range stored(t, r, tenant) {
			if !strings.Contains(string(text), fmt.Sprintf("%q", want)) {
				return fmt.Errorf("%s of %s/%s is not in it", want, tenant, pool)
			}
		}
	}
	return nil
}

// writtenSince is an error as long as no file of the snapshot was written since then.
func writtenSince(data string, since time.Time) error {
	for _, name := range []string{"base", "journal"} {
		if info, err := os.Stat(filepath.Join(data, "edge", "snapshot", name)); err == nil && info.ModTime().After(since) {
			return nil
		}
	}
	return errors.New("it is as it was")
}

// fillDisk writes a file until the disk takes no more.
func fillDisk(t *testing.T, name string) {
	t.Helper()
	f, err := os.Create(name)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for _, size := range []int{1 << 16, 1 << 12, 1} {
		for err = nil; err == nil; {
			_, err = f.Write(make([]byte, size))
		}
	}
}

func writeFile(t *testing.T, name, text string) {
	t.Helper()
	if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

// copyDir puts a copy of a folder in place of another one.
func copyDir(t *testing.T, from, to string) {
	t.Helper()
	if err := os.RemoveAll(to); err != nil {
		t.Fatal(err)
	}
	err := filepath.WalkDir(from, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rest, err := filepath.Rel(from, path)
		if err != nil {
			return err
		}
		if d.IsDir() {
			return os.MkdirAll(filepath.Join(to, rest), 0o700)
		}
		if !d.Type().IsRegular() {
			return nil
		}
		data, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		return os.WriteFile(filepath.Join(to, rest), data, 0o600)
	})
	if err != nil {
		t.Fatal(err)
	}
}
