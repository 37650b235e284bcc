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
)

// The job's files.
const (
	zone        = "gtm.test."
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

const nsdConfig = `server:
    ip-address: 127.0.0.1@%[2]d
    ip-address: 127.0.0.1@%[3]d
    tls-port: %[3]d
    tls-service-key: %[1]s/key.pem
    tls-service-pem: %[1]s/cert.pem
    server-count: 1
    tcp-count: 1000
    tcp-timeout: 60
    zonesdir: %[1]s
    pidfile: %[1]s/nsd.pid
    database: ""
    xfrdfile: %[1]s/xfrd.state
    zonelistfile: %[1]s/zone.list
    username: ""
    rrl-ratelimit: 0
    rrl-whitelist-ratelimit: 0
    minimal-responses: yes
remote-control:
    control-enable: no
zone:
    name: gtm.test
    zonefile: zone
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
	records := staticZone(o.names)
	var queries strings.Builder
	for i := range o.names {
		fmt.Fprintf(&queries, "s%d.%s A\n", i*7919%o.names, zone) // in no order
	}
	files := map[string]string{
		"zone":                 records,
		queryFile:              queries.String(),
		opensslFile:            openssl,
		"nsd.conf":             fmt.Sprintf(nsdConfig, o.tmp, nsdPort, nsdPort+1),
		"named.conf":           fmt.Sprintf(bindConfig, o.tmp, bindPort, bindPort+1, bindPort+2),
		"gtm/job.yaml":         fmt.Sprintf("kind: Zone\ntenant: platform\nname: %s\nspec: {file: %szone, grants: {}}\n", zone, zone),
		"gtm/" + zone + "zone": records,
	}
	for name, text := range files {
		file := filepath.Join(o.tmp, name)
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			return err
		}
		if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
			return err
		}
	}
	return writeCertificate(o.tmp)
}

// staticZone is the zone as a master file: names s0 to s(n-1), each with an address of its own.
func staticZone(names int) string {
	var b strings.Builder
	fmt.Fprintf(&b, "$ORIGIN %s\n$TTL 60\n@ SOA ns1 hostmaster 1 7200 1800 1209600 60\n@ NS ns1\nns1 A 127.0.0.1\n", zone)
	for i := range names {
		fmt.Fprintf(&b, "s%d A 10.%d.%d.%d\n", i, i>>16&255, i>>8&255, i&255)
	}
	return b.String()
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
	if err := os.WriteFile(filepath.Join(dir, certFile), pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: cert}), 0o644); err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(dir, keyFile), pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: raw}), 0o600)
}
