package earth

import (
	"math"
	"math/rand/v2"
	"testing"
	"unsafe"
)

func TestPointOf(t *testing.T) {
	tests := []struct {
		lat, lon float64
		want     string
	}{
		{50.1109, 8.6821, "50.11,8.68"},
		{-33.865, 151.209, "-33.87,151.21"},
		{0, 0, "0,0"},
		{10, 180, "10,-180"},
		{10, -180, "10,-180"},
		{10, 179.996, "10,-180"},
		{10, 179.99, "10,179.99"},
		{10, 190, "10,-170"},
		{10, 370, "10,10"},
		{90, 77, "90,0"},
		{-90, -77, "-90,0"},
		{91, 5, "90,0"},
		{-1e300, 5, "-90,0"},
		{-0.004, -0.004, "0,0"},
		{math.NaN(), 5, ""},
		{5, math.NaN(), ""},
		{math.Inf(1), 5, ""},
		{5, math.Inf(-1), ""},
	}
	for _, test := range tests {
		p := PointOf(test.lat, test.lon)
		if p.String() != test.want || p.Known() != (test.want != "") {
			t.Errorf("%v, %v: %q, known %t; want %q", test.lat, test.lon, p, p.Known(), test.want)
		}
		if p.Known() && PointOf(p.Lat(), p.Lon()) != p {
			t.Errorf("%q reads back as %q", p, PointOf(p.Lat(), p.Lon()))
		}
	}
	if p := (Point{}); p.Known() || p.Lat() != 0 || p.Lon() != 0 {
		t.Error("the zero Point is known")
	}
	if size := unsafe.Sizeof(Point{}); size != 4 {
		t.Errorf("a Point has %d bytes; a Place has room for 4", size)
	}
}

func TestKilometres(t *testing.T) {
	half := math.Pi * earthRadius // of Earth's circumference
	tests := []struct {
		name         string
		p, q         Point
		want, within float64
	}{
		{"itself", PointOf(50.11, 8.68), PointOf(50.11, 8.68), 0, 0},
		{"a hundredth of a degree", PointOf(0, 0), PointOf(0.01, 0), half / 18000, 1e-9},
		{"Frankfurt to Amsterdam", PointOf(50.11, 8.68), PointOf(52.37, 4.90), 363, 2},
		{"London to New York", PointOf(51.51, -0.13), PointOf(40.71, -74.01), 5570, 5},
		{"Sydney to Santiago", PointOf(-33.87, 151.21), PointOf(-33.45, -70.67), 11340, 20},
		{"Tokyo to San Francisco", PointOf(35.68, 139.69), PointOf(37.77, -122.42), 8270, 10},
		{"over the antimeridian", PointOf(0, 179.5), PointOf(0, -179.5), half / 180, 1e-9},
		{"the antimeridian itself", PointOf(10, 180), PointOf(10, -180), 0, 0},
		{"over the North Pole", PointOf(89, 0), PointOf(89, 180), half / 90, 1e-9},
		{"at the South Pole", PointOf(-90, 10), PointOf(-90, 170), 0, 0},
		{"pole to pole", PointOf(90, 0), PointOf(-90, 0), half, 1e-9},
		{"antipodes on the equator", PointOf(0, 0), PointOf(0, 180), half, 1e-9},
		{"antipodes", PointOf(52.52, 13.4), PointOf(-52.52, -166.6), half, 1e-9},
		{"nearly antipodes", PointOf(52.52, 13.4), PointOf(-52.51, -166.6), half - half/18000, 1e-9},
		{"from the unknown", Point{}, PointOf(1, 1), math.Inf(1), 0},
		{"to the unknown", PointOf(1, 1), Point{}, math.Inf(1), 0},
		{"unknown both", Point{}, Point{}, math.Inf(1), 0},
	}
	for _, test := range tests {
		there, back := test.p.Kilometres(test.q), test.q.Kilometres(test.p)
		if there != back || there != test.want && !(math.Abs(there-test.want) <= test.within) {
			t.Errorf("%s: %v there, %v back; want %v", test.name, there, back, test.want)
		}
	}
}

// TestKilometresIsHaversine compares with another formula, which shares nothing with Kilometres. It is good but for antipodes.
func TestKilometresIsHaversine(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 1))
	for range 100_000 {
		p := PointOf(180*rng.Float64()-90, 360*rng.Float64()-180)
		q := PointOf(180*rng.Float64()-90, 360*rng.Float64()-180)
		if rng.IntN(4) == 0 { // near
			q = PointOf(p.Lat()+rng.Float64()/10, p.Lon()+rng.Float64()/10)
		}
		want := haversine(p, q)
		if got := p.Kilometres(q); math.Abs(got-want) > 1e-3 || got != q.Kilometres(p) {
			t.Fatalf("%v to %v: %v km; want %v", p, q, got, want)
		}
	}
}

func haversine(p, q Point) float64 {
	radians := func(degrees float64) float64 { return degrees * math.Pi / 180 }
	square := func(x float64) float64 { return x * x }
	h := square(math.Sin(radians(q.Lat()-p.Lat())/2)) +
		math.Cos(radians(p.Lat()))*math.Cos(radians(q.Lat()))*square(math.Sin(radians(q.Lon()-p.Lon())/2))
	return 2 * 6371.0088 * math.Asin(math.Sqrt(min(h, 1)))
}

func BenchmarkKilometres(b *testing.B) {
	p, q := PointOf(50.11, 8.68), PointOf(35.68, 139.69)
	b.Run("points", func(b *testing.B) {
		for b.Loop() {
			p.Kilometres(q)
		}
	})
	b.Run("vectors", func(b *testing.B) {
		v, w := p.Vector(), q.Vector()
		for b.Loop() {
			v.Kilometres(w)
		}
	})
}
