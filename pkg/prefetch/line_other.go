//go:build !amd64 && !arm64

package prefetch

import "unsafe"

// line does nothing on this CPU.
func line(unsafe.Pointer) {}

// lines does nothing on this CPU.
func lines([]Line) {}
