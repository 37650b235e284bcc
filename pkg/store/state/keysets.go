package state

import (
	"cmp"
	"reflect"

	"github.com/gti/gtm/pkg/zone/dnssec"
)

// Keysets are the keys of signed zones, by zone; written by control.
var Keysets = Register(Kind[string, dnssec.Keyset]{
	Prefix: []string{"config", "keys"}, Frame: 'K', Gone: "keysetsDeleted", Most: 16 << 20,
	Name:    func(ks dnssec.Keyset) string { return ks.Zone },
	Compare: cmp.Compare[string],
	Parse: func(parts []string) (zone string, ok bool) {
		if len(parts) != 1 {
			return "", false
		}
		return parts[0], true
	},
	Same: func(a, b dnssec.Keyset) bool { return reflect.DeepEqual(a, b) },
	What: "zone", Misread: "the keys of a zone in the store are not understood; those before hold",
})

// Keysets gives the keyset of each signed zone. The map must not be changed.
func (m *Mirror) Keysets() map[string]dnssec.Keyset { return Keysets.All(m) }
