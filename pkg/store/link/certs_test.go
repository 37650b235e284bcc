package link

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"io"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// authority issues certificates for 127.0.0.1.
type authority struct {
	t    *testing.T
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
	raw  []byte
}

func newAuthority(t *testing.T) *authority {
	a := &authority{t: t}
	a.cert = &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "ca"}, NotBefore: time.Now().Add(-time.Hour),
		NotAfter: time.Now().Add(time.Hour), IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign}
	var err error
	if a.key, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader); err != nil {
		t.Fatal(err)
	}
	if a.raw, err = x509.CreateCertificate(rand.Reader, a.cert, a.cert, &a.key.PublicKey, a.key); err != nil {
		t.Fatal(err)
	}
	return a
}

// issue gives a certificate for a name, and its key, in PEM.
func (a *authority) issue(name string, at net.IP) (cert, key []byte) {
	a.t.Helper()
	own, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		a.t.Fatal(err)
	}
	c := &x509.Certificate{SerialNumber: big.NewInt(time.Now().UnixNano()), Subject: pkix.Name{CommonName: name}, IPAddresses: []net.IP{at},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth}}
	der, err := x509.CreateCertificate(rand.Reader, c, a.cert, &own.PublicKey, a.key)
	if err != nil {
		a.t.Fatal(err)
	}
	raw, err := x509.MarshalPKCS8PrivateKey(own)
	if err != nil {
		a.t.Fatal(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: raw})
}

func (a *authority) pem() []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: a.raw})
}

// server takes clients of an authority, and tells who they are.
func (a *authority) server(at net.IP) *tls.Config {
	cert, key := a.issue("etcd", at)
	pair, err := tls.X509KeyPair(cert, key)
	if err != nil {
		a.t.Fatal(err)
	}
	clients := x509.NewCertPool()
	clients.AppendCertsFromPEM(a.pem())
	return &tls.Config{Certificates: []tls.Certificate{pair}, ClientCAs: clients, ClientAuth: tls.RequireAndVerifyClientCert}
}

// greet connects, and gives by what name the server knows the client.
func greet(t *testing.T, server *tls.Config, client *Certs) (string, error) {
	t.Helper()
	ln, err := tls.Listen("tcp", "127.0.0.1:0", server)
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	go func() {
		conn, err := ln.Accept()
		if err != nil {
			return
		}
		defer conn.Close()
		if conn.(*tls.Conn).Handshake() == nil {
			_, _ = io.WriteString(conn, conn.(*tls.Conn).ConnectionState().PeerCertificates[0].Subject.CommonName)
		}
	}()
	conf := client.Config()
	conf.ServerName = "127.0.0.1"
	conn, err := tls.Dial("tcp", ln.Addr().String(), conf)
	if err != nil {
		return "", err
	}
	defer conn.Close()
	name, err := io.ReadAll(conn)
	return string(name), err
}

// TestFilesOfCertificatesAreReadAgain, and what a server shows is checked as the library does: by who signed it, and for which address.
func TestFilesOfCertificatesAreReadAgain(t *testing.T) {
	dir := t.TempDir()
	path := func(name string) string { return filepath.Join(dir, name) }
	stamp := time.Now()
	write := func(files map[string][]byte) {
		t.Helper()
		stamp = stamp.Add(time.Minute) // so that it differs, however coarse the file system's clock is
		for name, text := range files {
			if err := errors.Join(os.WriteFile(path(name), text, 0o600), os.Chtimes(path(name), stamp, stamp)); err != nil {
				t.Fatal(err)
			}
		}
	}
	files := func(a *authority, name string) map[string][]byte {
		cert, key := a.issue(name, net.IPv4(127, 0, 0, 1))
		return map[string][]byte{"ca": a.pem(), "cert": cert, "key": key}
	}
	here, first, second := net.IPv4(127, 0, 0, 1), newAuthority(t), newAuthority(t)
	write(files(first, "fra1"))
	now := time.Now()
	conf := &Certs{ca: path("ca"), cert: path("cert"), key: path("key"), clock: func() time.Time { return now }}
	if err := conf.read(); err != nil {
		t.Fatal(err)
	}
	if name, err := greet(t, first.server(here), conf); name != "fra1" || err != nil {
		t.Errorf("%q, %v", name, err)
	}
	var wrong *tls.CertificateVerificationError
	if name, err := greet(t, second.server(here), conf); !errors.As(err, &wrong) {
		t.Errorf("of another authority: %q, %v", name, err)
	}
	if name, err := greet(t, first.server(net.IPv4(127, 0, 0, 9)), conf); !errors.As(err, &wrong) {
		t.Errorf("for another address: %q, %v", name, err)
	}
	write(map[string][]byte{"ca": []byte("not yet"), "cert": nil})
	now = now.Add(certsEvery)
	if name, err := greet(t, first.server(here), conf); name != "fra1" || err != nil {
		t.Errorf("while the files are being written: %q, %v", name, err)
	}
	write(files(second, "fra2"))
	now = now.Add(certsEvery)
	if name, err := greet(t, second.server(here), conf); name != "fra2" || err != nil {
		t.Errorf("with other files: %q, %v", name, err)
	}
	if name, err := greet(t, first.server(here), conf); err == nil {
		t.Errorf("by the files of before: %q", name)
	}
	for _, row := range []struct{ ca, cert, key, want string }{
		{path("nowhere"), "", "", "--etcd-ca"}, {path("key"), "", "", "holds no certificate in PEM form"},
		{"", path("cert"), "", "--etcd-cert and --etcd-key"}} {
		if _, err := LoadCerts(row.ca, row.cert, row.key); err == nil || !strings.Contains(err.Error(), row.want) {
			t.Errorf("%+v: %v", row, err)
		}
	}
}
