package geo

import (
	"math"
	"strings"
	"testing"

	builtin "github.com/gti/gtm/geo"
)

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

// TestCentroidsAreWhereTheyShould holds the table against what people know: which continent a country is on, and how far apart some are.
func TestCentroidsAreWhereTheyShould(t *testing.T) {
	lines := strings.Count(builtin.Centroids, "\n")
	if n := len(centroids()); n != lines || n < 4000 {
		t.Errorf("%d centroids of %d lines", n, lines)
	}
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
	for at, point := range centroids() {
		country := Place{Country: at.country}.Point()
		if continentOf[at.country] == "" || at.subdivision != "" && !isCode(at.subdivision, 1, 3) {
			t.Errorf("%v is no code", at)
		}
		if km := point.Kilometres(country); !(km < farthest(at.country)) {
			t.Errorf("%v is at %v, %.0f km from the centroid of its country", at, point, km)
		}
	}
	for _, test := range []struct {
		a, b   string
		km, by float64
	}{
		{"NA-US-CA", "NA-US-NY", 3880, 200},
		{"NA-CA-BC", "NA-CA-QC", 3600, 300},
		{"EU-DE-BY", "EU-DE-HH", 520, 60},
		{"EU-RU-MOW", "EU-RU-SPE", 640, 60},
		{"AS-IN-DL", "AS-IN-TN", 1960, 150},
		{"SA-BR-SP", "SA-BR-AM", 2520, 250},
		{"OC-AU-NSW", "OC-AU-WA", 2500, 300},
		{"AS-CN-BJ", "AS-CN-SH", 1070, 60},
		{"EU-GB-ENG", "EU-GB-SCT", 510, 80},
		{"EU-FR-IDF", "EU-FR-PAC", 610, 80},
		{"AS-JP-13", "AS-JP-27", 380, 60},
		{"AS-KZ-75", "AS-KZ-71", 970, 100},
	} {
		if km := PointOfPlace(test.a).Kilometres(PointOfPlace(test.b)); !(math.Abs(km-test.km) < test.by) {
			t.Errorf("%s to %s are %.0f km; want %.0f", test.a, test.b, km, test.km)
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

// farthest is how far from its country's centroid a subdivision may be, in km: those that go round the world have far ones.
func farthest(country string) float64 {
	switch country {
	case "FR", "UM", "US", "NL":
		return 17_000
	case "RU", "CA", "BR", "AU", "CN", "CL", "EC", "ES", "ID", "KI", "NZ", "PT", "SH":
		return 5000
	}
	return 2300
}

func BenchmarkCentroids(b *testing.B) {
	b.ReportAllocs()
	for b.Loop() {
		table := map[division]Point{}
		for line := range strings.Lines(builtin.Centroids) {
			_ = readCentroid(table, strings.TrimSuffix(line, "\n"))
		}
	}
}

func BenchmarkPlacePoint(b *testing.B) {
	p := Place{Continent: "NA", Country: "US", Subdivision: "CA"}
	b.ReportAllocs()
	for b.Loop() {
		p.Point()
	}
}
