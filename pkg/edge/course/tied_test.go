package course_test

import (
	"testing"

	"github.com/gti/gtm/pkg/spec"
	"github.com/gti/gtm/pkg/store/state"
)

// two are the shop and the platform, each at its second generation, and refused for the same view.
func two(t *testing.T, refuse func(f *follower)) (shop, platform *history, f *follower) {
	t.Helper()
	shop, platform, f = &history{tenant: "shop"}, &history{tenant: spec.Platform}, newFollower(nil)
	for g := state.Generation(1); g <= 2; g++ {
		u := shop.commit(versions(pool("shop", "p", g)))
		u.Tenants = append(platform.commit(versions(pool(spec.Platform, "z", g))).Tenants, u.Tenants...)
		f.tell(u)
		if g == 1 {
			f.Published()
		}
	}
	refuse(f)
	f.Published()
	f.expect(t, "1: p@1")
	return shop, platform, f
}

func atOnce(f *follower) {
	f.mirror.Apply(f.Refuse(map[string]string{"shop": "a name fails", spec.Platform: "a name fails"}))
}

// oneAfterTheOther: going back from the shop's was not enough.
func oneAfterTheOther(f *follower) {
	f.mirror.Apply(f.Refuse(map[string]string{"shop": "a name fails"}))
	f.mirror.Apply(f.Refuse(map[string]string{spec.Platform: "a name fails"}))
}

// TestWhatWasRefusedWithAnotherIsTriedAgain when that goes away: by its next generation, or since it is pointed back.
func TestWhatWasRefusedWithAnotherIsTriedAgain(t *testing.T) {
	for name, refuse := range map[string]func(*follower){"at once": atOnce, "one after the other": oneAfterTheOther} {
		for end, told := range map[string]func(platform *history) state.Update{
			"its next generation": func(platform *history) state.Update { return platform.commit(versions(pool(spec.Platform, "z", 3))) },
			"it is pointed back": func(platform *history) state.Update {
				return state.Update{Values: state.Aims.Put(state.Aim{Tenant: spec.Platform, Groups: []state.AimedGroup{{Name: "rest",
					At: platform.mark(1)}}})}
			},
			"all is told anew": func(platform *history) state.Update {
				platform.commit(versions(pool(spec.Platform, "z", 3)))
				full := platform.full()
				full.Tenants = append(full.Tenants, state.TenantUpdate{Tenant: "shop", Head: 2, ID: "id2",
					Put: versions(pool("shop", "p", 2))})
				return full
			},
		} {
			_, platform, f := two(t, refuse)
			f.tell(told(platform))
			if got := f.serves("shop"); got != "2: p@2" {
				t.Errorf("%s, %s: the shop serves %q", name, end, got)
			}
			if taken := f.Taken()["shop"]; taken.Generation != 2 {
				t.Errorf("%s, %s: it is not judged again: %v", name, end, taken)
			}
		}
	}
}

// TestWhoIsToBlameItselfIsRefusedAgain, and then for itself.
func TestWhoIsToBlameItselfIsRefusedAgain(t *testing.T) {
	_, platform, f := two(t, atOnce)
	f.tell(platform.commit(versions(pool(spec.Platform, "z", 3))))
	f.mirror.Apply(f.Refuse(map[string]string{"shop": "it is empty"}))
	f.Published()
	f.expect(t, "1: p@1")
	f.tell(platform.commit(versions(pool(spec.Platform, "z", 4))))
	f.expect(t, "1: p@1")
	if held := f.Held(); len(held) != 1 || held[0].Refused.Why != "it is empty" {
		t.Errorf("held: %+v", held)
	}
}

// TestOthersNewsFreeNobody: who was refused for itself, or together with one that still is, stays refused.
func TestOthersNewsFreeNobody(t *testing.T) {
	_, _, f := two(t, atOnce)
	other := &history{tenant: "other"}
	f.tell(other.commit(versions(pool("other", "p", 1))))
	f.Published()
	f.expect(t, "1: p@1")
	f.tell(state.Update{Values: state.Aims.Put(state.Aim{Tenant: spec.Platform, Groups: []state.AimedGroup{{Name: "rest",
		At: state.Mark{Generation: 2}}}})})
	f.expect(t, "1: p@1")

	shop, platform, g := two(t, func(f *follower) {
		f.mirror.Apply(f.Refuse(map[string]string{"shop": "it is empty"}))
	})
	g.tell(platform.commit(versions(pool(spec.Platform, "z", 3))))
	g.expect(t, "1: p@1")
	g.tell(shop.commit(versions(pool("shop", "p", 3))))
	g.expect(t, "3: p@3")
}

