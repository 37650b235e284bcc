package state

import (
	"cmp"
	"encoding/json"
	"fmt"
	"log/slog"
	"maps"
	"slices"
)

// Kind says all that gtm must know to follow values of one kind: where they stand in the store, how they are read and told apart, and
// how a snapshot keeps them. A new kind is one file, which makes one with Register; following, the mirror, the joining of updates and the
// snapshot go through Kinds. K names a value, V is one. See docs/decisions/0137.
type Kind[K comparable, V any] struct {
	// Prefix are the first components of its keys in the store, at least one. No key of another kind begins so.
	Prefix []string
	// Frame is its record in a snapshot, a letter that no other has, and Gone the field of a journal that names what was deleted.
	Frame byte
	Gone  string
	// Most is how many bytes a stored form has at most: a larger one is neither written nor read.
	Most int
	// Name gives the name of a value, Compare the order of names, and Parse the name from the components of a key behind Prefix.
	Name    func(V) K
	Compare func(a, b K) int
	Parse   func(parts []string) (K, bool)
	// Decode reads a stored form; nil: as JSON. Fields that it does not know are passed over.
	Decode func(value []byte) (V, error)
	// Same tells that a consumer of one value need not be told the other.
	Same func(a, b V) bool
	// What and Misread are for the log: what a name names, and what is said where a value is not understood.
	What, Misread string
	// track, if not nil, makes another Tracker than that of values that are one key each.
	track func(*tracker[K, V]) Tracker
}

// Followed is a Kind of whichever types.
type Followed interface {
	// KeyPrefix gives Kind.Prefix, FrameKind gives Kind.Frame, and GoneField Kind.Gone.
	KeyPrefix() []string
	FrameKind() byte
	GoneField() string
	// Track begins to keep what a consumer is told of the kind; has, if not nil, is what it has already.
	Track(has *Update, log *slog.Logger) Tracker
	// EachPut calls fn with the values that an update puts, in order. GoneIn gives the names that it deletes, as JSON; nil: none.
	EachPut(u Update, fn func(value any) error) error
	GoneIn(u Update) (json.RawMessage, error)
	// DecodeValue reads what EachPut gave, encoded as JSON. Fill makes an update of such values and of names as GoneIn gives them.
	DecodeValue(b []byte) (any, error)
	Fill(u *Update, values []any, gone json.RawMessage) error

	saysNothing(changes any) bool
	leavesBroken(changes any) bool
	apply(table any, u *Update) any
	tell(table any, u *Update)
	join(us []Update, out *Update)
}

var kinds []Followed

// Kinds are all that are followed, in the order of their frames.
func Kinds() []Followed { return kinds }

// Register makes a kind followed. It is called when variables of packages are set, and at no other time.
func Register[K comparable, V any](k Kind[K, V]) *Kind[K, V] {
	if k.Decode == nil {
		k.Decode = func(value []byte) (v V, err error) { return v, json.Unmarshal(value, &v) }
	}
	kinds = append(kinds, &k)
	slices.SortFunc(kinds, func(a, b Followed) int { return cmp.Compare(a.FrameKind(), b.FrameKind()) })
	return &k
}

// Changes are what an update says of one kind, sorted by name.
type Changes[K comparable, V any] struct {
	Put     []V // that were written; in a Full update: all
	Deleted []K
	// Broken, in a Full update, stand in the store and are not understood: whoever holds an earlier form keeps it.
	Broken []K
}

// Values are the Changes of each kind that an update says something of. A map that an update has is never changed.
type Values map[Followed]any

// Put gives the Values of an update that puts some.
func (k *Kind[K, V]) Put(values ...V) Values { return Values{k: Changes[K, V]{Put: values}} }

// Delete gives the Values of an update that deletes some.
func (k *Kind[K, V]) Delete(names ...K) Values { return Values{k: Changes[K, V]{Deleted: names}} }

// In gives what an update says of the kind.
func (k *Kind[K, V]) In(u Update) Changes[K, V] {
	c, _ := u.Values[k].(Changes[K, V])
	return c
}

// Set replaces what an update says of the kind.
func (k *Kind[K, V]) Set(u *Update, c Changes[K, V]) {
	values := maps.Clone(u.Values)
	if values == nil {
		values = Values{}
	}
	values[k] = c
	u.Values = values
}

// Encode gives the stored form of a value, which is JSON. It fails where that is larger than Most.
func (k *Kind[K, V]) Encode(v V) ([]byte, error) {
	value, err := MarshalPlain(v)
	if err == nil {
		err = k.fits(value)
	}
	return value, err
}

