package spec

import (
	"testing"

	"github.com/gti/gtm/pkg/geo"
)

func TestSitePoint(t *testing.T) {
	for _, test := range []struct {
		name string
		site Site
		want geo.Point
	}{
		{"location", Site{Location: &Location{Lat: 50.11, Lon: 8.68}}, geo.PointOf(50.11, 8.68)},
		{"location before region", Site{Location: &Location{Lat: 50.11, Lon: 8.68}, Region: "NA-US"}, geo.PointOf(50.11, 8.68)},
		{"location at 0 and 0", Site{Location: &Location{}}, geo.PointOf(0, 0)},
		{"region", Site{Region: "NA-US-CA"}, geo.Place{Country: "US", Subdivision: "CA"}.Point()},
		{"continent", Site{Region: "NA"}, geo.Point{}},
		{"nothing", Site{}, geo.Point{}},
	} {
		if got := test.site.Point(); got != test.want {
			t.Errorf("%s: %q; want %q", test.name, got, test.want)
		}
	}
}
