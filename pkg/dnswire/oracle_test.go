package dnswire

import (
	"bytes"
	"encoding/hex"
	"fmt"
	"math/rand/v2"
	"net"
	"testing"

	"github.com/miekg/dns"

	"github.com/gti/gtm/pkg/gtmtest"
)

func hexString(b []byte) string { return hex.EncodeToString(b) }

// randomSubnet gives a well-formed one.
func randomSubnet(r *rand.Rand) Subnet {
	s := Subnet{Present: true, Family: uint16(r.IntN(3))}
	s.Source = uint8(r.IntN([]int{1, 33, 129}[s.Family]))
	s.OptLen = (s.Source + 7) / 8
	for i := range s.Source {
		s.Addr[i/8] |= byte(r.IntN(2)) << (7 - i%8)
	}
	return s
}

// sameAddress compares with an address as the oracle reads it: complete, zero-padded.
func sameAddress(e *dns.EDNS0_SUBNET, s *Subnet) bool {
	want := net.IP(s.Addr[:]).To16()
	if s.Family != 2 {
		want = net.IP(s.Addr[:4]).To16()
	}
	return e.Address.Equal(want)
}

// randomCookie gives one of a length that is allowed.
func randomCookie(r *rand.Rand) []byte {
	b := make([]byte, []int{8, 16 + r.IntN(25)}[r.IntN(2)])
	for i := range b {
		b[i] = byte(r.Uint32())
	}
	return b
}

func randomOptions(r *rand.Rand) []dns.EDNS0 {
	var options []dns.EDNS0
	if r.IntN(3) > 0 {
		s := randomSubnet(r)
		e := &dns.EDNS0_SUBNET{Code: dns.EDNS0SUBNET, Family: s.Family, SourceNetmask: s.Source, Address: bytes.Clone(s.Addr[:])}
		if s.Family != 2 {
			e.Address = e.Address[:4]
		}
		options = append(options, e)
	}
	if r.IntN(4) == 0 {
		options = append(options, &dns.EDNS0_NSID{Code: dns.EDNS0NSID})
	}
	if r.IntN(4) == 0 {
		options = append(options, &dns.EDNS0_COOKIE{Code: dns.EDNS0COOKIE, Cookie: hexString(randomCookie(r))})
	}
	if r.IntN(4) == 0 {
		options = append(options, &dns.EDNS0_PADDING{Padding: make([]byte, r.IntN(40))})
	}
	if r.IntN(4) == 0 {
		options = append(options, &dns.EDNS0_TCP_KEEPALIVE{Code: dns.EDNS0TCPKEEPALIVE})
	}
	if r.IntN(4) == 0 {
		options = append(options, &dns.EDNS0_LOCAL{Code: dns.EDNS0LOCALSTART + uint16(r.IntN(9)), Data: make([]byte, r.IntN(9))})
	}
	r.Shuffle(len(options), func(i, j int) { options[i], options[j] = options[j], options[i] })
	return options
}

// randomQuery gives a query that must be accepted.
func randomQuery(t testing.TB, r *rand.Rand) []byte {
	m := dns.Msg{MsgHdr: dns.MsgHdr{Id: uint16(r.Uint32()), RecursionDesired: r.IntN(2) == 0, CheckingDisabled: r.IntN(2) == 0,
		AuthenticatedData: r.IntN(2) == 0, Truncated: r.IntN(9) == 0}}
	q := dns.Question{Name: NameString(randomName(r)), Qtype: uint16(r.Uint32()), Qclass: ClassIN}
	if r.IntN(3) > 0 {
		q.Qtype = []uint16{TypeA, TypeAAAA, TypeHTTPS, TypeIXFR}[r.IntN(4)]
	}
	m.Question = []dns.Question{q}
	if q.Qtype == TypeIXFR && r.IntN(2) == 0 {
		m.Ns = []dns.RR{&dns.SOA{Hdr: dns.RR_Header{Name: q.Name, Rrtype: TypeSOA, Class: ClassIN}, Ns: "ns.", Mbox: "m.",
			Serial: r.Uint32()}}
	}
	txt := &dns.TXT{Hdr: dns.RR_Header{Name: q.Name, Rrtype: TypeTXT, Class: ClassIN}, Txt: []string{"x"}}
	if r.IntN(9) == 0 {
		m.Extra = append(m.Extra, txt)
	}
	if r.IntN(4) > 0 {
		opt := &dns.OPT{Hdr: dns.RR_Header{Name: ".", Rrtype: TypeOPT}, Option: randomOptions(r)}
		opt.SetUDPSize(uint16(r.Uint32()))
		opt.SetDo(r.IntN(2) == 0)
		opt.SetCo(r.IntN(2) == 0)
		m.Extra = append(m.Extra, opt)
	}
	if r.IntN(9) == 0 {
		m.Extra = append(m.Extra, &dns.TSIG{Hdr: dns.RR_Header{Name: "key.", Rrtype: TypeTSIG, Class: ClassANY},
			Algorithm: dns.HmacSHA256, MACSize: 4, MAC: "01020304"})
	}
	m.Compress = r.IntN(2) == 0
	b, err := m.Pack()
	if err != nil {
		t.Fatalf("%v: %v", &m, err)
	}
	return b
}

