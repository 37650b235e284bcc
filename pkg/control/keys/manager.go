// Package keys looks after the keys of signed zones: it makes and rolls them, signs what key-signing keys sign,
// seals zone-signing keys for the edges, and publishes all that as keysets in the store.
//
// The life of keys is decided by dnssec.Advance; this package carries it out. Several control roles may do so at
// the same time: each keyset is written only over the one that it was made from. Who lacks a key-signing key's
// private part leaves the zone to the one that has it.
package keys

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"sync"
	"time"

	"filippo.io/age"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/gti/gtm/pkg/store"
	"github.com/gti/gtm/pkg/store/state"
	"github.com/gti/gtm/pkg/zone/dnssec"
)

// Pauses of the manager.
const (
	checkEvery = time.Second      // between two checks of what changed
	edgesTime  = 10 * time.Second // between two checks for edges that want keys
	retryTime  = 30 * time.Second // after a failure
	mirrorTime = 10 * time.Second // for a keyset of our own to be seen in the mirror
)

// validity is how long signatures of key sets hold. An outage of control shorter than half of it harms nothing.
const validity = 14 * 24 * time.Hour

// Store is what the manager needs of the store: a *store.Client.
type Store interface {
	PutKeyset(context.Context, dnssec.Keyset) error
	DeleteKeyset(ctx context.Context, zone string, serial uint64) error
	Edges(context.Context) ([]store.Edge, error)
}

// Config is what a Manager needs.
type Config struct {
	Store Store
	// Mirror is the followed state, which the caller keeps up to date with Store.Follow.
	Mirror *state.Mirror
	// Dir holds the private parts of the key-signing keys, one file each. Several control roles share its content.
	Dir string
	// Identity opens zone-signing keys to seal them for more edges. Several control roles share it. See LoadIdentity.
	Identity *age.X25519Identity
	// Recipients is a file with the age recipients that zone-signing keys are sealed for, one a line, read again when
	// it changes. Empty: those that the edges in the store tell.
	Recipients string

	Logger     *slog.Logger          // nil: silent
	Registerer prometheus.Registerer // nil: no metrics
	Now        func() time.Time      // nil: time.Now
}

// Manager looks after the keys of all zones. It is safe for concurrent use.
type Manager struct {
	cfg     Config
	folder  folder
	metrics *metrics

	mu         sync.Mutex
	watched    watched
	zones      map[string]*zone
	copied     map[string]uint64 // by zone: the serial of the keyset whose copy is in the folder
	recipients []string          // wanted for active keys, sorted
	edgesDue   time.Time
}

// zone is what the manager remembers of one zone.
type zone struct {
	policy dnssec.Policy
	serial uint64 // of the keyset when last looked at
	sealed string // whom active keys were sealed for
	due    time.Time
	event  dnssec.Event
	err    error

	// wrote is the serial that was written and is not in the mirror yet; 0: none.
	wrote  uint64
	seenBy time.Time // until when it should be
}

// New makes a manager. It makes the folder, if need be, and does nothing else until Run.
func New(cfg Config) (*Manager, error) {
	if cfg.Store == nil || cfg.Mirror == nil || cfg.Dir == "" || cfg.Identity == nil {
		return nil, errors.New("keys: a store, a mirror, a folder and an identity are needed")
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	f, err := openFolder(cfg.Dir)
	if err != nil {
		return nil, err
	}
	m := &Manager{cfg: cfg, folder: f, zones: map[string]*zone{}, copied: map[string]uint64{},
		recipients: []string{cfg.Identity.Recipient().String()}}
	if m.metrics, err = newMetrics(cfg.Registerer); err != nil {
		return nil, fmt.Errorf("keys: %w", err)
	}
	return m, nil
}

// Run looks after the zones until ctx ends, and returns ctx's error. What fails is logged, shown and tried again.
func (m *Manager) Run(ctx context.Context) error {
	tick := time.NewTicker(checkEvery)
	defer tick.Stop()
	for {
		m.check(ctx)
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-tick.C:
		}
	}
}

