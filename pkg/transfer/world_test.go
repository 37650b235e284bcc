package transfer

import (
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"

	"github.com/gti/gtm/pkg/gtmtest/views"
	"github.com/gti/gtm/pkg/table/compile"
	"github.com/gti/gtm/pkg/zone/dnssec"
)

var noon = time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)

// world is a Server over views that are compiled from YAML.
type world struct {
	*views.World
	t *testing.T
	s *Server
}

const testKeys = `key one { algorithm hmac-sha256; secret "YSBzZWNyZXQgb2YgdGhpcnR5LXR3byBieXRlcy4uLi4u"; };
key long { algorithm hmac-sha512; secret "YSBzZWNyZXQgb2YgdGhpcnR5LXR3byBieXRlcy4uLi4u"; };
key other { algorithm hmac-sha256; secret "YW5vdGhlciBzZWNyZXQgb2YgdGhpcnR5LXR3byBieXRlcw=="; };`

const oneSecret, otherSecret = "YSBzZWNyZXQgb2YgdGhpcnR5LXR3byBieXRlcy4uLi4u", "YW5vdGhlciBzZWNyZXQgb2YgdGhpcnR5LXR3byBieXRlcw=="

func keyring(t *testing.T) *Keyring {
	t.Helper()
	keys, err := parseKeys(testKeys)
	if err != nil {
		t.Fatal(err)
	}
	r := &Keyring{}
	r.keys.Store(&keys)
	return r
}

func newWorld(t *testing.T) *world {
	t.Helper()
	w := &world{World: views.New(t, 1), t: t}
	var err error
	w.s, err = New(Config{View: w.View.Load, Keys: keyring(t), Retry: 20 * time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	return w
}

// compile compiles what is known at the world's time.
func (w *world) compile() {
	w.t.Helper()
	w.Change(compile.Change{})
	w.s.Changed()
}

// put takes resources in, as the next generation of their tenants.
func (w *world) put(yaml string) {
	w.t.Helper()
	w.Put(yaml)
	w.s.Changed()
}

// sign gives a zone keys.
func (w *world) sign(zone string) {
	w.t.Helper()
	zsk, err := dnssec.Generate(dnssec.ECDSAP256, false)
	if err != nil {
		w.t.Fatal(err)
	}
	ksk, err := dnssec.Generate(dnssec.ECDSAP256, true)
	if err != nil {
		w.t.Fatal(err)
	}
	apex, data := dns.Fqdn(zone), [][]byte{zsk.DNSKEY(), ksk.DNSKEY()}
	wire := make([]byte, 256)
	n, _ := dns.PackDomainName(apex, wire, 0, nil, false)
	sig, err := ksk.Sign(wire[:n], dnssec.Labels(wire[:n]), dns.TypeDNSKEY, 3600, data, wire[:n], uint32(w.Now.Unix()-3600),
		uint32(w.Now.Unix()+1e6))
	if err != nil {
		w.t.Fatal(err)
	}
	w.SetKeys(zone, &compile.ZoneKeys{Keys: []*dnssec.Key{zsk}, Serial: 1,
		Sets: []dnssec.SignedSet{{Type: dns.TypeDNSKEY, TTL: 3600, Data: data, Sigs: [][]byte{sig}}}})
	w.compile()
}

// tcp serves the Server to miekg's client over TCP, one message at a time.
func (w *world) tcp() string {
	w.t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(func() { l.Close() })
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			go w.serve(conn)
		}
	}()
	return l.Addr().String()
}

func (w *world) serve(conn net.Conn) {
	defer conn.Close()
	c := &dns.Conn{Conn: conn}
	for {
		buf := make([]byte, 65535)
		n, err := c.Read(buf)
		if err != nil {
			return
		}
		m := &Message{Buf: buf, N: n, Source: conn.RemoteAddr().(*net.TCPAddr).AddrPort(), Stream: true, Many: true}
		r := w.s.Handle(m, refuseAll)
		if r.Produce != nil {
			err = r.Produce(func(msg []byte) error { _, err := c.Write(msg); return err })
		} else {
			_, err = c.Write(buf[:r.Size])
		}
		if err != nil {
			return
		}
	}
}

// refuseAll answers REFUSED, as some edge might.
func refuseAll(buf []byte, n int) (int, bool) {
	buf[2] |= 0x80
	buf[3] = buf[3]&0xF0 | dns.RcodeRefused
	return n, false
}

// axfr copies a zone with miekg's client; the SOA record of the end is left out.
func (w *world) axfr(addr, zone, key, secret string) ([]dns.RR, error) {
	m := new(dns.Msg)
	m.SetAxfr(zone)
	return w.in(m, addr, key, secret)
}

func (w *world) in(m *dns.Msg, addr, key, secret string) ([]dns.RR, error) {
	tr := &dns.Transfer{}
	if key != "" {
		m.SetTsig(key, dns.HmacSHA256, 300, time.Now().Unix())
		tr.TsigSecret = map[string]string{key: secret}
	}
	ch, err := tr.In(m, addr)
	if err != nil {
		return nil, err
	}
	var out []dns.RR
	for e := range ch {
		if e.Error != nil {
			return nil, e.Error
		}
		out = append(out, e.RR...)
	}
	return out, nil
}

func texts(rrs []dns.RR) string {
	var b strings.Builder
	for _, r := range rrs {
		b.WriteString(strings.ReplaceAll(r.String(), "\t", " ") + "\n")
	}
	return b.String()
}

var local = netip.MustParseAddrPort("127.0.0.1:4000")
