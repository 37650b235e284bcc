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

	"github.com/gti/gtm/pkg/serve/servetest"
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
	msg := servetest.Query(0, "a.", 1)
	encoded := base64.RawURLEncoding.EncodeToString(msg)
	padded := base64.URLEncoding.EncodeToString(servetest.Query(0, "abcd.", 1))
	if !strings.HasSuffix(padded, "=") {
		t.Fatal("that needs no padding")
	}
	get := func(query string) string { return servetest.DNSPath + query }
	update := slices.Clone(msg)
	update[2] |= 5 << 3
	named := func(name string) []byte { return servetest.Query(0, name, 1) }
	for _, tc := range []struct {
		name, method, path, kind string
		body                     []byte
		status                   int
		cache                    string
	}{
		{"GET", "GET", get("?dns=" + encoded), "", nil, 200, "max-age=60"},
		{"GET with more", "GET", get("?x=1&dns=" + encoded + "&y=2"), "", nil, 200, "max-age=60"},
		{"HEAD", "HEAD", get("?dns=" + encoded), "", nil, 200, "max-age=60"},
		{"POST", "POST", servetest.DNSPath, servetest.DNSType, msg, 200, "max-age=60"},
		{"POST with a parameter", "POST", servetest.DNSPath, servetest.DNSType + "; charset=x", msg, 200, "max-age=60"},
		{"SERVFAIL", "POST", servetest.DNSPath, servetest.DNSType, named("servfail."), 200, "max-age=0"},
		{"a stream", "POST", servetest.DNSPath, servetest.DNSType, named("stream."), 200, "max-age=0"},
		{"close", "POST", servetest.DNSPath, servetest.DNSType, named("close."), 200, "max-age=0"},
		{"no answer", "POST", servetest.DNSPath, servetest.DNSType, named("drop."), 400, "no-store"},
		{"UPDATE by GET", "GET", get("?dns=" + base64.RawURLEncoding.EncodeToString(update)), "", nil, 400, "no-store"},
		{"UPDATE by POST", "POST", servetest.DNSPath, servetest.DNSType, update, 200, "max-age=60"},
		{"other path", "GET", "/", "", nil, 404, "no-store"},
		{"path below", "POST", servetest.DNSPath + "/", servetest.DNSType, msg, 404, "no-store"},
		{"no query", "GET", servetest.DNSPath, "", nil, 400, "no-store"},
		{"padding", "GET", get("?dns=" + padded), "", nil, 400, "no-store"},
		{"not base64url", "GET", get("?dns=a+b/"), "", nil, 400, "no-store"},
		{"too short", "GET", get("?dns=AAAA"), "", nil, 400, "no-store"},
		{"empty", "POST", servetest.DNSPath, servetest.DNSType, nil, 400, "no-store"},
		{"other type", "POST", servetest.DNSPath, "application/json", msg, 415, "no-store"},
		{"no type", "POST", servetest.DNSPath, "", msg, 415, "no-store"},
		{"other method", "PUT", servetest.DNSPath, servetest.DNSType, msg, 405, "no-store"},
		{"too long", "POST", servetest.DNSPath, servetest.DNSType, make([]byte, 65536), 413, "no-store"},
	} {
		for version, client := range servetest.WebClients(t, s) {
			r, err := http.NewRequest(tc.method, strings.TrimSuffix(servetest.WebURL(s), servetest.DNSPath)+tc.path,
				bytes.NewReader(tc.body))
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
			if alternative := `h3=":` + strconv.Itoa(int(s.AddrsOf(HTTPS)[0].Port())) + `"; ma=86400`; version != "HTTP/3.0" &&
				got.Header.Get("Alt-Svc") != alternative {
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
	if r.Header.Get("Content-Type") != servetest.DNSType {
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
	s := startSecure(t, Config{}, servetest.Echo)
	for version, client := range servetest.WebClients(t, s) {
		r, err := client.Post(servetest.WebURL(s), servetest.DNSType, io.LimitReader(forever{}, 70000))
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

func TestSlowHTTPClientsAreCutOff(t *testing.T) {
	reg := prometheus.NewRegistry()
	tried := 0.0
	s := startSecure(t, Config{MessageTimeout: 50 * time.Millisecond, FirstTimeout: time.Hour, IdleTimeout: time.Hour, Registerer: reg},
		servetest.Echo)
	for version, client := range servetest.WebClients(t, s) {
		ctx, cancel := context.WithCancel(t.Context())
		r, err := http.NewRequestWithContext(ctx, "POST", servetest.WebURL(s), &servetest.Drip{Release: ctx.Done()})
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("Content-Type", servetest.DNSType)
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
		servetest.Eventually(t, version+": the connection has come and gone", func() bool {
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
			servetest.Echo(r)
			return len(r.Buf), Send
		})
	conn := tls.Client(servetest.Dial(t, "tcp", s.AddrsOf(HTTPS)[0]), servetest.ClientTLS(t, s, "http/1.1"))
	ask := "GET " + servetest.DNSPath + "?dns=" + base64.RawURLEncoding.EncodeToString(servetest.Query(0, "a.",
		1)) + " HTTP/1.1\r\nHost: ns.example\r\n\r\n"
	for {
		if _, err := conn.Write([]byte(ask)); err != nil {
			break
		}
	}
	servetest.Eventually(t, "the connection is gone", func() bool { return metric(t, reg, "gtm_serve_connections_open") == 0 })
	if metric(t, reg, "gtm_serve_replies_total", "transport=https") == 0 {
		t.Error("it was not asked at all")
	}
}
