// Package notify tells webhooks and Alertmanagers what changed of health. Tenants declare them; of several controls one is elected to
// tell, and the store knows how far each target was told, so that another goes on there.
package notify

import (
	"context"
	"errors"
	"log/slog"
	"maps"
	"net"
	"net/netip"
	"reflect"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/gti/gtm/pkg/control/api"
	"github.com/gti/gtm/pkg/control/events"
	"github.com/gti/gtm/pkg/spec"
	"github.com/gti/gtm/pkg/store"
	"github.com/gti/gtm/pkg/store/state"
)

// How much is told at once, in all and of one tenant, so that one whose targets hang takes nobody else's turn.
const (
	postsAtOnce     = 64
	postsOfOne      = 2
	syncEvery       = time.Second     // what is declared is looked at
	saveEvery       = 5 * time.Second // what was told is written down
	savesAtOnce     = 50              // tenants of which that is written at once
	lastSave        = 3 * time.Second // for that when it ends
	withoutTargets  = time.Second     // it looks again whether there are any
	mostTargetsTold = 1000            // of status
)

// Store is what a Teller needs of a *store.Client.
type Store interface {
	CampaignTeller(ctx context.Context, id string, lead func(context.Context) error) error
	Tolds(ctx context.Context) (map[string]store.Told, error)
	PutTold(ctx context.Context, tenant string, told store.Told) error
}

// Config is what a Teller needs.
type Config struct {
	ID     string // of this control
	Store  Store
	Mirror *state.Mirror
	Log    *events.Log
	// Problems gives what is wrong now of a tenant; empty: of all.
	Problems func(tenant string) []api.Event
	// Secrets is the folder of secrets: DIR/TENANT/NAME; empty: there are none.
	Secrets string
	// Networks open refused blocks to the targets of tenants, as checks.Guard.Allow does to checks. Those of the platform go anywhere.
	Networks []netip.Prefix
	// OwnPorts are gtm's, which no target of a tenant can be.
	OwnPorts []uint16
	// Cut reports whether the store is not heard: then nobody can be elected, and whoever told goes on. nil: it is never.
	Cut        func() bool
	Local      func() ([]net.Addr, error) // this machine's addresses; nil: net.InterfaceAddrs
	Logger     *slog.Logger               // nil: silent
	Registerer prometheus.Registerer      // nil: no metrics
	Now        func() time.Time           // nil: time.Now
	Pace       Pace
}

// Pace is how often what fails is tried again. The zero value is that of real targets.
type Pace struct {
	First, Most time.Duration // waits between attempts, which double: 1s and 5m
	GiveUp      time.Duration // then an event is dropped: 6h
	Repeat      time.Duration // an Alertmanager hears again what is wrong: 1m
}

func (p Pace) filled() Pace {
	or := func(d *time.Duration, otherwise time.Duration) {
		if *d == 0 {
			*d = otherwise
		}
	}
	or(&p.First, time.Second)
	or(&p.Most, 5*time.Minute)
	or(&p.GiveUp, 6*time.Hour)
	or(&p.Repeat, time.Minute)
	return p
}

// Teller tells, while it is elected. It is safe for concurrent use.
type Teller struct {
	cfg     Config
	pace    Pace
	posts   chan struct{}
	open    *poster // of the platform
	guarded *poster // of tenants
	metrics *metrics

	mu      sync.Mutex
	teller  bool
	changed map[string]bool // tenants of which a target is told no more
	unsaved string          // why what was told could not be written down
	next    string          // the tenant that save begins with
	targets map[targetKey]*target
	tenants map[string]chan struct{} // turns of a tenant
}

type targetKey struct{ tenant, name string }

