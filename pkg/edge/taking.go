package edge

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/gti/gtm/pkg/control/api"
	"github.com/gti/gtm/pkg/edge/canned"
	"github.com/gti/gtm/pkg/edge/course"
	"github.com/gti/gtm/pkg/spec"
	"github.com/gti/gtm/pkg/store/state"
	"github.com/gti/gtm/pkg/table"
	"github.com/gti/gtm/pkg/table/compile"
)

const (
	// trialTime is how long a generation is served before the snapshot gets it: an edge that crashes before that starts without it.
	trialTime = 3 * time.Second
	// mostGrowth is how many times larger a zone or a map may become in one step.
	mostGrowth = 4
)

// taking is how an edge takes generations; for the compiling goroutine, but for held.
type taking struct {
	course  *course.Course
	trial   *course.Trial
	at      state.Cursor   // of what the store told last
	anew    bool           // everything was told since the last view: somebody accepted it
	unsaved []state.Update // since the last view
	queue   []onTrial
	passes  *time.Timer
	wanted  map[string]state.Mark // as the fetcher was told
	unnoted error                 // why the note could not be written last; nil: it could

	held  []course.Held // Edge.mu, as is epoch
	epoch int64
}

// onTrial is what waits for the snapshot, and since when.
type onTrial struct {
	updates []state.Update
	taken   map[string]state.Mark
	at      time.Time
}

// openTaking learns what is poison.
func (e *Edge) openTaking() {
	trial, err := course.OpenTrial(e.cfg.Dir, e.cfg.Crashed)
	if err != nil {
		e.log.Error("the note of generations on trial cannot be kept", "error", err)
	}
	if bad := trial.Poisonous(); len(bad) > 0 {
		e.log.Error("THIS EDGE CRASHED ON A GENERATION, and serves the one before it until a newer one comes", "generations", bad)
	}
	e.taking.trial = trial
	e.taking.course = course.New(e.cfg.ID, trial.Poison, e.cfg.Now)
	e.taking.passes = time.NewTimer(time.Hour)
	e.taking.passes.Stop()
}

// takeUpdate takes what the store told, as far as it is to be served.
func (e *Edge) takeUpdate(c *compile.Compiler, u *state.Update) {
	e.taking.anew = e.taking.anew || u.Full
	out := e.taking.course.Take(*u)
	e.taking.at = state.Cursor{Cluster: u.Cluster, Revision: u.Cursor, Epoch: u.Epoch}
	e.serveUpdate(c, &out)
}

// serveUpdate has an update compiled, and kept once it has passed its trial.
func (e *Edge) serveUpdate(c *compile.Compiler, u *state.Update) {
	u.Cluster, u.Cursor, u.Epoch = e.taking.at.Cluster, e.taking.at.Revision, e.taking.at.Epoch
	e.feed(c, u)
	if !u.Empty() {
		e.taking.unsaved = append(e.taking.unsaved, *u)
	}
}

// takeFetched takes a generation that the edge is pointed at and had not got.
func (e *Edge) takeFetched(c *compile.Compiler, f *fetched) {
	if f == nil {
		return
	}
	if u, ok := e.taking.course.Fetched(f.tenant, f.state); ok {
		e.log.Info("a generation that this edge is pointed at was fetched", "tenant", f.tenant, "generation", f.state.Head)
		e.serveUpdate(c, &u)
	}
}

// compileTaken compiles what was taken, without the generations that are refused.
func (e *Edge) compileTaken(c *compile.Compiler, start time.Time) (v *table.View, broken []compile.Broken, next time.Time) {
	t := &e.taking
	e.fetchMissing(c)
	if !t.anew {
		e.refuseTaken(c, t.course.Outgrown(e.growth()))
	}
	noted := t.course.OnTrial()
	e.noted(t.trial.Begin(noted))
	v, broken, next = c.Compile(start)
	touched := map[spec.Key]compile.Name{}                                       // by all tries: what goes back touches less than what came
	for tries := 0; !t.anew && tries < 3 && len(t.course.Taken()) > 0; tries++ { // a verdict alone costs nothing here
		for _, n := range c.Touched() {
			touched[n.Key] = n
		}
		why := e.faultsOf(touched, v, tries == 2)
		if len(why) == 0 {
			break
		}
		e.refuseTaken(c, why)
		v, broken, next = c.Compile(start)
	}
	taken := t.course.OnTrial()
	maps.DeleteFunc(noted, func(name string, m state.Mark) bool { return taken[name] == m })
	e.noted(t.trial.End(noted))
	return v, broken, next
}

