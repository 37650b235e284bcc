package serve

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/base64"
	"io"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"
	"github.com/prometheus/client_golang/prometheus"
)

// answerWith gives a handler that answers with records, given as text, or whatever the name asked for says.
func answerWith(t testing.TB, answer, authority string) func(*Request) (int, Action) {
	return func(r *Request) (int, Action) {
		var m dns.Msg
		if err := m.Unpack(r.Buf[:r.N]); err != nil {
			t.Error(err)
			return 0, Drop
		}
		m.Response = true
		switch name := m.Question[0].Name; name {
		case "drop.":
			return 0, Drop
		case "servfail.":
			m.Rcode = dns.RcodeServerFailure
		case "stream.":
			r.Produce = func(func([]byte) error) error { t.Error("produced"); return nil }
			return 0, Stream
		case "close.":
			return r.N, Close
		}
		m.Answer, m.Ns = records(t, answer), records(t, authority)
		packed, err := m.Pack()
		if err != nil {
			t.Error(err)
		}
		return copy(r.Buf, packed), Send
	}
}

func records(t testing.TB, text string) (all []dns.RR) {
	for line := range strings.SplitSeq(text, "\n") {
		if rr, err := dns.NewRR(line); err != nil {
			t.Error(err)
		} else if rr != nil {
			all = append(all, rr)
		}
	}
	return all
}

func TestHTTPStatus(t *testing.T) {
	s := startSecure(t, Config{}, answerWith(t, "a. 300 IN A 192.0.2.1\na. 60 IN A 192.0.2.2", ""))
	msg := query(0, "a.", 1)
	encoded := base64.RawURLEncoding.EncodeToString(msg)
	padded := base64.URLEncoding.EncodeToString(query(0, "abcd.", 1))
	if !strings.HasSuffix(padded, "=") {
		t.Fatal("that needs no padding")
	}
	get := func(query string) string { return webPath + query }
	update := slices.Clone(msg)
	update[2] |= 5 << 3
	named := func(name string) []byte { return query(0, name, 1) }
	for _, tc := range []struct {
		name, method, path, kind string
		body                     []byte
		status                   int
		cache                    string
	}{
		{"GET", "GET", get("?dns=" + encoded), "", nil, 200, "max-age=60"},
		{"GET with more", "GET", get("?x=1&dns=" + encoded + "&y=2"), "", nil, 200, "max-age=60"},
		{"HEAD", "HEAD", get("?dns=" + encoded), "", nil, 200, "max-age=60"},
		{"POST", "POST", webPath, webType, msg, 200, "max-age=60"},
		{"POST with a parameter", "POST", webPath, webType + "; charset=x", msg, 200, "max-age=60"},
		{"SERVFAIL", "POST", webPath, webType, named("servfail."), 200, "max-age=0"},
		{"a stream", "POST", webPath, webType, named("stream."), 200, "max-age=0"},
		{"close", "POST", webPath, webType, named("close."), 200, "max-age=0"},
		{"no answer", "POST", webPath, webType, named("drop."), 400, "no-store"},
		{"UPDATE by GET", "GET", get("?dns=" + base64.RawURLEncoding.EncodeToString(update)), "", nil, 400, "no-store"},
		{"UPDATE by POST", "POST", webPath, webType, update, 200, "max-age=60"},
		{"other path", "GET", "/", "", nil, 404, "no-store"},
		{"path below", "POST", webPath + "/", webType, msg, 404, "no-store"},
		{"no query", "GET", webPath, "", nil, 400, "no-store"},
		{"padding", "GET", get("?dns=" + padded), "", nil, 400, "no-store"},
		{"not base64url", "GET", get("?dns=a+b/"), "", nil, 400, "no-store"},
		{"too short", "GET", get("?dns=AAAA"), "", nil, 400, "no-store"},
		{"empty", "POST", webPath, webType, nil, 400, "no-store"},
		{"other type", "POST", webPath, "application/json", msg, 415, "no-store"},
		{"no type", "POST", webPath, "", msg, 415, "no-store"},
		{"other method", "PUT", webPath, webType, msg, 405, "no-store"},
		{"too long", "POST", webPath, webType, make([]byte, 65536), 413, "no-store"},
	} {
		for version, client := range webClients(t, s) {
			r, err := http.NewRequest(tc.method, strings.TrimSuffix(webURL(s), webPath)+tc.path, bytes.NewReader(tc.body))
			if err != nil {
				t.Fatal(err)
			}
			if tc.kind != "" {
				r.Header.Set("Content-Type", tc.kind)
			}
			got, err := client.Do(r)
			if err != nil {
				t.Errorf("%s, %s: %v", tc.name, version, err)
				continue
			}
			body, err := io.ReadAll(got.Body)
			got.Body.Close()
			if err != nil || got.StatusCode != tc.status || got.Header.Get("Cache-Control") != tc.cache || got.Proto != version {
				t.Errorf("%s, %s: status %d, %s, %s, %v", tc.name, version, got.StatusCode, got.Header.Get("Cache-Control"), got.Proto, err)
			}
			if alternative := `h3=":` + strconv.Itoa(int(s.AddrsOf(HTTPS)[0].Port())) + `"; ma=86400`; version != "HTTP/3.0" && got.Header.Get("Alt-Svc") != alternative {
				t.Errorf("%s, %s: alternative %q", tc.name, version, got.Header.Get("Alt-Svc"))
			}
			if tc.status == 200 {
				checkWebReply(t, tc.name+", "+version, tc.method, got, body)
			}
		}
	}
}

