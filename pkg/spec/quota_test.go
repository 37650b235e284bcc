package spec

import (
	"fmt"
	"slices"
	"testing"
)

// What a tenant may have is said for it, or for all, or else by the defaults, number by number.
func TestEffectiveQuota(t *testing.T) {
	platform := &Tenant{Limits: &Limits{Quota: &Quotas{All: &Quota{Services: 7, Checks: 8},
		Tenants: map[string]Quota{"shop": {Services: 9, Overrides: 1}}}}}
	for _, tc := range []struct {
		platform *Tenant
		tenant   string
		want     Quota
	}{
		{nil, "shop", defaultQuota},
		{&Tenant{}, "shop", defaultQuota},
		{&Tenant{Limits: &Limits{}}, "shop", defaultQuota},
		{&Tenant{Limits: &Limits{Quota: &Quotas{Tenants: map[string]Quota{"cafe": {Services: 1}}}}}, "shop", defaultQuota},
		{platform, "shop", Quota{Resources: 50_000, Services: 9, Endpoints: 100_000, Overrides: 1, Checks: 8, Megabytes: 64, Sources: 256,
			ZoneBytes: 1_000_000_000, Changes: 3600, Requests: 500}},
		{platform, "cafe", Quota{Resources: 50_000, Services: 7, Endpoints: 100_000, Overrides: 10_000, Checks: 8, Megabytes: 64,
			Sources: 256, ZoneBytes: 1_000_000_000, Changes: 3600, Requests: 500}},
	} {
		if got := EffectiveQuota(tc.platform, tc.tenant); got != tc.want {
			t.Errorf("%+v of %s: %+v, want %+v", tc.platform, tc.tenant, got, tc.want)
		}
	}
	if platform.Limits.Quota.All.Resources != 0 || platform.Limits.Quota.Tenants["shop"].Checks != 0 || defaultQuota.Services != 20_000 {
		t.Error("what was declared has changed")
	}
}

func TestBeyond(t *testing.T) {
	limit := Quota{Resources: 5, Services: 5, Endpoints: 5, Overrides: 5, Checks: 5, Megabytes: 5, Sources: 5}
	got := Quota{Services: 4, Checks: 9}.Beyond(Quota{Resources: 5, Services: 6, Checks: 9}, limit)
	want := []Excess{{"services", "services", 4, 6, 5}, {"checks", "checks a second", 9, 9, 5}}
	if !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
}

// A platform says what it says of so many tenants; a list without end would be looked at with every change.
func TestQuotasAreOfSoManyTenants(t *testing.T) {
	q := &Quotas{Tenants: map[string]Quota{}}
	for i := range maxQuotaTenants {
		q.Tenants[fmt.Sprint("t", i)] = Quota{Services: 1}
	}
	platform := tenantRes(Platform, &Tenant{Limits: &Limits{Quota: q}})
	if err := Validate(platform); err != nil {
		t.Error(err)
	}
	q.Tenants["more"] = Quota{Services: 1}
	if err := Validate(platform); err == nil {
		t.Error("one more was taken")
	}
}
