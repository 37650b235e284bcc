package geo

import (
	"errors"
	"fmt"
	"net/netip"
	"strings"

	"github.com/oschwald/maxminddb-golang/v2"
)

// source is one MMDB file walked into runs of place ids; id 0 is the zero Place.
type source struct {
	v4, v6   *runs
	places   []Place
	networks int // that hold data
}

// record is what gtm reads of a network's data, in the layouts of GeoIP2 and GeoLite2: City, Country,
// Enterprise, ASN, ISP. A layout is told by the fields that are there.
type record struct {
	Continent struct {
		Code string `maxminddb:"code"`
	} `maxminddb:"continent"`
	Country struct {
		ISOCode string `maxminddb:"iso_code"`
	} `maxminddb:"country"`
	Subdivisions []struct {
		ISOCode string `maxminddb:"iso_code"`
	} `maxminddb:"subdivisions"`
	ASN    uint32 `maxminddb:"autonomous_system_number"`
	Traits struct {
		ASN uint32 `maxminddb:"autonomous_system_number"`
	} `maxminddb:"traits"`
}

// place checks and converts a record. A subdivision that is no code of ISO 3166-2 is left out.
func (r *record) place() (Place, error) {
	p := Place{Continent: strings.ToUpper(r.Continent.Code), Country: strings.ToUpper(r.Country.ISOCode), ASN: r.ASN}
	if p.Continent != "" && continentNames[p.Continent] == "" {
		return p, fmt.Errorf("%q is not a continent code", r.Continent.Code)
	}
	if p.Country != "" && !isCode(p.Country, 2, 2) {
		return p, fmt.Errorf("%q is not a country code", r.Country.ISOCode)
	}
	if p.Continent == "" {
		p.Continent = continentOf[p.Country]
	}
	if len(r.Subdivisions) > 0 && p.Country != "" {
		if code := strings.ToUpper(r.Subdivisions[0].ISOCode); isCode(code, 1, 3) {
			p.Subdivision = code
		}
	}
	if p.ASN == 0 {
		p.ASN = r.Traits.ASN
	}
	return p, nil
}

// walker goes once through a database.
type walker struct {
	source
	db       *maxminddb.Reader
	ids      map[Place]uint32
	byOffset map[uintptr]uint32 // place ids of data records seen
	next4    u128               // first IPv4 address behind what was seen
	next6    u128
	over4    bool // IPv4 was seen to its end
	over6    bool
}

// behindIPv4 is the first address behind ::/96, where MMDB files keep IPv4. As IPv6 addresses those have
// no place.
var behindIPv4 = u128{lo: 1 << 32}

// walk verifies a database and goes through its networks.
func walk(db *maxminddb.Reader) (*source, error) {
	if err := db.Verify(); err != nil {
		return nil, err
	}
	w := &walker{db: db, ids: map[Place]uint32{{}: 0}, byOffset: map[uintptr]uint32{}}
	w.places = []Place{{}}
	w.v4, w.v6 = newRuns(true, 1024), newRuns(false, 1024)
	w.v6.add(u128{}, 0)
	options := []maxminddb.NetworksOption{maxminddb.IncludeNetworksWithoutData()}
	if p := db.Lookup(netip.IPv4Unspecified()).Prefix(); !p.Addr().Is4() || p.Bits() == 0 {
		// All of IPv4 is one record, so nothing can be an alias of its tree, but the reader would
		// take any other network with the same record for one and leave it out.
		options = append(options, maxminddb.IncludeAliasedNetworks())
	}
	// A tree has one network more than it has nodes; one whose branches share nodes may have endless many.
	return w.all(options, 8*db.Metadata.NodeCount+1<<16)
}

// all goes through the networks, in the order of their addresses, those without data included.
func (w *walker) all(options []maxminddb.NetworksOption, limit uint) (*source, error) {
	for result := range w.db.Networks(options...) {
		if err := result.Err(); err != nil {
			return nil, err
		}
		if limit--; limit == 0 {
			return nil, errors.New("its search tree has far more networks than nodes")
		}
		id, err := w.placeID(result)
		if err != nil {
			return nil, fmt.Errorf("the data of network %s: %w", result.Prefix(), err)
		}
		if err := w.add(result.Prefix(), id); err != nil {
			return nil, err
		}
	}
	if !w.over4 {
		w.v4.add(w.next4, 0)
	}
	if !w.over6 {
		w.v6.add(w.next6, 0)
	}
	if len(w.places) == 1 {
		return nil, errors.New("it holds no continent, country, subdivision or ASN in the layout of GeoIP2 or GeoLite2 City, Country or ASN")
	}
	w.v4.trim()
	w.v6.trim()
	return &w.source, nil
}

// placeID gives the id of a network's place, reading each data record once.
func (w *walker) placeID(result maxminddb.Result) (uint32, error) {
	if !result.Found() {
		return 0, nil
	}
	w.networks++
	if id, ok := w.byOffset[result.Offset()]; ok {
		return id, nil
	}
	var r record
	if err := result.Decode(&r); err != nil {
		return 0, err
	}
	p, err := r.place()
	if err != nil {
		return 0, err
	}
	id, ok := w.ids[p]
	if !ok {
		id = uint32(len(w.places))
		w.places = append(w.places, p)
		w.ids[p] = id
	}
	w.byOffset[result.Offset()] = id
	return id, nil
}

// add appends a network, which must lie behind all that were added.
func (w *walker) add(prefix netip.Prefix, id uint32) error {
	start, v4 := fromAddr(prefix.Addr())
	if v4 {
		return addNetwork(w.v4, &w.next4, &w.over4, prefix, start, id)
	}
	if start == (u128{}) && prefix.Bits() <= 96 {
		// No branch of the tree is IPv4's own: this network holds all of it.
		w.v4.add(u128{}, id)
		w.over4 = true
		start = behindIPv4
	}
	return addNetwork(w.v6, &w.next6, &w.over6, prefix, start, id)
}

// addNetwork appends a network that begins at start to r; what was left out before it has no place.
func addNetwork(r *runs, next *u128, over *bool, prefix netip.Prefix, start u128, id uint32) error {
	if *over || start.less(*next) {
		return fmt.Errorf("network %s stands out of order", prefix)
	}
	r.add(*next, 0)
	r.add(start, id)
	first, _ := fromAddr(prefix.Addr())
	*next, *over = first.after(prefix.Bits())
	return nil
}
