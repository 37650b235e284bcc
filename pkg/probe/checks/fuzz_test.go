package checks

import (
	"io"
	"net"
	"strings"
	"testing"
	"time"
	"unicode"

	"github.com/gti/gtm/pkg/probe"
)

// Whatever a server sends: no panic, an end, and a short printable reason that quotes none of it.
func FuzzExchange(f *testing.F) {
	for _, seed := range []string{
		"", "\n", "HTTP/1.1 200 OK\r\n\r\n", "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nSECRET", "SECRET\r\n\r\n",
		"HTTP/1.1 200 OK\r\nSECRET\r\n\r\n", "HTTP/1.1 200 SECRET\r\nTransfer-Encoding: SECRET\r\n\r\n",
		"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nSECRET\r\n",
		"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n",
		"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 503 SECRET\r\n\r\n", "HTTP/9.9 SECRET\r\n\r\n", "HTTP/1.1 SECRET\r\n\r\n",
		"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nSECRET\r\n\r\n",
		"HTTP/1.1 200 OK\r\nContent-Length: SECRET\r\n\r\n", "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, sent string) {
		ours, theirs := net.Pipe()
		go func() {
			defer theirs.Close()
			theirs.Read(make([]byte, 4096))
			io.WriteString(theirs, sent)
		}()
		ours.SetDeadline(time.Now().Add(10 * time.Second))
		c := probe.Check{Type: "http", Path: "/", Method: "GET", Status: statuses(200, 200), Body: "ok", Timeout: time.Second}
		r := conclude(c, (&attempt{&c, new(Checker), "host", time.Now()}).exchange(t.Context(), ours))
		ours.Close()
		if r.Outcome == probe.Passed && !strings.Contains(sent, "200") {
			t.Errorf("%q passed", sent)
		}
		if len(r.Reason) > reasonLimit+len("…") || strings.ContainsFunc(r.Reason, func(c rune) bool { return !unicode.IsPrint(c) }) {
			t.Errorf("reason %q", r.Reason)
		}
		if strings.Contains(r.Reason, "SECRET") {
			t.Errorf("the reason quotes the server: %q", r.Reason)
		}
	})
}
