package audit

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/gti/gtm/pkg/control/audit/chain"
)

// A segment is one file. Its name has the number of its first line.
type segment struct {
	first uint64
	size  int64
}

const (
	prefix, suffix = "audit-", ".jsonl"
	reserveName    = "reserve"
)

func (l *Log) path(first uint64) string {
	return filepath.Join(l.cfg.Dir, fmt.Sprintf("%s%016d%s", prefix, first, suffix))
}

// load finds the segments, and where the chain ends. torn is how many bytes were cut off the end.
func (l *Log) load() (torn int64, err error) {
	entries, err := os.ReadDir(l.cfg.Dir)
	if err != nil {
		return 0, err
	}
	for _, e := range entries {
		digits, ok := strings.CutPrefix(e.Name(), prefix)
		digits, ends := strings.CutSuffix(digits, suffix)
		first, err := strconv.ParseUint(digits, 10, 64)
		if !ok || !ends || err != nil || first == 0 {
			continue
		}
		info, err := e.Info()
		if err != nil {
			return 0, err
		}
		l.segs = append(l.segs, segment{first, info.Size()})
	}
	slices.SortFunc(l.segs, func(a, b segment) int { return strings.Compare(l.path(a.first), l.path(b.first)) })
	for len(l.segs) > 0 {
		last := &l.segs[len(l.segs)-1]
		cut, err := l.readEnd(last)
		if torn += cut; err != nil {
			return torn, err
		}
		if l.seq != 0 || len(l.segs) == 1 {
			break
		}
		// It was begun, and nothing stands in it: the chain ends in the one before.
		if err := os.Remove(l.path(last.first)); err != nil {
			return torn, err
		}
		l.segs = l.segs[:len(l.segs)-1]
	}
	if len(l.segs) == 0 {
		return torn, l.begin(1)
	}
	l.file, err = os.OpenFile(l.path(l.segs[len(l.segs)-1].first), os.O_WRONLY|os.O_APPEND, 0o600)
	return torn, err
}

// readEnd finds the last line of a segment, and cuts off what is behind it.
func (l *Log) readEnd(s *segment) (torn int64, err error) {
	f, err := os.OpenFile(l.path(s.first), os.O_RDWR, 0o600)
	if err != nil {
		return 0, err
	}
	defer f.Close()
	in, good := bufio.NewReaderSize(f, 1<<20), int64(0)
	var last []byte
	for {
		text, err := chain.ReadLine(in)
		if errors.Is(err, io.EOF) { // a line without an end is torn, if there is one
			break
		}
		if err != nil {
			return 0, err
		}
		last, good = text, good+int64(len(text))+1
	}
	if last != nil {
		e, err := chain.Parse(last)
		if err != nil {
			return 0, fmt.Errorf("the last line of %s: %w; put the folder aside, and a new log begins", filepath.Base(f.Name()), err)
		}
		l.seq, l.head = e.Seq, chain.Hash(last)
	}
	if torn = s.size - good; torn > 0 {
		if err := errors.Join(f.Truncate(good), f.Sync()); err != nil {
			return 0, err
		}
		s.size = good
	}
	return torn, nil
}

// begin begins a segment.
func (l *Log) begin(first uint64) error {
	f, err := os.OpenFile(l.path(first), os.O_WRONLY|os.O_CREATE|os.O_EXCL|os.O_APPEND, 0o600)
	if err != nil {
		return err
	}
	if err := syncDir(l.cfg.Dir); err != nil { // it must not stand in the way of the next try
		return errors.Join(err, f.Close(), os.Remove(f.Name()))
	}
	if l.file != nil {
		_ = l.file.Close() // all of it is synced
	}
	l.mu.Lock()
	l.file, l.segs = f, append(l.segs, segment{first: first})
	l.mu.Unlock()
	return nil
}

