package control

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/gti/gtm/pkg/control/api"
	"github.com/gti/gtm/pkg/control/secure"
	"github.com/gti/gtm/pkg/store"
)

// machine is a reach of a machine that has 10.0.0.21 and 2001:db8::21.
func machine(networks ...string) *reach {
	r := &reach{networks: everywhere, own: store.Edge{ID: "own", HTTP: "127.0.0.1:8053"}, local: func() ([]net.Addr, error) {
		return []net.Addr{&net.IPNet{IP: net.IPv4(10, 0, 0, 21), Mask: net.CIDRMask(24, 32)},
			&net.IPNet{IP: net.ParseIP("2001:db8::21"), Mask: net.CIDRMask(64, 128)}}, nil
	}}
	if networks != nil {
		r.networks = nil
	}
	for _, n := range networks {
		r.networks = append(r.networks, netip.MustParsePrefix(n))
	}
	return r
}

// TestAStolenEdgeCannotSendControlAnywhere: whatever it wrote as its address was fetched, a URL with any scheme, host and path too.
func TestAStolenEdgeCannotSendControlAnywhere(t *testing.T) {
	for _, c := range []struct {
		networks []string
		http     string
		why      string // "": it is asked
	}{
		{nil, "10.0.0.11:8053", ""},
		{nil, "192.0.2.1:8053", ""},
		{nil, "[2001:db8::1]:8053", ""},
		{nil, "[fd00::1]:8053", ""},
		{nil, "http://10.0.0.11:8053", "is not an address with a port"},
		{nil, "10.0.0.11:8053/admin?", "is not an address with a port"},
		{nil, "user@10.0.0.11:8053", "is not an address with a port"},
		{nil, "localhost:8053", "is not an address with a port"},
		{nil, "10.0.0.11", "is not an address with a port"},
		{nil, "10.0.0.11:0", "is not an address with a port"},
		{nil, "[fe80::1%eth0]:8053", "is not an address with a port"},
		{nil, "", "is not an address with a port"},
		{nil, "127.0.0.1:8053", "which is loopback"},
		{nil, "127.9.9.9:8053", "which is loopback"},
		{nil, "[::1]:8053", "which is loopback"},
		{nil, "[::ffff:127.0.0.1]:8053", "which is loopback"},
		{nil, "[::127.0.0.1]:8053", "which is unspecified"},
		{nil, "[64:ff9b::7f00:1]:8053", "a translator's"},
		{nil, "[2002:7f00:1::]:8053", "a tunnel's"},
		{nil, "[2001:0:7f00:1::]:8053", "a tunnel's"},
		{nil, "0.0.0.0:8053", "which is unspecified"},
		{nil, "[::]:8053", "which is unspecified"},
		{nil, "169.254.169.254:80", "which is link-local"},
		{nil, "[fe80::1]:8053", "which is link-local"},
		{nil, "100.100.100.200:80", "a metadata service"},
		{nil, "[fd00:ec2::254]:80", "a metadata service"},
		{nil, "224.0.0.1:8053", "which is multicast"},
		{nil, "255.255.255.255:8053", "which is reserved"},
		{nil, "10.0.0.21:2379", "an address of control's own machine"},
		{nil, "[2001:db8::21]:2379", "an address of control's own machine"},
		{[]string{"10.0.0.0/24"}, "10.0.0.11:8053", ""},
		{[]string{"10.0.0.0/24"}, "10.0.1.11:8053", "control does not ask 10.0.1.11: if that is meant"},
		{[]string{"10.0.0.0/24"}, "10.0.0.21:8053", "an address of control's own machine"},
		{[]string{"10.0.0.21/32"}, "10.0.0.21:8053", ""},
		{[]string{"0.0.0.0/0"}, "127.0.0.1:8053", "which is loopback"},
		{[]string{"127.0.0.0/8"}, "127.0.0.1:8053", ""},
		{[]string{"127.0.0.0/8"}, "10.0.0.11:8053", "control does not ask 10.0.0.11"},
		{[]string{"169.254.0.0/16"}, "169.254.1.1:8053", ""},
	} {
		_, err := machine(c.networks...).find(store.Edge{ID: "e", HTTP: c.http})
		if (err == nil) != (c.why == "") || err != nil && !strings.Contains(err.Error(), c.why) {
			t.Errorf("%q with %v: %v; want %q", c.http, c.networks, err, c.why)
		}
	}
}

