package alias

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"

	"github.com/miekg/dns"
)

// question is what a resolver is asked.
type question struct {
	host    string
	network netip.Prefix // of the clients that the answer is for; not valid: not told
	skip    int          // resolvers to pass over at first
}

// found is a good answer: addresses of at least one family.
type found struct {
	addresses []netip.Addr // sorted
	ttl       uint32       // the shortest on the way there, seconds
	refused   int          // addresses that were left out
}

// errNoHost says that a host does not exist; another resolver would say the same.
var errNoHost = errors.New("does not exist (NXDOMAIN)")

// ask resolves both families. It is good if each was answered and one has addresses.
func (k *Keeper) ask(ctx context.Context, q question) (found, error) {
	var out found
	var odd string
	for _, qtype := range []uint16{dns.TypeA, dns.TypeAAAA} {
		m, err := k.exchange(ctx, q, qtype)
		if err != nil {
			return out, fmt.Errorf("%s %s: %w", q.host, dns.TypeToString[qtype], err)
		}
		addresses, ttl := follow(m, q.host, qtype)
		for _, a := range addresses {
			if why := unfit(a); why != "" {
				out.refused++
				odd = fmt.Sprintf("; %s is refused: %s", a, why)
				continue
			}
			if len(out.addresses) == 0 || ttl < out.ttl {
				out.ttl = ttl
			}
			out.addresses = append(out.addresses, a)
		}
	}
	if len(out.addresses) == 0 {
		return out, fmt.Errorf("%s has no addresses%s", q.host, odd)
	}
	slices.SortFunc(out.addresses, netip.Addr.Compare)
	out.addresses = bounded(slices.Compact(out.addresses))
	return out, nil
}

// maxAddresses bounds those of one family: so many fit into a reply by UDP.
const maxAddresses = 32

// bounded leaves out what is too much; addresses are sorted, IPv4 first.
func bounded(addresses []netip.Addr) []netip.Addr {
	split := len(addresses)
	if i := slices.IndexFunc(addresses, netip.Addr.Is6); i >= 0 {
		split = i
	}
	v4, v6 := addresses[:split], addresses[split:]
	return slices.Concat(v4[:min(len(v4), maxAddresses)], v6[:min(len(v6), maxAddresses)])
}

// exchange asks one resolver after the other until one knows.
func (k *Keeper) exchange(ctx context.Context, q question, qtype uint16) (*dns.Msg, error) {
	err := errors.New("no resolver is known: start gtmd with --resolver")
	for i := range k.cfg.Resolvers {
		at := k.cfg.Resolvers[(i+q.skip)%len(k.cfg.Resolvers)].String()
		m, e := k.exchangeWith(ctx, q, qtype, at)
		if e == nil || errors.Is(e, errNoHost) || ctx.Err() != nil {
			return m, e
		}
		err = fmt.Errorf("resolver %s: %w", at, e)
	}
	return nil, err
}

// exchangeWith asks by UDP, and by TCP where the answer is cut, cannot be read or is not to the question as it was written: a forger does
// not know the case of its letters (draft-vixie-dnsext-dns0x20), and a rare resolver does not keep it.
func (k *Keeper) exchangeWith(ctx context.Context, q question, qtype uint16, at string) (*dns.Msg, error) {
	m := k.message(q, qtype)
	r, err := k.once(ctx, "udp", m, at)
	var unreached net.Error
	if err == nil && (r.Truncated || !answers(r, m, false)) || err != nil && !errors.As(err, &unreached) {
		m.Id = dns.Id()
		r, err = k.once(ctx, "tcp", m, at)
	}
	switch {
	case err != nil:
		return nil, err
	case !answers(r, m, true):
		return nil, errors.New("the answer is to another question")
	case r.Rcode == dns.RcodeNameError:
		return nil, errNoHost
	case r.Rcode != dns.RcodeSuccess:
		return nil, fmt.Errorf("answered %s", dns.RcodeToString[r.Rcode])
	}
	return r, nil
}

// once asks by one connection, which is cut when ctx ends.
func (k *Keeper) once(ctx context.Context, network string, m *dns.Msg, at string) (*dns.Msg, error) {
	client := &dns.Client{Net: network, Timeout: k.cfg.Timeout}
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
func (k *Keeper) message(q question, qtype uint16) *dns.Msg {
	m := new(dns.Msg)
	name := []byte(q.host)
	for i, c := range name {
		if 'a' <= c && c <= 'z' && k.cfg.Random()&1 == 0 {
			name[i] = c - 'a' + 'A'
		}
	}
	m.SetQuestion(string(name), qtype)
	m.SetEdns0(udpSize, false)
	if n := q.network; n.IsValid() {
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

// follow takes the addresses from behind the CNAME records of an answer, and the shortest TTL on the way.
func follow(m *dns.Msg, host string, qtype uint16) (addresses []netip.Addr, ttl uint32) {
	name, ttl := host, uint32(1<<31-1)
	for range maxChain {
		next := ""
		for _, rr := range m.Answer {
			h := rr.Header()
			if h.Class != dns.ClassINET || !strings.EqualFold(h.Name, name) {
				continue
			}
			var raw []byte
			switch rr := rr.(type) {
			case *dns.A:
				raw = rr.A.To4()
			case *dns.AAAA:
				raw = rr.AAAA
			case *dns.CNAME:
				next = rr.Target
				ttl = min(ttl, h.Ttl)
				continue
			}
			if a, ok := netip.AddrFromSlice(raw); ok && h.Rrtype == qtype {
				addresses = append(addresses, a)
				ttl = min(ttl, h.Ttl)
			}
		}
		if next == "" || len(addresses) > 0 {
			break
		}
		name = next
	}
	return addresses, ttl
}

// unfit tells why clients are not to be sent to an address that others chose: it would mean something else to each of them, or the
// client itself (DNS rebinding). Private addresses may be meant.
func unfit(a netip.Addr) string {
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

// SystemResolvers reads the resolvers of a file like /etc/resolv.conf.
func SystemResolvers(file string) ([]netip.AddrPort, error) {
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
