package prober

import (
	"testing"
	"time"

	"github.com/gti/gtm/pkg/health"
	"github.com/gti/gtm/pkg/probe"
	"github.com/gti/gtm/pkg/spec"
)

// rowsText writes the rows that name a pool.
func rowsText(p *plan, pool string) (text string) {
	for _, row := range p.declared(nil, time.Time{})[health.PoolID{Tenant: "shop", Pool: pool}].Rows {
		text += row.Name + ":"
		for _, id := range row.Pools {
			text += " " + id.Pool
		}
		text += "; "
	}
	return text
}

// siteRes makes a site of the platform's, and at gives the same pool there.
func siteRes(name, region string) *spec.Resource {
	return &spec.Resource{Key: spec.Key{Tenant: spec.Platform, Kind: spec.KindSite, Name: name}, Spec: &spec.Site{Region: region}}
}

func at(site string, pool *spec.Resource) *spec.Resource {
	pool.Spec.(*spec.Pool).Site = site
	return pool
}

func fencedRes(name string, fence []string, pools ...string) *spec.Resource {
	r := rulesRes(name, pools)
	r.Spec.(*spec.Service).Rules[0].Fence = fence
	return r
}

// TestRowsStayInFences: a pool that a rule's fence leaves out stood in its row.
func TestRowsStayInFences(t *testing.T) {
	near := fencedRes("near", nil)
	near.Spec.(*spec.Service).Pools = []spec.Member{{Pool: "fra"}, {Pool: "ams"}, {Pool: "iad"}}
	near.Spec.(*spec.Service).Rules[0].Pools = []spec.Target{{Steering: &spec.Steering{Policy: "near"}}}
	policy := &spec.Resource{Key: spec.Key{Tenant: spec.Platform, Kind: spec.KindPolicy, Name: "near"}, Spec: &spec.Policy{
		Grants: []string{spec.GrantAll}, Fence: []string{"EU"}, Rules: []spec.Rule{{Pools: []spec.Target{{Steering: &spec.Steering{
			Nearest: &spec.Choices{Sites: true}}}}}}}}
	broken := fencedRes("broken", nil)
	broken.Spec.(*spec.Service).Rules[0].Pools = []spec.Target{{Pool: "sin"}, {Steering: &spec.Steering{Policy: "nowhere"}}}
	p := planOf(siteRes("fra", "EU-DE"), siteRes("ams", "EU-NL"), siteRes("iad", "NA-US"), at("fra", poolRes("fra", "")),
		at("ams", poolRes("ams", "")), at("iad", poolRes("iad", "")), at("gone", poolRes("gone", "")), poolRes("sin", ""), policy, near,
		broken, fencedRes("web", []string{"EU"}, "fra", "iad", "ams", "gone", "sin"), fencedRes("all", nil, "fra", "iad"))
	for pool, want := range map[string]string{
		"fra":  "rule 1 of service all: fra iad; rule 1 of service near: fra ams; rule 1 of service web: fra ams; ",
		"iad":  "rule 1 of service all: fra iad; ",
		"gone": "", "sin": "rule 1 of service broken: sin; ",
	} {
		if got := rowsText(p, pool); got != want {
			t.Errorf("%s: %q, want %q", pool, got, want)
		}
	}
}

// TestWhatAFenceLeavesOutIsNoRefuge (B4): the brake let a pool go down whose clients the fence then kept there all the same. Where a site
// comes into the fence, by the platform's word, it is one.
func TestWhatAFenceLeavesOutIsNoRefuge(t *testing.T) {
	inLab(t, func(l *lab) {
		l.declareOf(spec.Platform, siteRes("fra", "EU-DE"), siteRes("iad", "NA-US"))
		l.declare(monitorRes("m", spec.Monitor{}), at("fra", poolRes("eu", "m", s1, s2, s3, s4)), at("iad", poolRes("us", "m", s5)),
			fencedRes("web", []string{"EU"}, "eu", "us"))
		l.start("fra")
		time.Sleep(settle)
		l.set(probe.Failed, s1, s2, s3, s4)
		time.Sleep(settle)
		l.want("nothing inside of the fence is up", "eu", "a:up b:up c:up d:up frozen")
		l.declareOf(spec.Platform, siteRes("iad", "EU-IE"))
		time.Sleep(settle)
		l.want("it moved", "eu", "a:down b:down c:down d:down")
	})
}
