package snapshot

import (
	"errors"
	"io"
	"os"
	"syscall"
)

// The files of a snapshot. Whichever has which name, a journal belongs to the base of its number: where the power fails between two
// renamings, a pair is found nevertheless.
const (
	baseFile    = "base"
	journalFile = "journal"
	basePrev    = baseFile + ".prev"
	journalPrev = journalFile + ".prev"
)

// writeBase writes the whole state, and an empty journal that belongs to it. The pair that they replace is kept, if it is good.
//
// Both are on disk before anything is renamed, and the base has its name before the journal gets its own: with any part of the
// renamings done, either the old base has its journal, under one of two names, or the new base is there, which needs none.
func (s *Snapshot) writeBase() error {
	if s.journal != nil {
		s.journal.Close()
		s.journal = nil
	}
	size, empty, err := s.prepare(s.seq + 1)
	if diskFull(err) && s.dropPrev() {
		size, empty, err = s.prepare(s.seq + 1)
	}
	if err != nil {
		return err
	}
	if s.whole {
		err = errors.Join(s.rename(journalFile, journalPrev), s.rename(baseFile, basePrev))
	}
	if err == nil {
		err = os.Rename(s.path(baseFile+".new"), s.path(baseFile))
	}
	if err == nil {
		err = syncDir(s.dir)
	}
	if err != nil {
		return err
	}
	if s.whole {
		s.bytes.prev = s.bytes.base + s.bytes.journal
	}
	s.seq, s.whole, s.bytes.base, s.bytes.journal = s.seq+1, true, size, empty
	s.written += size
	if err := os.Rename(s.path(journalFile+".new"), s.path(journalFile)); err != nil {
		return err
	}
	if err := syncDir(s.dir); err != nil {
		return err
	}
	return s.openJournal(journalFile)
}

// prepare writes base and journal of a number beside those that are there, and gives their sizes.
func (s *Snapshot) prepare(seq uint64) (base, journal int64, err error) {
	u := s.mirror.Full()
	base, err = s.writeNew(baseFile, func(f io.Writer) error { return writeState(f, u, seq, s.taken) })
	if err != nil {
		return 0, 0, err
	}
	journal, err = s.writeNew(journalFile, func(f io.Writer) error {
		w := &frameWriter{buf: []byte(journalMagic)}
		w.json(frameMeta, snapMeta{Seq: seq})
		return w.flush(f)
	})
	if err != nil {
		os.Remove(s.path(baseFile + ".new"))
	}
	return base, journal, err
}

// writeNew writes a file that is to take the place of another, and returns when the disk has it. After an error there is none.
func (s *Snapshot) writeNew(name string, write func(io.Writer) error) (int64, error) {
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
	if err = errors.Join(err, f.Close()); err != nil {
		os.Remove(temp)
		return 0, err
	}
	return size, nil
}

// rename gives a file another name; one that is not there has got it already.
func (s *Snapshot) rename(from, to string) error {
	if err := os.Rename(s.path(from), s.path(to)); !errors.Is(err, os.ErrNotExist) {
		return err
	}
	return nil
}

// dropPrev frees space on a full disk: the pair before goes, where the one behind it is good. It reports whether that helped.
func (s *Snapshot) dropPrev() bool {
	if !s.whole {
		return false
	}
	base, journal := os.Remove(s.path(basePrev)), os.Remove(s.path(journalPrev))
	s.bytes.prev = 0
	return base == nil || journal == nil
}

func diskFull(err error) bool {
	return errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT)
}

// openJournal opens a journal for more.
func (s *Snapshot) openJournal(name string) (err error) {
	s.journal, err = os.OpenFile(s.path(name), os.O_WRONLY|os.O_APPEND, 0o600)
	return err
}

// setAside keeps a damaged file for study. What is intact of it, its first bytes, takes its place.
func (s *Snapshot) setAside(name string, intact *os.File, bytes int64) {
	if s.lock == nil {
		return // it can be read again like this
	}
	aside, err := s.path(name+".damaged"), error(nil)
	if bytes > 0 {
		_, err = s.writeNew(name, func(w io.Writer) error {
			_, err := io.Copy(w, io.NewSectionReader(intact, 0, bytes))
			return err
		})
	}
	if err == nil && bytes > 0 {
		// With a second name, so that there is always a file of the first one. Not every file system has that.
		_ = os.Remove(aside)
		if os.Link(s.path(name), aside) != nil {
			err = os.Rename(s.path(name), aside)
		}
		if err == nil {
			err = os.Rename(s.path(name+".new"), s.path(name))
		}
	} else if err == nil {
		err = s.rename(name, name+".damaged")
	}
	if err == nil {
		err = syncDir(s.dir)
	}
	if err != nil {
		s.log.Warn("a damaged file of the snapshot could not be set aside", "file", s.path(name), "error", err)
	}
}

// sizeOf gives the size of a file; 0: it is not there.
func (s *Snapshot) sizeOf(name string) int64 {
	info, err := os.Stat(s.path(name))
	if err != nil {
		return 0
	}
	return info.Size()
}

func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer d.Close()
	return d.Sync()
}
