package main

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/miekg/dns"

	"github.com/gti/gtm/bench/figures"
	"github.com/gti/gtm/bench/peers"
)

// asked is how many queries are compared before anything is measured.
const asked = 2000

// agree holds the answers of each lane against those of the first, and gives a sentence. A server that answers
// something else is not to be compared: that is an error.
func (b *bench) agree(l load) (string, error) {
	first, err := b.answers(l, l.lanes[0])
	if err != nil {
		return "", err
	}
	said := []string{about(l, l.lanes[0].name, first)}
	for _, lane := range l.lanes[1:] {
		if lane.isFloor() {
			continue
		}
		theirs, err := b.answers(l, lane)
		if err != nil {
			return "", err
		}
		for i := range first {
			if fault := differ(first[i], theirs[i], l.steers); fault != "" {
				return "", fmt.Errorf("load %s: %s and %s do not agree on %s: %s", l.name, l.lanes[0].name, lane.name, theirs[i].question, fault)
			}
		}
		said = append(said, about(l, lane.name, theirs)+sameScopes(l, first, theirs))
	}
	same := "the same answers, TTLs and response codes"
	if l.steers {
		same = "the same pool"
	}
	said = slices.DeleteFunc(said, func(s string) bool { return s == "" })
	return strings.Join(append([]string{fmt.Sprintf("Before: for %d queries all give %s", len(first), same)}, said...), "; ") + ".", nil
}

// about says what a lane's own answers show.
func about(l load, name string, all []answer) string {
	said := ""
	if l.steers {
		heavy := 0
		for _, a := range all {
			if a.addr == a.pool.Addresses[0] {
				heavy++
			}
		}
		said = fmt.Sprintf("%s draws the address of weight 3 of 4 in %.1f %%", name, 100*float64(heavy)/float64(len(all)))
	}
	if l.signed && all[0].verified {
		said = strings.TrimPrefix(said+", ", ", ") + fmt.Sprintf("signatures of %s hold", name)
	}
	return said
}

// sameScopes says how often two lanes give an answer for the same network.
func sameScopes(l load, ours, theirs []answer) string {
	if !l.steers {
		return ""
	}
	same := 0
	for i := range ours {
		if ours[i].scope == theirs[i].scope {
			same++
		}
	}
	return fmt.Sprintf(", with gtm's scope in %.1f %%", 100*float64(same)/float64(len(ours)))
}

// An answer is what one server says.
type answer struct {
	question  string
	rcode     int
	aa        bool
	answer    []string // records, sorted, without signatures
	authority []string // likewise, where there is no answer
	addr      netip.Addr
	pool      peers.Pool
	scope     uint8
	verified  bool // a signature with the answer was checked
}

// differ says how two answers differ, or nothing. Steered ones need the same pool only: both draw from it.
func differ(ours, theirs answer, steers bool) string {
	switch {
	case ours.rcode != theirs.rcode || ours.aa != theirs.aa:
		return fmt.Sprintf("%s, aa %v; %s, aa %v", dns.RcodeToString[ours.rcode], ours.aa, dns.RcodeToString[theirs.rcode], theirs.aa)
	case steers && ours.pool.Name != theirs.pool.Name:
		return fmt.Sprintf("pool %s; pool %s", ours.pool.Name, theirs.pool.Name)
	case !steers && !slices.Equal(ours.answer, theirs.answer):
		return fmt.Sprintf("%q; %q", ours.answer, theirs.answer)
	case !slices.Equal(ours.authority, theirs.authority):
		return fmt.Sprintf("authority %q; %q", ours.authority, theirs.authority)
	}
	return ""
}

