// Package geo holds the built-in country database; README.md beside it tells where it comes from.
package geo

import _ "embed"

// CountryMMDB is an MMDB in the layout of GeoLite2-Country, made from the IPFire location database
// (CC BY-SA 4.0). It must not be modified.
//
//go:embed country.mmdb
var CountryMMDB []byte
