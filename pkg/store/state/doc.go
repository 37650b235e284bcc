// Package state is what the store holds, as those see it who follow it: tenants at their generations, verdicts, keysets, the updates
// that lead from one state to the next, and the mirror that adds them up. It knows no etcd and no disk; package store brings updates,
// and package snapshot keeps them.
package state
