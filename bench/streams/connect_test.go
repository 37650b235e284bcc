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
	"strings"
	"testing"
)

// TestLoadConnections has the load ask servers of the standard library, which say no to what is no query.
func TestLoadConnections(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, queryFile), []byte("s0.gtm.test. A\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	web := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		query, err := base64.RawURLEncoding.DecodeString(r.URL.Query().Get("dns"))
		if err != nil || len(query) < 12 || r.ProtoMajor != 2 || r.URL.Path != "/dns-query" {
			w.WriteHeader(http.StatusBadRequest) // without a body: no answer
			return
		}
		_, _ = w.Write(query)
	}))
	web.EnableHTTP2 = true
	web.StartTLS()
	defer web.Close()
	plain := serveTLS(t, web.TLS.Certificates)
	for _, test := range []struct {
		protocol, address string
		resume            bool
	}{{protocolHTTP, web.Listener.Addr().String(), false}, {protocolTLS, plain, false}, {protocolTLS, plain, true}} {
		var b bytes.Buffer
		err := loadConnections(context.Background(), connectOptions{load: test.address, dir: dir, protocol: test.protocol, resume: test.resume,
			conns: 2, seconds: 0.1}, &b)
		if err != nil {
			t.Errorf("%+v: %v", test, err)
			continue
		}
		if got, err := parseFigures(b.String()); err != nil || got.bytes != 29 {
			t.Errorf("%+v: %+v, %v", test, got, err)
		}
	}
}

// serveTLS echoes framed messages, one for each connection.
func serveTLS(t *testing.T, certificates []tls.Certificate) string {
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
			go echoOnce(conn)
		}
	}()
	return l.Addr().String()
}

func echoOnce(conn net.Conn) {
	defer conn.Close()
	var size [2]byte
	if _, err := io.ReadFull(conn, size[:]); err != nil {
		return
	}
	_, _ = io.CopyN(conn, io.MultiReader(strings.NewReader(string(size[:])), conn), 2+int64(binary.BigEndian.Uint16(size[:])))
}