func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// put writes lines behind the last one, or leaves the file as it was. One goroutine does.
func (l *Log) put(text []byte) error {
	seg := &l.segs[len(l.segs)-1]
	if l.dirty { // before another segment is begun: it would stay in this one
		if err := l.file.Truncate(seg.size); err != nil {
			return err
		}
		l.dirty = false
	}
	if seg.size > 0 && seg.size+int64(len(text)) > l.cfg.Segment {
		if err := l.rotate(); err != nil {
			return err
		}
		seg = &l.segs[len(l.segs)-1]
	}
	// gofail: var auditNext struct{}
	_, err := l.file.Write(text)
	// gofail: var auditWritten struct{}
	if err == nil {
		err = l.file.Sync()
	}
	// gofail: var auditSynced struct{}
	if l.dirty = err != nil; l.dirty {
		return err
	}
	l.mu.Lock()
	seg.size += int64(len(text))
	l.mu.Unlock()
	return nil
}

// rotate begins the next segment, and lets the oldest go where there is too much.
func (l *Log) rotate() error {
	if err := l.begin(l.seq + 1); err != nil {
		return err
	}
	for len(l.segs) > 2 {
		total := int64(0)
		for _, s := range l.segs {
			total += s.size
		}
		if total+l.cfg.Segment <= l.cfg.Most {
			break
		}
		oldest, next := l.segs[0], l.segs[1]
		if err := os.Remove(l.path(oldest.first)); err != nil {
			l.cfg.Logger.Error("the oldest part of the audit log cannot be removed, though it has more than it may", "error", err)
			break
		}
		l.mu.Lock()
		l.segs = slices.Clone(l.segs[1:])
		l.mu.Unlock()
		l.cfg.Logger.Warn("the audit log has as much as it may, and its oldest entries were removed: export it from time to time",
			"from", oldest.first, "to", next.first-1)
	}
	return nil
}

// dropReserve gives back what is held for the day on which the disk is full; false: it is given back already.
func (l *Log) dropReserve() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	was := l.reserve
	l.reserve, l.refill = false, l.cfg.Now().Add(refillEvery)
	return was && os.Remove(filepath.Join(l.cfg.Dir, reserveName)) == nil
}

// keepReserve holds some of the disk for the day on which it is full.
func (l *Log) keepReserve() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.reserve || l.cfg.Now().Before(l.refill) {
		return
	}
	path := filepath.Join(l.cfg.Dir, reserveName)
	if info, err := os.Stat(path); err == nil && info.Size() == reserveBytes {
		l.reserve = true
		return
	}
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err == nil {
		_, err = f.Write(bytes.Repeat([]byte{0xAA}, reserveBytes)) // zeros would be no blocks everywhere
		err = errors.Join(err, f.Sync(), f.Close())
	}
	if err != nil {
		_ = os.Remove(path)
		l.refill = l.cfg.Now().Add(refillEvery)
		return
	}
	l.reserve = true
}

// Read calls fn with each line behind a number, in order, without its end, until it gives an error, which Read returns. fn must not keep
// the line.
func (l *Log) Read(after uint64, fn func(seq uint64, line []byte) error) error {
	l.mu.Lock()
	segs, last := slices.Clone(l.segs), l.seq
	l.mu.Unlock()
	for i, s := range segs {
		if i+1 < len(segs) && segs[i+1].first <= after+1 {
			continue
		}
		if err := l.readSegment(s, after, last, fn); err != nil {
			return err
		}
	}
	return nil
}

func (l *Log) readSegment(s segment, after, last uint64, fn func(uint64, []byte) error) error {
	f, err := os.Open(l.path(s.first))
	if errors.Is(err, os.ErrNotExist) {
		return nil // it went meanwhile
	}
	if err != nil {
		return err
	}
	defer f.Close()
	in := bufio.NewReaderSize(io.LimitReader(f, s.size), 64<<10)
	for seq := s.first; seq <= last; seq++ {
		text, err := chain.ReadLine(in)
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		if seq > after {
			if err := fn(seq, text); err != nil {
				return err
			}
		}
	}
	return nil
}
