package events

import (
	"bufio"
	"encoding/json"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"time"
)

// The file has one line of JSON for each event, and is written anew when half of it is of events that are not kept any more.
const (
	fileName    = "events.jsonl"
	longestLine = 1 << 20
	rewriteFrom = 1024    // lines: less is not worth it
	mostSeq     = 1 << 62 // so that counting on from a damaged line does not begin again
)

// journal is the file. One goroutine writes it.
type journal struct {
	path  string
	file  *os.File // nil: it could not be opened
	lines int
}

// start is the first line of a file: since when there are events.
type start struct {
	Since time.Time `json:"since"`
}

// load reads the file, as far as it can be read: the end of one that a crash tore is left out.
func (l *Log) load() {
	l.journal = &journal{path: filepath.Join(l.cfg.Dir, fileName)}
	err := os.MkdirAll(l.cfg.Dir, 0o700)
	if err == nil {
		err = l.read()
	}
	if err == nil {
		err = l.rewrite()
	}
	l.note(err)
}

func (l *Log) read() error {
	f, err := os.Open(l.journal.path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	defer f.Close()
	l.readFrom(f)
	return nil
}

// readFrom takes in the lines of a file. What is no event, or is out of order, is left out.
func (l *Log) readFrom(r io.Reader) {
	lines := bufio.NewScanner(r)
	lines.Buffer(make([]byte, 0, 64<<10), longestLine)
	for lines.Scan() {
		var line struct {
			start
			Entry
		}
		if json.Unmarshal(lines.Bytes(), &line) != nil {
			continue
		}
		if !line.Since.IsZero() {
			l.since = line.Since
			continue
		}
		e := line.Entry
		s := l.shelves[e.Tenant]
		if s == nil {
			s = &shelf{}
		}
		if _, known := l.seqs[e.ID]; known || e.ID == "" || e.Tenant == "" || e.Seq <= l.last || e.Of <= s.last ||
			max(e.Seq, e.Of) > mostSeq {
			continue
		}
		l.last, s.last, l.seqs[e.ID], l.shelves[e.Tenant] = e.Seq, e.Of, e.Seq, s
		s.entries = append(s.entries, e)
		if len(l.seqs) > 2*l.cfg.Most {
			l.forget(l.cfg.Now())
		}
	}
}

// write appends events, or writes the file anew.
func (l *Log) write(added []Entry) {
	if l.journal == nil || len(added) == 0 {
		return
	}
	l.mu.Lock()
	kept := len(l.seqs)
	l.mu.Unlock()
	if l.journal.file == nil || l.journal.lines+len(added) > rewriteFrom+2*kept {
		l.note(l.rewrite())
		return
	}
	var text []byte
	for i := range added {
		text = appendLine(text, added[i])
	}
	_, err := l.journal.file.Write(text)
	if l.journal.lines += len(added); err != nil { // a part of it may stand there: the next time it is written anew
		_ = l.journal.file.Close()
		l.journal.file = nil
	}
	l.note(err)
}

// rewrite makes the file of what is kept.
func (l *Log) rewrite() error {
	l.mu.Lock()
	list, since := l.all(), orNow(l.since, l.cfg.Now())
	l.mu.Unlock()
	if l.journal.file != nil {
		_ = l.journal.file.Close()
		l.journal.file = nil
	}
	beside := l.journal.path + ".new"
	f, err := os.OpenFile(beside, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	w := bufio.NewWriter(f)
	_, err = w.Write(appendLine(nil, start{since}))
	for i := range list {
		if err == nil {
			_, err = w.Write(appendLine(nil, list[i]))
		}
	}
	err = errors.Join(err, w.Flush(), f.Sync())
	if err == nil {
		err = os.Rename(beside, l.journal.path)
	}
	if err != nil {
		_ = f.Close()
		return err
	}
	l.journal.file, l.journal.lines = f, len(list)
	return nil
}

func appendLine(text []byte, v any) []byte {
	line, err := json.Marshal(v)
	if err != nil { // there is nothing in it that cannot be encoded but a time beyond the year 9999
		return text
	}
	return append(append(text, line...), '\n')
}

// note tells a fault of the disk once, and when it is over.
func (l *Log) note(err error) {
	text := ""
	if err != nil {
		text = err.Error()
	}
	l.mu.Lock()
	was := l.fault
	l.fault = text
	l.mu.Unlock()
	switch {
	case text != "" && was == "":
		l.cfg.Logger.Error("events cannot be written down, and are kept in memory alone", "error", err)
	case text == "" && was != "":
		l.cfg.Logger.Info("events are written down again")
	}
}
