package store

import (
	"context"
	"encoding/json"
	"errors"
	"slices"
	"strings"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/gti/gtm/pkg/spec"
	"github.com/gti/gtm/pkg/store/layout"
	"github.com/gti/gtm/pkg/store/link"
	"github.com/gti/gtm/pkg/store/state"
)

// delta gathers what is to be told next.
type delta struct {
	full    bool
	seen    witnesses // up to its end
	tenants map[string]*tenantDelta
}

type tenantDelta struct {
	head     state.Generation
	id       string // of head; empty: not known
	versions map[spec.Key]change
}

// change is a resource's newest version: put, deleted or broken.
type change struct {
	version  deliveredVersion
	resource *spec.Resource
	err      error
}

// beginDelta makes a delta, and has the trackers of all kinds gather anew. reading: the whole store is read.
func (f *follower) beginDelta(full, reading bool) *delta {
	for _, k := range f.kinds {
		k.Begin(full, reading)
	}
	return &delta{full: full, tenants: map[string]*tenantDelta{}}
}

func (d *delta) tenant(name string) *tenantDelta {
	t := d.tenants[name]
	if t == nil {
		t = &tenantDelta{versions: map[spec.Key]change{}}
		d.tenants[name] = t
	}
	return t
}

// add decodes a version. Its error is the connection's; a version that is broken is told as such.
func (d *delta) add(ctx context.Context, r *reader, v found) error {
	res, err := r.decode(ctx, v)
	var gone unreachable
	if errors.As(err, &gone) {
		return gone.error
	}
	d.tenant(v.key.Tenant).versions[v.key] = change{
		version:  deliveredVersion{gen: v.gen, digest: state.DigestOf(v.value), deleted: err == nil && res == nil, broken: err != nil},
		resource: res, err: err,
	}
	return nil
}

// update gives the sorted form; f knows what was told before.
func (d *delta) update(f *follower) state.Update {
	u := state.Update{Full: d.full}
	for name, td := range d.tenants {
		tu := state.TenantUpdate{Tenant: name, Head: td.head, ID: td.id}
		old := f.tenants[name]
		if td.head == 0 && old != nil {
			tu.Head = old.head
		}
		if tu.ID == "" && old != nil && tu.Head == old.head && !d.full {
			tu.ID = old.id
		}
		for key, c := range td.versions {
			c.addTo(&tu, key, d.full, old)
		}
		if !d.full && old != nil && old.head == tu.Head && old.id == tu.ID && len(tu.Put)+len(tu.Deleted)+len(tu.Broken) == 0 {
			continue
		}
		tu.Sort()
		u.Tenants = append(u.Tenants, tu)
	}
	slices.SortFunc(u.Tenants, func(a, b state.TenantUpdate) int { return strings.Compare(a.Tenant, b.Tenant) })
	for _, k := range f.kinds {
		k.Tell(&u)
	}
	return u
}

// addTo adds the change of a resource to what is told of its tenant.
func (c change) addTo(tu *state.TenantUpdate, key spec.Key, full bool, old *delivered) {
	switch {
	case c.err != nil:
		tu.Broken = append(tu.Broken, state.BrokenResource{Key: key, Generation: c.version.gen, Err: c.err})
	case !c.version.deleted:
		tu.Put = append(tu.Put, state.Version{Resource: c.resource, Generation: c.version.gen, Digest: c.version.digest})
	case !full && old != nil:
		if was, ok := old.versions[key]; ok && !was.deleted {
			tu.Deleted = append(tu.Deleted, key)
		}
	}
}

// remember notes that the delta was told.
func (d *delta) remember(f *follower) {
	for name, td := range d.tenants {
		t := f.tenants[name]
		if t == nil {
			t = &delivered{versions: make(map[spec.Key]*deliveredVersion, len(td.versions))}
			f.tenants[name] = t
		}
		if td.head > t.head || td.id != "" {
			t.id = td.id
		}
		t.head = max(t.head, td.head)
		f.known.Heads[name], f.known.IDs[name] = t.head, t.id
		for key, c := range td.versions {
			if was := t.versions[key]; was != nil && was.broken {
				f.broken--
			}
			if c.version.broken {
				f.broken++
			}
			delivered := c.version // alone: c holds the resource
			t.versions[key] = &delivered
		}
	}
	for _, k := range f.kinds {
		k.Told()
	}
	f.c.metrics.broken.Set(float64(f.broken))
}

