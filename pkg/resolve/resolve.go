// Package resolve asks recursive resolvers, and takes addresses out of what they answer.
package resolve

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"time"

	"github.com/miekg/dns"
)

// Client asks. It is safe for concurrent use.
type Client struct {
	// Resolvers are asked in turn until one answers.
	Resolvers []netip.AddrPort
	// Timeout bounds each question to one resolver.
	Timeout time.Duration
	// Random makes questions hard to guess.
	Random func() uint64
}

// Question is what a resolver is asked.
type Question struct {
	Host    string // in lower case
	Type    uint16
	Network netip.Prefix // of the clients that the answer is for; not valid: not told
	Skip    int          // resolvers to pass over at first
}

// Message is an answer.
type Message = dns.Msg

// ErrNoHost says that a host does not exist; another resolver would say the same.
var ErrNoHost = errors.New("does not exist (NXDOMAIN)")

// AtError is the error of one resolver.
type AtError struct {
	At  string
	Err error
}

func (e *AtError) Error() string { return "resolver " + e.At + ": " + e.Err.Error() }
func (e *AtError) Unwrap() error { return e.Err }

// Ask asks one resolver after the other until one knows.
func (c *Client) Ask(ctx context.Context, q Question) (*dns.Msg, error) {
	err := errors.New("no resolver is known: start gtmd with --resolver")
	for i := range c.Resolvers {
		at := c.Resolvers[(i+q.Skip)%len(c.Resolvers)].String()
		m, e := c.askAt(ctx, q, at)
		if e == nil || errors.Is(e, ErrNoHost) || ctx.Err() != nil {
			return m, e
		}
		err = &AtError{at, e}
	}
	return nil, err
}

// askAt asks by UDP, and by TCP where the answer is cut, cannot be read or is not to the question as it was written: a forger does
// not know the case of its letters (draft-vixie-dnsext-dns0x20), and a rare resolver does not keep it.
func (c *Client) askAt(ctx context.Context, q Question, at string) (*dns.Msg, error) {
	m := c.message(q)
	r, err := c.once(ctx, "udp", m, at)
	var unreached net.Error
	if err == nil && (r.Truncated || !answers(r, m, false)) || err != nil && !errors.As(err, &unreached) {
		m.Id = dns.Id()
		r, err = c.once(ctx, "tcp", m, at)
	}
	switch {
	case err != nil:
		return nil, err
	case !answers(r, m, true):
		return nil, errors.New("the answer is to another question")
	case r.Rcode == dns.RcodeNameError:
		return nil, ErrNoHost
	case r.Rcode != dns.RcodeSuccess:
		return nil, fmt.Errorf("answered %s", dns.RcodeToString[r.Rcode])
	}
	return r, nil
}

// once asks by one connection, which is cut when ctx ends.
func (c *Client) once(ctx context.Context, network string, m *dns.Msg, at string) (*dns.Msg, error) {
	client := &dns.Client{Net: network, Timeout: c.Timeout}
	conn, err := client.DialContext(ctx, at)
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	defer context.AfterFunc(ctx, func() { _ = conn.Close() })()
	r, _, err := client.ExchangeWithConnContext(ctx, m, conn)
	return r, err
}

const udpSize = 1232

// message writes a question, the case of its letters at random.
func (c *Client) message(q Question) *dns.Msg {
	m := new(dns.Msg)
	name := []byte(q.Host)
	for i, b := range name {
		if 'a' <= b && b <= 'z' && c.Random()&1 == 0 {
			name[i] = b - 'a' + 'A'
		}
	}
	m.SetQuestion(string(name), q.Type)
	m.SetEdns0(udpSize, false)
	if n := q.Network; n.IsValid() {
		e := &dns.EDNS0_SUBNET{Code: dns.EDNS0SUBNET, Family: 1, SourceNetmask: uint8(n.Bits()), Address: n.Masked().Addr().AsSlice()}
		if n.Addr().Is6() {
			e.Family = 2
		}
		opt := m.IsEdns0()
		opt.Option = append(opt.Option, e)
	}
	return m
}

