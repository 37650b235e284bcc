package geo

import (
	"testing"
)

func TestSamplesLieInTheirPlaces(t *testing.T) {
	a, err := Open()
	if err != nil {
		t.Fatal(err)
	}
	for _, countries := range []bool{false, true} {
		samples := a.Samples(countries)
		if n := len(samples); n < 6 || countries && n < 150 || n > 260 {
			t.Errorf("countries %v: %d samples", countries, n)
		}
		for i, s := range samples {
			if i > 0 && samples[i-1].Place.String() >= s.Place.String() {
				t.Errorf("%v does not stand behind %v", s.Place, samples[i-1].Place)
			}
			first := s.Network.Masked().Addr()
			p, net := a.Lookup(first)
			if !p.In(s.Place) || net.Bits() > s.Network.Bits() {
				t.Errorf("%v stands for %v, but is in %v (%v)", s.Network, s.Place, p, net)
			}
			if back, err := ParsePlace(s.Place.String()); err != nil || back != s.Place {
				t.Errorf("%v cannot be written: %v", s.Place, err)
			}
			if bits := s.Network.Bits(); first.Is4() && bits < 24 || !first.Is4() && bits < 48 {
				t.Errorf("%v of %v tells of too many at once", s.Network, s.Place)
			}
		}
	}
}