// TestTheEdgeOfThisProcessIsAsked wherever it is; another at that address is not, nor this one elsewhere.
func TestTheEdgeOfThisProcessIsAsked(t *testing.T) {
	r := machine()
	if _, err := r.find(r.own); err != nil {
		t.Error(err)
	}
	for _, e := range []store.Edge{{ID: "e", HTTP: r.own.HTTP}, {ID: "own", HTTP: "127.0.0.1:2379"}} {
		if _, err := r.find(e); err == nil {
			t.Errorf("%+v is asked", e)
		}
	}
	r.local = func() ([]net.Addr, error) { return nil, errors.New("no more descriptors") }
	if _, err := r.find(store.Edge{ID: "e", HTTP: "192.0.2.1:1"}); err == nil {
		t.Error("whose address it is was not known, and it was asked")
	}
}

// TestWhatAnswersIsNotTold: errors held what answered (ID, status, text), so that a stolen edge made control an eye behind walls.
func TestWhatAnswersIsNotTold(t *testing.T) {
	const secret = "the secret of the intranet"
	for what, answer := range map[string]http.HandlerFunc{
		"a page":         func(rw http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(rw, secret) },
		"another's JSON": func(rw http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(rw, `{"id": "`+secret+`"}`) },
		"no name": func(rw http.ResponseWriter, _ *http.Request) {
			_, _ = io.WriteString(rw, `{"tenants": {"`+secret+`": 1}}`)
		},
		"a no": func(rw http.ResponseWriter, _ *http.Request) { http.Error(rw, secret, http.StatusTeapot) },
		"an error": func(rw http.ResponseWriter, _ *http.Request) {
			rw.WriteHeader(http.StatusForbidden)
			_, _ = io.WriteString(rw, `{"error": "`+secret+`"}`)
		},
		"a redirect": func(rw http.ResponseWriter, r *http.Request) { http.Redirect(rw, r, "/"+secret, http.StatusFound) },
		"no HTTP": func(rw http.ResponseWriter, _ *http.Request) {
			conn, _, err := rw.(http.Hijacker).Hijack()
			if err == nil {
				_, _ = io.WriteString(conn, secret+"\r\n\r\n")
				_ = conn.Close()
			}
		},
	} {
		var asked atomic.Int64
		web := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
			asked.Add(1)
			answer(rw, r)
		}))
		w := newWorld(t)
		w.store.edges = []store.Edge{{ID: "ams1", HTTP: strings.TrimPrefix(web.URL, "http://"), Alive: true}}
		e := w.edgeOf(t, "ams1")
		explained := w.ask(t, "GET", "/v1/explain?host=web.example", nil, nil)
		web.Close()
		if e.Status != nil || e.Error != errNotThisEdge.Error() && e.Error != errUnreachable.Error() {
			t.Errorf("%s: %+v", what, e)
		}
		if explained.Code != http.StatusBadGateway || strings.Contains(explained.Body.String(), secret) || asked.Load() != 2 {
			t.Errorf("%s: explain: %d %s; asked %d times", what, explained.Code, explained.Body, asked.Load())
		}
	}
}

// TestAnAnswerOfAnEdgeIsBounded: 32 edges could hold 16 MiB each, and what that becomes in memory.
func TestAnAnswerOfAnEdgeIsBounded(t *testing.T) {
	reply := func(size int) string {
		const frame = `{"id": "ams1", "version": ""}`
		return `{"id": "ams1", "version": "` + strings.Repeat("x", size-len(frame)) + `"}`
	}
	for _, c := range []struct {
		what, body string
		err        error
	}{
		{"small", reply(100), nil},
		{"as large as a small one may be", reply(smallEdgeReply - 1), nil},
		{"large", reply(smallEdgeReply), nil},
		{"as large as it may be", reply(maxEdgeReply), nil},
		{"larger", reply(maxEdgeReply + 1), errTooMuch},
		{"of many small things", `{"id": "ams1", "broken": [` + strings.Repeat("{},", maxEdgeValues) + `{}]}`, errTooMuch},
	} {
		w := newWorld(t)
		data, done, err := w.usual().readReply(t.Context(), strings.NewReader(c.body)) // not by a socket, since an edge has two seconds
		done()
		if !errors.Is(err, c.err) || err == nil && string(data) != c.body {
			t.Errorf("%s: %d bytes, %v, want %v", c.what, len(data), err, c.err)
		}
		if len(w.largeReply) != 0 {
			t.Errorf("%s: its turn was not given back", c.what)
		}
	}
}

