package checks

import (
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"

	"github.com/gti/gtm/pkg/probe"
)

// talk is a websocket server that answers by the path.
func talk(w http.ResponseWriter, r *http.Request) {
	switch r.URL.Path {
	case "/status":
		w.WriteHeader(http.StatusForbidden)
		return
	case "/headers":
		w.Header().Set("X", strings.Repeat("x", 1<<20))
		w.WriteHeader(http.StatusForbidden)
		return
	case "/loop":
		http.Redirect(w, r, "/loop", http.StatusFound)
		return
	case "/accept": // with the key of another
		if conn, _, err := http.NewResponseController(w).Hijack(); err == nil {
			io.WriteString(conn, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"+
				"Sec-WebSocket-Accept: SECRET\r\n\r\n")
			conn.Close()
		}
		return
	case "/hang":
		<-r.Context().Done()
		return
	}
	socket, err := websocket.Accept(w, r, nil)
	if err != nil {
		return
	}
	defer socket.CloseNow()
	ctx := context.Background()
	switch r.URL.Path {
	case "/echo":
		_, message, _ := socket.Read(ctx)
		socket.Write(ctx, websocket.MessageText, append([]byte("you said "), message...))
	case "/hello":
		socket.Write(ctx, websocket.MessageText, []byte(`{"host": "`+r.Host+`", "x": "`+r.Header.Get("X")+`"}`))
	case "/long":
		socket.Write(ctx, websocket.MessageText, []byte(strings.Repeat("x", 48<<10)+"needle"))
	case "/close":
		socket.Close(websocket.StatusTryAgainLater, "SECRET")
	case "/cut":
	case "/large":
		out, _ := socket.Writer(ctx, websocket.MessageBinary)
		for block := make([]byte, 64<<10); err == nil; {
			_, err = out.Write(block)
		}
	}
	if r.URL.Path != "/cut" {
		socket.Read(ctx)
	}
}

func TestWebsocket(t *testing.T) {
	ca := newAuthority(t)
	plain := httptest.NewServer(http.HandlerFunc(talk))
	defer plain.Close()
	secure := server(t, ca, http.HandlerFunc(talk), "http/1.1")
	for _, tc := range []struct {
		what   string
		check  probe.Check
		reason string
	}{
		{"taken up", probe.Check{}, ""},
		{"a message", probe.Check{Path: "/echo", Send: "hi", Body: "you said hi"}, ""},
		{"another message", probe.Check{Path: "/echo", Send: "hi", Body: "bye"}, `body: its first 64 KiB do not contain "bye"`},
		{"without being asked, and by a name", probe.Check{Path: "/hello", Name: "example.com", Headers: map[string]string{"X": "y"},
			JSON: map[string]string{"/host": "example.com", "/x": "y"}}, ""},
		{"a long message", probe.Check{Path: "/long", Body: "needle"}, ""},
		{"headers that are too long", probe.Check{Path: "/headers"}, "response: the server breaks the protocol"},
		{"another status", probe.Check{Path: "/status"}, "status 403, want 101"},
		{"a loop of redirects", probe.Check{Path: "/loop"}, "status 302, want 101"},
		{"a wrong key", probe.Check{Path: "/accept"}, "response: the server breaks the protocol"},
		{"never answers", probe.Check{Path: "/hang", Timeout: 200 * time.Millisecond}, "response: timeout after 200ms"},
		{"never says a word", probe.Check{Path: "/quiet", Body: "x", Timeout: 200 * time.Millisecond}, "message: timeout after 200ms"},
		{"closed", probe.Check{Path: "/close", Body: "x"}, "message: the server closed with status 1013"},
		{"cut", probe.Check{Path: "/cut", Body: "x"}, "message: the connection was closed too early"},
		{"a message without end", probe.Check{Path: "/large", Body: "x"}, "message: it is longer than 64 KiB"},
	} {
		for over, to := range map[bool]netip.AddrPort{false: addrOf(plain), true: addrOf(secure)} {
			c := tc.check
			c.Type, c.Addrs, c.TLS, c.CA = "websocket", []netip.AddrPort{to}, over, ca.pem
			if c.Timeout == 0 {
				c.Timeout = 10 * time.Second
			}
			if c.Path == "" {
				c.Path = "/"
			}
			want := probe.Passed
			if tc.reason != "" {
				want = probe.Failed
			}
			k := Checker{Guard: loopback}
			wants(t, k.Check(context.Background(), c), tc.what, want, tc.reason)
		}
	}
	k := Checker{Guard: loopback}
	for _, tc := range []struct {
		what   string
		to     netip.AddrPort
		reason string
	}{
		{"nobody there", closed(t), "connect: connection refused"},
		{"not HTTP", raw(t, "SSH-2.0-secret\r\n"), "response: the server breaks the protocol"},
		{"headers without end", endlessHeader(t), "response: the server breaks the protocol"},
	} {
		c := probe.Check{Type: "websocket", Addrs: []netip.AddrPort{tc.to}, Path: "/", Timeout: 10 * time.Second}
		wants(t, k.Check(context.Background(), c), tc.what, probe.Failed, tc.reason)
	}
	c := probe.Check{Type: "websocket", Addrs: []netip.AddrPort{addrOf(plain)}, Path: "/", Timeout: 10 * time.Second}
	wants(t, new(Checker).Check(context.Background(), c), "guarded", probe.Unable, errRefused.Error())
}

// endlessHeader answers with a header that does not end.
func endlessHeader(t *testing.T) netip.AddrPort {
	t.Helper()
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		conn, _, err := http.NewResponseController(w).Hijack()
		if err != nil {
			t.Error(err)
			return
		}
		defer conn.Close()
		_, err = io.WriteString(conn, "HTTP/1.1 101 Switching Protocols\r\nX: ")
		for block := make([]byte, 64<<10); err == nil; {
			for i := range block {
				block[i] = 'x'
			}
			_, err = conn.Write(block)
		}
	}))
	t.Cleanup(s.Close)
	return addrOf(s)
}