// Read reads a stored form, packed or not, that stands under a name.
func (k *Kind[K, V]) Read(name K, value []byte) (V, error) {
	var none V
	if err := k.fits(value); err != nil {
		return none, err
	}
	value, err := Unpack(value, k.Most)
	if err != nil {
		return none, err
	}
	v, err := k.Decode(value)
	if err != nil {
		return none, err
	}
	if k.Name(v) != name {
		return none, fmt.Errorf("it stands under the key of %v, but says that it is of %v", name, k.Name(v))
	}
	return v, nil
}

func (k *Kind[K, V]) fits(value []byte) error {
	if k.Most > 0 && len(value) > k.Most {
		return fmt.Errorf("it has %d bytes, more than the %d that are read", len(value), k.Most)
	}
	return nil
}

func (k *Kind[K, V]) KeyPrefix() []string { return k.Prefix }
func (k *Kind[K, V]) FrameKind() byte     { return k.Frame }
func (k *Kind[K, V]) GoneField() string   { return k.Gone }

func (k *Kind[K, V]) EachPut(u Update, fn func(value any) error) error {
	for _, v := range k.In(u).Put {
		if err := fn(v); err != nil {
			return err
		}
	}
	return nil
}

func (k *Kind[K, V]) GoneIn(u Update) (json.RawMessage, error) {
	if c := k.In(u); len(c.Deleted) > 0 {
		return MarshalPlain(c.Deleted)
	}
	return nil, nil
}

func (k *Kind[K, V]) DecodeValue(b []byte) (any, error) {
	v, err := k.Decode(b)
	return &v, err
}

func (k *Kind[K, V]) Fill(u *Update, values []any, gone json.RawMessage) error {
	var c Changes[K, V]
	if len(values) > 0 {
		c.Put = make([]V, len(values))
	}
	for i, v := range values {
		c.Put[i] = *v.(*V)
	}
	if len(gone) > 0 {
		if err := json.Unmarshal(gone, &c.Deleted); err != nil {
			return err
		}
	}
	if len(c.Put)+len(c.Deleted) > 0 {
		k.Set(u, c)
	}
	return nil
}

func (k *Kind[K, V]) saysNothing(changes any) bool {
	c := changes.(Changes[K, V])
	return len(c.Put)+len(c.Deleted) == 0
}

func (k *Kind[K, V]) leavesBroken(changes any) bool { return len(changes.(Changes[K, V]).Broken) > 0 }

// table is what a mirror has of one kind. A map that was lent is copied before it changes.
type table[K comparable, V any] struct {
	values map[K]V
	lent   bool
}

// apply gives the table behind an update.
func (k *Kind[K, V]) apply(was any, u *Update) any {
	t, _ := was.(*table[K, V])
	if t == nil {
		t = &table[K, V]{values: map[K]V{}}
	}
	c := k.In(*u)
	switch {
	case u.Full:
		kept := t.values
		t = &table[K, V]{values: make(map[K]V, len(c.Put))}
		for _, name := range c.Broken {
			if v, ok := kept[name]; ok {
				t.values[name] = v
			}
		}
	case t.lent && len(c.Put)+len(c.Deleted) > 0:
		t.values, t.lent = maps.Clone(t.values), false
	}
	for _, v := range c.Put {
		t.values[k.Name(v)] = v
	}
	for _, name := range c.Deleted {
		delete(t.values, name)
	}
	return t
}

// tell adds all of a table to a Full update.
func (k *Kind[K, V]) tell(was any, u *Update) {
	t, _ := was.(*table[K, V])
	if t == nil || len(t.values) == 0 {
		return
	}
	c := Changes[K, V]{Put: make([]V, 0, len(t.values))}
	for _, name := range slices.SortedFunc(maps.Keys(t.values), k.Compare) {
		c.Put = append(c.Put, t.values[name])
	}
	k.Set(u, c)
}

// All gives what a mirror has of the kind, by name. The map must not be changed.
func (k *Kind[K, V]) All(m *Mirror) map[K]V {
	m.mu.Lock()
	defer m.mu.Unlock()
	t, _ := m.tables[k].(*table[K, V])
	if t == nil {
		return map[K]V{}
	}
	t.lent = true
	return t.values
}

// Get gives one value that a mirror has; false: it has none of that name.
func (k *Kind[K, V]) Get(m *Mirror, name K) (v V, ok bool) {
	m.mu.RLock()
	defer m.mu.RUnlock()
	if t, _ := m.tables[k].(*table[K, V]); t != nil {
		v, ok = t.values[name]
	}
	return v, ok
}

// join adds to out what updates, one after the other, come to.
func (k *Kind[K, V]) join(us []Update, out *Update) {
	all := newLatest[K, V]()
	for _, u := range us {
		c := k.In(u)
		for _, v := range c.Put {
			all.set(k.Name(v), v)
		}
		all.drop(c.Deleted)
	}
	if c := (Changes[K, V]{}); len(all.put)+len(all.gone) > 0 {
		c.Put, c.Deleted = all.lists(k.Compare)
		k.Set(out, c)
	}
}
