package geo

import (
	"fmt"
	"strings"

	"github.com/gti/gtm/pkg/geo/earth"
)

// Point is a point on Earth.
type Point = earth.Point

// PointOf gives the point at a latitude and longitude in degrees.
func PointOf(lat, lon float64) Point { return earth.PointOf(lat, lon) }

// Place is where a network is. Empty fields are unknown; a field is only set if those before it are,
// except that a database may know a country without its continent.
type Place struct {
	Continent   string // two letters: AF, AN, AS, EU, NA, OC, SA
	Country     string // ISO 3166-1 alpha-2, as in DE
	Subdivision string // the part of ISO 3166-2 behind the dash, as in BE
	ASN         uint32 // autonomous system number; 0: unknown
	At          Point  // its own coordinates, as the database or a map tells them; unknown where they do not
	// Latency is what a latency table tells of the network; nil: nothing. See Classifier.Latency.
	Latency *Latency
}

// String gives the form that people read and type: "EU-DE-BE", "EU-DE", "EU", or "" for an unknown
// place. The ASN is not in it.
func (p Place) String() string {
	if p.Country == "" {
		return p.Continent
	}
	continent := p.Continent
	if continent == "" {
		continent = "??"
	}
	s := continent + "-" + p.Country
	if p.Subdivision != "" {
		s += "-" + p.Subdivision
	}
	return s
}

// Point gives where p is: its own coordinates, or else the centroid of its subdivision, or else that of its country. A continent alone
// is too large to stand for a point: it is unknown.
func (p Place) Point() Point { return p.located().At }

// PointSource tells people where p's Point comes from: "own coordinates", or as in "centroid of EU-DE-BE", or "" where it is unknown.
func (p Place) PointSource() string {
	switch source := p.located(); {
	case p.At.Known():
		return "own coordinates"
	case source.At.Known():
		return "centroid of " + source.String()
	}
	return ""
}

// located gives the part of p that its point is known of, with that point.
func (p Place) located() Place {
	if p.At.Known() {
		return p
	}
	if p.At = earth.Centroid(p.Country, p.Subdivision); !p.At.Known() {
		p.Subdivision = ""
		p.At = earth.Centroid(p.Country, "")
	}
	return p
}

// PointOfPlace gives the centroid of a place as ParsePlace reads it; unknown for a continent, and for what is no place.
func PointOfPlace(s string) Point {
	p, err := ParsePlace(s)
	if err != nil {
		return Point{}
	}
	return p.Point()
}

// In reports whether p lies in where: EU-DE-BE is in EU-DE-BE, EU-DE, EU and the zero Place. ASNs are
// ignored. A country is compared by its own code alone, so that a database which puts Cyprus in Asia
// still answers for EU-CY.
func (p Place) In(where Place) bool {
	switch {
	case where.Country == "":
		return where.Continent == "" || p.Continent == where.Continent
	case where.Subdivision == "":
		return p.Country == where.Country
	default:
		return p.Country == where.Country && p.Subdivision == where.Subdivision
	}
}

// ParsePlace reads a place as in "EU", "EU-DE" or "EU-DE-BE": a continent, a country of ISO 3166-1
// that lies on it, and the part of an ISO 3166-2 code behind its dash. Its errors say what to write instead.
func ParsePlace(s string) (Place, error) {
	if upper := strings.ToUpper(s); upper != s {
		if p, err := ParsePlace(upper); err == nil {
			return Place{}, fmt.Errorf("place %q: codes are upper case: did you mean %q?", s, p)
		}
	}
	parts := strings.Split(s, "-")
	if len(parts) > 3 {
		return Place{}, fmt.Errorf("place %q has %d parts; write continent-country-subdivision, as in EU, EU-DE or NA-US-CA", s, len(parts))
	}
	if continentNames[parts[0]] == "" {
		return Place{}, continentError(s, parts)
	}
	p := Place{Continent: parts[0]}
	if len(parts) > 1 {
		if continentOf[parts[1]] != parts[0] {
			return Place{}, countryError(s, parts)
		}
		p.Country = parts[1]
	}
	if len(parts) > 2 {
		if !isCode(parts[2], 1, 3) {
			return Place{}, fmt.Errorf("place %q: %q is not a subdivision; write the part of its ISO 3166-2 code behind the dash, "+
				"as in %s-%s-BE", s, parts[2], p.Continent, p.Country)
		}
		p.Subdivision = parts[2]
	}
	return p, nil
}

// continentError explains a place whose first part is no continent.
func continentError(s string, parts []string) error {
	first := strings.ToUpper(parts[0])
	if iso := otherCodes[first]; iso != "" {
		first = iso
	}
	if continent := continentOf[first]; continent != "" {
		rest := append([]string{continent, first}, parts[1:]...)
		return fmt.Errorf("place %q must start with a continent: did you mean %q?", s, strings.Join(rest, "-"))
	}
	for code, name := range continentNames {
		if strings.EqualFold(name, parts[0]) {
			return fmt.Errorf("place %q: %q is not a continent code: did you mean %q?", s, parts[0], code)
		}
	}
	return fmt.Errorf("place %q: %q is not a continent; they are AF, AN, AS, EU, NA, OC and SA", s, parts[0])
}

// countryError explains a place whose second part is no country of that continent.
func countryError(s string, parts []string) error {
	country := parts[1]
	iso, hint := country, ""
	if other := otherCodes[country]; other != "" {
		iso, hint = other, fmt.Sprintf("ISO 3166-1 has no %s", country)
	}
	continent := continentOf[iso]
	if continent == "" {
		return fmt.Errorf("place %q: %q is not a country code of ISO 3166-1; write two letters, as in EU-DE", s, country)
	}
	if hint == "" {
		hint = fmt.Sprintf("%s is in %s (%s)", iso, continent, continentNames[continent])
	}
	rest := append([]string{continent, iso}, parts[2:]...)
	return fmt.Errorf("place %q: %s: did you mean %q?", s, hint, strings.Join(rest, "-"))
}

// isCode reports whether s is lo to hi characters of A-Z and 0-9.
func isCode(s string, lo, hi int) bool {
	if len(s) < lo || len(s) > hi {
		return false
	}
	for i := range len(s) {
		if c := s[i]; (c < 'A' || c > 'Z') && (c < '0' || c > '9') {
			return false
		}
	}
	return true
}
