// Package names maps names of zones and in zones to numbers, in flat lines of 64 bytes: one probe for each suffix of a name that is
// asked for.
package names
