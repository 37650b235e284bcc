package geo

import "testing"

func TestPlacePoint(t *testing.T) {
	here := PointOf(48, 2)
	tests := []struct {
		place  Place
		like   Point // within 100 km
		source string
	}{
		{Place{}, Point{}, ""},
		{Place{Continent: "EU"}, Point{}, ""},
		{Place{Continent: "EU", ASN: 1}, Point{}, ""},
		{Place{At: here}, here, "own coordinates"},
		{Place{Continent: "NA", Country: "US", Subdivision: "CA", At: here}, here, "own coordinates"},
		{Place{Continent: "NA", Country: "US", Subdivision: "CA"}, PointOf(37.2, -119.3), "centroid of NA-US-CA"},
		{Place{Continent: "NA", Country: "US", Subdivision: "CA", ASN: 1}, PointOf(37.2, -119.3), "centroid of NA-US-CA"},
		{Place{Continent: "NA", Country: "US", Subdivision: "QQ"}, PointOf(39.5, -98.4), "centroid of NA-US"},
		{Place{Continent: "EU", Country: "DE"}, PointOf(51.1, 10.4), "centroid of EU-DE"},
		{Place{Country: "DE"}, PointOf(51.1, 10.4), "centroid of ??-DE"},
		{Place{Continent: "AS", Country: "CY"}, PointOf(35, 33.2), "centroid of AS-CY"},
		{Place{Continent: "EU", Country: "QQ"}, Point{}, ""},
		{Place{Continent: "EU", Country: "QQ", Subdivision: "CA"}, Point{}, ""},
	}
	for _, test := range tests {
		point, source := test.place.Point(), test.place.PointSource()
		if source != test.source || point.Known() != test.like.Known() || point.Known() && !(point.Kilometres(test.like) < 100) {
			t.Errorf("%+v: %v, %q; want about %v, %q", test.place, point, source, test.like, test.source)
		}
	}
}

func TestPointOfPlace(t *testing.T) {
	for place, want := range map[string]Place{
		"EU-DE":    {Country: "DE"},
		"EU-DE-BE": {Country: "DE", Subdivision: "BE"},
		"EU":       {},
		"":         {},
		"DE":       {},
	} {
		if got := PointOfPlace(place); got != want.Point() {
			t.Errorf("%q: %v; want %v", place, got, want.Point())
		}
	}
}

// TestCountriesHaveCentroids holds the table of centroids against that of continents.
func TestCountriesHaveCentroids(t *testing.T) {
	// South, north, west, east; where west is above east the box goes over the antimeridian.
	boxes := map[string][4]float64{
		"AF": {-36, 38, -26, 64}, "AN": {-90, -49, -180, 180}, "AS": {-13, 56, 25, 146}, "EU": {34, 79, -29, 98},
		"NA": {7, 76, -130, -40}, "OC": {-53, 21, 105, -124}, "SA": {-55, 13, -92, -34},
	}
	for country, continent := range continentOf {
		p := Place{Country: country}.Point()
		box := boxes[continent]
		if !p.Known() || p.Lat() < box[0] || p.Lat() > box[1] || !eastOf(box[2], box[3], p.Lon()) {
			t.Errorf("the centroid of %s is %q, which is not in %s", country, p, continent)
		}
	}
}

// eastOf reports whether a longitude is on the way east from west.
func eastOf(west, east, lon float64) bool {
	if west > east {
		return lon >= west || lon <= east
	}
	return lon >= west && lon <= east
}

func BenchmarkPlacePoint(b *testing.B) {
	p := Place{Continent: "NA", Country: "US", Subdivision: "CA"}
	b.ReportAllocs()
	for b.Loop() {
		p.Point()
	}
}