// TestAnOverrideThatCrashesEdges is on trial like a generation, also over an older one that a rollout has the edge serve; and is left out
// after the restart, until there is a newer one.
func TestAnOverrideThatCrashesEdges(t *testing.T) {
	h, f := &history{tenant: "shop"}, newFollower(nil)
	first := h.commit(versions(pool("shop", "p", 1), drain("shop", "o", 1)))
	first.Values = pointed(h.mark(1)).Values
	f.tell(first)
	if on := f.OnTrial(); len(on) > 0 {
		t.Errorf("the first state is on trial: %v", on)
	}
	f.Published()
	snapshot := h.full()
	snapshot.Values = first.Values
	f.tell(h.commit(versions(pool("shop", "p", 2))))
	if on := f.OnTrial(); len(on) > 0 {
		t.Errorf("nothing was taken, and on trial is %v", on)
	}
	f.Published()
	f.tell(h.commit(versions(drain("shop", "o", 3), drain("shop", "q", 3))))
	f.expect(t, "1: o@3 p@1 q@3")
	if on := f.OnTrial(); len(on) != 1 || on["shop"] != h.mark(3) {
		t.Errorf("on trial is %v", on)
	}
	if taken := f.Taken(); len(taken) > 0 {
		t.Errorf("an override is judged: %v", taken)
	}
	f.Published()
	if on := f.OnTrial(); len(on) > 0 {
		t.Errorf("it is served, and on trial is %v", on)
	}

	again := newFollower(map[string]state.Mark{"shop": h.mark(3)})
	again.Restore(&snapshot)
	again.mirror.Apply(snapshot)
	told := h.full()
	told.Values = first.Values
	again.tell(told)
	again.expect(t, "1: o@1 p@1")
	held := again.Held()
	if len(held) != 1 || held[0].Refused == nil || !held[0].Refused.Crashed || held[0].Refused.Generation != 3 || held[0].Serves != 1 {
		t.Errorf("held: %+v", held)
	}
	again.Published()
	again.tell(state.Update{Values: state.Aims.Put(state.Aim{Tenant: "shop", Accept: h.mark(3), Groups: []state.AimedGroup{{Name: "rest",
		At: h.mark(1)}}})})
	again.expect(t, "1: o@3 p@1 q@3") // it is accepted
	again.tell(pointed(h.mark(1)))
	again.expect(t, "1: o@1 p@1")
	again.Published()
	again.tell(h.commit(nil, drain("shop", "q", 0).Resource.Key))
	again.expect(t, "1: o@3 p@1")
	again.Published()
	again.tell(h.commit(nil, drain("shop", "o", 0).Resource.Key))
	if on := again.OnTrial(); on["shop"] != h.mark(5) { // that one ends is news as well
		t.Errorf("on trial is %v", on)
	}
	again.Published()
	again.tell(h.commit(versions(pool("shop", "p", 6))))
	again.tell(pointed(h.mark(2)))
	u, _ := again.Fetched("shop", h.at(2))
	again.mirror.Apply(u)
	again.Published()
	again.tell(pointed(h.mark(1))) // to go back is no trial of what is newest
	if on := again.OnTrial(); len(on) > 0 {
		t.Errorf("on trial is %v", on)
	}

	h.commit(versions(drain("shop", "o", 7)))
	fresh := newFollower(map[string]state.Mark{"shop": h.mark(7)}) // it has nothing to stay at
	told = h.full()
	told.Values = pointed(h.mark(3)).Values
	fresh.tell(told)
	u, _ = fresh.Fetched("shop", h.at(3))
	fresh.mirror.Apply(u)
	fresh.expect(t, "3: o@7 p@2")
}

// TestWhatIsToldOfATiedTenantIsHeard: with what of it is broken.
func TestWhatIsToldOfATiedTenantIsHeard(t *testing.T) {
	shop, platform, f := two(t, atOnce)
	u := shop.full()
	u.Tenants[0].Broken = []state.BrokenResource{{Key: pool("shop", "q", 2).Resource.Key}}
	u.Tenants = append(platform.commit(versions(pool(spec.Platform, "z", 3))).Tenants, u.Tenants...)
	out := f.Take(u)
	if len(out.Tenants) != 2 || len(out.Tenants[1].Broken) != 1 || out.Tenants[1].Head != 2 {
		t.Errorf("it is to be served: %+v", out.Tenants)
	}
}

// anew reads the same versions from the store once more: other pointers.
func anew(u state.Update) state.Update {
	tu := u.Tenants[0]
	put := tu.Put
	tu.Put = nil
	for _, v := range put {
		r := *v.Resource
		v.Resource = &r
		tu.Put = append(tu.Put, v)
	}
	u.Tenants = []state.TenantUpdate{tu}
	return u
}

// TestWhatIsToldAnewIsNoTrial: after a start, or where a follower fell behind, all is told again, and no override is another for that.
func TestWhatIsToldAnewIsNoTrial(t *testing.T) {
	h, f := &history{tenant: "shop"}, newFollower(nil)
	h.commit(versions(pool("shop", "p", 1), drain("shop", "o", 1)))
	snapshot := h.full()
	f.Restore(&snapshot)
	f.mirror.Apply(snapshot)
	f.tell(anew(h.full()))
	if on := f.OnTrial(); len(on) > 0 {
		t.Errorf("nothing is new, and on trial is %v", on)
	}
}
