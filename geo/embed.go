// Package geo holds the built-in country database and the table of centroids; README.md beside it tells where they come from.
package geo

import _ "embed"

// CountryMMDB is an MMDB in the layout of GeoLite2-Country, made from the IPFire location database
// (CC BY-SA 4.0). It must not be modified.
//
//go:embed country.mmdb
var CountryMMDB []byte

// Centroids has a line for each country and subdivision: a code of ISO 3166-1 or 3166-2, and latitude and longitude in degrees, as in
// "DE-BE 52.5,13.41". It is made from Natural Earth (public domain).
//
//go:embed centroids.txt
var Centroids string
