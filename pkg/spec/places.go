package spec

import "github.com/gti/gtm/pkg/geo"

func checkPlace(place string) error {
	_, err := geo.ParsePlace(place)
	return err
}

// Point gives where a site is: its location, or else the centroid of its region; unknown where it has neither, or a continent as region.
func (s *Site) Point() geo.Point {
	if s.Location != nil {
		return s.Location.Point()
	}
	return geo.PointOfPlace(s.Region)
}

// Point gives the location in the form of geo.
func (l *Location) Point() geo.Point { return geo.PointOf(l.Lat, l.Lon) }
