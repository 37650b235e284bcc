package edge

import (
	"context"
	"maps"
	"slices"
	"time"

	"github.com/gti/gtm/pkg/control/api"
	"github.com/gti/gtm/pkg/geo"
	"github.com/gti/gtm/pkg/spec"
	"github.com/gti/gtm/pkg/store/state"
	"github.com/gti/gtm/pkg/table"
	"github.com/gti/gtm/pkg/table/compile"
)

// compile makes a view of each piece of news, one after the other, until ctx ends. What came meanwhile goes into one view.
// served is closed behind the view of first, if there is that. Its error is that the sockets cannot be opened.
func (e *Edge) compile(ctx context.Context, atlas *geo.Atlas, files *geo.FileMaps, first *state.Update, served chan<- struct{}) error {
	c := compile.New(compile.Config{Seed: randomSeed(), Workers: e.rows, Files: files}, atlas)
	e.takeKept(c)
	e.loadLocal()
	e.openTaking()
	defer close(e.compiled)
	filled := e.cfg.Filled
	var pause <-chan time.Time
	if first != nil {
		e.taking.course.Restore(first)
		e.taking.at = state.Cursor{Cluster: first.Cluster, Revision: first.Cursor, Epoch: first.Epoch}
		e.feed(c, first)
		if err := e.publish(c, false); err != nil { // a copy without zones may be what is left of a damaged one
			return err
		}
		pause = time.After(fillPause) // what a start leaves is collected first: catching up allocates once more
	}
	close(served)
	for {
		select {
		case <-ctx.Done():
			e.passTrials(true)
			return nil
		case <-e.taking.passes.C:
			e.passTrials(false)
			continue
		case <-pause:
			c.CatchUp()
			continue
		case q := <-e.geoAsked:
			q.answer <- q.of(c)
			continue
		case <-e.clock.rings:
		case <-filled:
			filled = nil
		case n := <-e.news:
			e.take(c, n)
			for more := true; more; {
				select {
				case n := <-e.news:
					e.take(c, n)
				default:
					more = false
				}
			}
		}
		e.reviewLocal(c, false)
		if err := e.publish(c, filled == nil); err != nil {
			return err
		}
		c.CatchUp()
	}
}

func (e *Edge) take(c *compile.Compiler, n news) {
	if n.geography != nil {
		c.SetGeography(n.geography)
	}
	e.takeResolved(c, n.resolved)
	if n.local != nil {
		n.local.answer <- e.takeLocal(c, n.local)
	}
	e.takeFetched(c, n.fetched)
	if n.update != nil {
		e.takeUpdate(c, n.update)
	}
}

// feed gives the compiler what is to be served.
func (e *Edge) feed(c *compile.Compiler, u *state.Update) {
	joined := e.found.Join(*u)
	c.Apply(changeOf(&joined))
	e.reviewLocal(c, u.Full)
	e.takeIDs(u)
	e.takeUnknown(u)
	e.takeKeys(c, u)
	e.hasState = true
}

// takeIDs notes what identifies the generations that the next view is of.
func (e *Edge) takeIDs(u *state.Update) {
	if !u.Full && len(u.Tenants) == 0 {
		return
	}
	ids := map[string]string{} // a new one: the one before may be lent
	if !u.Full {
		maps.Copy(ids, e.nextIDs)
	}
	for _, t := range u.Tenants {
		if delete(ids, t.Tenant); t.ID != "" {
			ids[t.Tenant] = t.ID
		}
	}
	e.nextIDs = ids
}

