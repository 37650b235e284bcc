package spec

import (
	"fmt"
	"regexp"
)

var placeForm = regexp.MustCompile(`^(AF|AN|AS|EU|NA|OC|SA)(-[A-Z]{2}(-[A-Z0-9]{1,3})?)?$`)

// checkPlace checks the form of a place.
func checkPlace(place string) error {
	if !placeForm.MatchString(place) {
		return fmt.Errorf("place %q: write continent-country-subdivision, as in EU, EU-DE or NA-US-CA", place)
	}
	return nil
}
