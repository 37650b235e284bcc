package checks

import (
	"encoding/binary"
	"io"
	"net"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode"

	"github.com/miekg/dns"

	"github.com/gti/gtm/pkg/probe"
	"github.com/gti/gtm/pkg/spec"
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

// Whatever a body is: no panic, and a reason that quotes none of it.
func FuzzBody(f *testing.F) {
	for _, seed := range []string{"", "SECRET", `{"a": ["SECRET", {"b": 1}]}`, `{"a": null}`, `[1, [2, [3]]]`,
		`{"a": "SECRET`, "1e999", `"\ud800"`} {
		f.Add([]byte(seed), "/a/0")
	}
	f.Fuzz(func(t *testing.T, body []byte, pointer string) {
		c := probe.Check{Match: "needle", Timeout: time.Second}
		if _, err := spec.ParsePointer(pointer); err == nil {
			c.Match, c.JSON = "", map[string]string{pointer: "needle"}
		}
		err := lookInto(&c, body, nil)
		if err == nil && !strings.Contains(string(body), "needle") && !strings.Contains(string(body), `\`) {
			t.Errorf("%q passed", body)
		}
		if r := conclude(c, err); strings.Contains(r.Reason, "SECRET") && !strings.Contains(pointer, "SECRET") {
			t.Errorf("the reason quotes the body: %q", r.Reason)
		}
	})
}

// Whatever datagrams a name server sends: no panic, an end, and a reason that quotes none of them.
func FuzzDNS(f *testing.F) {
	q := probe.Query{Name: "a.example", Type: "TXT", Transport: "udp", Rcode: "NOERROR", Answers: []string{"needle"}}
	m := new(dns.Msg).SetQuestion("a.example.", dns.TypeTXT)
	m.Response = true
	m.Answer = append(m.Answer, &dns.TXT{Hdr: dns.RR_Header{Name: "a.example.", Rrtype: dns.TypeTXT, Class: dns.ClassINET},
		Txt: []string{"SECRET"}})
	packed, err := m.Pack()
	if err != nil {
		f.Fatal(err)
	}
	f.Add(packed)
	f.Add([]byte("SECRET"))
	f.Fuzz(func(t *testing.T, sent []byte) {
		sent = slices.Clone(sent)
		ours, theirs := net.Pipe()
		go func() {
			defer theirs.Close()
			asked := make([]byte, 4096)
			n, _ := theirs.Read(asked)
			if n > 4 && len(sent) > 2 { // framed as over TCP, with the identity that was asked for
				copy(sent, asked[2:4])
			}
			theirs.Write(binary.BigEndian.AppendUint16(nil, uint16(len(sent))))
			theirs.Write(sent)
		}()
		ours.SetDeadline(time.Now().Add(10 * time.Second))
		reply, err := ask(ours, &q)
		if err == nil {
			err = lookAtReply(&q, reply)
		}
		ours.Close()
		if r := conclude(probe.Check{Timeout: time.Second}, err); strings.Contains(r.Reason, "SECRET") {
			t.Errorf("the reason quotes the server: %q", r.Reason)
		}
	})
}
