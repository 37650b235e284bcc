// Package secure has the API speak TLS: with a certificate of its own making where nobody gave it one, which clients know by its pin.
package secure

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"math/big"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"time"

	"github.com/gti/gtm/pkg/private"
	"github.com/gti/gtm/pkg/serve/cert"
)

// What is kept in the data folder where nobody gave a certificate.
const (
	CertFile = "api.pem"
	keyFile  = "api.key"
	validFor = 10 * 365 * 24 * time.Hour
	refresh  = 30 * time.Second // files are looked at so often
)

// pinPrefix begins every pin.
const pinPrefix = "sha256:"

// Pin gives what a certificate's key is known by: the SHA-256 of it, as in sha256:9f86d0.... A certificate renewed with the same key has
// the same one.
func Pin(c *x509.Certificate) string {
	sum := sha256.Sum256(c.RawSubjectPublicKeyInfo)
	return pinPrefix + hex.EncodeToString(sum[:])
}

// CheckPin tells what is wrong with a pin.
func CheckPin(pin string) error {
	digits, ok := strings.CutPrefix(pin, pinPrefix)
	if raw, err := hex.DecodeString(digits); !ok || err != nil || len(raw) != sha256.Size {
		return fmt.Errorf("%.80q is not a pin: that is sha256: and 64 hexadecimal digits, as gtmd prints it at its start", pin)
	}
	return nil
}

// PinOf gives the pin of the first certificate in a PEM file.
func PinOf(path string) (string, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return "", err
	}
	block, _ := pem.Decode(data)
	if block == nil {
		return "", fmt.Errorf("%s holds no certificate in PEM form", path)
	}
	c, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		return "", fmt.Errorf("%s: %w", path, err)
	}
	return Pin(c), nil
}

// PinError: another server than the one that is known answers.
type PinError struct{ Want, Have string }

func (e *PinError) Error() string {
	return fmt.Sprintf("the server's key is not the one that is known: it has %s, and known is %s; if that was changed on purpose, pass "+
		"the new --pin, or run gtmctl login --pin", e.Have, e.Want)
}

// Pinned gives what a client needs to believe the server with that pin, and no other.
func Pinned(pin string) *tls.Config {
	return &tls.Config{MinVersion: tls.VersionTLS12, InsecureSkipVerify: true, VerifyConnection: func(s tls.ConnectionState) error {
		return checkPin(s, pin)
	}}
}

func checkPin(s tls.ConnectionState, pin string) error {
	if len(s.PeerCertificates) == 0 {
		return errors.New("the server showed no certificate")
	}
	if have := Pin(s.PeerCertificates[0]); !strings.EqualFold(have, pin) {
		return &PinError{Want: pin, Have: have}
	}
	return nil
}

// Checked reports an answer of another server than the one with that pin.
func Checked(r *http.Response, pin string) error {
	if r.TLS == nil {
		return errors.New("it does not speak TLS")
	}
	return checkPin(*r.TLS, pin)
}

// Config says what the API shows.
type Config struct {
	// Cert and Key are files; empty: a certificate of our own making in Dir, for Names and addresses.
	Cert, Key, Dir string
	Names          []string
	// ClientCA is a file of authorities whose client certificates are taken; empty: none are asked for.
	ClientCA string
	Logger   *slog.Logger
}

// Server shows a certificate. It is safe for concurrent use.
type Server struct {
	cfg     Config
	ring    *cert.Keyring
	clients atomic.Pointer[authorities] // nil: client certificates are not asked for
	own     bool
	file    string
}

type authorities struct {
	pem   []byte
	roots *x509.CertPool
}

