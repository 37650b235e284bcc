// Package agree asks servers the same and holds their answers against each other: those that say something else are not to be compared.
package agree

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/miekg/dns"

	"github.com/gti/gtm/bench/peers"
)

// An Answer is what one server says.
type Answer struct {
	Question  string
	Addr      netip.Addr
	Pool      peers.Pool // that Addr belongs to
	Scope     uint8
	Verified  bool // a signature with the answer was checked
	rcode     int
	aa        bool
	answer    []string // records, sorted, without signatures
	authority []string // likewise, where there is no answer
}

// Compare tells in what another server's answers to the same queries differ from those of the first: an error. Steered ones need the
// same pool only: both draw from it.
func Compare(first, other []Answer, steers bool) error {
	if len(first) != len(other) {
		return fmt.Errorf("%d answers, and %d", len(first), len(other))
	}
	for i := range first {
		if fault := differ(first[i], other[i], steers); fault != "" {
			return fmt.Errorf("the answers to %s differ: %s", other[i].Question, fault)
		}
	}
	return nil
}

// differ says how two answers differ, or nothing.
func differ(ours, theirs Answer, steers bool) string {
	switch {
	case ours.rcode != theirs.rcode || ours.aa != theirs.aa:
		return fmt.Sprintf("%s, aa %v; %s, aa %v", dns.RcodeToString[ours.rcode], ours.aa, dns.RcodeToString[theirs.rcode], theirs.aa)
	case steers && ours.Pool.Name != theirs.Pool.Name:
		return fmt.Sprintf("pool %s; pool %s", ours.Pool.Name, theirs.Pool.Name)
	case !steers && !slices.Equal(ours.answer, theirs.answer):
		return fmt.Sprintf("%q; %q", ours.answer, theirs.answer)
	case !slices.Equal(ours.authority, theirs.authority):
		return fmt.Sprintf("authority %q; %q", ours.authority, theirs.authority)
	}
	return ""
}

// A Server is what is asked.
type Server struct {
	Name   string
	Dial   func() (*dns.Conn, error) // a connected UDP socket
	Steers bool                      // its answers have one address of a pool
	Keys   []*dns.DNSKEY             // by which signatures must hold; none: they are not looked at
}

// UDP dials an address.
func UDP(at string) func() (*dns.Conn, error) {
	return func() (*dns.Conn, error) { return dns.Dial("udp", at) }
}

// Ask asks the first n queries of a file.
func (s Server) Ask(ctx context.Context, file string, n int) ([]Answer, error) {
	queries, err := peers.ReadQueries(file, n)
	if err != nil {
		return nil, err
	}
	conn, err := s.Dial()
	if err != nil {
		return nil, fmt.Errorf("%s: %w", s.Name, err)
	}
	defer conn.Close()
	var all []Answer
	for _, query := range queries {
		a, err := s.ask(conn, query)
		if err == nil {
			err = ctx.Err()
		}
		if err != nil {
			return nil, fmt.Errorf("%s: %w", s.Name, err)
		}
		all = append(all, a)
	}
	return all, nil
}

// exchange sends a query as often as three times, a second apart.
func exchange(conn *dns.Conn, query []byte) (reply *dns.Msg, err error) {
	asked := new(dns.Msg)
	if err := asked.Unpack(query); err != nil {
		return nil, err
	}
	for range 3 {
		if err = conn.SetDeadline(time.Now().Add(time.Second)); err != nil {
			return nil, err
		}
		if _, err = conn.Write(query); err != nil {
			return nil, err
		}
		reply, err = conn.ReadMsg()
		if err == nil && !slices.Equal(reply.Question, asked.Question) {
			return nil, fmt.Errorf("a reply without the question %v: %s", asked.Question, oneLine(reply))
		}
		var late net.Error
		if !errors.As(err, &late) || !late.Timeout() {
			return reply, err
		}
	}
	return nil, err
}

// ask sends one query and reads the reply.
func (s Server) ask(conn *dns.Conn, query []byte) (Answer, error) {
	reply, err := exchange(conn, query)
	if err != nil {
		return Answer{}, err
	}
	a := Answer{Question: reply.Question[0].Name, rcode: reply.Rcode, aa: reply.Authoritative, answer: plain(reply.Answer)}
	if len(a.answer) == 0 {
		a.authority = plain(reply.Ns)
	}
	if opt := reply.IsEdns0(); opt != nil {
		for _, option := range opt.Option {
			if subnet, ok := option.(*dns.EDNS0_SUBNET); ok {
				a.Scope = subnet.SourceScope
			}
		}
	}
	if len(s.Keys) > 0 {
		if a.Verified = verify(reply.Answer, s.Keys); !a.Verified {
			return Answer{}, fmt.Errorf("no signature that holds: %s", oneLine(reply))
		}
	}
	if !s.Steers {
		return a, nil
	}
	for _, record := range reply.Answer {
		if record, ok := record.(*dns.A); ok {
			a.Addr, _ = netip.AddrFromSlice(record.A.To4())
		}
	}
	var known bool
	if a.Pool, known = peers.PoolOf(a.Addr); !known || len(a.answer) != 1 {
		return Answer{}, fmt.Errorf("not one address of a pool: %s", oneLine(reply))
	}
	return a, nil
}

// Empty tells that a server said nothing of what was asked, and how.
func (a Answer) Empty() error {
	if len(a.answer)+len(a.authority) == 0 {
		return fmt.Errorf("%s for %s", dns.RcodeToString[a.rcode], a.Question)
	}
	return nil
}

// plain writes records one by one, sorted, without what belongs to signing, and SOA without its serial, which is each
// server's own.
func plain(records []dns.RR) []string {
	var all []string
	for _, record := range records {
		switch record := record.(type) {
		case *dns.RRSIG, *dns.NSEC, *dns.NSEC3, *dns.DS:
			continue
		case *dns.SOA:
			record.Serial = 0
		}
		all = append(all, strings.ReplaceAll(record.String(), "\t", " "))
	}
	slices.Sort(all)
	return all
}

func oneLine(m *dns.Msg) string { return strings.ReplaceAll(m.String(), "\n", " | ") }

// ZoneKeys asks a server for the signed zone's keys.
func ZoneKeys(at string) ([]*dns.DNSKEY, error) {
	query := new(dns.Msg).SetQuestion(peers.SignedZone, dns.TypeDNSKEY)
	query.SetEdns0(1232, true)
	reply, _, err := (&dns.Client{Net: "tcp", Timeout: 2 * time.Second}).Exchange(query, at)
	if err != nil {
		return nil, err
	}
	var keys []*dns.DNSKEY
	for _, record := range reply.Answer {
		if key, ok := record.(*dns.DNSKEY); ok {
			keys = append(keys, key)
		}
	}
	if len(keys) == 0 {
		return nil, fmt.Errorf("%s has no keys yet", peers.SignedZone)
	}
	return keys, nil
}

// verify reports whether a signature by one of the keys holds for the records of type A.
func verify(records []dns.RR, keys []*dns.DNSKEY) bool {
	var set []dns.RR
	var signatures []*dns.RRSIG
	for _, record := range records {
		if signature, ok := record.(*dns.RRSIG); ok && signature.TypeCovered == dns.TypeA {
			signatures = append(signatures, signature)
		} else {
			set = append(set, record)
		}
	}
	return slices.ContainsFunc(signatures, func(s *dns.RRSIG) bool {
		return s.ValidityPeriod(time.Now()) && slices.ContainsFunc(keys, func(k *dns.DNSKEY) bool {
			return k.KeyTag() == s.KeyTag && s.Verify(k, set) == nil
		})
	})
}
