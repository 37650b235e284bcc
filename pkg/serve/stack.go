package serve

// handshakeStack is more than the calls of a TLS handshake need at once, and with what else is on the stack it still is
// less than what Go's runtime has at hand for each CPU (16 KB).
const handshakeStack = 10 << 10

// deepen has the calling goroutine's stack grow by what a handshake needs, all at once and while there is little on it. Else it
// would grow in steps, each of which copies the stack and looks up every call on it: 3 % of what a new connection costs.
//
//go:noinline
func deepen(i int) byte {
	var room [handshakeStack]byte
	room[i] = 1 // or else the compiler would do without room
	return room[2*i]
}