func checkWebReply(t *testing.T, name, method string, r *http.Response, body []byte) {
	t.Helper()
	if r.Header.Get("Content-Type") != webType {
		t.Errorf("%s: type %s", name, r.Header.Get("Content-Type"))
	}
	if method == "HEAD" {
		if len(body) != 0 || r.ContentLength == 0 {
			t.Errorf("%s: %d bytes, of %d", name, len(body), r.ContentLength)
		}
		return
	}
	var m dns.Msg
	if err := m.Unpack(body); err != nil || !m.Response && !strings.HasPrefix(name, "close") || int(r.ContentLength) != len(body) {
		t.Errorf("%s: %x, %v", name, body, err)
	}
}

// TestHTTPLengthUnknown sends too much without saying so before.
func TestHTTPLengthUnknown(t *testing.T) {
	s := startSecure(t, Config{}, echo)
	for version, client := range webClients(t, s) {
		r, err := client.Post(webURL(s), webType, io.LimitReader(forever{}, 70000))
		if err != nil {
			t.Errorf("%s: %v", version, err)
			continue
		}
		r.Body.Close()
		if r.StatusCode != http.StatusRequestEntityTooLarge {
			t.Errorf("%s: %s", version, r.Status)
		}
	}
}

type forever struct{}

func (forever) Read(p []byte) (int, error) { return len(p), nil }

// drip gives one byte, and then no more until it is released.
type drip struct {
	given   bool
	release <-chan struct{}
}

func (d *drip) Read(p []byte) (int, error) {
	if d.given {
		<-d.release
		return 0, context.Canceled
	}
	d.given = true
	p[0] = 0
	return 1, nil
}

