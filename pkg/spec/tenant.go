package spec

import (
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"
)

// Tenant is what a tenant sets for all of itself. Its name is the tenant's. That of the platform sets defaults and bounds for all.
type Tenant struct {
	// Contact is whom people are to ask, as in dns@example.net. That of the platform's Tenant is told with what is refused.
	Contact string `json:"contact,omitempty" yaml:"contact,omitempty"`
	Brake   *Brake `json:"brake,omitempty" yaml:"brake,omitempty"`
	// Events says who is told what changes of the tenant's health; of the platform's Tenant, of all tenants'.
	Events *Events `json:"events,omitempty" yaml:"events,omitempty"`
	// Limits bound what tenants may set. The platform's alone has them.
	Limits *Limits `json:"limits,omitempty" yaml:"limits,omitempty"`
}

// Brake says when the judge believes that the observer broke rather than the endpoints. What is absent is as the platform's Tenant
// says, or else the default.
type Brake struct {
	// Share of the endpoints that were up, as in 50%: when more of them fail, the brake takes hold.
	Share string `json:"share,omitempty" yaml:"share,omitempty"`
	// Min is how many must fail at least.
	Min int `json:"min,omitempty" yaml:"min,omitempty" zero:"absent"`
	// Window is how long ago the first of them may have failed.
	Window Duration `json:"window,omitempty" yaml:"window,omitempty" zero:"absent"`
	// Mode is enforce, observe or off.
	Mode string `json:"mode,omitempty" yaml:"mode,omitempty"`
	// Everywhere is a share of all endpoints of all tenants: when more of them fail, no vantage is believed. The platform's alone has it.
	Everywhere string `json:"everywhere,omitempty" yaml:"everywhere,omitempty"`
}

// Limits bound what tenants may set.
type Limits struct {
	Brake *BrakeLimits `json:"brake,omitempty" yaml:"brake,omitempty"`
	// Probe opens private networks to the checks of a tenant, by its name.
	Probe map[string][]netip.Prefix `json:"probe,omitempty" yaml:"probe,omitempty"`
	// Quota bounds how much tenants declare.
	Quota *Quotas `json:"quota,omitempty" yaml:"quota,omitempty"`
	// Retention is how long generations of all tenants stay.
	Retention *Retention `json:"retention,omitempty" yaml:"retention,omitempty"`
}

// BrakeLimits bound a Brake. What is absent is not bounded.
type BrakeLimits struct {
	Share  *ShareRange    `json:"share,omitempty" yaml:"share,omitempty"`
	Min    *NumberRange   `json:"min,omitempty" yaml:"min,omitempty"`
	Window *DurationRange `json:"window,omitempty" yaml:"window,omitempty"`
	Modes  []string       `json:"modes,omitempty" yaml:"modes,omitempty"`
}

// ShareRange goes from one share to another, as in 20%. One that is absent bounds nothing.
type ShareRange struct {
	Least string `json:"least,omitempty" yaml:"least,omitempty"`
	Most  string `json:"most,omitempty" yaml:"most,omitempty"`
}

// NumberRange goes from one number to another. One that is absent bounds nothing.
type NumberRange struct {
	Least int `json:"least,omitempty" yaml:"least,omitempty" zero:"absent"`
	Most  int `json:"most,omitempty" yaml:"most,omitempty" zero:"absent"`
}

// DurationRange goes from one time to another. One that is absent bounds nothing.
type DurationRange struct {
	Least Duration `json:"least,omitempty" yaml:"least,omitempty" zero:"absent"`
	Most  Duration `json:"most,omitempty" yaml:"most,omitempty" zero:"absent"`
}

// The values of Brake.Mode.
const (
	BrakeEnforce = "enforce"
	BrakeObserve = "observe" // it says what it would hold, and holds nothing
	BrakeOff     = "off"
)

var brakeModes = []string{BrakeEnforce, BrakeObserve, BrakeOff}

var defaultBrake = Brake{Share: "50%", Min: 4, Window: Duration(time.Minute), Mode: BrakeEnforce, Everywhere: "90%"}

// What a brake can be set to at all.
const (
	maxBrakeMin    = 10000
	minBrakeWindow = Duration(time.Second)
	maxBrakeWindow = Duration(time.Hour)
)

const maxContact = 256

func unprintable(r rune) bool { return !unicode.IsPrint(r) }

func (*Tenant) kind() Kind { return KindTenant }

// ParseShare reads a share as in 50%, from 1 to 99 percent. What cannot be read is 0.
func ParseShare(s string) (percent int, err error) {
	digits, isPercent := strings.CutSuffix(s, "%")
	v, err := strconv.ParseUint(digits, 10, 8)
	if !isPercent || err != nil || v < 1 || v > 99 {
		return 0, fmt.Errorf("wants a share from 1%% to 99%%, as in 50%%, not %q", shorten(s))
	}
	return int(v), nil
}