// noted tells, once, that the note of what is on trial cannot be kept.
func (e *Edge) noted(err error) {
	if err != nil && e.taking.unnoted == nil {
		e.log.Error("which generations are on trial cannot be written down: a crash on one would not be known", "error", err)
	}
	e.taking.unnoted = err
}

func (e *Edge) growth() int {
	if e.cfg.MostGrowth > 0 {
		return e.cfg.MostGrowth
	}
	return mostGrowth
}

// faultsOf tells what is wrong with a view that was not published, by the tenants whose generations are to blame. all: whoever brought
// something is.
func (e *Edge) faultsOf(touched map[spec.Key]compile.Name, v *table.View, all bool) map[string]string {
	old, taken := e.view.Load(), e.taking.course.Taken()
	maps.DeleteFunc(taken, func(name string, m state.Mark) bool {
		return e.taking.course.OnlyOverrides(name) || e.taking.course.Accepted(name, m)
	})
	if old == nil || len(taken) == 0 {
		return nil
	}
	names := make([]compile.Name, 0, len(touched))
	for _, k := range slices.SortedFunc(maps.Keys(touched), spec.Key.Compare) {
		names = append(names, touched[k])
	}
	faults := canned.Compare(old, v, names)
	why := map[string]string{}
	for _, f := range faults {
		blamed := []string{f.Key.Tenant}
		if _, ok := taken[f.Key.Tenant]; !ok {
			blamed = []string{spec.Platform} // whose zones and policies others stand on
		}
		if _, ok := taken[blamed[0]]; !ok || all {
			blamed = slices.Collect(maps.Keys(taken))
		}
		for _, name := range blamed {
			if _, ok := why[name]; !ok {
				why[name] = f.Key.String() + ": " + f.Text
			}
		}
	}
	return why
}

// refuseTaken goes back to what was served before.
func (e *Edge) refuseTaken(c *compile.Compiler, why map[string]string) {
	if len(why) == 0 {
		return
	}
	taken := e.taking.course.Taken()
	for _, name := range slices.Sorted(maps.Keys(why)) {
		e.log.Error("A GENERATION IS REFUSED, and the one before it served on", "tenant", name, "generation", taken[name].Generation,
			"why", why[name], "remedy", fmt.Sprintf("change it; if it is meant: gtmctl edge accept %s@%d", name, taken[name].Generation))
		e.metrics.refusals.Inc()
	}
	back := e.taking.course.Refuse(why)
	e.serveUpdate(c, &back)
}

// served notes that a view was published: what was taken is on trial from now on.
func (e *Edge) served() {
	t := &e.taking
	taken := t.course.OnTrial()
	if t.course.Published() || t.anew {
		e.setHeld(t.course.Held())
		e.wantFetched(t.course.Wanted())
	}
	updates := t.unsaved
	t.anew, t.unsaved = false, nil
	if len(updates) > 0 {
		t.queue = append(t.queue, onTrial{updates, taken, e.cfg.Now()})
	}
	e.passTrials(false)
}

// passTrials gives the snapshot what has been served for long enough. ends: this is the end, which is none by a crash.
func (e *Edge) passTrials(ends bool) {
	t := &e.taking
	n := 0
	for ; n < len(t.queue); n++ {
		o := &t.queue[n]
		if len(o.taken) > 0 && !ends && e.cfg.Now().Sub(o.at) < e.trialTime() {
			break
		}
		for _, u := range o.updates {
			e.save.put(u)
		}
		e.noted(t.trial.Pass(o.taken))
	}
	t.queue = slices.Delete(t.queue, 0, n)
	if t.passes.Stop(); len(t.queue) > 0 {
		t.passes.Reset(max(e.trialTime()-e.cfg.Now().Sub(t.queue[0].at), time.Millisecond))
	}
}

func (e *Edge) trialTime() time.Duration {
	if e.cfg.Trial != 0 {
		return max(e.cfg.Trial, 0)
	}
	return trialTime
}

