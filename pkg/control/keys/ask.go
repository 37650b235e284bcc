package keys

import (
	"context"
	"errors"
	"fmt"

	"github.com/gti/gtm/pkg/store"
	"github.com/gti/gtm/pkg/zone/dnssec"
)

// RefusedError tells that what was asked for a zone does not fit the state of its keys.
type RefusedError struct {
	Zone string
	Err  error
}

// Error names the zone.
func (e *RefusedError) Error() string { return e.Zone + ": " + e.Err.Error() }

// Unwrap gives the reason.
func (e *RefusedError) Unwrap() error { return e.Err }

// What is the matter with a zone that nothing can be asked for.
var (
	errUnsigned   = errors.New("the zone is not signed (yet): declare dnssec in its spec, and see gtmctl dnssec status")
	errUndeclared = errors.New("the zone is not declared any more: give its keys up with gtmctl dnssec ds-gone")
	errUnknown    = errors.New("the zone is declared in a way that this gtmd does not know: is it older than gtmctl?")
)

// Roll has a zone go to its next zone-signing or key-signing key, from now on.
func (m *Manager) Roll(ctx context.Context, zone string, ksk bool) error {
	return m.ask(ctx, zone, m.declared(zone, func(s dnssec.State) (dnssec.State, error) { return s.Roll(ksk) }))
}

// DSSeen tells that the parent has the DS that Status shows, and where the algorithm changes no other.
func (m *Manager) DSSeen(ctx context.Context, zone string) error {
	return m.ask(ctx, zone, m.declared(zone, func(s dnssec.State) (dnssec.State, error) { return s.DSSeen(m.cfg.Now()) }))
}

// DSGone tells that the parent has no DS any more, of a zone that is to be unsigned. The keys of a zone that is
// not declared any more are given up at once.
func (m *Manager) DSGone(ctx context.Context, zone string) error {
	return m.ask(ctx, zone, func(s dnssec.State) (dnssec.State, error) {
		if m.watched.zones[zone] == nil {
			return dnssec.State{}, nil
		}
		return s.DSGone(m.cfg.Now())
	})
}

// declared refuses what makes sense for a declared zone only.
func (m *Manager) declared(zone string, what asked) asked {
	return func(s dnssec.State) (dnssec.State, error) {
		if m.watched.zones[zone] == nil {
			return s, errUndeclared
		}
		return what(s)
	}
}

// ask does what is asked for over the newest keyset, again where that has changed meanwhile, and returns when the
// mirror shows what has come of it.
func (m *Manager) ask(ctx context.Context, name string, what asked) error {
	for {
		changed := m.cfg.Mirror.Changed()
		over, behind, err := m.askOnce(ctx, name, what)
		switch {
		case !behind && err == nil:
			return m.await(ctx, name, over)
		case !behind && !errors.Is(err, store.ErrKeysetChanged):
			return err
		}
		if err := wait(ctx, changed); err != nil {
			return fmt.Errorf("the keys of %s in the store have changed, and their new state has not been heard of: %w; try again", name,
				err)
		}
	}
}

// askOnce also gives the serial of the keyset that it went by, and reports whether the mirror is behind what was written.
func (m *Manager) askOnce(ctx context.Context, name string, what asked) (over uint64, behind bool, err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.watched.update(m.cfg.Mirror)
	ks, signed := m.cfg.Mirror.Keysets()[name]
	if !signed {
		return 0, false, &RefusedError{Zone: name, Err: errUnsigned}
	}
	z := m.zone(name)
	if z.wrote > ks.Serial && m.cfg.Now().Before(z.seenBy) {
		return 0, true, nil
	}
	policy, known := m.watched.policy(name)
	if m.watched.zones[name] != nil && !known {
		return 0, false, &RefusedError{Zone: name, Err: errUnknown}
	}
	return ks.Serial, false, m.tend(ctx, z, policy, ks, what)
}

// await waits until the mirror holds another keyset than the one with a serial. It need not for long: what was
// written is written.
func (m *Manager) await(ctx context.Context, name string, serial uint64) error {
	for {
		changed := m.cfg.Mirror.Changed()
		if m.cfg.Mirror.Keysets()[name].Serial != serial {
			return nil
		}
		if err := wait(ctx, changed); err != nil {
			return ctx.Err()
		}
	}
}

// wait waits for news, for some seconds.
func wait(ctx context.Context, news <-chan struct{}) error {
	ctx, cancel := context.WithTimeout(ctx, mirrorTime)
	defer cancel()
	select {
	case <-news:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
