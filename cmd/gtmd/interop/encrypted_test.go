//go:build interop

package interop

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"

	"github.com/gti/gtm/pkg/gtmtest"
)

// serverName is the name in the certificates.
const serverName = "ns1.gtm.test"

// An authority issues certificates that clients of the test trust.
type authority struct {
	key  *ecdsa.PrivateKey
	cert *x509.Certificate
	file string // PEM
}

func newAuthority(t *testing.T) *authority {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "the test's authority"}, IsCA: true,
		BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign, NotBefore: time.Now().Add(-time.Hour),
		NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	a := &authority{key: key, file: filepath.Join(t.TempDir(), "ca.pem")}
	if a.cert, err = x509.ParseCertificate(der); err != nil {
		t.Fatal(err)
	}
	writePEM(t, a.file, "CERTIFICATE", der)
	return a
}

// issue writes a certificate for serverName with its key over two files.
func (a *authority) issue(t *testing.T, serial int64, certFile, keyFile string) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(serial), Subject: pkix.Name{CommonName: serverName},
		DNSNames: []string{serverName}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, template, a.cert, &key.PublicKey, a.key)
	if err != nil {
		t.Fatal(err)
	}
	raw, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	writePEM(t, certFile, "CERTIFICATE", der)
	writePEM(t, keyFile, "PRIVATE KEY", raw)
}

func writePEM(t *testing.T, file, kind string, der []byte) {
	t.Helper()
	if err := os.WriteFile(file, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), 0o600); err != nil {
		t.Fatal(err)
	}
}

// clientTLS trusts the authority alone.
func (a *authority) clientTLS(protocols ...string) *tls.Config {
	roots := x509.NewCertPool()
	roots.AddCert(a.cert)
	return &tls.Config{RootCAs: roots, ServerName: serverName, NextProtos: protocols}
}

// A guarded is a gtmd that speaks every transport.
type guarded struct {
	*daemon
	*authority
	tls, https, quic netip.AddrPort
	certFile         string
	keyFile          string
}

// startGuarded starts gtmd with every transport, and with primaryZone and shopResources.
func startGuarded(t *testing.T, args ...string) *guarded {
	t.Helper()
	g := &guarded{authority: newAuthority(t), tls: gtmtest.FreePort(t), https: gtmtest.FreePort(t), quic: gtmtest.FreePort(t)}
	dir := t.TempDir()
	g.certFile, g.keyFile = filepath.Join(dir, "ns.crt"), filepath.Join(dir, "ns.key")
	g.issue(t, 100, g.certFile, g.keyFile)
	apply := writeFile(t, t.TempDir(), "start.yaml", primaryZone(nil, "www A 192.0.2.1", "mail MX 10 www")+"---\n"+
		shopResources("198.51.100.1")+everyone)
	g.daemon = startGtmd(t, t.TempDir(), append([]string{"--roles", "edge,control", "--id", "edge-7", "--tsig-keys", keyFile(t),
		"--apply", apply,
		"--tls", g.tls.String(), "--https", g.https.String(), "--quic", g.quic.String(), "--cert", g.certFile + "," + g.keyFile},
		args...)...)
	return g
}

// everyone is a service whose answer is the same each time, since all endpoints are in it.
const everyone = `---
kind: Service
tenant: shop
name: everyone
spec: {host: everyone.shop.gtm.test., pick: all, rules: [{pools: [eu]}]}
`

// guardedQuestions have answers that are the same each time, but for the order of records.
var guardedQuestions = []struct{ name, typ string }{
	{"www.gtm.test.", "A"}, {"mail.gtm.test.", "MX"}, {"everyone.shop.gtm.test.", "A"}, {"everyone.shop.gtm.test.", "AAAA"},
	{"gtm.test.", "SOA"}, {"www.gtm.test.", "TXT"}, {"nothing.gtm.test.", "A"}, {"x.w.gtm.test.", "TXT"}, {"host.sub.gtm.test.", "A"},
}

// records sorts what a client printed of records; comments and empty lines go.
func records(output string) string {
	var lines []string
	for line := range strings.Lines(output) {
		if line = strings.TrimSpace(line); line != "" && !strings.HasPrefix(line, ";") {
			lines = append(lines, strings.Join(strings.Fields(line), " "))
		}
	}
	slices.Sort(lines)
	return strings.Join(lines, "\n")
}

