//go:build interop

package interop

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/gti/gtm/pkg/gtmtest"
)

// secureFlags gives gtmd TLS, HTTPS and QUIC at ports of their own, with a certificate that it signed itself.
func secureFlags(t *testing.T) (flags []string, ports map[string]string) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "ns.test"}, DNSNames: []string{"ns.test"},
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour)}
	cert, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	files := writeFile(t, dir, "cert.pem", string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: cert}))) + "," +
		writeFile(t, dir, "key.pem", string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: private})))
	flags, ports = []string{"--cert", files}, map[string]string{}
	for _, name := range []string{"tls", "https", "quic"} {
		a := gtmtest.FreePort(t)
		ports["+"+name] = port(a)
		flags = append(flags, "--"+name, a.String())
	}
	return flags, ports
}

// TestTSIGOnEveryTransport asks over each transport with a good key, a bad secret, a key that nobody has, and none.
func TestTSIGOnEveryTransport(t *testing.T) {
	flags, ports := secureFlags(t)
	apply := writeFile(t, t.TempDir(), "start.yaml", primaryZone(nil, "www A 192.0.2.1"))
	d := startGtmd(t, t.TempDir(), append(flags, "--roles", "edge,control", "--tsig-keys", keyFile(t), "--apply", apply)...)
	ports["+notcp"], ports["+tcp"] = port(d.dns), port(d.dns)
	bad := "YW5vdGhlciBzZWNyZXQgb2YgdGhpcnR5LXR3byBieXRlcw=="
	for transport, number := range ports {
		ask := func(key string, typ string) string {
			args := []string{"@127.0.0.1", "-p", number, transport, "+retry=0", "+timeout=10", "www.gtm.test.", typ}
			if typ == "AXFR" {
				args[6] = "gtm.test."
			}
			if key != "" {
				args = append([]string{"-y", key}, args...)
			}
			output, _ := runAny(t, "kdig", args...)
			return output
		}
		for _, c := range []struct{ name, key, typ, want, avoid string }{
			{"good", "hmac-sha256:one:" + tsigSecret, "A", "192.0.2.1", "WARNING"},
			{"no key", "", "A", "192.0.2.1", "NOTAUTH"},
			{"bad secret", "hmac-sha256:one:" + bad, "A", "status: BADSIG", "192.0.2.1"},
			{"unknown key", "hmac-sha256:two:" + bad, "A", "status: BADKEY", "192.0.2.1"},
			{"weak algorithm", "hmac-sha1:one:" + tsigSecret, "A", "status: BADKEY", "192.0.2.1"},
			{"copy with a bad secret", "hmac-sha256:one:" + bad, "AXFR", "BADSIG", "192.0.2.1"},
			{"copy without key", "", "AXFR", "", "192.0.2.1"},
		} {
			if c.typ == "AXFR" && (transport == "+notcp" || transport == "+https") {
				continue // kdig does not try
			}
			t.Run(strings.TrimLeft(transport, "+")+" "+c.name, func(t *testing.T) {
				output := ask(c.key, c.typ)
				if !strings.Contains(output, c.want) || strings.Contains(output, c.avoid) {
					t.Errorf("want %q and not %q in:\n%s", c.want, c.avoid, output)
				}
			})
		}
		if transport == "+tcp" || transport == "+tls" || transport == "+quic" {
			if output := ask("hmac-sha256:one:"+tsigSecret, "AXFR"); !strings.Contains(output, "192.0.2.1") ||
				strings.Count(output, "SOA") < 2 {
				t.Errorf("%s: the zone cannot be copied with the key:\n%s", transport, output)
			}
		}
	}
	if series(t, d, `gtm_transfer_tsig_total{result="badsig"}`) < 5 {
		t.Errorf("bad signatures were not counted")
	}
}
