package keys

import (
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/gti/gtm/pkg/control/api"
	"github.com/gti/gtm/pkg/dnswire"
	"github.com/gti/gtm/pkg/zone/dnssec"
)

// Status tells of every zone that is signed or is to be, sorted.
func (m *Manager) Status() []api.SignedZone {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.watched.update(m.cfg.Mirror)
	keysets := m.cfg.Mirror.Keysets()
	names := slices.AppendSeq(m.watched.signed(keysets), maps.Keys(keysets))
	slices.Sort(names)
	all := []api.SignedZone{}
	for _, name := range slices.Compact(names) {
		all = append(all, m.show(name, keysets[name]))
	}
	return all
}

func (m *Manager) show(name string, ks dnssec.Keyset) api.SignedZone {
	out := api.SignedZone{Zone: name, Serial: ks.Serial, Until: ks.Until, Keys: []api.ZoneKey{}}
	for _, k := range ks.State.Keys {
		out.Keys = append(out.Keys, showKey(&k))
	}
	apex, err := dnswire.AppendName(nil, name)
	for _, k := range ks.State.Offered() {
		if err == nil && ks.State.Withdrawn.IsZero() {
			out.DS = append(out.DS, showDS(name, dnssec.DS(apex, k.Public)))
		}
	}
	for _, z := range ks.ZSKs {
		if z.Active {
			out.Recipients = len(z.Recipients)
		}
	}
	policy, declared := m.watched.policy(name)
	if !declared {
		out.State = api.ZoneUndeclared
		out.Waiting = "the zone to be declared again; or give its keys up with gtmctl dnssec ds-gone"
		return out
	}
	// What comes next depends on nothing but the state, whoever of the control roles carries it out.
	_, due, event, err := dnssec.Advance(ks.State, policy, m.cfg.Now(), dnssec.Generate)
	out.NextAt, out.Next, out.Waiting = event.At, event.What, event.Waiting
	if z := m.zones[name]; z != nil && z.err != nil {
		out.Error = z.err.Error()
	} else if err != nil {
		out.Error = err.Error()
	}
	out.State = stateOf(&out, ks.State, due)
	return out
}

// stateOf says in a word how a zone fares.
func stateOf(z *api.SignedZone, s dnssec.State, due bool) string {
	switch {
	case z.Error != "":
		return api.ZoneFailing
	case s.Empty(), due && z.Serial == 0:
		return api.ZoneStarting
	case !s.Withdrawn.IsZero():
		return api.ZoneWithdrawing
	case z.Waiting != "":
		return api.ZoneWaiting
	}
	return api.ZoneSigned
}

func showKey(k *dnssec.KeyState) api.ZoneKey {
	role := "ZSK"
	if k.KSK {
		role = "KSK"
	}
	return api.ZoneKey{Tag: k.Tag, Role: role, Algorithm: k.Algorithm.String(), Phase: k.Phase(), Created: k.Created,
		Published: k.Published, Submitted: k.Submitted, Active: k.Active, Retired: latest(k.Retired, k.Hidden)}
}

func latest(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

// showDS gives a DS as it stands in a master file.
func showDS(zone string, rdata []byte) string {
	return fmt.Sprintf("%s IN DS %d %d %d %s", zone, binary.BigEndian.Uint16(rdata), rdata[2], rdata[3],
		strings.ToUpper(hex.EncodeToString(rdata[4:])))
}
