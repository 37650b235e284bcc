// Package chaos holds tests of a whole gtm on its worst days: members, control, edges and probers are killed, stopped, cut off and
// restored, under a load that judges every answer and writers that remember every acknowledgement. They need the build tag interop,
// Linux and root; `make interop` runs them, `make chaos` the randomized one for as long as one likes.
package chaos
