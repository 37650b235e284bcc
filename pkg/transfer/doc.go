// Package transfer speaks the slow, standard protocols between name servers and their friends: TSIG (RFC 8945), zone
// transfers out and in (AXFR, RFC 5936; IXFR, RFC 1995), NOTIFY (RFC 1996), dynamic updates (RFC 2136) and catalog zones (RFC 9432).
//
// An edge has a Server: a message that is not an ordinary question, or that is signed, comes to its Handle, whatever transport it
// came by. Control has a Control, which changes configuration: edges pass updates and NOTIFY on to it.
package transfer
