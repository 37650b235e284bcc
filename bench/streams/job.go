package main

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/gti/gtm/bench/peers"
)

// The job's files.
const (
	zone        = peers.Zone
	queryFile   = "queries.txt"
	certFile    = "cert.pem"
	keyFile     = "key.pem"
	opensslFile = "openssl.cnf" // for all that use OpenSSL
)

// openssl has everything that uses OpenSSL take the cipher that gtm prefers on this hardware, so that all do the same
// work; TLS 1.3 is what both ends prefer by themselves.
const openssl = `openssl_conf = whole
[whole]
ssl_conf = parts
[parts]
system_default = all
[all]
MinProtocol = TLSv1.3
CipherSuites = TLS_AES_128_GCM_SHA256
Groups = X25519
`

const bindConfig = `tls own { cert-file "%[1]s/cert.pem"; key-file "%[1]s/key.pem"; };
http own { endpoints { "/dns-query"; }; };
options {
	directory "%[1]s"; listen-on-v6 { none; };
	listen-on port %[2]d { 127.0.0.1; };
	listen-on port %[3]d tls own { 127.0.0.1; };
	listen-on port %[4]d tls own http own { 127.0.0.1; };
	tcp-clients 1000; http-listener-clients 0;
	recursion no; pid-file "%[1]s/named.pid"; minimal-responses yes;
};
zone "gtm.test" { type primary; file "zone"; };
controls { };
`

// writeJob writes the zone, the queries, the certificate and the configurations.
func writeJob(o options) error {
	records := peers.Job{Names: o.names, Large: true}.Static()
	var queries strings.Builder
	for i := range o.names {
		fmt.Fprintf(&queries, "s%d.%s A\n", i*7919%o.names, zone) // in no order
	}
	files := map[string]string{
		"zone":      records,
		queryFile:   queries.String(),
		opensslFile: openssl,
		"nsd.conf": peers.NSD(o.Tmp, nsdPort, fmt.Sprintf("ip-address: 127.0.0.1@%d", nsdPort+1), fmt.Sprintf("tls-port: %d", nsdPort+1),
			"tls-service-key: "+filepath.Join(o.Tmp, keyFile), "tls-service-pem: "+filepath.Join(o.Tmp, certFile), "tcp-count: 1000",
			"tcp-timeout: 60") + "zone:\n    name: gtm.test\n    zonefile: zone\n",
		"named.conf":           fmt.Sprintf(bindConfig, o.Tmp, bindPort, bindPort+1, bindPort+2),
		"gtm/job.yaml":         fmt.Sprintf("kind: Zone\ntenant: platform\nname: %s\nspec: {file: %szone, grants: {}}\n", zone, zone),
		"gtm/" + zone + "zone": records,
	}
	for name, text := range files {
		file := filepath.Join(o.Tmp, name)
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			return err
		}
		if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
			return err
		}
	}
	return writeCertificate(o.Tmp)
}

// writeCertificate makes a certificate of its own (ECDSA P-256), which all servers use.
func writeCertificate(dir string) error {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return err
	}
	now := time.Now()
	template := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "localhost"}, DNSNames: []string{"localhost"},
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, NotBefore: now.Add(-time.Hour), NotAfter: now.Add(24 * time.Hour),
		IsCA: true, BasicConstraintsValid: true}
	cert, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		return err
	}
	raw, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(dir, certFile), pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: cert}),
		0o644); err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(dir, keyFile), pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: raw}), 0o600)
}
