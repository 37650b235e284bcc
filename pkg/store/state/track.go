package state

import (
	"log/slog"
	"maps"
	"slices"
)

// Tracker knows what of one kind a consumer was told, and gathers what it is to be told next.
type Tracker interface {
	// Begin drops what was gathered: what comes is the next update. reading: all that the store holds comes through Read, up to ReadAll.
	Begin(full, reading bool)
	Read(e Entry)
	ReadAll()
	// Event takes a key that was written, or deleted.
	Event(e Entry, deleted bool)
	// Tell adds what was gathered to an update, and Told says that it was told.
	Tell(u *Update)
	Told()
}

// Entry is a key of a followed kind, as the store has it.
type Entry struct {
	Parts []string // components of the key behind the kind's prefix
	Value []byte
	Rev   int64  // etcd's revision of it
	Sum   uint64 // tells stored forms apart for as long as they are tracked; never 0
}

// tracker is the Tracker of values that are one key each.
type tracker[K comparable, V any] struct {
	kind      *Kind[K, V]
	log       *slog.Logger
	delivered map[K]uint64 // sums of the stored forms; 0: not known
	has       map[K]V      // what the consumer came with, until all was read once

	full bool
	news map[K]news[V]
	kept map[K]bool // read: as it was, or not understood
}

// news is what is to be told of one value.
type news[V any] struct {
	value   V
	sum     uint64 // of its stored form; 0: not known
	deleted bool
}

// Track is part of Followed.
func (k *Kind[K, V]) Track(has *Update, log *slog.Logger) Tracker {
	t := &tracker[K, V]{kind: k, log: log, delivered: map[K]uint64{}, news: map[K]news[V]{}, kept: map[K]bool{}}
	if has != nil {
		t.has = map[K]V{}
		for _, v := range k.In(*has).Put {
			t.has[k.Name(v)], t.delivered[k.Name(v)] = v, 0
		}
	}
	if k.track != nil {
		return k.track(t)
	}
	return t
}

func (t *tracker[K, V]) Begin(full, _ bool) {
	t.full = full
	clear(t.news)
	clear(t.kept)
}

func (t *tracker[K, V]) Read(e Entry) {
	name, ok := t.kind.Parse(e.Parts)
	if !ok {
		return
	}
	if t.knows(name, e) && !t.full {
		t.kept[name] = true
		return
	}
	t.add(name, e)
	if n, ok := t.news[name]; ok && t.had(name, n.value) {
		t.keep(name, n.sum)
	}
}

// knows reports whether the consumer was told of just that stored form.
func (t *tracker[K, V]) knows(name K, e Entry) bool {
	sum := t.delivered[name]
	return sum != 0 && sum == e.Sum
}

// add adds a value; one that is not understood leaves the last one in force.
func (t *tracker[K, V]) add(name K, e Entry) bool {
	v, err := t.kind.Read(name, e.Value)
	if err != nil {
		t.log.Error(t.kind.Misread, t.kind.What, name, "error", err)
		t.kept[name] = true
		return false
	}
	t.news[name] = news[V]{value: v, sum: e.Sum}
	return true
}

// had reports whether the consumer came with that value.
func (t *tracker[K, V]) had(name K, v V) bool {
	was, is := t.has[name]
	return is && !t.full && t.kind.Same(was, v)
}

// keep leaves a value as it was told; sum is that of its stored form.
func (t *tracker[K, V]) keep(name K, sum uint64) {
	delete(t.news, name)
	t.kept[name], t.delivered[name] = true, sum
}

// ReadAll: what was told, and was not read, is gone.
func (t *tracker[K, V]) ReadAll() {
	t.has = nil
	if t.full {
		return
	}
	for name := range t.delivered {
		if _, ok := t.news[name]; !ok && !t.kept[name] {
			t.news[name] = news[V]{deleted: true}
		}
	}
}

func (t *tracker[K, V]) Event(e Entry, deleted bool) {
	name, ok := t.kind.Parse(e.Parts)
	switch {
	case !ok:
	case deleted:
		t.gone(name)
	case t.knows(name, e):
		delete(t.news, name)
	default:
		t.add(name, e)
	}
}

func (t *tracker[K, V]) gone(name K) {
	if _, delivered := t.delivered[name]; delivered {
		t.news[name] = news[V]{deleted: true}
	} else {
		delete(t.news, name)
	}
}

func (t *tracker[K, V]) Tell(u *Update) {
	var c Changes[K, V]
	for _, name := range slices.SortedFunc(maps.Keys(t.news), t.kind.Compare) {
		if n := t.news[name]; n.deleted {
			c.Deleted = append(c.Deleted, name)
		} else {
			c.Put = append(c.Put, n.value)
		}
	}
	if t.full {
		c.Broken = slices.SortedFunc(maps.Keys(t.kept), t.kind.Compare)
	}
	if len(c.Put)+len(c.Deleted)+len(c.Broken) > 0 {
		t.kind.Set(u, c)
	}
}

// Told notes what was told. What is broken in a full update stays known, since the consumer keeps it.
func (t *tracker[K, V]) Told() {
	if t.full {
		delivered := map[K]uint64{}
		for name := range t.kept {
			if _, is := t.delivered[name]; is {
				delivered[name] = 0
			}
		}
		t.delivered = delivered
	}
	for name, n := range t.news {
		if n.deleted {
			delete(t.delivered, name)
		} else {
			t.delivered[name] = n.sum
		}
	}
	clear(t.news) // it holds the values
}
