package state

import (
	"slices"
	"time"

	"github.com/gti/gtm/pkg/spec"
)

// Generation numbers the states of one tenant from 1 on. 0 is the state before the first change.
type Generation uint64

// Version is one resource as one generation left it. Immutable: whoever has one must not change what it
// points to.
type Version struct {
	Resource   *spec.Resource
	Generation Generation
	// Digest is a hash of the stored form that Resource was read from; 0: not known.
	Digest uint64
}

// TenantState is what a tenant declares at its generation Head.
type TenantState struct {
	Head Generation
	// ID identifies the generation Head; see Record. Empty: not known.
	ID        string
	Resources Resources
	// Broken are the resources that cannot be decoded; Resources may hold an earlier form of them.
	Broken map[spec.Key]BrokenResource
}

// Record tells who made a generation, when and why, and which resources it touched (sorted).
type Record struct {
	Tenant     string     `json:"tenant"`
	Generation Generation `json:"generation"`
	Time       time.Time  `json:"time"`
	Author     string     `json:"author,omitempty"`
	Message    string     `json:"message,omitempty"`
	Put        []spec.Key `json:"put,omitempty"`
	Deleted    []spec.Key `json:"deleted,omitempty"`
	// BreakGlass is why guards did not stop it; empty: they had their say.
	BreakGlass string `json:"breakGlass,omitempty"`
	// Approved is the second person that it waited for; empty: it did not.
	Approved string `json:"approved,omitempty"`
	// ID identifies the generation: a digest of the change and of the ID of the generation before, and so of all that led to it.
	// Empty: not known.
	ID string `json:"-"`
}

// Update is a whole state (Full) or what changed since the update before. Values are immutable.
type Update struct {
	Full bool
	// Cursor is the etcd revision up to which this and the earlier updates tell everything, in Cluster.
	Cursor  int64
	Cluster uint64
	// Epoch grows whenever someone accepts a store that went back.
	Epoch int64
	// Tenants are sorted by name. In a Full update they are all there are.
	Tenants []TenantUpdate
	// Values are what it says of the followed kinds: Verdicts.In(u), Keysets.In(u).
	Values Values
}

// TenantUpdate takes a tenant to its generation Head.
type TenantUpdate struct {
	Tenant string
	Head   Generation
	// ID identifies the generation Head, which its number alone does not: a store that went back gives the same number again. Empty:
	// not known.
	ID string
	// Put is sorted by kind (dependencies first) and name. In a Full update it is everything.
	Put     []Version
	Deleted []spec.Key
	// Broken are resources that could not be decoded: whoever holds an earlier form keeps it.
	Broken []BrokenResource
}

// BrokenResource is a version in the store that cannot be decoded.
type BrokenResource struct {
	Key        spec.Key
	Generation Generation
	Err        error
}

// Cursor is a known past: what a consumer has seen before.
type Cursor struct {
	Cluster  uint64
	Revision int64
	Heads    map[string]Generation
	// IDs identify the generations in Heads, as far as they are known.
	IDs   map[string]string
	Epoch int64
}

// Position gives the cursor that stands behind a Full update.
func (u *Update) Position() *Cursor {
	c := &Cursor{Cluster: u.Cluster, Revision: u.Cursor, Epoch: u.Epoch,
		Heads: make(map[string]Generation, len(u.Tenants)), IDs: make(map[string]string, len(u.Tenants))}
	for _, t := range u.Tenants {
		c.Heads[t.Tenant] = t.Head
		if t.ID != "" {
			c.IDs[t.Tenant] = t.ID
		}
	}
	return c
}

// The states of following.
const (
	Connecting = "connecting" // nothing was delivered yet
	Current    = "current"    // what was delivered is what the store holds
	Stale      = "stale"      // no contact: what was delivered may be out of date
	Refused    = "refused"    // the store went back; nothing is delivered until Client.Accept
)

// FollowStatus tells how following fares.
type FollowStatus struct {
	State  string
	Since  time.Time
	Err    string // why it is not Current
	Cursor int64
}

// Pulse is the judge's sign of life among the verdicts. As long as pulses come, a verdict that does not change is one that is judged
// again and again, and not one that nobody looks at.
type Pulse struct {
	Judge string    `json:"judge"` // its vantage
	Time  time.Time `json:"time"`  // by the judge's clock
	// Nonce makes each pulse unlike any other, so that it also identifies its point in the store's history.
	Nonce string `json:"nonce"`
	// Alive and Silent are the vantages that hold their lease and those that have lost it, sorted.
	Alive  []string `json:"alive,omitempty"`
	Silent []string `json:"silent,omitempty"`
	// Troubles say what the judge cannot write, of whom and why: a few, in words.
	Troubles []string `json:"troubles,omitempty"`
}

// Empty tells that an update has nothing to tell.
func (u *Update) Empty() bool {
	if u.Full || len(u.Tenants) > 0 {
		return false
	}
	for kind, changes := range u.Values {
		if !kind.saysNothing(changes) {
			return false
		}
	}
	return true
}

// LeavesBroken reports whether an update leaves something in the form that it had before, since what is stored is not understood.
func (u *Update) LeavesBroken() bool {
	for kind, changes := range u.Values {
		if kind.leavesBroken(changes) {
			return true
		}
	}
	return slices.ContainsFunc(u.Tenants, func(tu TenantUpdate) bool { return len(tu.Broken) > 0 })
}

// WentBackError: the store holds an older state than was seen before.
type WentBackError struct {
	Reason string
	// Empty: nothing at all is there. Whoever takes that answers nothing more, so accepting it is no advice.
	Empty bool
}

func (e *WentBackError) Error() string {
	if e.Empty {
		return "the store went back: " + e.Reason + "; if it is the right one, fill it: gtmctl store rebuild -f DIR"
	}
	return "the store went back: " + e.Reason + "; if that is meant (a restored backup), run: gtmctl store accept"
}