// kdig, dig and curl verify the certificate's name and find over each transport what they find by UDP.
func TestEncryptedTransports(t *testing.T) {
	g := startGuarded(t)
	trust := "+tls-ca=" + g.file + " +tls-hostname=" + serverName
	for _, c := range []struct {
		name, client, args string
		at                 netip.AddrPort
		mark               string // in the output where it says how it asked
	}{
		{"kdig TLS", "kdig", "+tls " + trust, g.tls, `;; TLS session \(TLS1\.3\)`},
		{"kdig HTTPS POST", "kdig", "+https " + trust, g.https, `HTTP session \(HTTP/2-POST\)-\(`},
		{"kdig HTTPS GET", "kdig", "+https +https-get " + trust, g.https, `HTTP session \(HTTP/2-GET\)-\(`},
		{"kdig QUIC", "kdig", trust + " +quic", g.quic, `;; QUIC session \(QUICv1\)`},
		{"dig TLS", "dig", "+tls " + trust, g.tls, `\(TLS\)`},
		{"dig HTTPS POST", "dig", "+https=/dns-query " + trust, g.https, `\(HTTPS\)`},
		{"dig HTTPS GET", "dig", "+https-get=/dns-query " + trust, g.https, `\(HTTPS-GET\)`},
	} {
		t.Run(c.name, func(t *testing.T) {
			ask := func(at netip.AddrPort, args ...string) string {
				return run(t, c.client, append([]string{"-p", port(at), "@127.0.0.1"}, args...)...)
			}
			for _, q := range guardedQuestions {
				want := records(ask(g.dns, q.name, q.typ))
				output := ask(c.at, append(strings.Fields(c.args), q.name, q.typ)...)
				if got := records(output); got != want || want == "" {
					t.Errorf("%s %s: %s\nby UDP: %s", q.name, q.typ, got, want)
				}
				if !regexp.MustCompile(c.mark).MatchString(output) {
					t.Errorf("it does not say %q:\n%s", c.mark, output)
				}
				if !regexp.MustCompile(`(?i)PAD(DING)?: `).MatchString(output) && !strings.Contains(output, "OPT=12") {
					t.Errorf("no padding:\n%s", output)
				}
			}
			if output := ask(c.at, append(strings.Fields(c.args), "CH", "TXT", "id.server")...); !strings.Contains(output, `"edge-7"`) {
				t.Errorf("who answers:\n%s", output)
			}
			wrong := strings.Fields(strings.Replace(c.args, serverName, "other.example", 1))
			output, err := exec.Command(c.client, append([]string{"-p", port(c.at), "@127.0.0.1", "www.gtm.test", "+time=2", "+retry=0"},
				wrong...)...).CombinedOutput()
			if strings.Contains(string(output), "192.0.2.1") {
				t.Errorf("%v: it takes the certificate for another name, so it did not check it: %s", err, output)
			}
		})
	}
}

// curl posts and gets messages as RFC 8484 says.
func TestCurlOverHTTPS(t *testing.T) {
	g := startGuarded(t)
	m := new(dns.Msg).SetQuestion("www.gtm.test.", dns.TypeA)
	m.Id = 0
	query, err := m.Pack()
	if err != nil {
		t.Fatal(err)
	}
	url := "https://" + serverName + ":" + port(g.https) + "/dns-query"
	base := []string{"-sS", "--cacert", g.file, "--resolve", serverName + ":" + port(g.https) + ":127.0.0.1", "-H",
		"accept: application/dns-message"}
	body := writeFile(t, t.TempDir(), "query", string(query))
	for name, args := range map[string][]string{
		"GET, HTTP/2":    {"--http2", url + "?dns=" + base64.RawURLEncoding.EncodeToString(query)},
		"POST, HTTP/2":   {"--http2", "-H", "content-type: application/dns-message", "--data-binary", "@" + body, url},
		"GET, HTTP/1.1":  {"--http1.1", url + "?dns=" + base64.RawURLEncoding.EncodeToString(query)},
		"POST, HTTP/1.1": {"--http1.1", "-H", "content-type: application/dns-message", "--data-binary", "@" + body, url},
	} {
		reply := filepath.Join(t.TempDir(), "reply")
		told := run(t, "curl", slices.Concat(base,
			[]string{"-o", reply, "-w", "HTTP/%{http_version} %{http_code} %{content_type} %header{cache-control}"}, args)...)
		_, version, _ := strings.Cut(name, ", ")
		if want := version + " 200 application/dns-message max-age=300"; told != want {
			t.Errorf("%s: %q, want %q", name, told, want)
		}
		packed, err := os.ReadFile(reply)
		if err != nil {
			t.Fatal(err)
		}
		var r dns.Msg
		if err := r.Unpack(packed); err != nil || len(r.Answer) != 1 || !strings.HasSuffix(r.Answer[0].String(), "192.0.2.1") {
			t.Errorf("%s: %v %v", name, err, &r)
		}
	}
	if told := run(t, "curl", slices.Concat(base, []string{"-o", os.DevNull, "-w", "%{http_code}", "--http2", url})...); told != "400" {
		t.Errorf("without a query: %s", told)
	}
}

