package geo

import (
	"errors"
	"fmt"
	"math"
	"strings"
)

// record is what gtm reads of a network's data, in the layouts of GeoIP2 and GeoLite2: City, Country,
// Enterprise, ASN, ISP. A layout is told by the fields that are there.
type record struct {
	continent, country, subdivision string
	asn                             uint32
	lat, lon                        float64 // in degrees; NaN where they are not told
}

// record reads the record at a position.
func (s section) record(at int) (r record, err error) {
	var traits uint32
	r.lat, r.lon = math.NaN(), math.NaN()
	err = s.each(at, "the record", func(key []byte, value int) (err error) {
		switch what := string(key); what {
		case "continent":
			r.continent, err = s.member(value, what, "code")
		case "country":
			r.country, err = s.member(value, what, "iso_code")
		case "subdivisions":
			r.subdivision, err = s.firstSubdivision(value)
		case "location":
			err = s.each(value, what, func(key []byte, value int) (err error) {
				switch what := string(key); what {
				case "latitude":
					r.lat, err = s.real(value, what)
				case "longitude":
					r.lon, err = s.real(value, what)
				}
				return err
			})
		case "autonomous_system_number":
			r.asn, err = s.number(value, what)
		case "traits":
			err = s.each(value, what, func(key []byte, value int) (err error) {
				if string(key) == "autonomous_system_number" {
					traits, err = s.number(value, "autonomous_system_number")
				}
				return err
			})
		}
		return err
	})
	if r.asn == 0 {
		r.asn = traits
	}
	return r, err
}

// member gives one string of a map.
func (s section) member(at int, what, name string) (out string, err error) {
	err = s.each(at, what, func(key []byte, value int) error {
		if string(key) != name {
			return nil
		}
		text, err := s.text(value, name)
		out = string(text)
		return err
	})
	return out, err
}

// firstSubdivision gives the code of the widest subdivision: the first of the list.
func (s section) firstSubdivision(at int) (string, error) {
	f, err := s.follow(at)
	switch {
	case err != nil:
		return "", err
	case f.kind != kindArray:
		return "", errors.New("subdivisions is no list")
	case f.size == 0:
		return "", nil
	}
	return s.member(f.body, "a subdivision", "iso_code")
}

// place checks and converts a record. A subdivision that is no code of ISO 3166-2 is left out, and so are coordinates that are no point.
func (r *record) place() (Place, error) {
	p := Place{Continent: strings.ToUpper(r.continent), Country: strings.ToUpper(r.country), ASN: r.asn}
	if p.Continent != "" && continentNames[p.Continent] == "" {
		return p, fmt.Errorf("%q is not a continent code", r.continent)
	}
	if p.Country != "" && !isCode(p.Country, 2, 2) {
		return p, fmt.Errorf("%q is not a country code", r.country)
	}
	if p.Continent == "" {
		p.Continent = continentOf[p.Country]
	}
	if code := strings.ToUpper(r.subdivision); p.Country != "" && isCode(code, 1, 3) {
		p.Subdivision = code
	}
	p.At = r.at()
	return p, nil
}

// at gives the coordinates in whole degrees: classifiers are asked for each distinct place, and the towns of a database would be a
// hundred thousand. It is no surer of them than some 50 km, and half a degree is no more. Where it knows nothing it may say 0 and 0.
func (r *record) at() Point {
	if math.Abs(r.lat) <= 90 && math.Abs(r.lon) <= 180 && (r.lat != 0 || r.lon != 0) {
		return PointOf(math.Round(r.lat), math.Round(r.lon))
	}
	return Point{}
}

// placeReader reads places of a database's data, and numbers the different ones; 0 is the zero Place.
type placeReader struct {
	section
	places []Place
	ids    map[Place]uint32
}

func newPlaceReader(data section) *placeReader {
	return &placeReader{section: data, places: []Place{{}}, ids: map[Place]uint32{{}: 0}}
}

// read gives the id of the place of the data at a position.
func (p *placeReader) read(at int) (uint32, error) {
	r, err := p.record(at)
	if err != nil {
		return 0, err
	}
	place, err := r.place()
	if err != nil {
		return 0, err
	}
	id, ok := p.ids[place]
	if !ok {
		id = uint32(len(p.places))
		p.places = append(p.places, place)
		p.ids[place] = id
	}
	return id, nil
}

// walkPlaces goes through a database of places.
func walkPlaces(db *mmdb) (*walked, []Place, error) {
	reader := newPlaceReader(db.data)
	w, err := walk(db, reader.read)
	if err == nil && len(reader.places) == 1 {
		err = errors.New("it holds no continent, country, subdivision or ASN in the layout of GeoIP2 or GeoLite2 City, Country or ASN")
	}
	return w, reader.places, err
}