// events turns the watch's events, which come in order and in whole revisions, into one update.
func (f *follower) events(ctx context.Context, evs []*clientv3.Event) error {
	d := f.beginDelta(false, false)
	d.seen = f.seen
	r := f.c.reader(f.etcd)
	newest := map[spec.Key]found{}
	for rest := evs; len(rest) > 0; {
		n := 1
		for n < len(rest) && rest[n].Kv.ModRevision == rest[0].Kv.ModRevision {
			n++
		}
		if err := f.revision(rest[:n], d, newest); err != nil {
			return err
		}
		rest = rest[n:]
	}
	for _, v := range newest {
		if was := f.version(v.key); was != nil && was.same(v) {
			continue
		}
		if err := d.add(ctx, r, v); err != nil {
			f.anew = true
			return err
		}
	}
	at := link.Mark{Cluster: f.known.Cluster, Rev: evs[len(evs)-1].Kv.ModRevision}
	return f.tell(d, at, f.known.Epoch)
}

// moves is what the events of one revision say of tenants.
type moves struct {
	heads    map[string]state.Generation
	logged   map[string]identity // the records that came, by tenant
	versions []found
}

// revision sorts the events of one revision into d and newest.
func (f *follower) revision(evs []*clientv3.Event, d *delta, newest map[spec.Key]found) error {
	m := moves{heads: map[string]state.Generation{}, logged: map[string]identity{}}
	for _, ev := range evs {
		unique, err := f.event(ev, d, &m)
		if err != nil {
			return err
		}
		d.seen.see(ev.Kv, ev.Type == clientv3.EventTypeDelete, unique)
	}
	made := map[string]bool{} // tenants of which a version of the new head is among the events
	for _, v := range m.versions {
		head, moved := m.heads[v.key.Tenant]
		if moved && v.gen == head {
			made[v.key.Tenant] = true
		}
		if v.gen <= f.headOf(d, v.key.Tenant) && v.gen >= f.newestOf(newest, v.key) {
			newest[v.key] = v
		}
	}
	for t := range m.heads {
		d.tenant(t).id = m.logged[t].id
	}
	return f.checkWhole(m.heads, made)
}

// event sorts one event into d and m. unique: no other event is like it.
func (f *follower) event(ev *clientv3.Event, d *delta, m *moves) (unique bool, err error) {
	parts := f.c.keys.Split(string(ev.Kv.Key))
	put := ev.Type == clientv3.EventTypePut
	switch kind := joinTwo(parts); kind {
	case "config/epoch":
		return false, f.epochEvent(ev)
	case "config/text":
		if put {
			f.c.texts.Put(layout.NewRun(string(ev.Kv.Value)))
		}
	case "config/head":
		g, err := f.headEvent(ev, parts, d)
		if err != nil {
			return false, err
		}
		if g != 0 {
			m.heads[parts[2]] = g
		}
	case "config/log":
		if _, ok := layout.ParseRecordKey(parts); ok && put {
			i := identityOf(ev.Kv)
			m.logged[parts[2]] = i
			return i.id != "", nil
		}
	case "config/res":
		v, ok, err := f.versionEvent(ev, parts)
		if err != nil {
			return false, err
		}
		if ok {
			m.versions = append(m.versions, v)
		}
	case "verdict/pulse":
		return put && f.pulse(ev.Kv), nil
	default:
		f.kindEvent(ev, parts)
	}
	return false, nil
}

// kindEvent gives an event to the kind that it is of.
func (f *follower) kindEvent(ev *clientv3.Event, parts []string) {
	for _, k := range f.kinds {
		if n := len(k.prefix); len(parts) > n && slices.Equal(parts[:n], k.prefix) {
			k.Event(f.entry(parts[n:], ev.Kv), ev.Type == clientv3.EventTypeDelete)
			return
		}
	}
}

