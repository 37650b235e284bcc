package store

import (
	"github.com/gti/gtm/pkg/store/state"
)

// FollowConfig says where following starts and whom it tells. The functions are called from one
// goroutine, one at a time.
type FollowConfig struct {
	// From is a known past, as from a snapshot; nil: none.
	From *state.Cursor
	// Has, if not nil, is the state at From, which the consumer holds already: as long as the store is the same one, only what
	// differs from it is told, and versions with the Digest of the stored ones are not read again.
	Has *state.Update
	// OnUpdate takes the next update; its error ends Follow.
	OnUpdate func(state.Update) error
	// OnPulse, if not nil, is called with each pulse of the judge that comes while following, and with the last one at the start.
	OnPulse func(state.Pulse)
	// OnStatus, if not nil, is called whenever the state or its reason changes, and when the cursor moves while the
	// state is Current.
	OnStatus func(state.FollowStatus)
}
