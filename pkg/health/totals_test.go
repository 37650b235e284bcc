package health

import "testing"

// proven gives a tenant of which so many of ten endpoints of a pool alone are down, beyond doubt.
func proven(down int) *tenant {
	x := newTenant(10)
	id := PoolID{"shop", "p0"}
	x.set(at(5), Down, endpointsOf("p0", down)...)
	for name, f := range x.verdicts[id].Endpoints {
		f.Proven = f.State == Down
		x.verdicts[id].Endpoints[name] = f
	}
	return x
}

// B2, B3: what is proven counts neither among what failed nor among what there is.
func TestProvenFailuresAreOutOfTheTotals(t *testing.T) {
	x := proven(4)
	x.set(at(10), Down, endpointsOf("p0", 8)...)
	x.want(t, "four of the six others are more than half", true, endpointsOf("p0", 4)...)
	if x.tally.Total != 6 || x.tally.Failing != 4 {
		t.Errorf("%+v", x.tally)
	}
	y := proven(5)
	y.set(at(10), Down, endpointsOf("p0", 6)...)
	y.want(t, "one of the five others is not", false, endpointsOf("p0", 6)...)
	if y.tally.Total != 5 || y.tally.Failing != 1 {
		t.Errorf("%+v", y.tally)
	}
}
