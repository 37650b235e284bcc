package events

import (
	"cmp"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/gti/gtm/pkg/control/api"
	"github.com/gti/gtm/pkg/health"
)

// What a Log keeps unless its Config says otherwise.
const (
	KeepFor  = 7 * 24 * time.Hour
	MostKept = 100_000
)

// Config is what a Log needs.
type Config struct {
	Dir    string        // of the file; empty: memory alone
	Keep   time.Duration // 0: KeepFor
	Most   int           // 0: MostKept
	Logger *slog.Logger
	Now    func() time.Time // nil: time.Now
}

// Entry is a kept event. Seq counts all of this log, Of those of its tenant; both from 1 on, without a gap when they are added.
type Entry struct {
	Seq uint64 `json:"seq"`
	Of  uint64 `json:"of"`
	// Revision of the store, and its Epoch, by which it was so.
	Revision int64 `json:"revision,omitempty"`
	Epoch    int64 `json:"epoch,omitempty"`
	api.Event
}

// Log keeps events. Each tenant has a shelf of its own: where there are too many, the oldest go of whoever has most. It is safe for
// concurrent use, but for Add, which one goroutine calls.
type Log struct {
	cfg     Config
	journal *journal // nil: memory alone

	mu      sync.Mutex
	shelves map[string]*shelf
	seqs    map[string]uint64 // by ID
	last    uint64            // Seq of the newest
	since   time.Time
	dropped uint64
	fault   string
	changed chan struct{}
}

// shelf is what is kept of one tenant, oldest first.
type shelf struct {
	entries []Entry
	last    uint64 // Of of the newest
}

// Open makes a log of what its file holds. A file that cannot be used is told, and the log does without.
func Open(cfg Config) *Log {
	cfg.Keep, cfg.Most = cmp.Or(cfg.Keep, KeepFor), cmp.Or(cfg.Most, MostKept)
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	l := &Log{cfg: cfg, shelves: map[string]*shelf{}, seqs: map[string]uint64{}, changed: make(chan struct{})}
	if cfg.Dir != "" {
		l.load()
	}
	l.since = orNow(l.since, cfg.Now())
	l.forget(cfg.Now())
	return l
}

// Add keeps events that are not kept yet, and gives those.
func (l *Log) Add(revision, epoch int64, events ...api.Event) (added []Entry) {
	now := l.cfg.Now()
	l.mu.Lock()
	for _, e := range events {
		if _, known := l.seqs[e.ID]; known {
			continue
		}
		e.Noted = now.UTC()
		s := l.shelves[e.Tenant]
		if s == nil {
			s = &shelf{}
			l.shelves[e.Tenant] = s
		}
		l.last++
		s.last++
		entry := Entry{l.last, s.last, revision, epoch, e}
		s.entries, l.seqs[e.ID] = append(s.entries, entry), entry.Seq
		added = append(added, entry)
	}
	l.forget(now)
	if len(added) > 0 {
		close(l.changed)
		l.changed = make(chan struct{})
	}
	l.mu.Unlock()
	l.write(added)
	return added
}

// forget drops what is too old, and the oldest of whoever has most where there is too much. l.mu is held.
func (l *Log) forget(now time.Time) {
	for _, s := range l.shelves {
		n := 0
		for n < len(s.entries) && now.Sub(s.entries[n].Noted) > l.cfg.Keep {
			n++
		}
		l.drop(s, n)
	}
	for len(l.seqs) > l.cfg.Most {
		var most *shelf
		for _, s := range l.shelves {
			if most == nil || len(s.entries) > len(most.entries) {
				most = s
			}
		}
		// Some at once, so that a full log is not looked through for each event.
		n := min(len(most.entries), max(len(l.seqs)-l.cfg.Most, min(len(most.entries), l.cfg.Most)/100))
		l.dropped += uint64(n)
		l.drop(most, n)
	}
}

func (l *Log) drop(s *shelf, n int) {
	for i := range s.entries[:n] {
		delete(l.seqs, s.entries[i].ID)
		s.entries[i] = Entry{}
	}
	s.entries = s.entries[n:]
}

// Changed is closed when the next events are added. Take it before looking.
func (l *Log) Changed() <-chan struct{} {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.changed
}

// Filter says which events are wanted. What is empty leaves all.
type Filter struct {
	Tenant, Pool, Kind string
	Since              time.Time // noted then or later
	// Sees reports whose events may be known; nil: everybody's.
	Sees func(tenant string) bool
}

// Fits reports whether an event is wanted.
func (f *Filter) Fits(e *api.Event) bool {
	is := func(wanted, is string) bool { return wanted == "" || wanted == is }
	return is(f.Tenant, e.Tenant) && is(f.Pool, e.Pool) && is(f.Kind, e.Kind) && !e.Noted.Before(f.Since) &&
		(f.Sees == nil || f.Sees(e.Tenant))
}

