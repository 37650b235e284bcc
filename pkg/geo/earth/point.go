// Package earth knows points on Earth: how far it is between them, and where the centroids of countries and subdivisions are.
package earth

import (
	"fmt"
	"math"
)

// Point is a point on Earth, in degrees of WGS 84, kept in hundredths: some 1.1 km. The zero Point is unknown. Points are equal (==) where
// they are the same: longitude 180 is -180, and a pole has one longitude.
type Point struct {
	lat uint16 // 1 + hundredths of a degree from the South Pole; 0: the Point is unknown
	lon int16  // hundredths of a degree east, from -180.00 to 179.99
}

// earthRadius is the mean radius of Earth, (2a+b)/3 of WGS 84.
const earthRadius = 6371.0088 // km

// PointOf gives the point at a latitude and longitude in degrees. A latitude beyond a pole is the pole's, a longitude may go around
// Earth more than once. What is no finite number gives the unknown Point.
func PointOf(lat, lon float64) Point {
	if math.IsNaN(lat - lat + lon - lon) { // Inf - Inf is NaN
		return Point{}
	}
	north := int(math.Round(100 * max(-90, min(90, lat))))
	east := int(math.Round(100 * math.Remainder(lon, 360)))
	if east == 180_00 {
		east = -180_00
	}
	if north == 90_00 || north == -90_00 {
		east = 0
	}
	return Point{uint16(1 + 90_00 + north), int16(east)}
}

// Known reports whether p is a point at all.
func (p Point) Known() bool { return p.lat != 0 }

// Lat gives degrees north, from -90 to 90; 0 for the unknown Point.
func (p Point) Lat() float64 {
	if !p.Known() {
		return 0
	}
	return float64(int(p.lat)-1-90_00) / 100
}

// Lon gives degrees east, from -180 to 179.99; 0 for the unknown Point.
func (p Point) Lon() float64 { return float64(p.lon) / 100 }

// String gives latitude and longitude, as in "50.11,8.68", or "" for the unknown Point.
func (p Point) String() string {
	if !p.Known() {
		return ""
	}
	return fmt.Sprintf("%v,%v", p.Lat(), p.Lon())
}

// Kilometres gives the great-circle distance on a sphere of Earth's mean radius, which is off by at most 0.6 % of that on the ellipsoid.
// It is the same both ways. To or from the unknown Point it is +Inf, so that what is unknown sorts last.
func (p Point) Kilometres(q Point) float64 { return p.Vector().Kilometres(q.Vector()) }

// Vector is a Point made ready for many distances: the unit vector that leads there from the centre of Earth. The zero Vector is unknown.
type Vector struct{ x, y, z float64 }

// Vector gives p as a Vector.
func (p Point) Vector() Vector {
	if !p.Known() {
		return Vector{}
	}
	const degree = math.Pi / 180
	north, up := math.Sincos(p.Lat() * degree)
	east, front := math.Sincos(p.Lon() * degree)
	return Vector{up * front, up * east, north}
}

// Kilometres is that of the Points, and takes a third of the time.
func (v Vector) Kilometres(w Vector) float64 {
	if v == (Vector{}) || w == (Vector{}) {
		return math.Inf(1)
	}
	// The angle by the lengths of difference and sum: exact for near points as for antipodal ones.
	return earthRadius * 2 * math.Atan2(length(v.x-w.x, v.y-w.y, v.z-w.z), length(v.x+w.x, v.y+w.y, v.z+w.z))
}

func length(x, y, z float64) float64 { return math.Sqrt(x*x + y*y + z*z) }