func TestSlowHTTPClientsAreCutOff(t *testing.T) {
	reg := prometheus.NewRegistry()
	tried := 0.0
	s := startSecure(t, Config{MessageTimeout: 50 * time.Millisecond, FirstTimeout: time.Hour, IdleTimeout: time.Hour, Registerer: reg}, echo)
	for version, client := range webClients(t, s) {
		ctx, cancel := context.WithCancel(t.Context())
		r, err := http.NewRequestWithContext(ctx, "POST", webURL(s), &drip{release: ctx.Done()})
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("Content-Type", webType)
		r.ContentLength = 100
		ended := make(chan error)
		go func() {
			got, err := client.Do(r) // which may wait for its body, though its connection is gone
			if err == nil {
				got.Body.Close()
			}
			ended <- err
		}()
		tried++
		eventually(t, version+": the connection has come and gone", func() bool {
			return metric(t, reg, "gtm_serve_connections_total") == tried && metric(t, reg, "gtm_serve_connections_open") == 0
		})
		cancel()
		if err := <-ended; err == nil {
			t.Errorf("%s: a message that never ended got an answer", version)
		}
	}
}

// TestHTTPClientThatTakesNoRepliesIsCutOff asks on and on by HTTP/1.1 without reading.
func TestHTTPClientThatTakesNoRepliesIsCutOff(t *testing.T) {
	reg := prometheus.NewRegistry()
	s := startSecure(t, Config{MessageTimeout: time.Millisecond, WriteTimeout: 50 * time.Millisecond, Registerer: reg},
		func(r *Request) (int, Action) {
			echo(r)
			return len(r.Buf), Send
		})
	conn := tls.Client(dial(t, "tcp", s.AddrsOf(HTTPS)[0]), clientTLS(t, s, "http/1.1"))
	ask := "GET " + webPath + "?dns=" + base64.RawURLEncoding.EncodeToString(query(0, "a.", 1)) + " HTTP/1.1\r\nHost: ns.example\r\n\r\n"
	for {
		if _, err := conn.Write([]byte(ask)); err != nil {
			break
		}
	}
	eventually(t, "the connection is gone", func() bool { return metric(t, reg, "gtm_serve_connections_open") == 0 })
	if metric(t, reg, "gtm_serve_replies_total", "transport=https") == 0 {
		t.Error("it was not asked at all")
	}
}

// TestMessagesUnderWayAreBounded lets one client have many slow messages by HTTP/2, until it may have no more.
func TestMessagesUnderWayAreBounded(t *testing.T) {
	reg := prometheus.NewRegistry()
	s := startSecure(t, Config{MaxConnsPerClient: 2, MessageTimeout: time.Hour, Registerer: reg}, echo)
	client, other := webClients(t, s)["HTTP/2.0"], dialQUIC(t, s)
	ctx, cancel := context.WithCancel(t.Context())
	const most = 2 * messagesPerConn
	ended := make(chan error, most)
	if _, err := post(client, webURL(s), query(0, "a.", 1)); err != nil { // from here on, there is one connection
		t.Fatal(err)
	}
	for range most {
		r, err := http.NewRequestWithContext(ctx, "POST", webURL(s), &drip{release: ctx.Done()})
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("Content-Type", webType)
		go func() {
			got, err := client.Do(r)
			if err == nil {
				got.Body.Close()
			}
			ended <- err
		}()
	}
	under := func() int {
		s.streams.conns.mu.Lock()
		defer s.streams.conns.mu.Unlock()
		return s.streams.conns.messages
	}
	eventually(t, "all are under way", func() bool { return under() == most })
	if _, err := post(client, webURL(s), query(0, "a.", 1)); err == nil || !strings.Contains(err.Error(), "429") {
		t.Errorf("one more: %v", err)
	}
	if got, err := exchangeQUIC(t, other, frame(query(0, "a.", 1))); err == nil {
		t.Errorf("one more, by QUIC: %x", got)
	}
	if n := metric(t, reg, "gtm_serve_messages_refused_total"); n != 2 {
		t.Errorf("%v refused", n)
	}
	cancel()
	for range most {
		if err := <-ended; err == nil {
			t.Error("a message that never ended got an answer")
		}
	}
	eventually(t, "none is under way", func() bool { return under() == 0 })
	if _, err := exchangeQUIC(t, other, frame(query(0, "a.", 1))); err != nil {
		t.Error(err)
	}
}