// compare says how an accepted query differs from what the oracle read; "" if nowhere.
func compare(q *Query, msg []byte, m *dns.Msg) string {
	if len(m.Question) != 1 || m.Response || m.Opcode != 0 || len(m.Answer) != 0 {
		return "the oracle sees no query"
	}
	mq := m.Question[0]
	wire, err := AppendName(nil, mq.Name)
	if err != nil {
		return err.Error()
	}
	if !bytes.Equal(q.Name[:q.NameLen], slowFold(wire)) || dns.CountLabel(mq.Name) != q.Labels {
		return "name: " + mq.Name
	}
	for i, off := range dns.Split(mq.Name) {
		if w, _ := AppendName(nil, mq.Name[off:]); len(w) != q.NameLen-int(q.LabelOff[i]) {
			return fmt.Sprintf("offset of label %d", i)
		}
	}
	if q.ID != m.Id || q.QType != mq.Qtype || q.QClass != mq.Qclass || q.End != 12+len(wire)+4 || q.End > len(msg) {
		return "id, type, class or end"
	}
	bit := func(f uint16) bool { return q.Flags&f != 0 }
	if bit(FlagRD) != m.RecursionDesired || bit(FlagCD) != m.CheckingDisabled || bit(FlagAD) != m.AuthenticatedData ||
		bit(FlagTC) != m.Truncated || bit(FlagAA) != m.Authoritative || bit(FlagRA) != m.RecursionAvailable {
		return "flags"
	}
	if q.HasTSIG != (m.IsTsig() != nil) {
		return "TSIG"
	}
	return compareEDNS(q, m.IsEdns0())
}

func compareEDNS(q *Query, opt *dns.OPT) string {
	if opt == nil {
		if q.EDNS || q.UDPSize != 0 || q.DO || q.CO || q.NSID || q.Padding || q.TCPKeepalive || q.Cookie.Present || q.Subnet != (Subnet{}) {
			return "EDNS where the oracle has none"
		}
		return ""
	}
	if !q.EDNS || q.UDPSize != opt.UDPSize() || q.DO != opt.Do() || q.CO != opt.Co() || q.Version != opt.Version() {
		return "OPT: " + opt.String()
	}
	seen, cookie := map[uint16]*dns.EDNS0_SUBNET{}, ""
	for _, e := range opt.Option {
		s, _ := e.(*dns.EDNS0_SUBNET)
		seen[e.Option()] = s
		if c, ok := e.(*dns.EDNS0_COOKIE); ok && cookie == "" {
			cookie = c.Cookie
		}
	}
	has := func(code uint16) bool { _, ok := seen[code]; return ok }
	if q.NSID != has(optNSID) || q.Padding != has(optPadding) || q.TCPKeepalive != has(optTCPKeepalive) ||
		q.Subnet.Present != has(optSubnet) || q.Cookie.Present != has(optCookie) {
		return "options: " + opt.String()
	}
	if c := &q.Cookie; c.Present && hexString(c.Client[:])+hexString(c.Server[:c.ServerLen]) != cookie {
		return "cookie: " + cookie
	}
	if s := seen[optSubnet]; s != nil && (s.Family != q.Subnet.Family || s.SourceNetmask != q.Subnet.Source ||
		s.SourceScope != 0 || !sameAddress(s, &q.Subnet) || q.Subnet.OptLen != (s.SourceNetmask+7)/8) {
		return "subnet: " + s.String()
	}
	return ""
}

func TestParseAgainstOracle(t *testing.T) {
	r := gtmtest.Random(t)
	var q Query
	for range 20_000 {
		msg := randomQuery(t, r)
		result, rcode := q.Parse(msg)
		if result != Answer {
			t.Fatalf("%x: %d %s", msg, result, RcodeString(rcode))
		}
		var m dns.Msg
		if err := m.Unpack(msg); err != nil {
			t.Fatal(err)
		}
		if diff := compare(&q, msg, &m); diff != "" {
			t.Fatalf("%x: %s", msg, diff)
		}
	}
}

// What is accepted of damaged messages must mean to the oracle what it means to us; cut ones are never accepted.
func TestParseDamagedAgainstOracle(t *testing.T) {
	r := gtmtest.Random(t)
	var q Query
	accepted, refused := 0, 0
	for range 60_000 {
		msg := randomQuery(t, r)
		cut := r.IntN(3) == 0
		if cut {
			msg = msg[:r.IntN(len(msg))]
		} else {
			for range 1 + r.IntN(3) {
				msg[r.IntN(len(msg))] = []byte{0, 1, 2, 41, 0xC0, 0xFF, byte(r.IntN(256))}[r.IntN(7)]
			}
		}
		if result, _ := q.Parse(msg); result != Answer {
			refused++
			continue
		}
		if cut {
			t.Fatalf("%x was cut and accepted", msg)
		}
		var m dns.Msg
		if err := m.Unpack(msg); err != nil {
			continue // the oracle also reads the data of records and options that we skip
		}
		accepted++
		if diff := compare(&q, msg, &m); diff != "" {
			t.Fatalf("%x: %s", msg, diff)
		}
	}
	if accepted < 5_000 || refused < 5_000 {
		t.Errorf("%d accepted and %d refused: too few of a kind to show anything", accepted, refused)
	}
}
