package earth

import (
	"math"
	"regexp"
	"strings"
	"testing"

	builtin "github.com/gti/gtm/geo"
)

// TestCentroids holds the table against what people know.
func TestCentroids(t *testing.T) {
	lines := strings.Count(builtin.Centroids, "\n")
	if n := len(centroids()); n != lines || n < 4000 {
		t.Errorf("%d centroids of %d lines", n, lines)
	}
	country, subdivision := regexp.MustCompile("^[A-Z]{2}$"), regexp.MustCompile("^[A-Z0-9]{0,3}$")
	for at, point := range centroids() {
		if !point.Known() || !country.MatchString(at.country) || !subdivision.MatchString(at.subdivision) {
			t.Errorf("%v is no code, or has no point", at)
		}
		if km := point.Kilometres(Centroid(at.country, "")); !(km < farthest(at.country)) {
			t.Errorf("%v is at %v, %.0f km from the centroid of its country", at, point, km)
		}
	}
	for _, test := range []struct {
		a, b   string
		km, by float64
	}{
		{"US-CA", "US-NY", 3880, 200},
		{"CA-BC", "CA-QC", 3600, 300},
		{"DE-BY", "DE-HH", 520, 60},
		{"RU-MOW", "RU-SPE", 640, 60},
		{"IN-DL", "IN-TN", 1960, 150},
		{"BR-SP", "BR-AM", 2520, 250},
		{"AU-NSW", "AU-WA", 2500, 300},
		{"CN-BJ", "CN-SH", 1070, 60},
		{"GB-ENG", "GB-SCT", 510, 80},
		{"FR-IDF", "FR-PAC", 610, 80},
		{"JP-13", "JP-27", 380, 60},
		{"KZ-75", "KZ-71", 970, 100},
		{"NZ", "AU", 4050, 200},
		{"US", "DE", 7700, 200},
	} {
		if km := centroidOf(test.a).Kilometres(centroidOf(test.b)); !(math.Abs(km-test.km) < test.by) {
			t.Errorf("%s to %s are %.0f km; want %.0f", test.a, test.b, km, test.km)
		}
	}
	if Centroid("US", "QQ").Known() || Centroid("", "").Known() || Centroid("QQ", "").Known() {
		t.Error("what does not exist has a centroid")
	}
}

func centroidOf(code string) Point {
	country, subdivision, _ := strings.Cut(code, "-")
	return Centroid(country, subdivision)
}

func TestCentroidErrors(t *testing.T) {
	for _, line := range []string{"", "DE", "DE 1", "DE 1,", "DE ,1", "DE x,1", "DE 1,2,3"} {
		if err := readCentroid(map[division]Point{}, line); err == nil {
			t.Errorf("%q is read", line)
		}
	}
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
