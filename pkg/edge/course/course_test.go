package course_test

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/gti/gtm/pkg/edge/course"
	"github.com/gti/gtm/pkg/spec"
	"github.com/gti/gtm/pkg/store/state"
)

// history is what a store has of one tenant: a state for each generation.
type history struct {
	tenant string
	states []state.TenantState // from generation 1
}

func pool(tenant, name string, gen state.Generation) state.Version {
	return state.Version{Generation: gen, Resource: &spec.Resource{Key: spec.Key{Tenant: tenant, Kind: spec.KindPool, Name: name},
		Spec: &spec.Pool{}}}
}

func drain(tenant, name string, gen state.Generation) state.Version {
	return state.Version{Generation: gen, Resource: &spec.Resource{Key: spec.Key{Tenant: tenant, Kind: spec.KindOverride, Name: name},
		Spec: &spec.Override{Pool: "p", State: spec.StateDrain}}}
}

// commit makes the next generation, and gives it as news.
func (h *history) commit(put []state.Version, deleted ...spec.Key) state.Update {
	was := state.TenantState{}
	if n := len(h.states); n > 0 {
		was = h.states[n-1]
	}
	is := state.TenantState{Head: was.Head + 1, ID: fmt.Sprintf("id%d", was.Head+1), Resources: was.Resources.With(put, deleted)}
	h.states = append(h.states, is)
	return state.Update{Cursor: int64(is.Head), Cluster: 7, Tenants: []state.TenantUpdate{{Tenant: h.tenant, Head: is.Head, ID: is.ID,
		Put: put, Deleted: deleted}}}
}

func (h *history) at(g state.Generation) state.TenantState { return h.states[g-1] }

func (h *history) mark(g state.Generation) state.Mark { return state.MarkOf(h.at(g)) }

// full tells everything.
func (h *history) full() state.Update {
	is := h.states[len(h.states)-1]
	tu := state.TenantUpdate{Tenant: h.tenant, Head: is.Head, ID: is.ID}
	for _, v := range is.Resources.All() {
		tu.Put = append(tu.Put, v)
	}
	tu.Sort()
	return state.Update{Full: true, Cursor: int64(is.Head), Cluster: 7, Tenants: []state.TenantUpdate{tu}}
}

// follower is a course, and what its updates come to.
type follower struct {
	*course.Course
	mirror *state.Mirror
}

func newFollower(poison map[string]state.Mark) *follower {
	return &follower{course.New("fra-1", poison, time.Now), state.NewMirror()}
}

func (f *follower) tell(u state.Update) {
	f.mirror.Apply(f.Take(u))
}

// serves gives what is served, as in "2: p1@1 o@2".
func (f *follower) serves(tenant string) string { return text(f.mirror.Tenant(tenant)) }

func text(t state.TenantState) string {
	out := fmt.Sprintf("%d:", t.Head)
	keys := map[string]state.Generation{}
	for k, v := range t.Resources.All() {
		keys[k.Name] = v.Generation
	}
	for _, name := range slices.Sorted(maps.Keys(keys)) {
		out += fmt.Sprintf(" %s@%d", name, keys[name])
	}
	return out
}

func (f *follower) expect(t *testing.T, want string) {
	t.Helper()
	if got := f.serves("shop"); got != want {
		t.Errorf("it serves %q, want %q", got, want)
	}
}

func pointed(m state.Mark) state.Update {
	return state.Update{Values: state.Aims.Put(state.Aim{Tenant: "shop", Groups: []state.AimedGroup{
		{Name: "canary", Edges: []string{"canary-*"}, At: state.Mark{Generation: 99}}, {Name: "rest", At: m}}})}
}

func versions(list ...state.Version) []state.Version { return list }

func TestARefusedGenerationIsLeft(t *testing.T) {
	h, f := &history{tenant: "shop"}, newFollower(nil)
	f.tell(h.commit(versions(pool("shop", "p", 1), pool("shop", "q", 1))))
	if taken := f.Taken(); len(taken) > 0 {
		t.Errorf("the first state is judged by nothing, but %v", taken)
	}
	f.Published()
	f.tell(h.commit(versions(pool("shop", "p", 2)), pool("shop", "q", 1).Resource.Key))
	f.expect(t, "2: p@2")
	if taken := f.Taken(); taken["shop"] != h.mark(2) {
		t.Errorf("taken: %v", taken)
	}
	f.mirror.Apply(f.Refuse(map[string]string{"shop": "it is bad"}))
	f.expect(t, "1: p@1 q@1")
	f.Published()
	held := f.Held()
	if len(held) != 1 || held[0].Refused == nil || held[0].Refused.Why != "it is bad" || held[0].Newest != 2 || held[0].Serves != 1 {
		t.Errorf("held: %+v", held)
	}
	f.tell(h.commit(versions(drain("shop", "o", 3)))) // a newer one is tried, with all that came before
	f.expect(t, "3: o@3 p@2")
	if f.OnlyOverrides("shop") {
		t.Error("it says that nothing but an override has come")
	}
	f.mirror.Apply(f.Refuse(map[string]string{"shop": "it is bad"}))
	f.Published()
	f.expect(t, "1: o@3 p@1 q@1") // the drain holds all the same
	f.tell(state.Update{Values: state.Aims.Put(state.Aim{Tenant: "shop", Accept: h.mark(3)})})
	f.expect(t, "3: o@3 p@2")
	if !f.Accepted("shop", h.mark(3)) || len(f.Held()) > 0 {
		t.Errorf("accepted, and held: %+v", f.Held())
	}
}