// Open reads the files, or makes a certificate.
func Open(cfg Config) (*Server, error) {
	s := &Server{cfg: cfg, file: cfg.Cert}
	files := cert.Files{Cert: cfg.Cert, Key: cfg.Key}
	if cfg.Cert == "" {
		s.own, s.file = true, filepath.Join(cfg.Dir, CertFile)
		files = cert.Files{Cert: s.file, Key: filepath.Join(cfg.Dir, keyFile)}
		if err := ensure(files, cfg.Names); err != nil {
			return nil, err
		}
	}
	var err error
	if s.ring, err = cert.New([]cert.Files{files}, cfg.Logger, time.Now); err != nil {
		return nil, err
	}
	if cfg.ClientCA != "" {
		if err := s.readClients(); err != nil {
			return nil, fmt.Errorf("--http-client-ca: %w", err)
		}
	}
	return s, nil
}

// Pin gives the pin of the certificate in use, and whether that is of our own making.
func (s *Server) Pin() (pin string, own bool) {
	c, err := s.ring.Config().GetCertificate(&tls.ClientHelloInfo{})
	if err != nil || c.Leaf == nil {
		return "", s.own
	}
	return Pin(c.Leaf), s.own
}

// Run looks at the files again and again until ctx ends.
func (s *Server) Run(ctx context.Context) {
	go s.ring.Run(ctx, refresh)
	tick := time.NewTicker(refresh)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			s.Refresh()
		}
	}
}

// Refresh reads the files of client authorities again. What can't be used is told, and the one before stays in use.
func (s *Server) Refresh() {
	s.ring.Refresh()
	if s.cfg.ClientCA == "" {
		return
	}
	if err := s.readClients(); err != nil {
		s.cfg.Logger.Error("the authorities of client certificates were not read anew; those before stay in use", "error", err)
	}
}

func (s *Server) readClients() error {
	data, err := os.ReadFile(s.cfg.ClientCA)
	if err != nil {
		return err
	}
	if was := s.clients.Load(); was != nil && bytes.Equal(was.pem, data) {
		return nil
	}
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(data) {
		return fmt.Errorf("%s holds no certificate in PEM form", s.cfg.ClientCA)
	}
	s.clients.Store(&authorities{data, roots})
	return nil
}

// TLS gives the configuration for a listener. HTTP/1.1 alone: limits of connections are made for that.
func (s *Server) TLS() *tls.Config {
	base := s.ring.Config("http/1.1")
	if s.clients.Load() == nil {
		return base
	}
	base.GetConfigForClient = func(*tls.ClientHelloInfo) (*tls.Config, error) {
		one := base.Clone()
		one.GetConfigForClient = nil
		one.ClientAuth, one.ClientCAs = tls.VerifyClientCertIfGiven, s.clients.Load().roots
		return one, nil
	}
	return base
}

// ensure makes a certificate where there is none.
func ensure(f cert.Files, names []string) error {
	_, err := os.Stat(f.Cert)
	if err == nil {
		return private.Check(f.Key, "the key of the API's certificate")
	}
	if !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return err
	}
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 127))
	if err != nil {
		return err
	}
	begin := time.Now().Add(-time.Hour) // clocks differ
	c := &x509.Certificate{SerialNumber: serial, Subject: pkix.Name{CommonName: "gtmd"}, DNSNames: names, NotBefore: begin,
		NotAfter: begin.Add(validFor), KeyUsage: x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}}
	der, err := x509.CreateCertificate(rand.Reader, c, c, &key.PublicKey, key)
	if err != nil {
		return err
	}
	raw, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return err
	}
	// The key comes first: a certificate without one would stay.
	if err := write(f.Key, "PRIVATE KEY", raw, 0o600); err != nil {
		return err
	}
	return write(f.Cert, "CERTIFICATE", der, 0o644)
}

func write(path, what string, der []byte, mode fs.FileMode) error {
	if err := os.WriteFile(path+".new", pem.EncodeToMemory(&pem.Block{Type: what, Bytes: der}), mode); err != nil {
		return fmt.Errorf("the API's own certificate cannot be kept: %w", err)
	}
	return os.Rename(path+".new", path)
}
