package table

import (
	"github.com/gti/gtm/pkg/table/draws"
	"github.com/gti/gtm/pkg/table/names"
	"github.com/gti/gtm/pkg/table/rr"
	"github.com/gti/gtm/pkg/table/zones"
)

// What stands in the rooms below and goes outward with a View, so that who reads one imports this package alone.
type (
	Hashes = names.Hashes
	Family = rr.Family
	Draw   = draws.Draw

	Zone       = zones.Zone
	ZoneCounts = zones.ZoneCounts
	Match      = zones.Match
	Set        = zones.Set
	Short      = zones.Short
	Additional = zones.Additional
	RRset      = zones.RRset
	Sig        = zones.Sig
	When       = zones.When
	Proofs     = zones.Proofs
)

// The kinds of a Match.
const (
	Exact    = zones.Exact
	Wildcard = zones.Wildcard
	Referral = zones.Referral
	Rename   = zones.Rename
	Missing  = zones.Missing
	Whoami   = zones.Whoami
	Explain  = zones.Explain
)

// How long a joint of a Short is, and what marks one that leads inside.
const (
	JointSize   = zones.JointSize
	JointInside = zones.JointInside
)

// NewZoneCounts makes counters for a number of workers.
func NewZoneCounts(zone string, rows int) *ZoneCounts { return zones.NewZoneCounts(zone, rows) }
