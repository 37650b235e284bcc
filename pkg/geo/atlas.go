// Package geo turns an address into a place, and a list of conditions on places into a partition of
// the whole address space that gives, in one lookup, which condition an address meets and how long a
// prefix that answer holds for (the scope of RFC 7871).
//
// Sources are MMDB files and the operator's own maps. An [Atlas] holds the files, walked once; [Compile]
// makes a [Partition] from an atlas, maps and a classifier. Both are immutable and safe for concurrent use.
package geo

import (
	"encoding/hex"
	"fmt"
	"net/netip"
	"os"
	"sync"
	"time"

	builtin "github.com/gti/gtm/geo"
	"github.com/gti/gtm/pkg/geo/pages"
	"github.com/gti/gtm/pkg/geo/stamp"
)

// Atlas is one immutable set of databases, walked once. It is safe for concurrent use and keeps no file open.
type Atlas struct {
	v4, v6 *packed // of place ids
	places []Place
	infos  []Info
	files  []watched     // what Watch compares with
	took   time.Duration // to open it

	table *LatencyTable // nil: none
	joint *joint        // of places and table; nil without it

	mu      sync.Mutex
	shapes  map[asked]*shape // what Compile made last, for what classifiers asked
	instead bool             // of another than its files, which could not be used
}

// Info describes one database of an atlas.
type Info struct {
	File     string    // as given to Open; "built-in" for the built-in database
	Type     string    // database_type of its metadata, as in GeoLite2-City
	Built    time.Time // build_epoch of its metadata
	Networks int       // networks that hold data, aliases not counted
	SHA256   string    // of the file, hexadecimal
	Sites    int       // of a latency table, how many sites it knows; else 0
}

// Open reads and verifies MMDB files of the GeoIP2 or GeoLite2 City, Country, Enterprise, ASN or ISP
// layout, told by their content. Without files it gives the built-in country database.
//
// Several files are merged: for each field the first file that gives it wins, but what is inside a
// continent or country is only taken from a file that agrees on that continent or country. A corrupt file
// is refused, and the error names it. In ::/96, and in what a file marks as an alias of its IPv4 part
// (::ffff:0:0/96, 6to4, Teredo), IPv6 addresses have no place.
func Open(files ...string) (*Atlas, error) {
	if len(files) == 0 {
		defer pages.Forget(builtin.CountryMMDB)
		return OpenBytes(builtinName, builtin.CountryMMDB)
	}
	var atlas *Atlas
	begun := time.Now()
	for _, file := range files {
		next, err := openFile(file)
		if err != nil {
			return nil, err
		}
		atlas = atlas.merged(next)
	}
	atlas.took = time.Since(begun)
	return atlas, nil
}

// openFile opens one file, which is to be watched.
func openFile(file string) (*Atlas, error) {
	seen := stamp.Of(file)
	mmdb, err := os.ReadFile(file)
	if err != nil {
		return nil, fmt.Errorf("geographic database: %w", err)
	}
	a, err := OpenBytes(file, mmdb)
	if err != nil {
		return nil, err
	}
	a.files = []watched{{file, seen}}
	return a, nil
}

// merged is merge for an a that may be nil, which is nothing yet.
func (a *Atlas) merged(next *Atlas) *Atlas {
	if a == nil {
		return next
	}
	return merge(a, next)
}

// builtinName stands for the built-in database where others have the name of a file.
const builtinName = "built-in"

// OpenBytes is Open for one database in memory; name stands for it in messages. The bytes are not kept.
func OpenBytes(name string, mmdb []byte) (*Atlas, error) {
	db, metadata, err := openMMDB(mmdb)
	if err != nil {
		return nil, corruptError(name, err)
	}
	w, places, err := walkPlaces(db)
	if err != nil {
		return nil, corruptError(name, err)
	}
	info := Info{
		File: name, Type: metadata.DatabaseType, Built: metadata.BuildTime().UTC(),
		Networks: w.networks, SHA256: hex.EncodeToString(sumOf(mmdb)),
	}
	return &Atlas{v4: w.v4, v6: w.v6, places: places, infos: []Info{info}}, nil
}

// corruptError says which file cannot be used, and why.
func corruptError(name string, err error) error {
	return fmt.Errorf("geographic database %s cannot be used: %w (is the file complete? fetch or build it again)", name, err)
}

// Lookup gives the place of addr as the databases have it, before any map, with its latency, and the longest network around
// addr that has both throughout.
func (a *Atlas) Lookup(addr netip.Addr) (Place, netip.Prefix) {
	if !addr.IsValid() {
		return Place{}, netip.Prefix{}
	}
	x, v4 := fromAddr(addr)
	place, scope := a.at(x, v4)
	prefix, _ := x.addr(v4).Prefix(scope)
	return place, prefix
}

func (a *Atlas) at(x u128, v4 bool) (p Place, scope int) {
	if a.joint != nil {
		return a.joint.at(a, x, v4)
	}
	id, scope := a.family(v4).find(x)
	return a.places[id], scope
}

// Info describes the databases, in the order of Open.
func (a *Atlas) Info() []Info { return append([]Info(nil), a.infos...) }

// OpenedIn is how long Open took for it: to read, verify, walk and merge the files. 0 for one that was not opened from files. It says
// nothing of a latency table, which tells by itself.
func (a *Atlas) OpenedIn() time.Duration { return a.took }

func (a *Atlas) family(v4 bool) *packed {
	if v4 {
		return a.v4
	}
	return a.v6
}
