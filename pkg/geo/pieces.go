package geo

import "crypto/sha256"

// What is large is copied and hashed in pieces. Both is done by assembly that cannot be interrupted: while it lasts nobody can stop the
// world, as the garbage collector must twice each time, and who tries to holds up all others, queries among them.
const (
	pieceItems = 1 << 12
	pieceBytes = 1 << 16
)

// clone is slices.Clone.
func clone[T any](s []T) []T { return moved(s, len(s)) }

// grow is slices.Grow: it gives a slice that n elements can be appended to.
func grow[T any](s []T, n int) []T {
	if cap(s)-len(s) >= n {
		return s
	}
	return moved(s, len(s)+max(n, len(s)/4))
}

// moved gives a copy with capacity for so many elements.
func moved[T any](s []T, capacity int) []T {
	out := make([]T, len(s), capacity)
	for at := 0; at < len(s); at += pieceItems {
		copyPiece(out[at:], s[at:min(len(s), at+pieceItems)])
	}
	return out
}

// copyPiece is a function since functions, other than loops around memmove, begin by asking whether they are to stop.
//
//go:noinline
func copyPiece[T any](to, from []T) { copy(to, from) }

// sumOf is sha256.Sum256.
func sumOf(data []byte) []byte {
	h := sha256.New()
	for len(data) > 0 {
		n := min(pieceBytes, len(data))
		_, _ = h.Write(data[:n]) // never fails (hash.Hash)
		data = data[n:]
	}
	return h.Sum(nil)
}
