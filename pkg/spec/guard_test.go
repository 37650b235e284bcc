package spec

import (
	"strings"
	"testing"
	"time"
)

func guardOf(tenant, spec string) (*Resource, error) {
	all, err := Decode("g.yaml", []byte("kind: Guard\ntenant: "+tenant+"\nname: g\nspec: "+spec+"\n"))
	if err != nil {
		return nil, err
	}
	return all[0], Validate(all[0])
}

func TestGuardsThatGuardNothingOrNonsense(t *testing.T) {
	for spec, want := range map[string]string{
		`{}`:                                      "guards nothing",
		`{mode: loud, leastSites: 1}`:             `"loud" is not possible`,
		`{leastCapacity: 120%}`:                   "wants a share from 1% to 99%",
		`{leastSites: -1}`:                        "is out of range",
		`{largestShift: {}}`:                      "says nothing",
		`{largestShift: {hour: half}}`:            "wants a share",
		`{freeze: [{reason: x}]}`:                 "is never",
		`{freeze: [{cron: 0 18 * * 5}]}`:          "spec.freeze[0].for",
		`{freeze: [{cron: x y, for: 1h}]}`:        "five fields",
		`{freeze: [{cron: 0 0 30 2 *, for: 1h}]}`: "no such day ever comes",
		`{freeze: [{cron: 0 18 * * 5, zone: Mars/Olympus, for: 1h}]}`:                              "Mars/Olympus",
		`{freeze: [{cron: 0 18 * * 5, for: 1h, until: 2030-01-01T00:00:00Z}]}`:                     "cron goes not with from and until",
		`{freeze: [{from: 2030-01-02T00:00:00Z, until: 2030-01-01T00:00:00Z}]}`:                    "is not after from",
		`{freeze: [{from: 2030-01-02T00:00:00Z}]}`:                                                 "wants from and until",
		`{freeze: [{from: 2030-01-01T00:00:00Z, until: 2030-01-02T00:00:00Z, zone: Europe/Rome}]}`: "zone and for go with cron",
		`{protect: [Sevice/web]}`:          "is not a kind",
		`{protect: [Service/]}`:            "names no resource",
		`{approval: {above: 0%}}`:          "wants a share",
		`{approval: {for: 1s}}`:            "is out of range",
		`{tenants: [shop], leastSites: 1}`: "only a guard of the tenant platform names tenants",
	} {
		if _, err := guardOf("shop", spec); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %v, want %s", spec, err, want)
		}
	}
	for _, spec := range []string{`{approval: {}}`, `{protect: [Zone]}`, `{leastSites: 1}`, `{leastCapacity: 1%}`} {
		if _, err := guardOf("shop", spec); err != nil {
			t.Errorf("%s: %v", spec, err)
		}
	}
}

func TestWhomAGuardBinds(t *testing.T) {
	for _, c := range []struct {
		tenants       []string
		owner, tenant string
		want          bool
	}{
		{nil, "shop", "shop", true},
		{nil, "shop", "cafe", false},
		{nil, "shop", Platform, false},
		{nil, Platform, "shop", true},
		{nil, Platform, Platform, true},
		{[]string{"shop"}, Platform, "shop", true},
		{[]string{"shop"}, Platform, "cafe", false},
		{[]string{"shop"}, Platform, Platform, false},
	} {
		if got := (&Guard{Tenants: c.tenants}).BindsTenant(c.owner, c.tenant); got != c.want {
			t.Errorf("%+v: got %v", c, got)
		}
	}
}

func TestWhatAGuardProtects(t *testing.T) {
	g := &Guard{Protect: []string{"Zone", "Service/web"}}
	for key, want := range map[Key]string{
		{"shop", KindService, "web"}:         "Service/web",
		{"shop", KindService, "webs"}:        "",
		{Platform, KindZone, "gtm.example."}: "Zone",
		{"shop", KindPool, "web"}:            "",
	} {
		if got := g.Protects(key); got != want {
			t.Errorf("%s: got %q, want %q", key, got, want)
		}
	}
}

// TestFreezesHoldByTheClockOfTheirZone: Friday 18:00 in Berlin is 17:00 UTC in winter and 16:00 in summer.
func TestFreezesHoldByTheClockOfTheirZone(t *testing.T) {
	weekend := Freeze{Cron: "0 18 * * 5", Zone: "Europe/Berlin", For: Duration(62 * time.Hour)}
	single := Freeze{From: TimeOf("2030-12-20T18:00:00+01:00"), Until: TimeOf("2031-01-02T06:00:00+01:00")}
	for _, c := range []struct {
		f    *Freeze
		now  string
		want string // until when; empty: it does not hold
	}{
		{&weekend, "2030-01-04T16:59:59Z", ""},
		{&weekend, "2030-01-04T17:00:00Z", "2030-01-07T07:00:00Z"},
		{&weekend, "2030-01-07T06:59:59Z", "2030-01-07T07:00:00Z"},
		{&weekend, "2030-01-07T07:00:00Z", ""},
		{&weekend, "2030-07-05T16:00:00Z", "2030-07-08T06:00:00Z"},
		{&single, "2030-12-20T16:59:59Z", ""},
		{&single, "2030-12-20T17:00:00Z", "2031-01-02T05:00:00Z"},
		{&single, "2031-01-02T05:00:00Z", ""},
	} {
		now, err := time.Parse(time.RFC3339, c.now)
		if err != nil {
			t.Fatal(err)
		}
		end, holds := c.f.Holds(now)
		got := ""
		if holds {
			got = end.UTC().Format(time.RFC3339)
		}
		if got != c.want {
			t.Errorf("%+v at %s: got %q, want %q", c.f, c.now, got, c.want)
		}
	}
}

func TestWhoBreaksTheGlassOfAGuard(t *testing.T) {
	for _, c := range []struct{ tenant, breaks, want, fault string }{
		{"shop", "", "admin", ""}, {"shop", "editor", "editor", ""}, {Platform, "tenantAdmin", "tenantAdmin", ""},
		{"shop", "tenantAdmin", "", "tenantAdmin is for guards of the tenant platform"}, {"shop", "viewer", "", `"viewer" is not possible`},
	} {
		r, err := guardOf(c.tenant, `{leastSites: 1, breakGlass: "`+c.breaks+`"}`)
		switch {
		case c.fault != "":
			if err == nil || !strings.Contains(err.Error(), c.fault) {
				t.Errorf("%+v: got %v", c, err)
			}
		case err != nil:
			t.Errorf("%+v: %v", c, err)
		case r.Spec.(*Guard).Breaks() != c.want:
			t.Errorf("%+v: got %s", c, r.Spec.(*Guard).Breaks())
		}
	}
}
