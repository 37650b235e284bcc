// Package transfer speaks the slow, standard protocols between name servers and their friends: TSIG (RFC 8945), zone
// transfers (AXFR, RFC 5936; IXFR, RFC 1995) and NOTIFY (RFC 1996).
//
// A message that is not an ordinary question, or that is signed, comes to Server.Handle, whatever transport it came by.
package transfer
