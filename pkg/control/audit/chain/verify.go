package chain

import (
	"bufio"
	"bytes"
	"cmp"
	"container/heap"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
)

// Fault is something that is wrong in a log.
type Fault struct {
	Place
	Text string // what
}

func (f Fault) String() string { return f.Place.String() + ": " + f.Text }

// Place is a line, and which log it is of; empty: of the only one.
type Place struct {
	Log  string
	Line int // from 1
}

func (p Place) String() string {
	if p.Log == "" {
		return fmt.Sprintf("line %d", p.Line)
	}
	return fmt.Sprintf("%s, line %d", p.Log, p.Line)
}

// Chain is the log of one writer, as far as it was read.
type Chain struct {
	Writer string `json:"writer"`
	First  uint64 `json:"first"`
	Last   uint64 `json:"last"`
	Head   string `json:"head"` // the hash of its last line
	// Open are entries that asked, of which nothing tells what became: control ended in between.
	Open []uint64 `json:"open,omitempty"`
}

// Verifier checks lines of one log or of several, in whatever order several stand between each other.
type Verifier struct {
	// Expect is what a line is to have, by its name as in "ctl-1:812": its hash. What is read and has another is a fault; Missing tells
	// what was not read.
	Expect map[string]string
	chains map[string]*chain
	made   map[string]seen // by tenant@generation
	lines  int
	at     Place // of the line that was read last
	faults []Fault
}

type chain struct {
	Chain
	open map[uint64]bool
}

type seen struct {
	id string
	at Place
}

// mostFaults bounds what is told.
const mostFaults = 100

// Name is how a line is named.
func Name(writer string, seq uint64) string { return fmt.Sprintf("%s:%d", writer, seq) }

// AddLog is Add of a log of several, whose name its faults have.
func (v *Verifier) AddLog(name string, r io.Reader) error {
	v.at = Place{Log: name}
	return v.Add(r)
}

// Add reads lines to their end. Its error is the reader's.
func (v *Verifier) Add(r io.Reader) error {
	in := bufio.NewReaderSize(r, 64<<10)
	for {
		text, err := ReadLine(in)
		if len(text) > 0 {
			v.Line(text)
		}
		switch {
		case errors.Is(err, io.EOF):
			return nil
		case err != nil:
			return err
		}
	}
}

// ReadLine reads one, without its end.
func ReadLine(in *bufio.Reader) (text []byte, err error) {
	for {
		part, err := in.ReadSlice('\n')
		text = append(text, part...)
		switch {
		case len(text) > MostLine+1:
			return nil, fmt.Errorf("a line has more than %d bytes: it is no log", MostLine)
		case errors.Is(err, bufio.ErrBufferFull):
			continue
		}
		return bytes.TrimSuffix(text, []byte("\n")), err
	}
}

// Line checks one line.
func (v *Verifier) Line(text []byte) {
	if v.chains == nil {
		v.chains, v.made = map[string]*chain{}, map[string]seen{}
	}
	v.lines++
	v.at.Line++
	e, err := Parse(text)
	if err != nil {
		v.fault("%v", err)
		return
	}
	hash := Hash(text)
	name := Name(e.Writer, e.Seq)
	c := v.chains[e.Writer]
	switch {
	case c == nil:
		c = &chain{Chain: Chain{Writer: e.Writer, First: e.Seq}, open: map[uint64]bool{}}
		v.chains[e.Writer] = c
		if e.Seq == 1 && e.Prev != "" {
			v.fault("%s is the first entry, and yet names one before", name)
		}
	case e.Seq != c.Last+1:
		v.fault("%s follows %s: entries are missing, twice, or out of order", name, Name(e.Writer, c.Last))
	case e.Prev != c.Head:
		v.fault("%s does not name the entry before as it stands here: one of them was changed", name)
	}
	c.Last, c.Head = e.Seq, hash
	if want, ok := v.Expect[name]; ok {
		if delete(v.Expect, name); want != hash {
			v.fault("%s is another than was expected: its hash is %s", name, hash)
		}
	}
	v.follow(c, &e)
}

// follow keeps book of what was asked, and of what generations are said to be.
func (v *Verifier) follow(c *chain, e *Entry) {
	if e.Outcome == Asked && e.Act != ActPrune {
		c.open[e.Seq] = true
	}
	delete(c.open, e.Of)
	for _, g := range e.Generations {
		at := fmt.Sprintf("%s@%d", g.Tenant, g.Generation)
		was, known := v.made[at]
		switch {
		case g.ID == "":
		case !known:
			v.made[at] = seen{g.ID, v.at}
		case was.id != g.ID:
			v.fault("%s is another here than in %s: the store went back in between, or one of them is not true", at, was.at)
		}
	}
}

func (v *Verifier) fault(format string, args ...any) {
	if len(v.faults) < mostFaults {
		v.faults = append(v.faults, Fault{v.at, fmt.Sprintf(format, args...)})
	}
}

// Faults gives what is wrong, at most a hundred.
func (v *Verifier) Faults() []Fault { return v.faults }

// Missing gives the names of expected entries that were not read.
func (v *Verifier) Missing() []string { return slices.Sorted(maps.Keys(v.Expect)) }

// Lines is how many were read.
func (v *Verifier) Lines() int { return v.lines }

// Chains gives the writers' logs, sorted.
func (v *Verifier) Chains() (list []Chain) {
	for _, c := range v.chains {
		one := c.Chain
		one.Open = slices.Sorted(maps.Keys(c.open))
		list = append(list, one)
	}
	slices.SortFunc(list, func(a, b Chain) int { return cmp.Compare(a.Writer, b.Writer) })
	return list
}

// Merge writes the lines of several logs to one, by time; those of one log stay in their order.
func Merge(to io.Writer, logs ...io.Reader) error {
	q := &queue{}
	for i, r := range logs {
		one := &source{in: bufio.NewReaderSize(r, 64<<10), place: i}
		if err := q.next(one); err != nil {
			return err
		}
	}
	for q.Len() > 0 {
		one := heap.Pop(q).(*source)
		if _, err := to.Write(append(one.text, '\n')); err != nil {
			return err
		}
		if err := q.next(one); err != nil {
			return err
		}
	}
	return nil
}

// source is one of several logs, at its next line.
type source struct {
	in    *bufio.Reader
	place int
	lines int
	text  []byte
	entry Entry
}

// queue has the source with the earliest line first.
type queue struct{ all []*source }

func (q *queue) Len() int { return len(q.all) }
func (q *queue) Less(i, j int) bool {
	a, b := q.all[i], q.all[j]
	return cmp.Or(a.entry.Time.Compare(b.entry.Time), cmp.Compare(a.place, b.place)) < 0
}
func (q *queue) Swap(i, j int) { q.all[i], q.all[j] = q.all[j], q.all[i] }
func (q *queue) Push(s any)    { q.all = append(q.all, s.(*source)) }
func (q *queue) Pop() any {
	last := q.all[len(q.all)-1]
	q.all = q.all[:len(q.all)-1]
	return last
}

// next reads the next line of a source, and has it wait for its turn.
func (q *queue) next(s *source) error {
	for {
		text, err := ReadLine(s.in)
		if err != nil && !errors.Is(err, io.EOF) {
			return err
		}
		if len(text) > 0 {
			s.lines++
			if s.entry, err = Parse(text); err != nil {
				return fmt.Errorf("line %d of log %d: %w", s.lines, s.place+1, err)
			}
			s.text = text
			heap.Push(q, s)
			return nil
		}
		if err != nil {
			return nil
		}
	}
}