// entry is a key as a Tracker takes it; parts stand behind the prefix of the kind.
func (f *follower) entry(parts []string, kv *mvccKV) state.Entry {
	return state.Entry{Parts: parts, Value: kv.Value, Rev: kv.ModRevision, Sum: f.sum(kv.Value)}
}

// epochEvent passes over an epoch that says nothing new; any other has everything compared, by begin.
func (f *follower) epochEvent(ev *clientv3.Event) error {
	epoch := int64(0)
	if ev.Type == clientv3.EventTypePut {
		var err error
		if epoch, err = parseEpoch(ev.Kv.Value); err != nil {
			f.c.log.Error("the store's epoch is damaged; the one that was known counts", "error", err)
			return nil
		}
	}
	if epoch == f.known.Epoch {
		return nil
	}
	return link.ErrReadAnew
}

// checkWhole makes sure that a head that moved came with its versions, as Commit writes them; anything
// else was written by hand, and is understood by comparing everything.
func (f *follower) checkWhole(heads map[string]state.Generation, made map[string]bool) error {
	for t := range heads {
		if !made[t] {
			return link.ErrReadAnew
		}
	}
	return nil
}

// headOf gives the head as of the events read so far.
func (f *follower) headOf(d *delta, tenant string) state.Generation {
	if td := d.tenants[tenant]; td != nil && td.head != 0 {
		return td.head
	}
	if t := f.tenants[tenant]; t != nil {
		return t.head
	}
	return 0
}

func (f *follower) newestOf(newest map[spec.Key]found, key spec.Key) state.Generation {
	if v, ok := newest[key]; ok {
		return v.gen
	}
	if was := f.version(key); was != nil {
		return was.gen
	}
	return 0
}

// headEvent reads a head that moved; 0 stands for one that is to be left alone.
func (f *follower) headEvent(ev *clientv3.Event, parts []string, d *delta) (state.Generation, error) {
	if len(parts) != 3 {
		return 0, nil
	}
	tenant := parts[2]
	was := f.headOf(d, tenant)
	if ev.Type == clientv3.EventTypeDelete {
		if was == 0 {
			return 0, nil
		}
		return 0, link.ErrReadAnew // begin finds that it went back
	}
	g, err := layout.ParseHead(ev.Kv.Value)
	switch {
	case err != nil:
		f.c.log.Error("the head of a tenant in the store is damaged; the tenant is left as it is, and its next change mends it",
			"tenant", tenant, "error", err)
		return 0, nil
	case g == was:
		return 0, nil
	case g != was+1:
		return 0, link.ErrReadAnew
	}
	d.tenant(tenant).head = g
	return g, nil
}

// versionEvent reads a version; the removal of one that is in force needs everything compared, unless that is a deletion: without it
// the resource is as much not there.
func (f *follower) versionEvent(ev *clientv3.Event, parts []string) (found, bool, error) {
	key, gen, ok := layout.ParseVersionKey(parts)
	if !ok {
		return found{}, false, nil
	}
	if ev.Type == clientv3.EventTypeDelete {
		switch was := f.version(key); {
		case was == nil || was.gen != gen:
		case was.deleted:
			delete(f.tenants[key.Tenant].versions, key)
		default:
			return found{}, false, link.ErrReadAnew
		}
		return found{}, false, nil
	}
	return found{key: key, gen: gen, value: ev.Kv.Value, kv: ev.Kv}, true, nil
}

// pulse passes a pulse of the judge on; one that is not understood is none. unique: no other is like it.
func (f *follower) pulse(kv *mvccKV) (unique bool) {
	var p state.Pulse
	if json.Unmarshal(kv.Value, &p) != nil {
		return false
	}
	if f.cfg.OnPulse != nil {
		f.cfg.OnPulse(p)
	}
	return p.Nonce != ""
}

func joinTwo(parts []string) string {
	if len(parts) < 2 {
		return ""
	}
	return parts[0] + "/" + parts[1]
}
