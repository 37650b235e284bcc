package spec

import "github.com/gti/gtm/pkg/geo"

func checkPlace(place string) error {
	_, err := geo.ParsePlace(place)
	return err
}
