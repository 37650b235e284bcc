package spec

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/gti/gtm/pkg/spec/recur"
)

// Guard is what changes must not do. A tenant's binds changes of its own resources and of its services' answers; the platform's binds those
// of all tenants.
type Guard struct {
	// Tenants, of a guard of the platform, are those that it binds. Absent: all, and the platform itself.
	Tenants []string `json:"tenants,omitempty" yaml:"tenants,omitempty"`
	// Mode is enforce (default) or observe: it says what it would refuse, and refuses nothing.
	Mode string `json:"mode,omitempty" yaml:"mode,omitempty"`
	// LeastCapacity is a share, as in 60%, of the endpoints of a service's rules: a change that leaves fewer of them to take clients is
	// refused.
	LeastCapacity string `json:"leastCapacity,omitempty" yaml:"leastCapacity,omitempty"`
	// LeastSites is of how many sites a service must have a pool that is up.
	LeastSites int `json:"leastSites,omitempty" yaml:"leastSites,omitempty" zero:"absent"`
	// LargestShift bounds how much of a service's answers comes from other pools than before.
	LargestShift *LargestShift `json:"largestShift,omitempty" yaml:"largestShift,omitempty"`
	// Freeze is when nothing is changed but overrides.
	Freeze []Freeze `json:"freeze,omitempty" yaml:"freeze,omitempty"`
	// Protect names what must not be deleted: a kind, as in Zone, or one resource, as in Service/web.
	Protect []string `json:"protect,omitempty" yaml:"protect,omitempty"`
	// Approval has changes wait for a second person.
	Approval *Approval `json:"approval,omitempty" yaml:"approval,omitempty"`
	// BreakGlass says who may pass over the guard in an emergency: whoever is at least admin (default), editor or operator in the tenant
	// whose guard it is; of a guard of the platform tenantAdmin lets admins of the tenant, too, of which something is refused.
	BreakGlass string `json:"breakGlass,omitempty" yaml:"breakGlass,omitempty"`
}

// LargestShift is shares of the answers of any one service, as in 30%.
type LargestShift struct {
	// Change is for one change.
	Change string `json:"change,omitempty" yaml:"change,omitempty"`
	// Hour is for all changes of an hour: what answers would be is compared with what they were then.
	Hour string `json:"hour,omitempty" yaml:"hour,omitempty"`
}

// Freeze is a window: one that recurs (Cron, Zone, For), or a single one (From, Until).
type Freeze struct {
	Cron   string   `json:"cron,omitempty" yaml:"cron,omitempty"` // five fields, as in 0 18 * * 5
	Zone   string   `json:"zone,omitempty" yaml:"zone,omitempty"` // IANA name; absent: UTC
	For    Duration `json:"for,omitempty" yaml:"for,omitempty" zero:"absent"`
	From   Time     `json:"from,omitzero" yaml:"from,omitempty"`
	Until  Time     `json:"until,omitzero" yaml:"until,omitempty"`
	Reason string   `json:"reason,omitempty" yaml:"reason,omitempty"`
}

// Approval says which changes wait, and how long.
type Approval struct {
	// Above is a share of the answers of any one service: what moves no more needs no second person. Absent: every change needs one.
	Above string `json:"above,omitempty" yaml:"above,omitempty"`
	// For is how long a change waits. Default 1d.
	For Duration `json:"for,omitempty" yaml:"for,omitempty" zero:"absent"`
}

// The values of Guard.Mode.
const (
	GuardEnforce = "enforce"
	GuardObserve = "observe"
)

// BreakTenantAdmin is a value of Guard.BreakGlass; the others are roles.
const BreakTenantAdmin = "tenantAdmin"

// Bounds of a Guard.
const (
	maxGuardTenants = 1000
	maxFreezes      = 50
	maxProtected    = 1000
	maxLeastSites   = 1000
	minWaits        = Duration(time.Minute)
	maxWaits        = Duration(30 * 24 * time.Hour)
	defaultWaits    = Duration(24 * time.Hour)
)

func (*Guard) kind() Kind { return KindGuard }

// Enforces reports whether the guard refuses, and does not only say so.
func (g *Guard) Enforces() bool { return g.Mode != GuardObserve }

// Breaks says who may pass over the guard in an emergency, as BreakGlass does.
func (g *Guard) Breaks() string { return cmp.Or(g.BreakGlass, RoleAdmin) }

// Weighs reports whether the guard asks what becomes of answers.
func (g *Guard) Weighs() bool {
	return g.LeastCapacity != "" || g.LeastSites > 0 || g.LargestShift != nil || g.Approval != nil && g.Approval.Above != ""
}

// BindsTenant reports whether a guard of the tenant owner binds what another one, or the same, has.
func (g *Guard) BindsTenant(owner, tenant string) bool {
	if owner != Platform {
		return owner == tenant
	}
	return len(g.Tenants) == 0 || slices.Contains(g.Tenants, tenant)
}

// Protects gives the entry by which a resource must not be deleted; empty: it may be.
func (g *Guard) Protects(k Key) string {
	for _, entry := range g.Protect {
		kind, name, one := strings.Cut(entry, "/")
		if kind == string(k.Kind) && (!one || name == k.Name) {
			return entry
		}
	}
	return ""
}

// Waits is how long a change waits for approval.
func (a *Approval) Waits() time.Duration { return time.Duration(cmp.Or(a.For, defaultWaits)) }

