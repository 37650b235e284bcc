package api

import "time"

// How a signed zone fares.
const (
	ZoneStarting    = "starting"    // its first keys are not published yet
	ZoneSigned      = "signed"      // all goes by itself
	ZoneWaiting     = "waiting"     // for the parent, and for someone to say so
	ZoneWithdrawing = "withdrawing" // on its way to being unsigned
	ZoneFailing     = "failing"     // see Error
	ZoneUndeclared  = "undeclared"  // it has keys, but is not declared any more
	ZoneUnsigned    = "unsigned"    // its keys were just given up
)

// SignedZones are the zones that are signed, or are to be.
type SignedZones struct {
	Zones []SignedZone `json:"zones"`
}

// SignedZone is the state of one zone's keys.
type SignedZone struct {
	Zone   string `json:"zone"`
	State  string `json:"state" enum:"starting,signed,waiting,withdrawing,failing,undeclared,unsigned"`
	Serial uint64 `json:"serial,omitempty" doc:"of its keyset; grows with each change"`
	// Until is when the first signature of the key sets expires; they are signed anew long before.
	Until time.Time `json:"until,omitzero"`
	Keys  []ZoneKey `json:"keys"`
	// DS are the records that the parent is to have, as in a master file.
	DS []string `json:"ds,omitempty"`
	// Next is what comes next by itself, and NextAt when. Waiting is what somebody has to do.
	Next    string    `json:"next,omitempty"`
	NextAt  time.Time `json:"nextAt,omitzero"`
	Waiting string    `json:"waiting,omitempty"`
	// Error tells why the keys cannot be looked after at present.
	Error string `json:"error,omitempty"`
	// Recipients is for how many the active zone-signing key is sealed.
	Recipients int `json:"recipients,omitempty"`
}

// ZoneKey is one key. A time that is absent has not come.
type ZoneKey struct {
	Tag       uint16    `json:"tag"`
	Role      string    `json:"role" enum:"KSK,ZSK"`
	Algorithm string    `json:"algorithm"`
	Phase     string    `json:"phase" doc:"where it is in its life, in words"`
	Created   time.Time `json:"created"`
	Published time.Time `json:"published,omitzero" doc:"in the DNSKEY set since"`
	Submitted time.Time `json:"submitted,omitzero" doc:"the parent may have its DS since (KSK)"`
	Active    time.Time `json:"active,omitzero" doc:"signs since (ZSK); its DS was seen (KSK)"`
	Retired   time.Time `json:"retired,omitzero" doc:"another has taken over since"`
}

// RollRequest asks for a zone's next key.
type RollRequest struct {
	KSK bool `json:"ksk,omitempty" doc:"the key-signing key; absent: the zone-signing key"`
}