// TestTwoGenerationsAtOnceAreRefusedTogether: what was taken since the last view was never served.
func TestTwoGenerationsAtOnceAreRefusedTogether(t *testing.T) {
	h, f := &history{tenant: "shop"}, newFollower(nil)
	f.tell(h.commit(versions(pool("shop", "p", 1))))
	f.Published()
	f.tell(h.commit(versions(pool("shop", "p", 2))))
	f.tell(h.commit(versions(pool("shop", "p", 3))))
	f.mirror.Apply(f.Refuse(map[string]string{"shop": "bad"}))
	f.expect(t, "1: p@1")
}

func TestPoisonIsLeftUntilANewerOneComes(t *testing.T) {
	h := &history{tenant: "shop"}
	h.commit(versions(pool("shop", "p", 1)))
	snapshot := h.full()
	h.commit(versions(pool("shop", "p", 2), drain("shop", "o", 2)))
	f := newFollower(map[string]state.Mark{"shop": h.mark(2)})
	f.Restore(&snapshot)
	f.mirror.Apply(snapshot)
	f.tell(state.Update{Tenants: h.full().Tenants})
	f.expect(t, "1: p@1") // and no override of it: who knows what was to blame
	if held := f.Held(); len(held) != 1 || held[0].Refused == nil || !held[0].Refused.Crashed {
		t.Errorf("held: %+v", held)
	}
	f.tell(h.commit(versions(pool("shop", "p", 3))))
	f.expect(t, "3: o@2 p@3")
	fresh := newFollower(map[string]state.Mark{"shop": h.mark(3)})
	fresh.tell(h.full())
	fresh.expect(t, "3: o@2 p@3") // with nothing else to serve, poison is better than silence
}

func TestAGroupIsPointedAtAGeneration(t *testing.T) {
	h, f := &history{tenant: "shop"}, newFollower(nil)
	f.tell(h.commit(versions(pool("shop", "p", 1))))
	f.Published()
	f.tell(pointed(h.mark(1)))
	f.tell(h.commit(versions(pool("shop", "p", 2))))
	f.tell(h.commit(versions(drain("shop", "o", 3))))
	f.Published()
	f.expect(t, "1: o@3 p@1")
	if held := f.Held(); len(held) != 1 || held[0].Refused != nil || held[0].Group != "rest" {
		t.Errorf("held: %+v", held)
	}
	f.tell(pointed(h.mark(3)))
	f.Published()
	f.expect(t, "3: o@3 p@2")
	f.tell(pointed(h.mark(1)))
	f.expect(t, "1: o@3 p@1") // as it was before, without asking the store
	if taken := f.Taken(); len(taken) > 0 {
		t.Errorf("what was good is to be judged again: %v", taken)
	}
	f.Published()
	f.tell(pointed(state.Mark{Generation: 4, ID: "id4"}))
	if f.expect(t, "1: o@3 p@1"); len(f.Wanted()) > 0 {
		t.Errorf("what was not heard of yet is wanted: %v", f.Wanted())
	}
	f.tell(pointed(h.mark(2)))
	f.expect(t, "1: o@3 p@1")
	want := f.Wanted()["shop"]
	if want != h.mark(2) {
		t.Fatalf("it wants %v", want)
	}
	u, ok := f.Fetched("shop", h.at(2))
	if !ok {
		t.Fatal("what it wanted is not wanted")
	}
	f.mirror.Apply(u)
	f.expect(t, "2: o@3 p@2")
	if len(f.Wanted()) > 0 {
		t.Errorf("it has it, and wants %v", f.Wanted())
	}
	f.tell(state.Update{Values: state.Aims.Delete("shop")})
	f.expect(t, "3: o@3 p@2")
}