// answers reports whether r is a reply to m; anyCase where letters may have changed their case.
func answers(r, m *dns.Msg, anyCase bool) bool {
	if !r.Response || r.Opcode != dns.OpcodeQuery || len(r.Question) != 1 {
		return false
	}
	is, want := r.Question[0], m.Question[0]
	if is.Qtype != want.Qtype || is.Qclass != want.Qclass {
		return false
	}
	return is.Name == want.Name || anyCase && strings.EqualFold(is.Name, want.Name)
}

// maxChain bounds the CNAME records of an answer.
const maxChain = 16

// Addresses takes the addresses from behind the CNAME records of an answer, and the shortest TTL on the way.
func Addresses(m *dns.Msg, host string, qtype uint16) (addresses []netip.Addr, ttl uint32) {
	ttl = follow(m, host, func(rr dns.RR) (taken bool) {
		var raw []byte
		switch rr := rr.(type) {
		case *dns.A:
			raw = rr.A.To4()
		case *dns.AAAA:
			raw = rr.AAAA
		}
		a, ok := netip.AddrFromSlice(raw)
		if ok = ok && rr.Header().Rrtype == qtype; ok {
			addresses = append(addresses, a)
		}
		return ok
	})
	return addresses, ttl
}

// Server is what an SRV record says (RFC 2782).
type Server struct {
	Priority, Weight, Port uint16
	Target                 string
}

// Servers takes the SRV records from behind the CNAME records of an answer, and the shortest TTL on the way.
func Servers(m *dns.Msg, name string) (servers []Server, ttl uint32) {
	ttl = follow(m, name, func(rr dns.RR) bool {
		s, ok := rr.(*dns.SRV)
		if ok {
			servers = append(servers, Server{s.Priority, s.Weight, s.Port, s.Target})
		}
		return ok
	})
	return servers, ttl
}

// follow has take look at the records of a name, or of where its CNAME records lead, and gives the shortest TTL of those and of what is
// taken.
func follow(m *dns.Msg, name string, take func(dns.RR) bool) (ttl uint32) {
	ttl = 1<<31 - 1
	for range maxChain {
		next, taken := "", false
		for _, rr := range m.Answer {
			h := rr.Header()
			if h.Class != dns.ClassINET || !strings.EqualFold(h.Name, name) {
				continue
			}
			if c, ok := rr.(*dns.CNAME); ok {
				next, ttl = c.Target, min(ttl, h.Ttl)
			} else if take(rr) {
				taken, ttl = true, min(ttl, h.Ttl)
			}
		}
		if next == "" || taken {
			break
		}
		name = next
	}
	return ttl
}

// Unfit tells why clients are not to be sent to an address that others chose: it would mean something else to each of them, or the
// client itself (DNS rebinding). Private addresses may be meant.
func Unfit(a netip.Addr) string {
	switch {
	case a.Is4In6():
		return "IPv4 in IPv6 form"
	case a.IsUnspecified() || a.Is4() && a.As4()[0] == 0:
		return "unspecified"
	case a.IsLoopback():
		return "loopback"
	case a.IsLinkLocalUnicast():
		return "link-local"
	case a.IsMulticast():
		return "multicast"
	case a.Is4() && a.As4()[0] >= 240:
		return "reserved"
	}
	return ""
}

// System reads the resolvers of a file like /etc/resolv.conf.
func System(file string) ([]netip.AddrPort, error) {
	cfg, err := dns.ClientConfigFromFile(file)
	if err != nil {
		return nil, fmt.Errorf("the system's resolvers: %w", err)
	}
	var out []netip.AddrPort
	for _, s := range cfg.Servers {
		if a, err := netip.ParseAddr(s); err == nil {
			out = append(out, netip.AddrPortFrom(a, 53))
		}
	}
	if len(out) == 0 {
		return nil, fmt.Errorf("the system's resolvers: %s names none", file)
	}
	return out, nil
}
