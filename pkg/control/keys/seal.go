package keys

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"

	"filippo.io/age"

	"github.com/gti/gtm/pkg/zone/dnssec"
)

// maxRecipients bounds a keyset: each recipient takes some 150 bytes of each key.
const maxRecipients = 1000

// findRecipients looks who active zone-signing keys are to be sealed for: control itself, and the edges.
func (m *Manager) findRecipients(ctx context.Context) error {
	want := []string{m.cfg.Identity.Recipient().String()}
	if m.cfg.Recipients != "" {
		text, err := os.ReadFile(m.cfg.Recipients)
		if err != nil {
			return fmt.Errorf("cannot read the recipients of zone-signing keys: %w", err)
		}
		listed, err := age.ParseRecipients(bytes.NewReader(text))
		if err != nil {
			return fmt.Errorf("%s wants age recipients as in age1..., one a line: %w", m.cfg.Recipients, err)
		}
		for _, r := range listed {
			x, ok := r.(*age.X25519Recipient)
			if !ok {
				return fmt.Errorf("%s: only age recipients as in age1... (X25519) can be used", m.cfg.Recipients)
			}
			want = append(want, x.String())
		}
	} else {
		edges, err := m.cfg.Store.Edges(ctx)
		if err != nil {
			return err
		}
		for _, e := range edges {
			if !e.Alive { // one that was stolen stays known
				continue
			}
			r, err := age.ParseX25519Recipient(e.Recipient)
			if e.Recipient != "" && err != nil {
				m.cfg.Logger.Warn("an edge tells a recipient that is none: no keys are sealed for it", "edge", e.ID, "error", err)
			}
			if err == nil {
				want = append(want, r.String())
			}
		}
	}
	slices.Sort(want)
	want = slices.Compact(want)
	if len(want) > maxRecipients {
		return fmt.Errorf("%d recipients are more than the %d that a key is sealed for: give edges of a group one identity", len(want),
			maxRecipients)
	}
	m.recipients = want
	return nil
}

func (m *Manager) recipientsKey() string { return strings.Join(m.recipients, " ") }

// sealing is a keyset with its zone-signing keys sealed.
type sealing struct {
	next  dnssec.Keyset
	fresh bool  // a key was sealed
	lacks error // what could not be sealed for all who want it; those who have it go on with it
}

// errUnopened: a zone-signing key is to begin to sign that cannot be opened here, and so not be sealed for any edge.
var errUnopened = errors.New("the key cannot be sealed for the edges")

// seal gives the keyset that has the state's zone-signing keys. A key is sealed for the edges once it signs, and until
// then for control alone, so that who steals an edge does not get the next key with it.
func (m *Manager) seal(old dnssec.Keyset, s dnssec.State, made ring) (sealing, error) {
	var out sealing
	next := old
	next.State, next.ZSKs = s, nil
	for _, k := range s.Keys {
		if k.KSK {
			continue
		}
		z := dnssec.ZSK{Tag: k.Tag, Algorithm: k.Algorithm, Public: k.Public, Active: k.Signs()}
		signed := false
		if i := slices.IndexFunc(old.ZSKs, func(o dnssec.ZSK) bool { return bytes.Equal(o.Public, k.Public) }); i >= 0 {
			z.Sealed, z.Recipients, signed = old.ZSKs[i].Sealed, old.ZSKs[i].Recipients, old.ZSKs[i].Active
		}
		if !k.Retired.IsZero() {
			z.Sealed, z.Recipients = nil, nil // nobody signs with it any more
			next.ZSKs = append(next.ZSKs, z)
			continue
		}
		fresh, err := m.sealOne(&z, made)
		if err != nil && z.Active && !signed {
			return out, fmt.Errorf("%w: %w", errUnopened, err)
		}
		if err != nil {
			out.lacks = err
		}
		out.fresh = out.fresh || fresh
		next.ZSKs = append(next.ZSKs, z)
	}
	out.next = next
	return out, nil
}

// sealOne seals a key where somebody who wants it cannot open it. Those who can will go on to. With an error it stays
// as it is.
func (m *Manager) sealOne(z *dnssec.ZSK, made ring) (fresh bool, err error) {
	want := m.recipients
	if !z.Active {
		want = []string{m.cfg.Identity.Recipient().String()}
	}
	if z.Sealed != nil && !slices.ContainsFunc(want, func(r string) bool { return !slices.Contains(z.Recipients, r) }) {
		return false, nil
	}
	var key *dnssec.Key
	if i := slices.IndexFunc(made, func(k *dnssec.Key) bool { return bytes.Equal(k.DNSKEY(), z.Public) }); i >= 0 {
		key = made[i]
	} else if key, err = z.Open(m.cfg.Identity); err != nil {
		return false, fmt.Errorf("%w: control roles share one identity, and this one is another; if that one is lost, run gtmctl dnssec "+
			"roll for the zone", err)
	}
	all := slices.Compact(slices.Sorted(slices.Values(slices.Concat(z.Recipients, want))))
	recipients := make([]age.Recipient, len(all))
	for i, r := range all {
		if recipients[i], err = age.ParseX25519Recipient(r); err != nil {
			return false, err
		}
	}
	sealed, err := key.Seal(recipients...)
	if err != nil {
		return false, err
	}
	z.Sealed, z.Recipients = sealed, all
	return true, nil
}

// forget gives the state without keys that wait for their turn and cannot be opened here: they never signed.
func (m *Manager) forget(ks dnssec.Keyset) dnssec.State {
	s := ks.State
	s.Keys = slices.DeleteFunc(slices.Clone(s.Keys), func(k dnssec.KeyState) bool {
		i := slices.IndexFunc(ks.ZSKs, func(z dnssec.ZSK) bool { return bytes.Equal(z.Public, k.Public) })
		if k.KSK || !k.Active.IsZero() || i < 0 {
			return false
		}
		_, err := ks.ZSKs[i].Open(m.cfg.Identity)
		return err != nil
	})
	return s
}
