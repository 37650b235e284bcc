// Package table compiles declared resources, static zones, geography and verdicts into the View that answers
// are read from, and keeps compiling as they change.
//
// One Compiler (one goroutine) writes; any number of goroutines read the Views that it gave, which never change.
// A View is cheap to make anew: whatever a change does not touch is shared with the View before.
//
// The house under a query, in the order in which it is walked:
//
//	names of zones  one probe per suffix of the name, longest first; flat lines of 64 bytes
//	names of a zone the same kind of table; its value is a node: sets of records, delegation, wildcard, service
//	partition       the client's network to the index of the first rule that matches, and the scope (pkg/geo)
//	rule            steps of failover; a step is one pool, or several split by weight, and the rule's TTL
//	draw            of a pool, one for each way of picking: alias table over rendered sets, or sticky buckets that rank endpoints
package table
