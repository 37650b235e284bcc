//go:build !amd64 && !arm64

package prefetch

// Byte does nothing on this CPU.
func Byte(*byte) {}

// Uint16 does nothing on this CPU.
func Uint16(*uint16) {}

// Uint32 does nothing on this CPU.
func Uint32(*uint32) {}

// Uint64 does nothing on this CPU.
func Uint64(*uint64) {}