// check goes through all zones, and does what is due. The lock is free between them, for those who ask.
func (m *Manager) check(ctx context.Context) {
	names := m.prepare(ctx)
	for _, name := range names {
		if ctx.Err() != nil {
			return
		}
		m.checkZone(ctx, name)
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	maps.DeleteFunc(m.zones, func(name string, _ *zone) bool {
		_, found := slices.BinarySearch(names, name)
		return !found
	})
	m.metrics.show(m.cfg.Mirror.Keysets(), m.zones)
}

// prepare finds out what is declared and who wants keys, and gives the zones to look at.
func (m *Manager) prepare(ctx context.Context) []string {
	m.mu.Lock()
	defer m.mu.Unlock()
	if now := m.cfg.Now(); !now.Before(m.edgesDue) {
		m.edgesDue = now.Add(edgesTime)
		if err := m.findRecipients(ctx); err != nil && ctx.Err() == nil {
			m.cfg.Logger.Warn("who zone-signing keys are sealed for is not known anew; the last who were known hold", "error", err)
		}
	}
	m.keepCopies()
	m.watched.update(m.cfg.Mirror)
	return m.watched.signed(m.cfg.Mirror.Keysets())
}

func (m *Manager) checkZone(ctx context.Context, name string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	policy, known := m.watched.policy(name)
	if !known {
		return
	}
	ks := m.cfg.Mirror.Keysets()[name]
	ks.Zone = name
	if z := m.zone(name); m.wants(z, policy, ks, m.cfg.Now()) {
		m.note(name, z, m.tend(ctx, z, policy, ks, nil))
	}
}

// zone gives what is remembered of a zone.
func (m *Manager) zone(name string) *zone {
	z := m.zones[name]
	if z == nil {
		z = &zone{}
		m.zones[name] = z
	}
	return z
}

// wants reports whether a zone needs looking at.
func (m *Manager) wants(z *zone, policy dnssec.Policy, ks dnssec.Keyset, now time.Time) bool {
	if z.wrote > ks.Serial && now.Before(z.seenBy) {
		return false // the mirror is behind
	}
	z.wrote = 0
	if z.err != nil {
		return !now.Before(z.due)
	}
	return z.policy != policy || z.serial != ks.Serial || z.sealed != m.recipientsKey() || !now.Before(z.due)
}

// note remembers how it went.
func (m *Manager) note(name string, z *zone, err error) {
	if errors.Is(err, store.ErrKeysetChanged) {
		err = nil // another control role was first
		z.due = m.cfg.Now().Add(checkEvery)
	}
	if err != nil {
		m.metrics.failures.Inc()
		z.due = m.cfg.Now().Add(retryTime)
		if z.err == nil || z.err.Error() != err.Error() {
			m.cfg.Logger.Error("the keys of a zone cannot be looked after; it is tried again", "zone", name, "error", err)
		}
	}
	z.err = err
}

// asked changes a state because somebody asked for it.
type asked func(dnssec.State) (dnssec.State, error)

// tend does what is due for one zone, and then what was asked for, if anything.
func (m *Manager) tend(ctx context.Context, z *zone, policy dnssec.Policy, ks dnssec.Keyset, ask asked) error {
	z.policy, z.serial, z.sealed = policy, ks.Serial, m.recipientsKey()
	d, err := m.decide(ks, ks.State, policy, ask)
	if errors.Is(err, errUnopened) {
		m.cfg.Logger.Warn("the next zone-signing key cannot be opened, and another is made", "zone", ks.Zone, "error", err)
		d, err = m.decide(ks, m.forget(ks), policy, ask)
	}
	if err != nil {
		return err
	}
	z.event, z.due = d.event, d.event.At
	if z.due.IsZero() {
		z.due = m.cfg.Now().Add(time.Hour)
	}
	switch {
	case d.next.State.Empty():
		return m.drop(ctx, ks)
	case !d.changed && !d.fresh && ask == nil:
		return d.lacks
	}
	return errors.Join(m.publish(ctx, z, ks, d.next, policy, d.made), d.lacks)
}

// decision is what is to become of a keyset.
type decision struct {
	sealing
	changed bool // the state is another
	event   dnssec.Event
	made    ring
}

// decide goes from a state of the keyset's keys to what is due now.
func (m *Manager) decide(ks dnssec.Keyset, state dnssec.State, policy dnssec.Policy, ask asked) (d decision, err error) {
	state, d.changed, d.event, err = dnssec.Advance(state, policy, m.cfg.Now(), d.made.generate)
	if err == nil && ask != nil {
		if state, err = ask(state); err != nil {
			return d, &RefusedError{Zone: ks.Zone, Err: err}
		}
		state, d.changed, d.event, err = dnssec.Advance(state, policy, m.cfg.Now(), d.made.generate)
	}
	if err != nil {
		return d, err
	}
	d.sealing, err = m.seal(ks, state, d.made)
	return d, err
}

// publish signs the key sets, where they are to be signed, and writes the keyset.
func (m *Manager) publish(ctx context.Context, z *zone, old, next dnssec.Keyset, policy dnssec.Policy, made ring) error {
	if next.State.Round != old.State.Round {
		ksks, err := m.folder.read(old)
		if err != nil {
			return err
		}
		if next.Sets, next.Until, err = dnssec.Publish(next.Zone, next.State, policy, append(ksks, made...)); err != nil {
			return m.folder.explain(err)
		}
	}
	kept := made.keep(next.State)
	if err := m.folder.write(next.Zone, kept); err != nil {
		return err
	}
	next.Serial = old.Serial + 1
	err := m.cfg.Store.PutKeyset(ctx, next)
	if errors.Is(err, store.ErrKeysetChanged) {
		return errors.Join(err, m.folder.remove(next.Zone, tagsOf(kept)))
	}
	if err != nil {
		return err // it may have been written all the same: the new keys stay
	}
	z.wrote, z.seenBy = next.Serial, m.cfg.Now().Add(mirrorTime)
	m.cfg.Logger.Info("the keys of a zone were published", "zone", next.Zone, "serial", next.Serial, "until", next.Until)
	return m.folder.remove(next.Zone, goneKSKs(old.State, next.State))
}

// drop ends signing.
func (m *Manager) drop(ctx context.Context, ks dnssec.Keyset) error {
	if ks.Serial == 0 {
		return nil
	}
	if err := m.cfg.Store.DeleteKeyset(ctx, ks.Zone, ks.Serial); err != nil {
		return err
	}
	m.cfg.Logger.Info("a zone is not signed any more", "zone", ks.Zone)
	delete(m.copied, ks.Zone)
	if err := m.folder.forgetKept(ks.Zone); err != nil {
		return err
	}
	return m.folder.remove(ks.Zone, goneKSKs(ks.State, dnssec.State{}))
}

// goneKSKs are the key-signing keys that old has and new has not.
func goneKSKs(old, new dnssec.State) []keyName {
	var gone []keyName
	for _, k := range old.Keys {
		if k.KSK && !slices.ContainsFunc(new.Keys, func(n dnssec.KeyState) bool { return n.KSK && n.Tag == k.Tag }) {
			gone = append(gone, keyName{k.Algorithm, k.Tag})
		}
	}
	return gone
}

// ring holds keys that were just made.
type ring []*dnssec.Key

func (r *ring) generate(alg dnssec.Algorithm, ksk bool) (*dnssec.Key, error) {
	k, err := dnssec.Generate(alg, ksk)
	if err == nil {
		*r = append(*r, k)
	}
	return k, err
}

// keep gives the key-signing keys that a state has taken up.
func (r ring) keep(s dnssec.State) ring {
	return slices.DeleteFunc(slices.Clone(r), func(k *dnssec.Key) bool {
		return !k.KSK() || !slices.ContainsFunc(s.Keys, func(n dnssec.KeyState) bool { return n.KSK && n.Tag == k.Tag() })
	})
}