// EffectiveBrake gives the brake of a tenant: what it sets, else what the platform's Tenant sets, else the defaults, within the
// platform's bounds whatever anybody sets. Both may be nil.
func EffectiveBrake(own, platform *Tenant) Brake {
	b := Brake{}
	for _, t := range []*Tenant{own, platform, {Brake: &defaultBrake}} {
		if t != nil && t.Brake != nil {
			b = b.over(*t.Brake)
		}
	}
	b.Everywhere = defaultBrake.Everywhere
	if platform != nil && platform.Brake != nil && shareOrder(platform.Brake.Everywhere) != 0 {
		b.Everywhere = platform.Brake.Everywhere
	}
	if platform == nil || platform.Limits == nil || platform.Limits.Brake == nil {
		return b
	}
	l := platform.Limits.Brake
	if l.Share != nil {
		b.Share = clampTo(b.Share, l.Share.Least, l.Share.Most, shareOrder)
	}
	if l.Min != nil {
		b.Min = clampTo(b.Min, l.Min.Least, l.Min.Most, func(n int) int { return n })
	}
	if l.Window != nil {
		b.Window = clampTo(b.Window, l.Window.Least, l.Window.Most, func(d Duration) int { return int(d) })
	}
	if len(l.Modes) > 0 && !slices.Contains(l.Modes, b.Mode) {
		b.Mode = l.Modes[0]
	}
	return b
}

// over gives b, with what is absent or cannot be read as in the other one.
func (b Brake) over(other Brake) Brake {
	if shareOrder(b.Share) == 0 {
		b.Share = other.Share
	}
	if b.Min <= 0 {
		b.Min = other.Min
	}
	if b.Window <= 0 {
		b.Window = other.Window
	}
	if !slices.Contains(brakeModes, b.Mode) {
		b.Mode = other.Mode
	}
	return b
}

func shareOrder(s string) int {
	percent, _ := ParseShare(s) // 0 where it cannot be read
	return percent
}

// clampTo gives the nearest to v from least to most. One that is of order 0 bounds nothing.
func clampTo[T any](v, least, most T, order func(T) int) T {
	switch o := order(v); {
	case order(least) != 0 && o < order(least):
		return least
	case order(most) != 0 && o > order(most):
		return most
	}
	return v
}

func (c *checker) tenant(t *Tenant) {
	if c.r.Name != c.r.Tenant {
		c.fail("name", "write "+c.r.Tenant, "is not that of the tenant, %s", c.r.Tenant)
	}
	if n := len(t.Contact); n > maxContact || strings.ContainsFunc(t.Contact, unprintable) {
		c.fail("spec.contact", "", "wants one line of at most %d bytes, as in dns@example.net", maxContact)
	}
	if t.Brake != nil {
		c.brake(t.Brake)
	}
	if t.Events != nil {
		c.events(t.Events)
	}
	switch {
	case t.Limits == nil:
	case c.r.Tenant != Platform:
		c.fail("spec.limits", "", "only the tenant %s sets limits", Platform)
	default:
		c.lent(t.Limits.Probe)
		c.quotas(t.Limits.Quota)
		c.retention(t.Limits.Retention)
		if t.Limits.Brake != nil {
			c.brakeLimits(t.Limits.Brake)
		}
	}
}

func (c *checker) brake(b *Brake) {
	c.share("spec.brake.share", b.Share)
	if b.Min != 0 {
		c.between("spec.brake.min", b.Min, 1, maxBrakeMin)
	}
	c.window("spec.brake.window", b.Window)
	c.share("spec.brake.everywhere", b.Everywhere)
	if b.Everywhere != "" && c.r.Tenant != Platform {
		c.fail("spec.brake.everywhere", "", "only the tenant %s sets it: it is a share of what all tenants have", Platform)
	}
	if b.Mode != "" {
		c.oneOf("spec.brake.mode", b.Mode, brakeModes...)
	}
}

func (c *checker) share(path, s string) {
	if s == "" {
		return
	}
	if _, err := ParseShare(s); err != nil {
		c.fail(path, "", "%v", err)
	}
}

func (c *checker) window(path string, d Duration) {
	if d != 0 && (d < minBrakeWindow || d > maxBrakeWindow) {
		c.fail(path, "", "%s is out of range: it can be %s to %s", d, minBrakeWindow, maxBrakeWindow)
	}
}

func (c *checker) brakeLimits(l *BrakeLimits) {
	const path = "spec.limits.brake"
	empty := func(field string) { c.fail(path+"."+field, "", "nothing is between least and most") }
	if s := l.Share; s != nil {
		c.share(path+".share.least", s.Least)
		c.share(path+".share.most", s.Most)
		if s.Least != "" && s.Most != "" && shareOrder(s.Least) > shareOrder(s.Most) {
			empty("share")
		}
	}
	if m := l.Min; m != nil {
		c.between(path+".min.least", m.Least, 0, maxBrakeMin)
		c.between(path+".min.most", m.Most, 0, maxBrakeMin)
		if m.Most != 0 && m.Least > m.Most {
			empty("min")
		}
	}
	if w := l.Window; w != nil {
		c.window(path+".window.least", w.Least)
		c.window(path+".window.most", w.Most)
		if w.Most != 0 && w.Least > w.Most {
			empty("window")
		}
	}
	for i, mode := range l.Modes {
		c.oneOf(indexed(path+".modes", i), mode, brakeModes...)
	}
}

