// Package table is what answers are read from: the View, what Decide chooses from it, and why. It never changes; pkg/table/compile makes
// a new one with each change, and nothing here knows how.
//
// A View is cheap to make anew: whatever a change does not touch is shared with the View before. So what compile writes into the parts of
// one (Service, Node, Arm) it writes before the View is given out, and never after.
//
// The house under a query, in the order in which it is walked:
//
//	names of zones  one probe per suffix of the name, longest first; flat lines of 64 bytes (pkg/table/names)
//	names of a zone the same kind of table; its value is a node: sets of records, delegation, wildcard, service (pkg/table/zones)
//	partition       the client's network to the index of the first rule that matches, and the scope (pkg/geo)
//	rule            steps of failover; a step is one pool, or several split by weight, and the rule's TTL
//	draw            of a pool, one for each way of picking: alias table over rendered sets, or sticky buckets that rank endpoints
//	                (pkg/table/draws)
package table
