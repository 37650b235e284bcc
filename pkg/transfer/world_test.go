package transfer

import (
	"net"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/miekg/dns"

	"github.com/gti/gtm/pkg/geo"
	"github.com/gti/gtm/pkg/spec"
	"github.com/gti/gtm/pkg/table"
	"github.com/gti/gtm/pkg/zone"
	"github.com/gti/gtm/pkg/zone/dnssec"
)

var atlas = func() *geo.Atlas {
	a, err := geo.Open()
	if err != nil {
		panic(err)
	}
	return a
}()

var noon = time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)

// world is a Server over views that are compiled from YAML.
type world struct {
	t    *testing.T
	c    *table.Compiler
	s    *Server
	gen  uint64
	now  time.Time
	mu   sync.Mutex
	view *table.View
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
	w := &world{t: t, c: table.NewCompiler(table.Config{Seed: 1, Workers: 1}, atlas), now: time.Now()}
	var err error
	w.s, err = New(Config{View: w.current, Keys: keyring(t), Retry: 20 * time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	return w
}

func (w *world) current() *table.View { w.mu.Lock(); defer w.mu.Unlock(); return w.view }

func (w *world) compile() {
	v, broken, _ := w.c.Compile(w.now)
	if len(broken) > 0 {
		w.t.Fatalf("broken: %v", broken)
	}
	w.mu.Lock()
	w.view = v
	w.mu.Unlock()
	w.s.Changed()
}

// put takes resources in, as the next generation of their tenants.
func (w *world) put(yaml string) {
	w.t.Helper()
	resources, err := spec.Decode("test.yaml", []byte(yaml))
	if err != nil {
		w.t.Fatal(err)
	}
	w.gen++
	var ch table.Change
	for _, r := range resources {
		if z, ok := r.Spec.(*spec.Zone); ok {
			if z.Content, _, err = zone.Canonical(r.Name, "", z.Content, zone.Defaults{Nameservers: z.Nameservers, Contact: z.Contact}); err != nil {
				w.t.Fatal(err)
			}
		}
		ch.Tenants = append(ch.Tenants, table.TenantChange{Tenant: r.Tenant, Head: w.gen, Put: []table.Item{{Resource: r, Generation: w.gen}}})
	}
	w.c.Apply(ch)
	w.compile()
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
	sig, err := ksk.Sign(wire[:n], dnssec.Labels(wire[:n]), dns.TypeDNSKEY, 3600, data, wire[:n], uint32(w.now.Unix()-3600), uint32(w.now.Unix()+1e6))
	if err != nil {
		w.t.Fatal(err)
	}
	w.c.SetKeys(zone, &table.ZoneKeys{Keys: []*dnssec.Key{zsk}, Serial: 1,
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
