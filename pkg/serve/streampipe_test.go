package serve

import (
	"bytes"
	"net"
	"testing"

	"github.com/gti/gtm/pkg/serve/servetest"
)

// TestMessagesInTwoPieces sends messages in two pieces each, as clients with Nagle's algorithm do.
func TestMessagesInTwoPieces(t *testing.T) {
	s := startSecure(t, Config{}, servetest.Echo)
	conn := servetest.Dial(t, "tcp", s.Addrs()[0]).(*net.TCPConn)
	if err := conn.SetNoDelay(false); err != nil {
		t.Fatal(err)
	}
	for i := range 20 {
		msg := servetest.Frame(servetest.Query(uint16(i), "a.", 1))
		servetest.Write(t, conn, msg[:2])
		servetest.Write(t, conn, msg[2:])
		if got, err := servetest.ReadFrame(conn); err != nil || !bytes.Equal(got, servetest.Reply(msg[2:])) {
			t.Fatalf("%x, %v", got, err)
		}
	}
}
