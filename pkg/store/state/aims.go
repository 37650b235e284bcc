package state

import (
	"cmp"
	"fmt"
	"path"
	"reflect"
	"time"

	"github.com/gti/gtm/pkg/spec"
)

// Mark names one generation of a tenant. Without an ID its number alone does.
type Mark struct {
	Generation Generation `json:"generation"`
	ID         string     `json:"id,omitempty"`
}

// MarkOf gives the generation that a tenant's state is of.
func MarkOf(t TenantState) Mark { return Mark{t.Head, t.ID} }

// Same reports whether two marks name one generation, as far as that is known.
func (m Mark) Same(other Mark) bool {
	return m.Generation == other.Generation && m.Generation != 0 && (m.ID == other.ID || m.ID == "" || other.ID == "")
}

// Aim says which generation of a tenant edges go by, where that is not simply the newest; written by control.
type Aim struct {
	Tenant string `json:"tenant"`
	// Groups are the groups of a rollout, in order. An edge is of the first one that has it; one that is of none goes by the newest.
	Groups []AimedGroup `json:"groups,omitempty"`
	// Accept is a generation that edges are to take, though they would refuse it.
	Accept Mark `json:"accept,omitzero"`
	// Rollout is how far the rollout is; nil: there is none.
	Rollout *Progress `json:"rollout,omitempty"`
	// InForce is by what it is judged: what was declared where the groups are, which what is under way may change or delete. Own: it is
	// the tenant's, and not the platform's. nil: a control of before wrote this.
	InForce *spec.Rollout `json:"inForce,omitempty"`
	Own     bool          `json:"own,omitempty"`
}

// AimedGroup is a group of edges, and the generation that it is pointed at.
type AimedGroup struct {
	Name  string   `json:"name"`
	Edges []string `json:"edges,omitempty"` // patterns of IDs, as of path.Match; none: every edge
	At    Mark     `json:"at"`
}

// Has reports whether an edge is of the group, if of none before it.
func (g *AimedGroup) Has(edge string) bool {
	for _, pattern := range g.Edges {
		if ok, err := path.Match(pattern, edge); err == nil && ok {
			return true
		}
	}
	return len(g.Edges) == 0
}

// Group gives the place of an edge's group; -1: it is of none.
func (a *Aim) Group(edge string) int {
	for i := range a.Groups {
		if a.Groups[i].Has(edge) {
			return i
		}
	}
	return -1
}

// Marks gives every generation that the aim refers to, each once.
func (a *Aim) Marks() (list []Mark) {
	seen := map[Generation]bool{0: true}
	add := func(m Mark) {
		if !seen[m.Generation] {
			seen[m.Generation] = true
			list = append(list, m)
		}
	}
	for i := range a.Groups {
		add(a.Groups[i].At)
	}
	if a.Rollout != nil {
		add(a.Rollout.From)
		add(a.Rollout.To)
	}
	return list
}

// Progress is how far a rollout is.
type Progress struct {
	State string `json:"state"`
	From  Mark   `json:"from"` // that all groups were at
	To    Mark   `json:"to"`   // that they are led to
	// Brings is the tenant's own Rollout in what they are led to, which is in force once all are there; nil: it has none.
	Brings *spec.Rollout `json:"brings,omitempty"`
	Stage  int           `json:"stage"`           // the group that has it last
	Since  time.Time     `json:"since,omitzero"`  // of the state, or the stage
	Why    string        `json:"why,omitempty"`   // it is in that state
	By     string        `json:"by,omitempty"`    // who brought it there; empty: control itself
	Bad    Mark          `json:"bad,omitzero"`    // that it was led back from, until another one is newer
	Soaks  time.Time     `json:"soaks,omitzero"`  // since when the whole group has it; zero: it has not
	Waits  []string      `json:"waits,omitempty"` // for what it waits, in words
	// Base are the counts of the group's edges when the stage began, but for Counts.Pools, which are in Pools, summed.
	Base  map[string]Counts `json:"base,omitempty"`
	Pools map[string]uint64 `json:"pools,omitempty"`
	// Others are those of some edges that have not got it, to compare with.
	Others map[string]Counts `json:"others,omitempty"`
	// Resumed: a person has just resumed it. PoolsLost: Pools are of no use, since an edge restarted in the pause.
	Resumed   bool `json:"resumed,omitempty"`
	PoolsLost bool `json:"poolsLost,omitempty"`
	// Untold are gates that cannot tell yet, in words: the group soaks longer.
	Untold []string `json:"untold,omitempty"`
	// Slow is how often in a row an edge was slower than gates.latency allows.
	Slow int `json:"slow,omitempty"`
	// Planned is what the generation is to do to answers, as far as it was worked out.
	Planned []Flow `json:"planned,omitempty"`
	// LeftOut are services of which Planned has nothing, though something is planned: it is too much. The name * stands for all that
	// Planned does not have.
	LeftOut []string `json:"leftOut,omitempty"`
	// PlanTries is how often in a row it could not be worked out.
	PlanTries int `json:"planTries,omitempty"`
}

// Flow is the part of a pool's answers that is to come from another one. To is empty where it is to come from none. From is empty of
// clients that had no answer before: Part is how many these are for each that had one.
type Flow struct {
	Service string  `json:"service"`
	From    string  `json:"from"`
	To      string  `json:"to,omitempty"`
	Part    float64 `json:"part"`
}

// Counts are what an edge counted of a tenant's answers since it started.
type Counts struct {
	Started  time.Time         `json:"started"`
	Answers  uint64            `json:"answers"`
	ServFail uint64            `json:"servfail"`
	NXDomain uint64            `json:"nxdomain"`
	Pools    map[string]uint64 `json:"pools,omitempty"` // answers by service and pool, as in web/eu
	Nanos    uint64            `json:"nanos,omitempty"` // that an answer takes, just then; 0: not known
}

// The states of a rollout.
const (
	RolloutDone    = "done"    // all groups are at one generation
	RolloutSoaking = "soaking" // a group has the new one, and is watched
	RolloutPaused  = "paused"  // a person stopped it where it is
	RolloutStopped = "stopped" // it was led back, and waits for a newer generation, or a person
)

// mostAim bounds an aim: sixteen groups with their patterns, thrice, and the counts of a group's edges.
const mostAim = 1 << 20

// Aims are which generations edges go by, by tenant.
var Aims = Register(Kind[string, Aim]{
	Prefix: []string{"config", "aim"}, Frame: 'P', Gone: "aimsDeleted", Most: mostAim,
	Name:    func(a Aim) string { return a.Tenant },
	Compare: cmp.Compare[string],
	Parse: func(parts []string) (tenant string, ok bool) {
		if len(parts) != 1 {
			return "", false
		}
		return parts[0], true
	},
	Same: func(a, b Aim) bool { return reflect.DeepEqual(a, b) },
	What: "tenant", Misread: "where a rollout points is not understood; what it said before holds",
})

// Check tells what is wrong with an aim that is about to be written.
func (a *Aim) Check() error {
	for _, g := range a.Groups {
		if g.At.Generation == 0 {
			return fmt.Errorf("group %s of %s is pointed at no generation", g.Name, a.Tenant)
		}
	}
	return nil
}
