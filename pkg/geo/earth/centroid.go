package earth

import (
	"fmt"
	"strconv"
	"strings"
	"sync"

	builtin "github.com/gti/gtm/geo"
)

// Centroid gives the centroid of a country (ISO 3166-1), or of a subdivision of one (the part of ISO 3166-2 behind the dash; empty: of
// the country). Unknown where the built-in table does not have it; of countries it has all.
func Centroid(country, subdivision string) Point { return centroids()[division{country, subdivision}] }

// division is a country, or a subdivision of one.
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

// readCentroid adds a line of the table, as in "DE-BE 52.5,13.41".
func readCentroid(table map[division]Point, line string) error {
	code, point, _ := strings.Cut(line, " ")
	country, subdivision, _ := strings.Cut(code, "-")
	north, east, _ := strings.Cut(point, ",")
	lat, err := strconv.ParseFloat(north, 64)
	if err != nil {
		return fmt.Errorf("centroid %q: %w", line, err)
	}
	lon, err := strconv.ParseFloat(east, 64)
	if err != nil {
		return fmt.Errorf("centroid %q: %w", line, err)
	}
	table[division{country, subdivision}] = PointOf(lat, lon)
	return nil
}
