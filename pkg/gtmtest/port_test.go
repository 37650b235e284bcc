package gtmtest

import (
	"net"
	"testing"
)

// TestNoClientGetsAServersPort: a client that asked a server which was restarting got the server's own port now and then. It then
// heard its own question, and took it for an answer.
func TestNoClientGetsAServersPort(t *testing.T) {
	at := FreePort(t)
	low, high := anyPorts(t)
	if port := int(at.Port()); port >= low && port <= high {
		t.Errorf("port %d is one of those that clients get (%d to %d)", port, low, high)
	}
	server, err := net.Listen("tcp4", at.String())
	if err != nil {
		t.Fatal(err)
	}
	defer server.Close()
	if free(at) {
		t.Errorf("%v is taken, and said to be free", at)
	}
}