// tenants holds what tenants set against the platform's bounds: who sets it is refused, and who changes the bounds is told.
func (v *setChecker) tenants() {
	platformKey := Key{Platform, KindTenant, Platform}
	platform := v.after.Get(platformKey)
	for _, r := range v.affectedTenants(v.changed[platformKey] || v.deleted[platformKey]) {
		if platform == nil {
			continue
		}
		for _, e := range outOfBounds(r, platform.Spec.(*Tenant)) {
			if v.changed[r.Key] {
				v.errs.add(e)
			} else {
				v.warnings.add(e)
			}
		}
	}
}

func (v *setChecker) affectedTenants(all bool) (out []*Resource) {
	for r := range v.near(KindTenant) {
		if all || v.changed[r.Key] {
			out = append(out, r)
		}
	}
	slices.SortFunc(out, func(a, b *Resource) int { return a.Key.Compare(b.Key) })
	return out
}

// outOfBounds compares what is set with what it would be within the platform's bounds.
func outOfBounds(r *Resource, platform *Tenant) (errs Errors) {
	t := r.Spec.(*Tenant)
	if t.Brake == nil || platform.Limits == nil || platform.Limits.Brake == nil {
		return nil
	}
	set, within := t.Brake.over(defaultBrake), EffectiveBrake(&Tenant{Brake: t.Brake}, &Tenant{Limits: platform.Limits})
	fail := func(given bool, field, what, bound string) {
		if given {
			errs.add(faultOf(r, "spec.brake."+field, "the judge goes by "+bound, "%s is out of the platform's bounds "+
				"(%s/%s/%s: spec.limits.brake.%s): it can be %s", what, Platform, KindTenant, Platform, field,
				boundsOf(platform.Limits.Brake, field)))
		}
	}
	fail(t.Brake.Share != "" && set.Share != within.Share, "share", set.Share, within.Share)
	fail(t.Brake.Min != 0 && set.Min != within.Min, "min", strconv.Itoa(set.Min), strconv.Itoa(within.Min))
	fail(t.Brake.Window != 0 && set.Window != within.Window, "window", set.Window.String(), within.Window.String())
	fail(t.Brake.Mode != "" && set.Mode != within.Mode, "mode", set.Mode, within.Mode)
	return errs
}

// boundsOf writes a bound, as in "20% to 80%".
func boundsOf(l *BrakeLimits, field string) string {
	least, most := "", ""
	switch field {
	case "share":
		least, most = l.Share.Least, l.Share.Most
	case "min":
		least, most = numberText(l.Min.Least), numberText(l.Min.Most)
	case "window":
		least, most = durationText(l.Window.Least), durationText(l.Window.Most)
	case "mode":
		return strings.Join(l.Modes, ", ")
	}
	switch {
	case least == "":
		return "at most " + most
	case most == "":
		return "at least " + least
	}
	return least + " to " + most
}

func numberText(n int) string {
	if n == 0 {
		return ""
	}
	return strconv.Itoa(n)
}

func durationText(d Duration) string {
	if d == 0 {
		return ""
	}
	return d.String()
}

// Retention is how long generations stay in the store. What is absent is the default.
type Retention struct {
	// For is how long a generation stays after another took its place.
	For Duration `json:"for,omitempty" yaml:"for,omitempty" zero:"absent"`
	// Generations is how many of each tenant stay at least.
	Generations int `json:"generations,omitempty" yaml:"generations,omitempty" zero:"absent"`
}

var defaultRetention = Retention{For: Duration(30 * 24 * time.Hour), Generations: 50}

// What a retention can be set to at all. A day is what gtmctl explain --at looks back.
const (
	minRetention         = Duration(24 * time.Hour)
	maxRetention         = Duration(100 * 365 * 24 * time.Hour)
	maxRetainGenerations = 1_000_000
)

// EffectiveRetention gives what the platform's Tenant sets, or else the defaults. It may be nil.
func EffectiveRetention(platform *Tenant) Retention {
	r := defaultRetention
	if platform == nil || platform.Limits == nil || platform.Limits.Retention == nil {
		return r
	}
	set := platform.Limits.Retention
	if set.For > 0 {
		r.For = set.For
	}
	if set.Generations > 0 {
		r.Generations = set.Generations
	}
	return r
}

func (c *checker) retention(r *Retention) {
	const path = "spec.limits.retention"
	if r == nil {
		return
	}
	if r.For != 0 && (r.For < minRetention || r.For > maxRetention) {
		c.fail(path+".for", "", "%s is out of range: it can be %s to %s", r.For, minRetention, maxRetention)
	}
	if r.Generations != 0 {
		c.between(path+".generations", r.Generations, 1, maxRetainGenerations)
	}
}
