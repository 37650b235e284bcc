// Package draws is how clients draw from pools: alias tables and sticky tables over rendered sets of records. draw.go and joint.go
// are what a query runs, and what reads in split.go; the other files make draws of pools.
package draws
