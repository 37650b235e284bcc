package gauges

import (
	"fmt"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/gti/gtm/pkg/control/api"
	"github.com/gti/gtm/pkg/spec"
)

func pageOf(of Tenant) string {
	rec := httptest.NewRecorder()
	Handler(of).ServeHTTP(rec, httptest.NewRequest("GET", "/", nil))
	return rec.Body.String()
}

// TestWhatATenantHasIsShown, and what is not known of it is not.
func TestWhatATenantHasIsShown(t *testing.T) {
	of := Tenant{Name: "shop", Generation: 7, Services: []Service{{"web", true}, {"api", false}},
		Limit: spec.Quota{Services: 9, Changes: 5}, Has: &spec.Quota{Services: 2, Changes: 3}}
	page := pageOf(of)
	for _, want := range []string{`gtm_tenant_generation{tenant="shop"} 7`, `gtm_tenant_service_up{service="web",tenant="shop"} 1`,
		`gtm_tenant_service_up{service="api",tenant="shop"} 0`, `gtm_tenant_quota_limit{field="changes",tenant="shop"} 5`,
		`gtm_tenant_quota_used{field="services",tenant="shop"} 2`, `gtm_tenant_cut{tenant="shop"} 0`} {
		if !strings.Contains(page, want) {
			t.Errorf("there is no %s in\n%s", want, page)
		}
	}
	for _, not := range []string{`quota_used{field="changes"`, "gtm_tenant_rollout"} {
		if strings.Contains(page, not) {
			t.Errorf("there is %s in\n%s", not, page)
		}
	}
	if of.Has = nil; strings.Contains(pageOf(of), "quota_used") {
		t.Error("what is not known is shown")
	}
}

// TestAPageIsBounded, and tells what it leaves out.
func TestAPageIsBounded(t *testing.T) {
	of := Tenant{Name: "shop"}
	for i := range Most + 3 {
		of.Pools = append(of.Pools, api.Pool{Pool: fmt.Sprint("p", i)})
	}
	page := pageOf(of)
	if n := strings.Count(page, "\ngtm_tenant_pool_up{"); n != Most || !strings.Contains(page, `gtm_tenant_cut{tenant="shop"} 3`) {
		t.Errorf("%d pools are shown", n)
	}
}
