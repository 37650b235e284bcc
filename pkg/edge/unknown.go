package edge

import (
	"maps"
	"slices"

	"github.com/gti/gtm/pkg/control/api"
	"github.com/gti/gtm/pkg/spec"
	"github.com/gti/gtm/pkg/store/state"
)

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