// TestLargeAnswersTakeTurns: while one is held, another waits, and a small one does not.
func TestLargeAnswersTakeTurns(t *testing.T) {
	w := newWorld(t)
	w.largeReply <- struct{}{} // somebody's turn
	data, done, err := w.usual().readReply(t.Context(), bytes.NewReader(make([]byte, smallEdgeReply-1)))
	if err != nil || len(data) != smallEdgeReply-1 {
		t.Errorf("a small one: %d bytes, %v", len(data), err)
	}
	done()
	over, cancel := context.WithCancel(t.Context())
	cancel()
	large := func() error {
		_, done, err := w.usual().readReply(over, bytes.NewReader(make([]byte, smallEdgeReply)))
		done()
		return err
	}
	if err := large(); !errors.Is(err, errUnreachable) {
		t.Errorf("it did not wait: %v", err)
	}
	<-w.largeReply
	if _, _, err := w.usual().readReply(t.Context(), bytes.NewReader(make([]byte, smallEdgeReply))); err != nil || len(w.largeReply) != 1 {
		t.Errorf("%v; %d turns are taken", err, len(w.largeReply))
	}
}

// TestAnEdgesOwnNoIsPassedOn, without what could move a terminal.
func TestAnEdgesOwnNoIsPassedOn(t *testing.T) {
	no := refusalOf(store.Edge{ID: "ams1"}, http.StatusNotFound,
		[]byte(`{"edge": "ams1", "error": "no service\u001b[2J at x`+strings.Repeat("y", 2000)+`"}`))
	var refusal *edgeRefusal
	if !errors.As(no, &refusal) || refusal.status != 404 || !strings.HasPrefix(no.Error(), "no service[2J at x") ||
		len(no.Error()) != 1024 {
		t.Errorf("%v", no)
	}
}

// TestTheAuthorIsWhoWasAuthenticated: whatever a header said stood in the history as if it were known.
func TestTheAuthorIsWhoWasAuthenticated(t *testing.T) {
	w := newWorld(t)
	w.ask(t, "POST", "/v1/apply", `{`+onePool+`}`, &api.ApplyReply{})
	var h api.History
	w.ask(t, "GET", "/v1/history/shop", nil, &h)
	if h.Records[0].Author != asked {
		t.Errorf("history: %+v", h.Records[0])
	}
	w.ask(t, "POST", "/v1/pools/shop/eu/drain", `{"endpoint": "a", "reason": "r"}`, &api.ApplyReply{})
	var status api.Status
	w.ask(t, "GET", "/v1/status", nil, &status)
	if !strings.Contains(fmt.Sprint(status.Pools[0].Overrides), asked) {
		t.Errorf("overrides: %+v", status.Pools[0].Overrides)
	}
}

// TestAnEdgeIsKnownByItsPin: an edge that speaks TLS is asked by that, and what shows another key is not that edge.
func TestAnEdgeIsKnownByItsPin(t *testing.T) {
	shows, err := secure.Open(secure.Config{Dir: t.TempDir(), Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	web := httptest.NewUnstartedServer(http.HandlerFunc(func(rw http.ResponseWriter, _ *http.Request) {
		_, _ = io.WriteString(rw, `{"id": "ams1", "tenants": {"shop": 41}}`)
	}))
	web.Listener = tls.NewListener(web.Listener, shows.TLS())
	web.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, slog.LevelError)
	web.Start()
	defer web.Close()
	pin, _ := shows.Pin()
	w := newWorld(t)
	at := strings.TrimPrefix(web.URL, "http://")
	for given, known := range map[string]bool{pin: true, "sha256:" + strings.Repeat("0", 64): false, "": false} {
		w.store.edges = []store.Edge{{ID: "ams1", HTTP: at, Pin: given, Alive: true}}
		if e := w.edgeOf(t, "ams1"); (e.Status != nil) != known || !known && e.Error != errNotThisEdge.Error() {
			t.Errorf("by %q: %+v", given, e)
		}
	}
}
