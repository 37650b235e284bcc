package spec

import (
	"strings"
	"testing"
	"time"
)

func tenantRes(tenant string, t *Tenant) *Resource {
	return &Resource{Key: Key{tenant, KindTenant, tenant}, Spec: t}
}

func TestTenantIsDecodedStrictly(t *testing.T) {
	for _, tc := range []struct{ body, says string }{
		{"{brake: {share: 60%, min: 3, window: 90s, mode: observe}}", ""},
		{"{brake: {shar: 60%}}", "spec.brake.shar: unknown field; did you mean share?"},
		{"{brake: {min: 0}}", "spec.brake.min: cannot be 0; leave it out for the default"},
		{"{brake: {window: 0s}}", "spec.brake.window: cannot be 0"},
		{"{brake: {window: 90}}", "a duration needs a unit"},
		{"{brake: {share: '50'}}", `spec.brake.share: wants a share from 1% to 99%, as in 50%, not "50"`},
		{"{brake: {share: 100%}}", "wants a share from 1% to 99%"},
		{"{brake: {window: 2h}}", "spec.brake.window: 2h is out of range: it can be 1s to 1h"},
		{"{brake: {mode: of}}", `spec.brake.mode: "of" is not possible; did you mean off?`},
		{"{limits: {brake: {min: {most: 8}}}}", "spec.limits: only the tenant platform sets limits"},
	} {
		got, err := Decode("f.yaml", []byte("kind: Tenant\ntenant: shop\nname: shop\nspec: "+tc.body+"\n"))
		if err == nil {
			err = Validate(got[0])
		}
		if tc.says == "" && err != nil || tc.says != "" && (err == nil || !strings.Contains(err.Error(), tc.says)) {
			t.Errorf("%s: %v, want %q", tc.body, err, tc.says)
		}
	}
	for body, says := range map[string]string{
		"{limits: {probe: {shop: [10.20.0.0/16, 'fd20::/16', 100.64.0.0/10]}}}": "",
		"{limits: {probe: {Shop: [10.20.0.0/16]}}}": `spec.limits.probe.Shop: the tenant "Shop" has the ` +
			`letter 'S'`,
		"{limits: {probe: {shop: [10.20.0.1/16]}}}": "spec.limits.probe.shop[0]: 10.20.0.1/16 has bits set " +
			"behind its length; write 10.20.0.0/16",
		"{limits: {probe: {shop: [127.0.0.0/8]}}}": "spec.limits.probe.shop[0]: 127.0.0.0/8 lies in no " +
			"private network",
		"{limits: {probe: {shop: [0.0.0.0/0]}}}": "spec.limits.probe.shop[0]: 0.0.0.0/0 lies in no " +
			"private network",
		"{limits: {probe: {shop: [" + strings.Repeat("10.0.0.0/8, ", 65) +
			"]}}}": "spec.limits.probe.shop: has 65 networks: it can have at most 64",
		"{limits: {quota: {all: {resources: 1, services: 2, endpoints: 3, overrides: 4, checks: 5, megabytes: 6}, tenants: {shop: " +
			"{services: 9}}}}}": "",
		"{limits: {quota: {all: {resources: 0}}}}": "spec.limits.quota.all.resources: cannot be 0; leave it out for " +
			"the default",
		"{limits: {quota: {all: {overrides: -1}}}}": "spec.limits.quota.all.overrides: -1 is out of range: it can be 1 " +
			"to 1000000000",
		"{limits: {quota: {all: {megabytes: 1000000001}}}}":          "spec.limits.quota.all.megabytes: 1000000001 is out of range",
		"{limits: {quota: {tenants: {shop: {zones: 1}}}}}":           "spec.limits.quota.tenants.shop.zones: unknown field",
		"{limits: {quota: {tenants: {shop: {checks: 2000000000}}}}}": "spec.limits.quota.tenants.shop.checks: 2000000000 is out of range",
		"{limits: {quota: {tenants: {Shop: {checks: 1}}}}}": `spec.limits.quota.tenants.Shop: the tenant "Shop" has the ` +
			`letter 'S'`,
		"{limits: {quota: {tenants: {platform: {checks: 1}}}}}": "spec.limits.quota.tenants.platform: the tenant platform is not " +
			"bounded; leave it out",
		"{limits: {quota: {tenants: {shop: [1]}}}}": "spec.limits.quota.tenants.shop: wants a mapping",
	} {
		got, err := Decode("f.yaml", []byte("kind: Tenant\ntenant: platform\nname: platform\nspec: "+body+"\n"))
		if err == nil {
			err = Validate(got[0])
		}
		if says == "" && err != nil || says != "" && (err == nil || !strings.Contains(err.Error(), says)) {
			t.Errorf("%s: %v, want %q", body, err, says)
		}
	}
	other := tenantRes("shop", &Tenant{})
	other.Name = "brake"
	if err := Validate(other); err == nil || !strings.Contains(err.Error(), "name: is not that of the tenant, shop; write shop") {
		t.Errorf("another name: %v", err)
	}
	everywhere := Tenant{Brake: &Brake{Everywhere: "80%"}}
	if err := Validate(tenantRes("shop", &everywhere)); err == nil ||
		!strings.Contains(err.Error(), "spec.brake.everywhere: only the tenant platform sets it") {
		t.Errorf("everywhere of a tenant: %v", err)
	}
	if err := Validate(tenantRes(Platform, &everywhere)); err != nil {
		t.Errorf("everywhere of the platform: %v", err)
	}
	wrong := &BrakeLimits{Share: &ShareRange{"60%", "40%"}, Min: &NumberRange{5, 4},
		Window: &DurationRange{Duration(time.Minute), Duration(time.Second)}, Modes: []string{"on"}}
	err := Validate(tenantRes(Platform, &Tenant{Limits: &Limits{Brake: wrong}}))
	for _, field := range []string{"share", "min", "window"} {
		if err == nil || !strings.Contains(err.Error(), "spec.limits.brake."+field+": nothing is between") {
			t.Errorf("%s: %v", field, err)
		}
	}
}

