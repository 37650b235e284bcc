package edge

import (
	"errors"

	"github.com/gti/gtm/pkg/spec"
	"github.com/gti/gtm/pkg/store/state"
	"github.com/gti/gtm/pkg/table/compile"
	"github.com/gti/gtm/pkg/zone/dnssec"
)

// takeKeys opens the keys of signed zones and gives them to the compiler. A zone whose keys cannot be opened keeps those that it
// has, and is told of as broken.
func (e *Edge) takeKeys(c *compile.Compiler, u *state.Update) {
	if e.unopened == nil {
		e.unopened = map[string]compile.Broken{}
	}
	keysets := state.Keysets.In(*u)
	gone := keysets.Deleted
	if u.Full {
		seen := map[string]bool{}
		for _, zone := range keysets.Broken {
			seen[zone] = true
		}
		for i := range keysets.Put {
			seen[keysets.Put[i].Zone] = true
		}
		for _, zone := range c.SignedZones() {
			if !seen[zone] {
				gone = append(gone, zone)
			}
		}
	}
	for _, zone := range gone {
		c.SetKeys(zone, nil)
		delete(e.unopened, zone)
	}
	for i := range keysets.Put {
		ks := &keysets.Put[i]
		keys, err := e.open(ks)
		if err != nil {
			k := spec.Key{Tenant: spec.Platform, Kind: spec.KindZone, Name: ks.Zone}
			e.unopened[ks.Zone] = compile.Broken{Key: k, Err: err}
			continue
		}
		delete(e.unopened, ks.Zone)
		c.SetKeys(ks.Zone, &compile.ZoneKeys{Keys: keys, Sets: ks.Sets, Serial: ks.Serial})
	}
}

func (e *Edge) open(ks *dnssec.Keyset) ([]*dnssec.Key, error) {
	if e.cfg.Identity == nil {
		return nil, errors.New("its keys are sealed, and this edge has no key file of an edge group: start it with --group-key")
	}
	return ks.Open(e.cfg.Identity)
}