// publish compiles and hands the view to the workers. The first one opens the sockets; one without zones only where filled, and told by
// the store: what else makes a view knows of no zones.
func (e *Edge) publish(c *compile.Compiler, filled bool) error {
	start := e.cfg.Now()
	v, broken, next := e.compileTaken(c, start)
	for _, zone := range slices.Sorted(maps.Keys(e.unopened)) {
		broken = append(broken, e.unopened[zone])
	}
	e.mu.Lock() // so that nobody sees new generations with the faults of old ones
	was := e.broken
	e.broken, e.ids = broken, e.nextIDs
	e.view.Store(v)
	e.transfer.Changed()
	e.mu.Unlock()
	e.served()
	begins := !e.isOpen() && (filled && e.hasState || len(v.Zones())+len(v.Void()) > 0)
	if begins {
		if err := e.server.Open(); err != nil {
			return err
		}
		close(e.opened)
	}
	e.wantAliases(c, v.Atlas)
	e.metrics.compile.Observe(e.cfg.Now().Sub(start).Seconds())
	e.clock.ringAt(next)
	if begins {
		e.log.Info("ready", "after", e.cfg.Now().Sub(e.started).Round(time.Millisecond), "services", v.ServiceCount(), "zones",
			len(v.Zones()))
	}
	e.logBroken(was, broken)
	return nil
}

// fillPause is how long a view may stand before its tables are written down: those of one that is soon replaced never are.
const fillPause = time.Second

// fillTables has the views that last write down what they need not find out at each query.
func (e *Edge) fillTables(ctx context.Context) {
	tick := time.NewTicker(fillPause)
	defer tick.Stop()
	for filled := (*table.View)(nil); ; {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		if v := e.view.Load(); v != filled {
			v.FillTables(ctx, filled)
			filled = v
		}
	}
}

// logBroken tells what has become broken, and what no longer is.
func (e *Edge) logBroken(was, now []compile.Broken) {
	faults := func(list []compile.Broken) map[string]string { // by resource; one may have several
		m := map[string]string{}
		for _, b := range list {
			m[b.Key.String()] += b.Err.Error() + "\n"
		}
		return m
	}
	before, after := faults(was), faults(now)
	for _, b := range now {
		if k := b.Key.String(); before[k] != after[k] {
			e.log.Error("a resource is not served as declared", "resource", k, "serves", b.Serves.String(), "error", b.Err)
		}
	}
	for _, k := range slices.Sorted(maps.Keys(before)) {
		if _, ok := after[k]; !ok {
			e.log.Info("a resource is served as declared again, or gone", "resource", k)
		}
	}
}

// changeOf brings an update of the store into the compiler's form.
func changeOf(u *state.Update) compile.Change {
	verdicts := state.Verdicts.In(*u)
	ch := compile.Change{Full: u.Full, Verdicts: verdicts.Put, VerdictsDeleted: verdicts.Deleted, VerdictsBroken: verdicts.Broken}
	for _, t := range u.Tenants {
		tc := compile.TenantChange{Tenant: t.Tenant, Head: uint64(t.Head), Deleted: t.Deleted}
		for _, v := range t.Put {
			if _, opaque := v.Resource.Spec.(*spec.Opaque); !opaque { // nothing can be made of it
				tc.Put = append(tc.Put, compile.Item{Resource: v.Resource, Generation: uint64(v.Generation)})
			}
		}
		for _, b := range t.Broken {
			tc.Broken = append(tc.Broken, compile.Broken{Key: b.Key, Err: b.Err})
		}
		ch.Tenants = append(ch.Tenants, tc)
	}
	return ch
}

// takeUnknown notes what of an update only a newer program understands. That is no fault: what is understood is served as declared.
func (e *Edge) takeUnknown(u *state.Update) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if u.Full || e.unknown == nil {
		e.unknown = map[spec.Key][]string{}
	}
	for _, t := range u.Tenants {
		for _, k := range t.Deleted {
			delete(e.unknown, k)
		}
		for _, v := range t.Put {
			r := v.Resource
			_, opaque := r.Spec.(*spec.Opaque)
			switch {
			case opaque:
				e.unknown[r.Key] = nil
			case r.Unknown != nil:
				e.unknown[r.Key] = r.Unknown.Fields
			default:
				delete(e.unknown, r.Key)
			}
		}
	}
}

// unknownNow gives it in the form of the status; e.mu is held.
func (e *Edge) unknownNow() (list []api.Unknown) {
	for _, k := range slices.SortedFunc(maps.Keys(e.unknown), spec.Key.Compare) {
		list = append(list, api.Unknown{Resource: k.String(), Fields: e.unknown[k]})
	}
	return list
}