// Find gives the newest that fit, oldest first, at most so many; more: there are others.
func (l *Log) Find(f Filter, most int) (found []api.Event, more bool) {
	l.mu.Lock()
	var all []Entry
	for tenant, s := range l.shelves {
		if f.Tenant != "" && f.Tenant != tenant {
			continue
		}
		n := 0
		for i := len(s.entries) - 1; i >= 0 && n <= most && !s.entries[i].Noted.Before(f.Since); i-- {
			if f.Fits(&s.entries[i].Event) {
				all, n = append(all, s.entries[i]), n+1
			}
		}
	}
	l.mu.Unlock()
	slices.SortFunc(all, func(a, b Entry) int { return cmp.Compare(b.Seq, a.Seq) })
	if more = len(all) > most; more {
		all = all[:most]
	}
	found = make([]api.Event, len(all))
	for i := range all {
		found[len(all)-1-i] = all[i].Event
	}
	return found, more
}

// Position is how far a reader of a log is: the last event that it was given. The zero value is before all.
type Position struct{ Seq, Of uint64 }

// After gives the oldest events behind a position, at most so many, and how many before the last of them were dropped before they could
// be given. tenant empty: those of all.
func (l *Log) After(tenant string, at Position, most int) (list []Entry, lost uint64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for name, s := range l.shelves {
		if tenant != "" && tenant != name {
			continue
		}
		bySeq := func(e Entry, seq uint64) int { return cmp.Compare(e.Seq, seq) }
		from, _ := slices.BinarySearchFunc(s.entries, at.Seq+1, bySeq)
		list = append(list, s.entries[from:min(len(s.entries), from+most)]...)
	}
	slices.SortFunc(list, func(a, b Entry) int { return cmp.Compare(a.Seq, b.Seq) })
	if list = list[:min(len(list), most)]; len(list) == 0 {
		return nil, 0
	}
	last := list[len(list)-1]
	if tenant != "" {
		return list, last.Of - at.Of - uint64(len(list))
	}
	return list, last.Seq - at.Seq - uint64(len(list))
}

// PositionOf gives that of an event, for who reads those of all tenants; false: it is not kept.
func (l *Log) PositionOf(id string) (Position, bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	seq, ok := l.seqs[id]
	return Position{Seq: seq}, ok
}

// Newest gives the position behind all events of a tenant; empty: of all.
func (l *Log) Newest(tenant string) Position {
	l.mu.Lock()
	defer l.mu.Unlock()
	at := Position{Seq: l.last}
	if s := l.shelves[tenant]; s != nil {
		at.Of = s.last
	}
	return at
}

// Before gives the position of a tenant's reader (empty: of all) that was given what was so before a revision of the store. What was
// dropped before the oldest event counts as given.
func (l *Log) Before(tenant string, epoch, revision int64) Position {
	l.mu.Lock()
	defer l.mu.Unlock()
	var at Position
	oldest := l.last + 1
	for name, s := range l.shelves {
		if tenant != "" && tenant != name || len(s.entries) == 0 {
			continue
		}
		later := func(e Entry) bool { return e.Epoch > epoch || e.Epoch == epoch && e.Revision >= revision }
		n := slices.IndexFunc(s.entries, later)
		if n < 0 {
			n = len(s.entries)
		}
		first := &s.entries[0]
		at.Of = first.Of + uint64(n) - 1
		if oldest = min(oldest, first.Seq); n > 0 {
			at.Seq = max(at.Seq, s.entries[n-1].Seq)
		}
	}
	at.Seq = max(at.Seq, oldest-1)
	return at
}

// Lasts gives the last event of each subject, and the newest time that any of a judge's clock has.
func (l *Log) Lasts() (last map[Subject]*api.Event, newest time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	last = map[Subject]*api.Event{}
	for _, s := range l.shelves {
		for i := range s.entries {
			e := s.entries[i].Event
			last[SubjectOf(&e)] = &e
			if e.Kind == api.EventEndpoint && e.Time.After(newest) {
				newest = e.Time
			}
		}
	}
	return last, newest
}

// Changes counts the changes of pools and endpoints that were noted since a time. That something came to be known is none.
func (l *Log) Changes(since time.Time) map[Subject]int {
	l.mu.Lock()
	defer l.mu.Unlock()
	counts := map[Subject]int{}
	for _, s := range l.shelves {
		for i := len(s.entries) - 1; i >= 0 && !s.entries[i].Noted.Before(since); i-- {
			if e := &s.entries[i].Event; e.From != string(health.Unknown) {
				counts[SubjectOf(e)]++
			}
		}
	}
	return counts
}

// ChangesOf is Changes of one pool: how often it changed, and each of its endpoints.
func ChangesOf(counts map[Subject]int, id health.PoolID, endpoint string) int {
	kind := api.EventPool
	if endpoint != "" {
		kind = api.EventEndpoint
	}
	return counts[subject(kind, id, endpoint)]
}

// Status tells what is kept.
func (l *Log) Status() api.EventsKept {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.forget(l.cfg.Now())
	return api.EventsKept{Events: len(l.seqs), Most: l.cfg.Most, Keep: l.cfg.Keep.String(), Since: l.since.UTC(), Dropped: l.dropped,
		Fault: l.fault}
}

// all gives what is kept, oldest first. l.mu is held.
func (l *Log) all() (list []Entry) {
	for _, tenant := range slices.SortedFunc(maps.Keys(l.shelves), strings.Compare) {
		list = append(list, l.shelves[tenant].entries...)
	}
	slices.SortFunc(list, func(a, b Entry) int { return cmp.Compare(a.Seq, b.Seq) })
	return list
}
