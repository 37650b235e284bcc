package edge

import (
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/gti/gtm/pkg/control/api"
	"github.com/gti/gtm/pkg/gtmtest"
	"github.com/gti/gtm/pkg/gtmtest/declared"
	"github.com/gti/gtm/pkg/health"
	"github.com/gti/gtm/pkg/serve"
	"github.com/gti/gtm/pkg/spec"
	"github.com/gti/gtm/pkg/store/state"
)

var errBroken = errors.New("spec.rules: cannot be read")

// brittle panics when asked for a name that begins with "boom".
type brittle struct{ serve.Handler }

func (b brittle) Handle(r *serve.Request) (int, serve.Action) {
	if r.N > 17 && strings.EqualFold(string(r.Buf[13:17]), "boom") {
		panic("boom")
	}
	return b.Handler.Handle(r)
}

func TestPanicCostsOneServfail(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	r := start(t, dir, func(c *Config) { c.Wrap = func(h serve.Handler) serve.Handler { return brittle{h} } })
	r.tell(everything(t, 1))
	r.ready()
	for i, want := range []string{"SERVFAIL", "REFUSED", "REFUSED"} { // its like is refused
		if got := r.ask("boom.gtm.example.", "A", ""); got != want {
			t.Errorf("query %d: %s, want %s", i, got, want)
		}
		r.always("static.gtm.example.", "A", "", "NOERROR 192.0.2.80")
		r.always("web.shop.gtm.example.", "A", european, "NOERROR "+euA)
	}
	reply, err := exchange(query("BooM2.gtm.example.", "A", ""), "tcp", r.e.Addrs()[0].String())
	if err != nil || short(reply) != "SERVFAIL" {
		t.Errorf("over TCP: %v, %v", reply, err)
	}
	r.valueIs(1, "gtm_serve_panics_total", "transport=udp")
	r.valueIs(1, "gtm_serve_panics_total", "transport=tcp")
	r.valueIs(2, "gtm_serve_quarantined_total", "transport=udp")
	r.logged("level=ERROR", "the handler panicked", "panic=boom", "fault_test.go")
	gtmtest.Eventually(t, "the packets are kept", func() error {
		files, err := filepath.Glob(filepath.Join(dir, "panics", "packet-*.bin"))
		if err == nil && len(files) != 2 {
			err = fmt.Errorf("%d files", len(files))
		}
		return err
	})
	data, err := os.ReadDir(filepath.Join(dir, "panics"))
	if err != nil || len(data) != 2 {
		t.Errorf("kept: %v, %v", data, err)
	}
	r.always("static.gtm.example.", "A", "", "NOERROR 192.0.2.80")
}