func TestEffectiveBrake(t *testing.T) {
	const minute = Duration(time.Minute)
	bounds := &BrakeLimits{Share: &ShareRange{"20%", "60%"}, Min: &NumberRange{2, 6},
		Window: &DurationRange{Duration(10 * time.Second), 2 * minute}, Modes: []string{"enforce", "observe"}}
	for _, tc := range []struct {
		what          string
		own, platform *Tenant
		want          Brake
	}{
		{"nothing is set", nil, nil, Brake{"50%", 4, minute, "enforce", "90%"}},
		{"the platform's", nil, &Tenant{Brake: &Brake{Share: "30%"}}, Brake{"30%", 4, minute, "enforce", "90%"}},
		{"its own comes first", &Tenant{Brake: &Brake{Share: "40%", Mode: "off"}}, &Tenant{Brake: &Brake{Share: "30%", Min: 2}},
			Brake{"40%", 2, minute, "off", "90%"}},
		{"within bounds, too much", &Tenant{Brake: &Brake{"90%", 9, 5 * minute, "off", "90%"}}, &Tenant{Limits: &Limits{Brake: bounds}},
			Brake{"60%", 6, 2 * minute, "enforce", "90%"}},
		{"within bounds, too little", &Tenant{Brake: &Brake{"9%", 1, Duration(time.Second), "observe", "90%"}},
			&Tenant{Limits: &Limits{Brake: bounds}}, Brake{"20%", 2, Duration(10 * time.Second), "observe", "90%"}},
		{"everywhere is the platform's alone", &Tenant{Brake: &Brake{Everywhere: "70%"}}, &Tenant{Brake: &Brake{Everywhere: "80%"}},
			Brake{"50%", 4, minute, "enforce", "80%"}},
		{"what cannot be read counts as absent", &Tenant{Brake: &Brake{"half", -1, -1, "perhaps", "90%"}}, nil,
			Brake{"50%", 4, minute, "enforce", "90%"}},
	} {
		if got := EffectiveBrake(tc.own, tc.platform); got != tc.want {
			t.Errorf("%s: %+v, want %+v", tc.what, got, tc.want)
		}
	}
}

// A tenant that sets more than the platform allows is refused with the bound's name; a platform that tightens its bounds is told.
func TestTenantsKeepWithinThePlatformsBounds(t *testing.T) {
	platform := tenantRes(Platform, &Tenant{
		Limits: &Limits{Brake: &BrakeLimits{Share: &ShareRange{Most: "60%"}, Min: &NumberRange{2, 6}, Modes: []string{"enforce"}}}})
	shop := tenantRes("shop", &Tenant{Brake: &Brake{Share: "70%", Min: 1, Mode: "off"}})
	set := Set{platform.Key: platform, shop.Key: shop}
	_, err := ValidateSet(set, []*Resource{shop}, nil)
	for _, want := range []string{
		"spec.brake.share: 70% is out of the platform's bounds (platform/Tenant/platform: spec.limits.brake.share): it can be at most 60%",
		"spec.brake.min: 1 is out of the platform's bounds (platform/Tenant/platform: spec.limits.brake.min): it can be 2 to 6",
		"spec.brake.mode: off is out of the platform's bounds (platform/Tenant/platform: spec.limits.brake.mode): it can be enforce",
	} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v\nlacks %s", err, want)
		}
	}
	warnings, err := ValidateSet(set, []*Resource{platform}, nil)
	if err != nil || len(warnings) != 3 {
		t.Errorf("the platform tightens: %v, warnings %v", err, warnings)
	}
	if warnings, err := ValidateSet(Set{shop.Key: shop}, []*Resource{shop}, []Key{platform.Key}); err != nil || len(warnings) != 0 {
		t.Errorf("without bounds: %v, %v", err, warnings)
	}
}