// Every transport of gtmd gives the same sections as UDP, and the encrypted ones whole blocks of padding. A bad TSIG is refused by each.
// That draws are the same too is TestEqualSeedsOverEveryTransport of pkg/answer.
func TestEveryTransportAnswersAlike(t *testing.T) {
	g := startGuarded(t)
	ways := g.ways(t)
	for _, q := range guardedQuestions {
		want := ""
		for _, w := range ways {
			m := new(dns.Msg).SetQuestion(q.name, dns.StringToType[q.typ])
			m.SetEdns0(1232, false)
			m.Id = 0
			r, size, err := w.exchange(m)
			if err != nil {
				t.Fatalf("%s %s over %s: %v", q.name, q.typ, w.name, err)
			}
			got := fmt.Sprintf("%s %v\n%s", dns.RcodeToString[r.Rcode], r.Authoritative, recordsOf(r))
			if want == "" {
				want = got
			}
			if got != want {
				t.Errorf("%s %s over %s: %s\nover UDP: %s", q.name, q.typ, w.name, got, want)
			}
			if padded := size%468 == 0; padded != w.encrypted {
				t.Errorf("%s %s over %s: %d bytes", q.name, q.typ, w.name, size)
			}
		}
	}
	for _, w := range ways {
		m := new(dns.Msg).SetQuestion("id.server.", dns.TypeTXT)
		m.Id = 0 // as RFC 9250, 4.2.1 has it
		m.Question[0].Qclass = dns.ClassCHAOS
		if r, _, err := w.exchange(m); err != nil || len(r.Answer) != 1 || !strings.Contains(r.Answer[0].String(), `"edge-7"`) {
			t.Errorf("id.server over %s: %v %v", w.name, r, err)
		}
		if err := badTSIG(w); err != nil {
			t.Errorf("over %s: %v", w.name, err)
		}
	}
}

// badTSIG asks with a signature by another secret.
func badTSIG(w way) error {
	m := new(dns.Msg).SetQuestion("www.gtm.test.", dns.TypeA)
	m.Id = 0
	m.SetTsig(tsigName+".", dns.HmacSHA256, 300, time.Now().Unix())
	packed, _, err := dns.TsigGenerate(m, base64.StdEncoding.EncodeToString([]byte("not the secret, but as long as it")), "", false)
	if err != nil {
		return err
	}
	reply, err := w.send(packed)
	if err != nil {
		return err
	}
	var r dns.Msg
	if err := r.Unpack(reply); err != nil {
		return err
	}
	if sig := r.IsTsig(); r.Rcode != dns.RcodeNotAuth || len(r.Answer) != 0 || sig == nil || sig.Error != dns.RcodeBadSig {
		return errors.New("a bad TSIG is not refused: " + r.String())
	}
	return nil
}

// recordsOf gives the records of a reply, section by section, sorted: the order within a set is drawn.
func recordsOf(r *dns.Msg) string {
	var lines []string
	for i, section := range [][]dns.RR{r.Answer, r.Ns, r.Extra} {
		lines = append(lines, []string{"answer:", "authority:", "additional:"}[i])
		from := len(lines)
		for _, rr := range section {
			if rr.Header().Rrtype != dns.TypeOPT {
				lines = append(lines, rr.String())
			}
		}
		slices.Sort(lines[from:])
	}
	return strings.Join(lines, "\n")
}

// A certificate that is put in place of another is served without a restart; one that cannot be used is not, and is told of.
func TestCertificateReload(t *testing.T) {
	g := startGuarded(t)
	serial := func() int64 {
		conn, err := tls.Dial("tcp", g.tls.String(), g.clientTLS("dot"))
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		return conn.ConnectionState().PeerCertificates[0].SerialNumber.Int64()
	}
	if got := serial(); got != 100 {
		t.Fatalf("certificate %d", got)
	}
	g.issue(t, 101, g.certFile, g.keyFile)
	eventually(t, time.Minute, "the new certificate is served", func() error {
		if got := serial(); got != 101 {
			return fmt.Errorf("certificate %d", got)
		}
		return nil
	})
	for _, w := range g.ways(t) {
		m := new(dns.Msg).SetQuestion("www.gtm.test.", dns.TypeA)
		m.Id = 0
		if _, _, err := w.exchange(m); err != nil {
			t.Errorf("over %s with the new certificate: %v", w.name, err)
		}
	}
	if err := os.WriteFile(g.certFile, []byte("no certificate"), 0o600); err != nil {
		t.Fatal(err)
	}
	refused := fmt.Sprintf("gtm_serve_certificate_refused{file=%q}", g.certFile)
	eventually(t, time.Minute, "the bad certificate is told of", func() error {
		if series(t, g.daemon, refused) != 1 {
			return errors.New(refused + " is not 1")
		}
		return nil
	})
	if got := serial(); got != 101 {
		t.Errorf("certificate %d, want the last good one", got)
	}
}