func (e *Edge) setHeld(held []course.Held) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.taking.held, e.taking.epoch = held, e.taking.at.Epoch
}

// heldNow brings what is held into the form of the status; e.mu is held.
func (e *Edge) heldNow() (list []api.HeldTenant) {
	for _, h := range e.taking.held {
		out := api.HeldTenant{Tenant: h.Tenant, Newest: uint64(h.Newest), Serves: uint64(h.Serves), Group: h.Group, Waits: h.Waits}
		if r := h.Refused; r != nil {
			out.Refused, out.Why, out.Since = uint64(r.Generation), r.Why, r.Since.UTC().Truncate(time.Second)
			out.Crashed = r.Crashed
		}
		list = append(list, out)
	}
	return list
}

// fetched is a generation that was read from the store.
type fetched struct {
	tenant string
	state  state.TenantState
}

// How a start reads the generations that only the store has.
const (
	missingTime  = 2 * time.Second  // for each
	missingTimes = 10 * time.Second // for all: then the newest ones are served
	missingOnce  = 16               // at the same time
)

// fetchMissing reads, before the first view of tenants, the generations that this edge is pointed at. Of those that cannot be had, the
// newest one is served: nothing would be worse.
func (e *Edge) fetchMissing(c *compile.Compiler) {
	missing := e.taking.course.Missing()
	if len(missing) == 0 {
		return
	}
	got, errs := make([]state.TenantState, len(missing)), make([]error, len(missing))
	all, cancel := context.WithTimeout(context.Background(), missingTimes)
	defer cancel()
	slots := make(chan struct{}, missingOnce)
	var wg sync.WaitGroup
	for i, name := range missing {
		at := e.taking.course.Wanted()[name].Generation
		wg.Go(func() {
			slots <- struct{}{}
			defer func() { <-slots }()
			ctx, cancel := context.WithTimeout(all, missingTime)
			defer cancel()
			got[i], errs[i] = e.cfg.Store.Read(ctx, name, at)
		})
	}
	wg.Wait()
	for i, name := range missing {
		u, ok := state.Update{}, false
		if errs[i] == nil {
			u, ok = e.taking.course.Fetched(name, got[i])
		}
		if !ok {
			e.log.Error("the generation that this edge is pointed at cannot be had; the newest one is served", "tenant", name,
				"error", errs[i])
			u, ok = e.taking.course.GiveUp(name)
		}
		if ok {
			e.serveUpdate(c, &u)
		}
	}
}

// wantFetched tells the fetcher what is wanted.
func (e *Edge) wantFetched(want map[string]state.Mark) {
	if maps.Equal(want, e.taking.wanted) {
		return
	}
	e.taking.wanted = maps.Clone(want)
	select {
	case <-e.wants: // what it has not begun with is out of date
	default:
	}
	e.wants <- maps.Clone(want)
}

// Pauses after which what could not be fetched is tried again.
const (
	fetchAgainMin = time.Second
	fetchAgainMax = 30 * time.Second
)

// fetch reads generations that this edge is pointed at and has not got, until ctx ends.
func (e *Edge) fetch(ctx context.Context) {
	var want map[string]state.Mark
	pause, again := fetchAgainMin, time.NewTimer(time.Hour)
	defer again.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case want = <-e.wants:
			pause = fetchAgainMin
		case <-again.C:
		}
		var failed []string
		for _, name := range slices.Sorted(maps.Keys(want)) {
			got, err := e.cfg.Store.Read(ctx, name, want[name].Generation)
			if err == nil && !want[name].Same(state.MarkOf(got)) {
				err = errors.New("the store has another generation of that number")
			}
			if err != nil {
				failed = append(failed, fmt.Sprintf("%s@%d: %v", name, want[name].Generation, err))
				continue
			}
			delete(want, name)
			if e.tell(ctx, news{fetched: &fetched{name, got}}) != nil {
				return
			}
		}
		if len(failed) > 0 && ctx.Err() == nil {
			e.log.Warn("generations that this edge is pointed at cannot be read; those that it serves hold", "error",
				strings.Join(failed, "; "))
			again.Reset(pause)
			pause = min(2*pause, fetchAgainMax)
		}
	}
}