// Holds reports whether the window holds at a moment, and until when.
func (f *Freeze) Holds(now time.Time) (end time.Time, holds bool) {
	from, hasFrom := f.From.Moment()
	until, hasUntil := f.Until.Moment()
	switch {
	case f.Cron != "":
		s, err := recur.Parse(f.Cron, f.Zone)
		if err != nil || f.For <= 0 {
			return time.Time{}, false
		}
		begin, running := s.Running(now, time.Duration(f.For))
		return begin.Add(time.Duration(f.For)), running
	case !hasFrom || !hasUntil:
		return time.Time{}, false
	}
	return until, !now.Before(from) && now.Before(until)
}

func (c *checker) guard(g *Guard) {
	if len(g.Tenants) > 0 && c.r.Tenant != Platform {
		c.fail("spec.tenants", "leave it out: the guard binds "+c.r.Tenant, "only a guard of the tenant %s names tenants", Platform)
	}
	if n := len(g.Tenants); n > maxGuardTenants {
		c.fail("spec.tenants", "leave it out to bind all", "has %d entries: it can have at most %d", n, maxGuardTenants)
		return
	}
	for i, t := range g.Tenants {
		c.label(indexed("spec.tenants", i), t)
	}
	if g.Mode != "" {
		c.oneOf("spec.mode", g.Mode, GuardEnforce, GuardObserve)
	}
	c.breakGlass(g)
	c.share("spec.leastCapacity", g.LeastCapacity)
	if g.LeastSites != 0 {
		c.between("spec.leastSites", g.LeastSites, 1, maxLeastSites)
	}
	if s := g.LargestShift; s != nil {
		if *s == (LargestShift{}) {
			c.fail("spec.largestShift", "give change, hour or both, as in {change: 30%, hour: 50%}", "says nothing")
		}
		c.share("spec.largestShift.change", s.Change)
		c.share("spec.largestShift.hour", s.Hour)
	}
	if n := len(g.Freeze); n > maxFreezes {
		c.fail("spec.freeze", "", "has %d entries: it can have at most %d", n, maxFreezes)
		return
	}
	for i := range g.Freeze {
		c.freeze(indexed("spec.freeze", i), &g.Freeze[i])
	}
	c.protect(g.Protect)
	if a := g.Approval; a != nil {
		c.share("spec.approval.above", a.Above)
		if a.For != 0 && (a.For < minWaits || a.For > maxWaits) {
			c.fail("spec.approval.for", "", "%s is out of range: it can be %s to %s", a.For, minWaits, maxWaits)
		}
	}
	if !g.Weighs() && len(g.Freeze)+len(g.Protect) == 0 && g.Approval == nil {
		c.fail("spec", "give leastCapacity, leastSites, largestShift, freeze, protect or approval", "guards nothing")
	}
}

func (c *checker) breakGlass(g *Guard) {
	switch {
	case g.BreakGlass == "":
	case g.BreakGlass == BreakTenantAdmin && c.r.Tenant != Platform:
		c.fail("spec.breakGlass", "leave it out: admins of "+c.r.Tenant+" may", "%s is for guards of the tenant %s", BreakTenantAdmin,
			Platform)
	case g.BreakGlass != BreakTenantAdmin:
		c.oneOf("spec.breakGlass", g.BreakGlass, RoleAdmin, RoleEditor, RoleOperator)
	}
}

func (c *checker) protect(entries []string) {
	if n := len(entries); n > maxProtected {
		c.fail("spec.protect", "protect whole kinds", "has %d entries: it can have at most %d", n, maxProtected)
		return
	}
	for i, entry := range entries {
		kind, name, one := strings.Cut(entry, "/")
		if path := indexed("spec.protect", i); !Kind(kind).Known() {
			c.fail(path, didYouMean(kind, kindNames()), "%q is not a kind, as in Zone, nor a resource, as in Service/web", shorten(entry))
		} else if one && name == "" {
			c.fail(path, "write "+kind+" for all of them", "%q names no resource", shorten(entry))
		}
	}
}

func (c *checker) freeze(path string, f *Freeze) {
	single := !f.From.IsZero() || !f.Until.IsZero()
	switch {
	case f.Cron == "" && !single:
		c.fail(path, "give cron and for, as in {cron: 0 18 * * 5, zone: Europe/Berlin, for: 62h}, or from and until", "is never")
	case f.Cron != "" && single:
		c.fail(path, "make two of them", "cron goes not with from and until")
	case single:
		from, okFrom := f.From.Moment()
		until, okUntil := f.Until.Moment()
		if !okFrom || !okUntil {
			c.fail(path, "", "wants from and until as in 2030-12-20T18:00:00+01:00")
		} else if !from.Before(until) {
			c.fail(path+".until", "", "%s is not after from", f.Until)
		}
		if f.Zone != "" || f.For != 0 {
			c.fail(path, "write the zone behind the time, as in 2030-12-20T18:00:00+01:00", "zone and for go with cron")
		}
	default:
		c.recurring(path, f)
	}
}

func (c *checker) recurring(path string, f *Freeze) {
	if f.For <= 0 || time.Duration(f.For) > maxOver {
		c.fail(path+".for", "", "%s is out of range: it can be up to %s", f.For, Duration(maxOver))
	}
	if _, err := recur.Parse(f.Cron, f.Zone); errors.Is(err, recur.ErrNever) {
		c.fail(path+".cron", "", "%v", err)
	} else if err != nil {
		c.fail(path, "cron is as in 0 18 * * 5, zone as in Europe/Berlin", "%s", fmt.Sprint(err))
	}
}
