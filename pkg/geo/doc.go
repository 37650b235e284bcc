// Package geo turns an address into a place, and a list of conditions on places into a partition of
// the whole address space that gives, in one lookup, which condition an address meets and how long a
// prefix that answer holds for (the scope of RFC 7871).
//
// Sources are MMDB files and the operator's own maps. An [Atlas] holds the files, walked once; [Compile]
// makes a [Partition] from an atlas, maps and a classifier. Both are immutable and safe for concurrent use.
package geo
