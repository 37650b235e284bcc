//go:build amd64 || arm64

package prefetch

// Byte asks for the cache line of *p.
//
//go:noescape
func Byte(p *byte)

// Uint16 asks for the cache line of *p.
//
//go:noescape
func Uint16(p *uint16)

// Uint32 asks for the cache line of *p.
//
//go:noescape
func Uint32(p *uint32)

// Uint64 asks for the cache line of *p.
//
//go:noescape
func Uint64(p *uint64)
