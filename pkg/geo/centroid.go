package geo

import (
	"fmt"
	"strconv"
	"strings"
	"sync"

	builtin "github.com/gti/gtm/geo"
)

// Point gives where p is: its own coordinates, or else the centroid of its subdivision, or else that of its country. A continent alone
// is too large to stand for a point: it is unknown.
func (p Place) Point() Point {
	point, _ := p.located()
	return point
}

// PointSource tells people where p's Point comes from: "own coordinates", or as in "centroid of EU-DE-BE", or "" where it is unknown.
func (p Place) PointSource() string {
	_, source := p.located()
	if source == (Place{}) {
		return ""
	}
	if source.At.Known() {
		return "own coordinates"
	}
	return "centroid of " + source.String()
}

// PointOfPlace gives the centroid of a place as ParsePlace reads it; unknown for a continent, and for what is no place.
func PointOfPlace(s string) Point {
	p, err := ParsePlace(s)
	if err != nil {
		return Point{}
	}
	return p.Point()
}

// located gives the point of p, and the place that it is the point of.
func (p Place) located() (Point, Place) {
	if p.At.Known() {
		return p.At, Place{At: p.At}
	}
	table := centroids()
	if p.Subdivision != "" {
		if point, ok := table[division{p.Country, p.Subdivision}]; ok {
			return point, Place{Continent: p.Continent, Country: p.Country, Subdivision: p.Subdivision}
		}
	}
	if point, ok := table[division{country: p.Country}]; ok {
		return point, Place{Continent: p.Continent, Country: p.Country}
	}
	return Point{}, Place{}
}

// division is a country, or a subdivision of one, whatever its continent.
type division struct{ country, subdivision string }

// centroids is the built-in table, read when it is first asked for.
var centroids = sync.OnceValue(func() map[division]Point {
	table := make(map[division]Point, strings.Count(builtin.Centroids, "\n"))
	for line := range strings.Lines(builtin.Centroids) {
		if err := readCentroid(table, strings.TrimSuffix(line, "\n")); err != nil {
			panic(err) // it is part of the program, and a test reads it
		}
	}
	return table
})

// readCentroid adds a line of the table.
func readCentroid(table map[division]Point, line string) error {
	code, point, _ := strings.Cut(line, " ")
	country, subdivision, _ := strings.Cut(code, "-")
	north, east, _ := strings.Cut(point, ",")
	lat, err := strconv.ParseFloat(north, 64)
	if err == nil {
		var lon float64
		lon, err = strconv.ParseFloat(east, 64)
		table[division{country, subdivision}] = PointOf(lat, lon)
	}
	if err != nil {
		return fmt.Errorf("centroid %q: %w", line, err)
	}
	return nil
}
