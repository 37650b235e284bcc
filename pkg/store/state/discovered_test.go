package state

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/gti/gtm/pkg/spec"
)

func poolVersion(tenant, name string, gen Generation, sources ...string) Version {
	p := &spec.Pool{Endpoints: []spec.Endpoint{{Name: "own", Addresses: []netip.Addr{netip.MustParseAddr("192.0.2.99")}}}}
	for _, s := range sources {
		p.Discover = append(p.Discover, spec.Source{Name: s, Pushed: true})
	}
	return Version{Resource: &spec.Resource{Key: spec.Key{Tenant: tenant, Kind: spec.KindPool, Name: name}, Spec: p}, Generation: gen}
}

func foundOf(tenant, pool, source string, last ...int) spec.Found {
	f := spec.Found{Tenant: tenant, Pool: pool, Source: source}
	for _, n := range last {
		f.Endpoints = append(f.Endpoints, spec.FoundEndpoint{Address: netip.AddrFrom4([4]byte{192, 0, 2, byte(n)})})
	}
	return f
}

// endpoints gives all pools with their endpoints.
func endpoints(r Resources) map[string]string {
	out := map[string]string{}
	for key, v := range r.All() {
		var names []string
		for _, e := range v.Resource.Spec.(*spec.Pool).Endpoints {
			names = append(names, e.Name)
		}
		out[key.Tenant+"/"+key.Name] = strings.Join(names, " ")
	}
	return out
}

func TestJoined(t *testing.T) {
	m := NewMirror()
	m.Apply(Update{Full: true, Tenants: []TenantUpdate{{Tenant: "shop", Head: 1, Put: []Version{poolVersion("shop", "p", 1, "a", "b"),
		poolVersion("shop", "q", 1)}}}})
	want := func(pool, want string) {
		t.Helper()
		if got := endpoints(m.Joined("shop").Resources)["shop/"+pool]; got != want {
			t.Errorf("%s has %s, want %s", pool, got, want)
		}
		if got := endpoints(m.Tenant("shop").Resources)["shop/"+pool]; got != "own" {
			t.Errorf("%s is declared with %s", pool, got)
		}
		r := m.Tenant("shop").Resources
		v, _ := r.Get(spec.Key{Tenant: "shop", Kind: spec.KindPool, Name: pool})
		if got := endpoints(NewResources(Version{Resource: m.Join(v.Resource)}))["shop/"+pool]; got != want {
			t.Errorf("%s alone has %s, want %s", pool, got, want)
		}
	}
	want("p", "own")
	m.Apply(Update{Values: Discovered.Put(foundOf("shop", "p", "b", 1), foundOf("shop", "p", "gone", 7), foundOf("shop", "q", "a", 8))})
	want("p", "own ip-192-0-2-1")
	want("q", "own")
	m.Apply(Update{Values: Discovered.Put(foundOf("shop", "p", "a", 2, 3))})
	want("p", "own ip-192-0-2-2 ip-192-0-2-3 ip-192-0-2-1")
	if again := m.Joined("shop"); !again.Resources.SharesWith(m.Tenant("shop").Resources) {
		t.Error("it shares nothing with what is declared")
	}
	m.Apply(Update{Tenants: []TenantUpdate{{Tenant: "shop", Head: 2, Put: []Version{poolVersion("shop", "p", 2, "a")}}}})
	want("p", "own ip-192-0-2-2 ip-192-0-2-3")
	m.Apply(Update{Values: Discovered.Delete(SourceID{"shop", "p", "a"})})
	want("p", "own")
	if m.Join(nil) != nil {
		t.Error("nothing is something")
	}
}

// sink is a consumer that takes updates one after the other, and knows nothing of what was found.
type sink map[spec.Key]Version

func (s sink) take(u Update) {
	for _, t := range u.Tenants {
		keep := map[spec.Key]bool{}
		for _, v := range t.Put {
			s[v.Resource.Key], keep[v.Resource.Key] = v, true
		}
		for _, b := range t.Broken {
			keep[b.Key] = true
		}
		for _, key := range t.Deleted {
			delete(s, key)
		}
		if u.Full {
			maps.DeleteFunc(s, func(k spec.Key, _ Version) bool { return k.Tenant == t.Tenant && !keep[k] })
		}
	}
	if u.Full {
		maps.DeleteFunc(s, func(k spec.Key, _ Version) bool {
			return !slices.ContainsFunc(u.Tenants, func(t TenantUpdate) bool { return t.Tenant == k.Tenant })
		})
	}
}