// answers asks a lane's server the first queries of its file. Where weights are drawn they must be drawn 3 to 1, or not
// at all; where zones are signed the signatures must hold.
func (b *bench) answers(l load, lane lane) ([]answer, error) {
	queries, err := readQueries(b.job.Dir+"/"+lane.file, asked)
	if err != nil {
		return nil, err
	}
	at := net.JoinHostPort("127.0.0.1", fmt.Sprint(b.servers[lane.on].port))
	var keys []*dns.DNSKEY
	if l.signed && strings.HasSuffix(lane.file, "-signed.q") {
		if keys, err = zoneKeys(at); err != nil {
			return nil, fmt.Errorf("%s: %w", lane.name, err)
		}
	}
	conn, err := dns.Dial("udp", at)
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	var all []answer
	var heavy []float64
	for _, query := range queries {
		a, err := ask(conn, query, l.steers, keys)
		if err != nil {
			return nil, fmt.Errorf("load %s, %s: %w", l.name, lane.name, err)
		}
		all = append(all, a)
		heavy = append(heavy, map[bool]float64{true: 1}[a.addr == a.pool.Addresses[0]])
	}
	if share := mean(heavy); l.steers && share != 1 && (share < 0.71 || share > 0.79) {
		return nil, fmt.Errorf("%s draws the address of weight 3 of 4 in %s of %d answers", lane.name, figures.Number(share), len(all))
	}
	return all, nil
}

func mean(numbers []float64) float64 {
	sum := 0.0
	for _, n := range numbers {
		sum += n
	}
	return sum / float64(len(numbers))
}

// exchange sends a query as often as three times, a second apart.
func exchange(conn *dns.Conn, query []byte) (*dns.Msg, error) {
	var last error
	for range 3 {
		if err := conn.SetDeadline(time.Now().Add(time.Second)); err != nil {
			return nil, err
		}
		if _, err := conn.Write(query); err != nil {
			return nil, err
		}
		reply, err := conn.ReadMsg()
		if err == nil && len(reply.Question) != 1 {
			return nil, fmt.Errorf("a reply without the question: %s", oneLine(reply))
		}
		var late net.Error
		if last = err; !errors.As(err, &late) || !late.Timeout() {
			return reply, err
		}
	}
	return nil, last
}

// ask sends one query and reads the reply. Without keys signatures are not looked at.
func ask(conn *dns.Conn, query []byte, steers bool, keys []*dns.DNSKEY) (answer, error) {
	reply, err := exchange(conn, query)
	if err != nil {
		return answer{}, err
	}
	a := answer{question: reply.Question[0].Name, rcode: reply.Rcode, aa: reply.Authoritative, answer: plain(reply.Answer)}
	if len(a.answer) == 0 {
		a.authority = plain(reply.Ns)
	}
	if opt := reply.IsEdns0(); opt != nil {
		for _, option := range opt.Option {
			if subnet, ok := option.(*dns.EDNS0_SUBNET); ok {
				a.scope = subnet.SourceScope
			}
		}
	}
	if len(keys) > 0 {
		if a.verified = verify(reply.Answer, keys); !a.verified {
			return answer{}, fmt.Errorf("no signature that holds: %s", oneLine(reply))
		}
	}
	if !steers {
		return a, nil
	}
	for _, record := range reply.Answer {
		if record, ok := record.(*dns.A); ok {
			a.addr, _ = netip.AddrFromSlice(record.A.To4())
		}
	}
	var known bool
	if a.pool, known = peers.PoolOf(a.addr); !known || len(a.answer) != 1 {
		return answer{}, fmt.Errorf("not one address of a pool: %s", oneLine(reply))
	}
	return a, nil
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

// zoneKeys asks for the signed zone's keys.
func zoneKeys(at string) ([]*dns.DNSKEY, error) {
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

// verify tells whether a signature by one of the keys holds for the records of type A.
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

// readQueries reads the first n queries of a file.
func readQueries(file string, n int) ([][]byte, error) {
	text, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	var queries [][]byte
	for len(text) > 2 && len(queries) < n {
		size := int(binary.BigEndian.Uint16(text)) + 2
		if size > len(text) {
			return nil, fmt.Errorf("%s ends within a query", file)
		}
		queries = append(queries, text[2:size])
		text = text[size:]
	}
	return queries, nil
}