// A resource that is broken harms only what needs it, is named, and is mended by a good version.
func TestBrokenResources(t *testing.T) {
	t.Parallel()
	good := func(t *testing.T) []*spec.Resource { return declared.Resources(t, shopYAML) }
	service := spec.Key{Tenant: "shop", Kind: spec.KindService, Name: "web"}
	replace := func(t *testing.T, gen uint64, s spec.Spec, kind spec.Kind, name string) state.Update {
		return delta(t, gen, &spec.Resource{Key: spec.Key{Tenant: "shop", Kind: kind, Name: name}, Spec: s})
	}
	ttl := spec.Duration(30e9)
	rules := []spec.Rule{{Pools: []spec.Target{{Pool: "eu"}}}}
	cases := []struct {
		name   string
		broken string // resource that status must name
		update func(t *testing.T, gen uint64) state.Update
	}{
		{"cannot be read", "shop/Service/web", func(t *testing.T, gen uint64) state.Update {
			u := delta(t, gen, good(t)...)
			breakResource(&u, service)
			return u
		}},
		{"no rules", "shop/Service/web", func(t *testing.T, gen uint64) state.Update {
			return replace(t, gen, &spec.Service{Host: "web.shop.gtm.example.", TTL: &ttl}, spec.KindService, "web")
		}},
		{"a rule without pools", "shop/Service/web", func(t *testing.T, gen uint64) state.Update {
			return replace(t, gen, &spec.Service{Host: "web.shop.gtm.example.", Rules: []spec.Rule{{}}}, spec.KindService, "web")
		}},
		{"a pool that is not there", "shop/Service/web", func(t *testing.T, gen uint64) state.Update {
			return replace(t, gen, &spec.Service{Host: "web.shop.gtm.example.",
				Rules: []spec.Rule{{Pools: []spec.Target{{Pool: "none"}}}}}, spec.KindService, "web")
		}},
		{"a host that is no name", "shop/Service/web", func(t *testing.T, gen uint64) state.Update {
			return replace(t, gen, &spec.Service{Host: strings.Repeat("x", 64) + "..", Rules: rules}, spec.KindService, "web")
		}},
		{"a place that is none", "shop/Service/web", func(t *testing.T, gen uint64) state.Update {
			return replace(t, gen, &spec.Service{Host: "web.shop.gtm.example.", Rules: []spec.Rule{
				{When: &spec.When{Geo: []string{"Atlantis"}}, Pools: rules[0].Pools}}}, spec.KindService, "web")
		}},
		{"a map that is not there", "shop/Service/web", func(t *testing.T, gen uint64) state.Update {
			return replace(t, gen, &spec.Service{Host: "web.shop.gtm.example.", Rules: []spec.Rule{
				{When: &spec.When{Map: spec.StringList{"none"}}, Pools: rules[0].Pools}, rules[0]}}, spec.KindService, "web")
		}},
		{"a weight below zero", "", func(t *testing.T, gen uint64) state.Update {
			w := -1 << 40
			return replace(t, gen, &spec.Pool{
				Endpoints: []spec.Endpoint{{Name: "a", Addresses: []netip.Addr{netip.MustParseAddr(euA)}, Weight: &w},
					{Name: "b", Addresses: []netip.Addr{netip.MustParseAddr(euA)}}}}, spec.KindPool, "eu")
		}},
		{"a verdict of nonsense", "", func(t *testing.T, gen uint64) state.Update {
			return state.Update{Cursor: 100 + int64(gen), Cluster: 7,
				Values: state.Verdicts.Put(health.Verdict{Pool: health.PoolID{Tenant: "shop", Pool: "eu"},
					Endpoints: map[string]health.Finding{"a": {State: "odd", Score: 1e300}, "b": {Score: -5}, "": {}}})}
		}},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			r := startServing(t, nil)
			u := c.update(t, 2)
			serial := r.fetchStatus().View.Serial
			r.tell(u)
			gtmtest.Eventually(t, "a new view", func() error {
				if s := r.fetchStatus().View.Serial; s == serial {
					return fmt.Errorf("it is still %d", s)
				}
				return nil
			})
			r.always("web.shop.gtm.example.", "A", european, "NOERROR "+euA) // the last good form
			r.always("w.other.gtm.example.", "A", "", "NOERROR "+otherA)
			r.always("static.gtm.example.", "A", "", "NOERROR 192.0.2.80")
			broken := r.fetchStatus().Broken
			if named := len(broken) > 0 && strings.HasPrefix(broken[0].Resource, c.broken) &&
				broken[0].Error != ""; named != (c.broken != "") {
				t.Errorf("broken: %+v; want %q", broken, c.broken)
			}
			for _, b := range broken {
				if b.Serves != api.ServesLastGood {
					t.Errorf("its last good form is served, and status says %+v", b)
				}
				if b.Resource[:5] != "shop/" {
					t.Errorf("a neighbour is broken: %+v", b)
				}
				r.logged("level=ERROR", "a resource is not served as declared", b.Resource)
			}
			r.valueIs(float64(len(broken)), "gtm_edge_broken_resources")

			mended := delta(t, 3, good(t)...)
			mended.Values = state.Verdicts.Delete(health.PoolID{Tenant: "shop", Pool: "eu"})
			r.tell(mended)
			r.valueIs(0, "gtm_edge_broken_resources")
			r.always("web.shop.gtm.example.", "A", european, "NOERROR "+euA)
			if len(broken) > 0 {
				r.logged("a resource is served as declared again", "resource="+broken[0].Resource)
			}
		})
	}
}

// A broken resource that never had a good form is not served, and its neighbours are.
func TestBrokenFromTheStart(t *testing.T) {
	t.Parallel()
	r := start(t, t.TempDir(), nil)
	u := everything(t, 1)
	breakResource(&u, spec.Key{Tenant: "shop", Kind: spec.KindPool, Name: "eu"})
	r.tell(u)
	r.ready()
	r.always("web.shop.gtm.example.", "A", european, "NXDOMAIN")
	r.always("w.other.gtm.example.", "A", "", "NOERROR "+otherA)
	serves := map[string]string{}
	for _, b := range r.fetchStatus().Broken {
		serves[b.Resource] = b.Serves
	}
	if len(serves) != 2 || serves["shop/Pool/eu"] != api.ServesNothing || serves["shop/Service/web"] != api.ServesNothing {
		t.Errorf("broken: %v", serves)
	}
	r.tell(delta(t, 2, declared.Resources(t, shopYAML)...))
	r.expect("web.shop.gtm.example.", "A", european, "NOERROR "+euA)
}
