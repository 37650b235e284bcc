// Package prefetch asks the CPU to bring memory near before it is read.
//
// A load that misses the caches holds up what stands behind it as soon as the CPU's window is full, after some four hundred
// instructions; a prefetch never does. Who has many places to read, each found by the one before in a chain of its own, takes a
// step of every chain and prefetches the next: then all of them are on their way at the same time.
//
// A prefetch changes nothing that a program can see. Each call costs one or two nanoseconds, and more where much is in registers,
// so who has many lines at hand asks for them with one.
package prefetch