// New makes a teller, which tells nobody before Run.
func New(cfg Config) (*Teller, error) {
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.Cut == nil {
		cfg.Cut = func() bool { return false }
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	t := &Teller{cfg: cfg, pace: cfg.Pace.filled(), posts: make(chan struct{}, postsAtOnce), open: newPoster(nil),
		guarded: newPoster(&cfg), targets: map[targetKey]*target{}, changed: map[string]bool{}, tenants: map[string]chan struct{}{}}
	var err error
	t.metrics, err = newMetrics(cfg.Registerer, t)
	return t, err
}

// Run tells until ctx ends. It stands for election where there is somebody to tell.
func (t *Teller) Run(ctx context.Context) {
	for ctx.Err() == nil {
		if len(t.declared()) > 0 {
			standing, stop := context.WithCancel(ctx)
			_ = t.cfg.Store.CampaignTeller(standing, t.cfg.ID, func(elected context.Context) error {
				err := t.lead(ctx, elected)
				if errors.Is(err, errNobody) {
					stop()
					return nil
				}
				return err
			})
			stop()
		}
		sleep(ctx, withoutTargets)
	}
}

// errNobody: nobody is to be told any more.
var errNobody = errors.New("there are no targets")

// lead tells everybody until elected ends. Where that is since the store is gone, nobody else can be elected, and that health stands still
// is what people must hear: it goes on until the store is back, or ctx ends.
func (t *Teller) lead(ctx, elected context.Context) error {
	tolds, err := t.cfg.Store.Tolds(elected)
	if err != nil {
		return err
	}
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	t.cfg.Logger.Info("this control tells events to webhooks and Alertmanagers now")
	t.setTeller(true)
	defer t.setTeller(false)
	defer func() { t.save(context.WithoutCancel(ctx), tolds, true) }()
	defer t.stopAll()
	saved := t.cfg.Now()
	clock := time.NewTicker(syncEvery)
	defer clock.Stop()
	for {
		changed := t.cfg.Mirror.Changed()
		declared := t.declared()
		t.sync(ctx, declared, tolds)
		if len(declared) == 0 {
			return errNobody
		}
		if now := t.cfg.Now(); now.Sub(saved) >= saveEvery {
			saved = now
			t.save(ctx, tolds, false)
		}
		select {
		case <-elected.Done():
			if ctx.Err() != nil || !t.cfg.Cut() {
				return nil
			}
			sleep(ctx, syncEvery)
		case <-clock.C:
		case <-changed:
			sleep(ctx, t.pace.First/10) // a store that changes all the time is looked at now and then
		}
	}
}

func (t *Teller) setTeller(is bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.teller = is
}

// declared gives what tenants declare.
func (t *Teller) declared() map[targetKey]*spec.EventTarget {
	all := map[targetKey]*spec.EventTarget{}
	for _, tenant := range t.cfg.Mirror.Tenants() {
		v, ok := t.cfg.Mirror.Tenant(tenant).Resources.Get(spec.Key{Tenant: tenant, Kind: spec.KindTenant, Name: tenant})
		if !ok {
			continue
		}
		if of, ok := v.Resource.Spec.(*spec.Tenant); ok && of.Events != nil {
			for i := range of.Events.Targets {
				all[targetKey{tenant, of.Events.Targets[i].Name}] = &of.Events.Targets[i]
			}
		}
	}
	return all
}

// sync starts targets that are new, and ends those that are no more. One that is declared otherwise goes on where it was.
func (t *Teller) sync(ctx context.Context, declared map[targetKey]*spec.EventTarget, tolds map[string]store.Told) {
	t.mu.Lock()
	var ended []*target
	for key, g := range t.targets {
		if is := declared[key]; is == nil || !reflect.DeepEqual(is, g.spec) {
			g.stop()
			ended = append(ended, g)
			delete(t.targets, key)
			if is == nil {
				delete(tolds[key.tenant], key.name)
				t.changed[key.tenant], g.forgotten = true, true
			}
		}
	}
	t.mu.Unlock()
	for _, g := range ended {
		<-g.done
		if !g.forgotten {
			if tolds[g.tenant] == nil {
				tolds[g.tenant] = store.Told{}
			}
			tolds[g.tenant][g.spec.Name] = g.marked()
		}
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	for key, is := range declared {
		if t.targets[key] == nil {
			mark, known := tolds[key.tenant][key.name]
			t.targets[key] = t.start(ctx, key.tenant, is, mark, !known)
		}
	}
}

// scopeOf gives whose events a tenant's targets hear: the platform's, all.
func scopeOf(tenant string) string {
	if tenant == spec.Platform {
		return ""
	}
	return tenant
}

func (t *Teller) stopAll() {
	t.mu.Lock()
	all := slices.Collect(maps.Values(t.targets))
	t.mu.Unlock()
	for _, g := range all {
		g.stop()
	}
	for _, g := range all {
		<-g.done
	}
}

// save writes how far targets were told, of some tenants where that changed; last: of all of them, and then they are gone.
func (t *Teller) save(ctx context.Context, tolds map[string]store.Told, last bool) {
	ctx, cancel := context.WithTimeout(ctx, lastSave)
	defer cancel()
	t.mu.Lock()
	now, changed := map[string]store.Told{}, map[string][]*target{}
	for key, g := range t.targets {
		if now[key.tenant] == nil {
			now[key.tenant] = store.Told{}
		}
		now[key.tenant][key.name] = g.marked()
		if g.unsaved() {
			changed[key.tenant] = append(changed[key.tenant], g)
		}
	}
	for tenant := range t.changed {
		changed[tenant] = append(changed[tenant], nil)
	}
	if last {
		clear(t.targets)
	}
	t.mu.Unlock()
	for n, tenant := range inTurn(slices.Sorted(maps.Keys(changed)), t.next) {
		if t.next = tenant; n == savesAtOnce && !last {
			return
		}
		err := t.cfg.Store.PutTold(ctx, tenant, now[tenant])
		if t.noteSave(tenant, err); err != nil {
			return
		}
		if tolds[tenant] = now[tenant]; now[tenant] == nil {
			delete(tolds, tenant)
		}
		for _, g := range changed[tenant] {
			if g != nil {
				g.saved(now[tenant][g.spec.Name])
			}
		}
	}
}

// inTurn gives names, sorted, from one of them on, so that each comes to its turn, however many there always are.
func inTurn(sorted []string, from string) []string {
	at, _ := slices.BinarySearch(sorted, from)
	return slices.Concat(sorted[at:], sorted[:at])
}

// noteSave tells once that what was told cannot be written down.
func (t *Teller) noteSave(tenant string, err error) {
	t.mu.Lock()
	was := t.unsaved
	if t.unsaved = ""; err != nil {
		t.unsaved = err.Error()
	} else {
		delete(t.changed, tenant)
	}
	t.mu.Unlock()
	if err != nil && was == "" {
		t.cfg.Logger.Warn("how far targets were told of events cannot be written down; whoever tells next may tell some again",
			"error", err)
	}
}

// Status gives the targets, sorted, and whether this control tells them.
func (t *Teller) Status() (list []api.EventTarget, teller bool) {
	declared := t.declared()
	t.mu.Lock()
	teller = t.teller
	running := maps.Clone(t.targets)
	t.mu.Unlock()
	for key, is := range declared {
		one := api.EventTarget{Tenant: key.tenant, Name: key.name, Format: is.FormatOr()}
		if g := running[key]; g != nil {
			g.describe(&one)
		}
		list = append(list, one)
	}
	slices.SortFunc(list, func(a, b api.EventTarget) int {
		return strings.Compare(a.Tenant+"/"+a.Name, b.Tenant+"/"+b.Name)
	})
	return list[:min(len(list), mostTargetsTold)], teller
}

// turn waits for a turn of all and of a tenant, which free gives back; false: ctx ended.
func (t *Teller) turn(ctx context.Context, tenant string) (free func(), ok bool) {
	t.mu.Lock()
	own := t.tenants[tenant]
	if own == nil {
		own = make(chan struct{}, postsOfOne)
		t.tenants[tenant] = own
	}
	t.mu.Unlock()
	select {
	case own <- struct{}{}:
	case <-ctx.Done():
		return nil, false
	}
	select {
	case t.posts <- struct{}{}:
		return func() { <-t.posts; <-own }, true
	case <-ctx.Done():
		<-own
		return nil, false
	}
}

func sleep(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
	case <-timer.C:
	}
}
