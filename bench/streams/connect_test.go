package main

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/base64"
	"encoding/binary"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"
)

// TestLoadConnections has the load ask servers of the standard library, which say no to what is no query.
func TestLoadConnections(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, queryFile), []byte("s0.gtm.test. A\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	var connections atomic.Int64
	web := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		query, err := base64.RawURLEncoding.DecodeString(r.URL.Query().Get("dns"))
		if err != nil || len(query) < 12 || r.ProtoMajor != 2 || r.URL.Path != "/dns-query" {
			w.WriteHeader(http.StatusBadRequest) // without a body: no answer
			return
		}
		_, _ = w.Write(query)
	}))
	web.EnableHTTP2 = true
	web.Config.ConnState = func(_ net.Conn, state http.ConnState) {
		if state == http.StateNew {
			connections.Add(1)
		}
	}
	web.StartTLS()
	defer web.Close()
	plain := serveTLS(t, web.TLS.Certificates, &connections)
	for _, test := range []struct {
		protocol, address string
		resume, keep      bool
	}{{protocolHTTP, web.Listener.Addr().String(), false, false}, {protocolHTTP, web.Listener.Addr().String(), false, true},
		{protocolTLS, plain, false, false}, {protocolTLS, plain, true, false}, {protocolTLS, plain, false, true}} {
		connections.Store(0)
		var b bytes.Buffer
		err := loadConnections(context.Background(), connectOptions{load: test.address, dir: dir, protocol: test.protocol,
			resume: test.resume, keep: test.keep, conns: 2, seconds: 0.1}, &b)
		if err != nil {
			t.Errorf("%+v: %v", test, err)
			continue
		}
		got, err := parseFigures(b.String())
		if err != nil || got.bytes != 29 {
			t.Errorf("%+v: %+v, %v", test, got, err)
		}
		if made := connections.Load(); test.keep && (made != 2 || got.answers <= 2) || !test.keep && float64(made) != got.answers {
			t.Errorf("%+v: %d connections for %v answers", test, made, got.answers)
		}
	}
}

// serveTLS echoes framed messages, and counts connections.
func serveTLS(t *testing.T, certificates []tls.Certificate, connections *atomic.Int64) string {
	l, err := tls.Listen("tcp", "127.0.0.1:0", &tls.Config{Certificates: certificates, NextProtos: []string{protocolTLS}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			connections.Add(1)
			go echo(conn)
		}
	}()
	return l.Addr().String()
}

func echo(conn net.Conn) {
	defer conn.Close()
	for {
		var size [2]byte
		if _, err := io.ReadFull(conn, size[:]); err != nil {
			return
		}
		body := io.LimitReader(conn, int64(binary.BigEndian.Uint16(size[:])))
		if _, err := io.Copy(conn, io.MultiReader(bytes.NewReader(size[:]), body)); err != nil {
			return
		}
	}
}
