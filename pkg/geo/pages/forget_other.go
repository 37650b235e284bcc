//go:build !linux

package pages

// Forget does nothing here: it is for Linux.
func Forget([]byte) {}