// TestAStartFindsThePointedGeneration: with its snapshot, and without.
func TestAStartFindsThePointedGeneration(t *testing.T) {
	h := &history{tenant: "shop"}
	h.commit(versions(pool("shop", "p", 1)))
	snapshot := h.full()
	snapshot.Values = pointed(h.mark(1)).Values
	h.commit(versions(pool("shop", "p", 2)))
	f := newFollower(nil)
	f.Restore(&snapshot)
	f.mirror.Apply(snapshot)
	f.tell(state.Update{Tenants: h.full().Tenants})
	f.expect(t, "1: p@1")

	fresh, all := newFollower(nil), h.full()
	all.Values = pointed(h.mark(1)).Values
	fresh.tell(all)
	fresh.expect(t, "0:")
	if got := fresh.Missing(); !slices.Equal(got, []string{"shop"}) {
		t.Fatalf("missing: %v", got)
	}
	u, ok := fresh.Fetched("shop", h.at(1))
	fresh.mirror.Apply(u)
	if fresh.expect(t, "1: p@1"); !ok {
		t.Error("what was missing is not wanted")
	}
	lost := newFollower(nil)
	lost.tell(all)
	u, _ = lost.GiveUp("shop")
	lost.mirror.Apply(u)
	lost.expect(t, "2: p@2")
}

func TestOutgrown(t *testing.T) {
	zone := func(bytes int, gen state.Generation) state.Version {
		key := spec.Key{Tenant: spec.Platform, Kind: spec.KindZone, Name: "z."}
		return state.Version{Generation: gen, Resource: &spec.Resource{Key: key, Spec: &spec.Zone{Content: string(make([]byte, bytes))}}}
	}
	for _, c := range []struct {
		was, is int
		refused bool
	}{{0, 9 << 20, false}, {100, 3 << 20, false}, {100, 5 << 20, true}, {2 << 20, 8 << 20, false}, {2 << 20, 11 << 20, true}} {
		h, f := &history{tenant: spec.Platform}, newFollower(nil)
		f.tell(h.commit(versions(zone(c.was, 1))))
		f.Published()
		f.tell(h.commit(versions(zone(c.is, 2))))
		if why := f.Outgrown(4); len(why) > 0 != c.refused {
			t.Errorf("from %d to %d bytes: %v", c.was, c.is, why)
		}
	}
}

// TestAnyCourse takes random steps, and compares what is served with what the generations say.
func TestAnyCourse(t *testing.T) {
	for seed := range uint64(300) {
		anyCourse(t, rand.New(rand.NewPCG(seed, 1)), seed)
	}
}

func anyCourse(t *testing.T, rng *rand.Rand, seed uint64) {
	h, f := &history{tenant: "shop"}, newFollower(nil)
	f.tell(h.commit(versions(pool("shop", "p0", 1))))
	f.Published()
	aim := state.Generation(0) // none
	good, bad := state.Generation(1), state.Generation(0)
	for step := range 40 {
		head := h.at(state.Generation(len(h.states))).Head
		switch rng.IntN(5) {
		case 0, 1:
			name := fmt.Sprint("p", rng.IntN(4))
			if _, has := h.at(head).Resources.Get(pool("shop", name, 0).Resource.Key); has && rng.IntN(3) == 0 {
				f.tell(h.commit(nil, pool("shop", name, 0).Resource.Key))
			} else {
				f.tell(h.commit(versions(pool("shop", name, head+1))))
			}
		case 2:
			f.tell(h.commit(versions(drain("shop", fmt.Sprint("o", rng.IntN(3)), head+1))))
		case 3:
			if aim = state.Generation(rng.IntN(int(head) + 1)); aim == 0 {
				f.tell(state.Update{Values: state.Aims.Delete("shop")})
			} else {
				f.tell(pointed(h.mark(aim)))
			}
		case 4:
			f.tell(state.Update{Tenants: nil})
		}
		for name, m := range f.Wanted() {
			if u, ok := f.Fetched(name, h.at(m.Generation)); ok {
				f.mirror.Apply(u)
			}
		}
		head = state.Generation(len(h.states))
		want := head
		if aim != 0 {
			want = aim
		}
		if want == bad {
			want = good
		} else {
			bad = 0
		}
		if taken, ok := f.Taken()["shop"]; ok && rng.IntN(3) == 0 {
			bad, want = taken.Generation, good
			f.mirror.Apply(f.Refuse(map[string]string{"shop": "bad"}))
		}
		f.Published()
		good = want
		expected := h.at(want)
		var put []state.Version
		for k, v := range h.at(head).Resources.All() {
			if k.Kind == spec.KindOverride {
				put = append(put, v)
			}
		}
		expected.Resources = expected.Resources.With(put, nil)
		if got := f.serves("shop"); got != text(expected) {
			t.Fatalf("seed %d, step %d: it serves %q, want %q (head %d, aim %d, bad %d)", seed, step, got, text(expected), head, aim, bad)
		}
	}
}