// Whatever comes, in whatever order: who takes joined updates has what the mirror joins.
func TestJoinerAndMirrorAgree(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 65))
	tenants, pools, sources := []string{"cafe", "shop"}, []string{"p", "q", "r"}, []string{"a", "b"}
	pick := func(list []string) string { return list[r.IntN(len(list))] }
	for range 200 {
		m, s, j, heads := NewMirror(), sink{}, Joiner{}, map[string]Generation{}
		take := func(u Update) {
			m.Apply(u)
			before := fmt.Sprint(u.Tenants)
			joined := j.Join(u)
			s.take(joined)
			if fmt.Sprint(u.Tenants) != before {
				t.Fatal("the update that was given has changed")
			}
			for _, tu := range joined.Tenants {
				if tu.Head != m.Tenant(tu.Tenant).Head {
					t.Fatalf("%s is at %d, told %d", tu.Tenant, m.Tenant(tu.Tenant).Head, tu.Head)
				}
			}
			if !slices.IsSortedFunc(joined.Tenants, func(a, b TenantUpdate) int { return strings.Compare(a.Tenant, b.Tenant) }) {
				t.Fatal("its tenants are in no order")
			}
		}
		take(Update{Full: true})
		for range 40 {
			u := Update{}
			name := pick(tenants)
			if r.IntN(2) == 0 {
				heads[name]++
				tu := TenantUpdate{Tenant: name, Head: heads[name]}
				if pool := pick(pools); r.IntN(4) == 0 {
					tu.Deleted = []spec.Key{{Tenant: name, Kind: spec.KindPool, Name: pool}}
				} else {
					tu.Put = []Version{poolVersion(name, pool, heads[name], sources[:r.IntN(3)]...)}
				}
				u.Tenants = []TenantUpdate{tu}
			}
			switch r.IntN(3) {
			case 0:
				u.Values = Discovered.Put(foundOf(pick(tenants), pick(pools), pick(sources), r.IntN(5), 5+r.IntN(5)))
			case 1:
				u.Values = Discovered.Delete(SourceID{pick(tenants), pick(pools), pick(sources)})
			}
			if r.IntN(8) == 0 {
				u = m.Full()
				c := Discovered.In(u)
				for i := range u.Tenants { // some is not understood, and keeps the form that it has
					if n := len(u.Tenants[i].Put); n > 0 && r.IntN(2) == 0 {
						u.Tenants[i].Broken = []BrokenResource{{Key: u.Tenants[i].Put[n-1].Resource.Key}}
						u.Tenants[i].Put = u.Tenants[i].Put[:n-1]
					}
				}
				if n := len(c.Put); n > 0 {
					c.Broken, c.Put = []SourceID{SourceOf(c.Put[n-1])}, c.Put[:n-1]
					Discovered.Set(&u, c)
				}
			}
			take(u)
			want := map[string]string{}
			for _, name := range m.Tenants() {
				maps.Copy(want, endpoints(m.Joined(name).Resources))
			}
			if got := endpoints(NewResources(slices.Collect(maps.Values(s))...)); !maps.Equal(got, want) {
				t.Fatalf("%v\nwant %v", got, want)
			}
		}
	}
}

// News that changes no list makes no pool news.
func TestJoinerTellsWhatChanged(t *testing.T) {
	var j Joiner
	j.Join(Update{Full: true, Tenants: []TenantUpdate{{Tenant: "shop", Head: 1, ID: "x",
		Put: []Version{poolVersion("shop", "p", 1, "a")}}}})
	f := foundOf("shop", "p", "a", 1)
	u := j.Join(Update{Values: Discovered.Put(f)})
	if len(u.Tenants) != 1 || u.Tenants[0].ID != "x" || len(u.Tenants[0].Put) != 1 {
		t.Errorf("%+v", u.Tenants)
	}
	f.Error = "it broke"
	if u := j.Join(Update{Values: Discovered.Put(f)}); len(u.Tenants) != 0 {
		t.Errorf("%+v", u.Tenants)
	}
	m := NewMirror()
	m.Apply(Update{Values: Discovered.Put(f, foundOf("bar", "p", "a", 1))})
	values := Values{Discovered: Changes[SourceID, spec.Found]{Put: []spec.Found{f, foundOf("cafe", "p", "a", 1)},
		Deleted: []SourceID{{"bar", "p", "a"}}}}
	if got := m.Rejoined(&Update{Values: values}); !slices.Equal(got, []string{"bar", "cafe"}) {
		t.Error(got)
	}
}

// BenchmarkJoined is of a tenant that has 256 pools with sources of 16 endpoints, of which one changes.
func BenchmarkJoined(b *testing.B) {
	m := NewMirror()
	u := Update{Full: true, Tenants: []TenantUpdate{{Tenant: "shop", Head: 1}}}
	var found []spec.Found
	for i := range 256 {
		name := fmt.Sprintf("p%d", i)
		u.Tenants[0].Put = append(u.Tenants[0].Put, poolVersion("shop", name, 1, "a"))
		found = append(found, foundOf("shop", name, "a", 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16))
	}
	u.Values = Discovered.Put(found...)
	m.Apply(u)
	for b.Loop() {
		m.Apply(Update{Values: Discovered.Put(found[7])})
		m.Joined("shop")
	}
}
