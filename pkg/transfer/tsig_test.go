package transfer

import (
	"context"
	"encoding/binary"
	"fmt"
	"net/netip"
	"testing"
	"time"

	"github.com/miekg/dns"

	"github.com/gti/gtm/pkg/table"
)

// signed packs a query with a TSIG made by miekg's code.
func signed(t *testing.T, key, alg, secret string, at int64, change func(*dns.Msg)) (wire []byte, mac string) {
	t.Helper()
	m := new(dns.Msg)
	m.SetQuestion("Gtm.example.", dns.TypeA)
	if change != nil {
		change(m)
	}
	m.SetTsig(key, alg, 300, at)
	wire, mac, err := dns.TsigGenerate(m, secret, "", false)
	if err != nil {
		t.Fatal(err)
	}
	return wire, mac
}

// handle gives the reply to a message, as it came and unpacked.
func (w *world) handle(wire []byte, stream bool) (Reply, []byte, *dns.Msg) {
	w.t.Helper()
	buf := make([]byte, 65535)
	r := w.s.Handle(&Message{Buf: buf, N: copy(buf, wire), Source: local, Stream: stream, Many: stream}, refuseAll)
	if r.Size == 0 {
		return r, nil, nil
	}
	m := new(dns.Msg)
	if err := m.Unpack(buf[:r.Size]); err != nil {
		w.t.Fatalf("the reply %x: %v", buf[:r.Size], err)
	}
	return r, buf[:r.Size], m
}

func TestTSIG(t *testing.T) {
	now := time.Now().Unix()
	for _, c := range []struct {
		name, key, alg, secret string
		at                     int64
		rcode, err             int
		verified               bool // the reply's TSIG
	}{
		{"good", "one.", dns.HmacSHA256, oneSecret, now, dns.RcodeRefused, 0, true},
		{"another case", "ONE.", dns.HmacSHA256, oneSecret, now, dns.RcodeRefused, 0, true},
		{"long", "long.", dns.HmacSHA512, oneSecret, now, dns.RcodeRefused, 0, true},
		{"no such key", "none.", dns.HmacSHA256, oneSecret, now, dns.RcodeNotAuth, dns.RcodeBadKey, false},
		{"another algorithm", "one.", dns.HmacSHA512, oneSecret, now, dns.RcodeNotAuth, dns.RcodeBadKey, false},
		{"SHA-1", "one.", dns.HmacSHA1, oneSecret, now, dns.RcodeNotAuth, dns.RcodeBadKey, false},
		{"bad secret", "one.", dns.HmacSHA256, otherSecret, now, dns.RcodeNotAuth, dns.RcodeBadSig, false},
		{"too late", "one.", dns.HmacSHA256, oneSecret, now - 400, dns.RcodeNotAuth, dns.RcodeBadTime, true},
		{"too early", "one.", dns.HmacSHA256, oneSecret, now + 400, dns.RcodeNotAuth, dns.RcodeBadTime, true},
	} {
		for _, stream := range []bool{false, true} {
			t.Run(fmt.Sprint(c.name, " ", stream), func(t *testing.T) {
				w := newWorld(t)
				wire, mac := signed(t, c.key, c.alg, c.secret, c.at, nil)
				r, reply, m := w.handle(wire, stream)
				ts := m.IsTsig()
				if m.Rcode != c.rcode || ts == nil || int(ts.Error) != c.err || r.Trusted != (c.err == 0) {
					t.Fatalf("reply %v, trusted %v", m, r.Trusted)
				}
				if c.err == dns.RcodeBadTime && len(ts.OtherData) != 12 {
					t.Errorf("BADTIME tells our time in 6 bytes, not %q", ts.OtherData)
				}
				if !c.verified {
					if ts.MACSize != 0 {
						t.Errorf("the reply is signed, with a key that is not to be trusted")
					}
					return
				}
				if c.err == dns.RcodeBadTime { // its time is the request's, which miekg refuses before it looks at the MAC
					check := &session{key: w.s.cfg.Keys.named(c.key), prior: unhex(t, mac)}
					found, err := findTSIG(reply)
					if err != nil {
						t.Fatal(err)
					}
					if _, code, err := check.verify(reply, found, uint64(c.at)); err != nil || code != 0 {
						t.Errorf("the reply's MAC: %d, %v", code, err)
					}
					return
				}
				if err := dns.TsigVerify(reply, c.secret, mac, false); err != nil {
					t.Errorf("miekg does not verify the reply: %v", err)
				}
			})
		}
	}
}

func unhex(t *testing.T, s string) []byte {
	t.Helper()
	var b []byte
	if _, err := fmt.Sscanf(s, "%x", &b); err != nil {
		t.Fatal(err)
	}
	return b
}

// truncated cuts the MAC of a message that miekg signed.
func truncated(t *testing.T, wire []byte, to int) []byte {
	t.Helper()
	found, err := findTSIG(wire)
	if err != nil {
		t.Fatal(err)
	}
	found.mac = found.mac[:to]
	plain := append([]byte(nil), wire[:found.at]...)
	binary.BigEndian.PutUint16(plain[10:], binary.BigEndian.Uint16(plain[10:])-1)
	return found.append(plain)
}

func TestTruncatedMAC(t *testing.T) {
	for _, c := range []struct{ size, rcode, err int }{
		{32, dns.RcodeRefused, 0}, {31, dns.RcodeNotAuth, dns.RcodeBadTrunc}, {16, dns.RcodeNotAuth, dns.RcodeBadTrunc},
		{15, dns.RcodeFormatError, 0}, {0, dns.RcodeFormatError, 0},
	} {
		w := newWorld(t)
		wire, _ := signed(t, "one.", dns.HmacSHA256, oneSecret, time.Now().Unix(), nil)
		_, _, m := w.handle(truncated(t, wire, c.size), true)
		err := 0
		if ts := m.IsTsig(); ts != nil {
			err = int(ts.Error)
		}
		if m.Rcode != c.rcode || err != c.err {
			t.Errorf("a MAC of %d bytes: %v", c.size, m)
		}
	}
}

// TestTSIGChanged flips every bit of a signed message: none of them may pass as good, but those of the outer ID.
func TestTSIGChanged(t *testing.T) {
	w := newWorld(t)
	wire, _ := signed(t, "one.", dns.HmacSHA256, oneSecret, time.Now().Unix(), nil)
	for bit := range 8 * len(wire) {
		changed := append([]byte(nil), wire...)
		changed[bit/8] ^= 0x80 >> (bit % 8)
		buf := make([]byte, 65535)
		r := w.s.Handle(&Message{Buf: buf, N: copy(buf, changed), Source: local}, refuseAll)
		lowered := bit%8 == 2 && (wire[bit/8]|0x20) >= 'a' && (wire[bit/8]|0x20) <= 'z' // the case of the key's and the algorithm's names
		if r.Trusted && bit >= 16 && !(lowered && bit/8 > 29) {
			t.Errorf("with bit %d flipped the message passes", bit)
		}
	}
}

func TestMalformed(t *testing.T) {
	w := newWorld(t)
	wire, _ := signed(t, "one.", dns.HmacSHA256, oneSecret, time.Now().Unix(), nil)
	for n := range wire {
		r, _, m := w.handle(wire[:n], false)
		if n < 12 && r.Size != 0 {
			t.Errorf("%d bytes were answered", n)
		}
		if n >= 12 && (m == nil || m.Rcode != dns.RcodeFormatError) {
			t.Errorf("%d bytes: %v", n, m)
		}
	}
}

func FuzzHandle(f *testing.F) {
	m := new(dns.Msg)
	m.SetAxfr("gtm.example.")
	m.SetTsig("one.", dns.HmacSHA256, 300, 1)
	wire, _, _ := dns.TsigGenerate(m, oneSecret, "", false)
	f.Add(wire)
	m.SetIxfr("gtm.example.", 1, "a.", "b.")
	plain, _ := m.Pack()
	f.Add(plain)
	m.SetNotify("gtm.example.")
	plain, _ = m.Pack()
	f.Add(plain)
	s, err := New(Config{View: func() *table.View { return nil }})
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, msg []byte) {
		buf := make([]byte, 65535)
		n := copy(buf, msg)
		r := s.Handle(&Message{Buf: buf, N: n, Source: local}, refuseAll)
		if r.Size > len(buf) || r.Trusted {
			t.Errorf("%x: %+v", msg, r)
		}
		if r.Size > 0 && (r.Size < 12 || buf[2]&0x80 == 0) {
			t.Errorf("%x: the reply is none: %x", msg, buf[:r.Size])
		}
	})
}

// relay gives a signed message the ID that a forwarder would, and takes the ID back in the reply.
func relay(wire []byte) []byte {
	wire = append([]byte(nil), wire...)
	wire[0] ^= 0x5a
	return wire
}

// A forwarder may change the ID (RFC 8945, 5.5): the reply went out with the ID of before, so that edges took control's answers
// for another message's, applied updates and said SERVFAIL.
func TestForwarderMayChangeTheID(t *testing.T) {
	d := newDesk(t, updateZone+fmt.Sprintf(updateContent, 0))
	m := new(dns.Msg).SetUpdate("gtm.example.")
	m.Insert(rrs(t, "new.dyn 60 A 192.0.2.3"))
	m.SetTsig("one.", dns.HmacSHA256, 300, time.Now().Unix())
	wire, mac, err := dns.TsigGenerate(m, oneSecret, "", false)
	if err != nil {
		t.Fatal(err)
	}
	w := newWorld(t)
	w.put(updateZone + fmt.Sprintf(updateContent, 0))
	w.s.cfg.Forward = func(ctx context.Context, msg []byte, source netip.AddrPort) ([]byte, error) {
		return d.c.Handle(ctx, msg, source), nil
	}
	buf := make([]byte, 4096)
	r := w.s.Handle(&Message{Buf: buf, N: copy(buf, relay(wire)), Source: local, Slow: true}, refuseAll)
	if r.Size < 12 || buf[0] != wire[0]^0x5a || buf[3]&0xF != dns.RcodeSuccess {
		t.Fatalf("the answer: %x", buf[:r.Size])
	}
	if err := dns.TsigVerify(relay(buf[:r.Size]), oneSecret, mac, false); err != nil {
		t.Errorf("the answer's signature: %v", err)
	}
	if err := dns.TsigVerify(buf[:r.Size], oneSecret, mac, false); err != nil {
		t.Errorf("and as the forwarder sees it: %v", err)
	}
}

// A TSIG record that is not the last one was taken for a record of another kind, or for none.
func TestMisplacedTSIGIsFormErr(t *testing.T) {
	for _, section := range []string{"answer", "authority", "before the last"} {
		for _, opcode := range []int{dns.OpcodeUpdate, dns.OpcodeNotify, dns.OpcodeQuery} {
			m := new(dns.Msg).SetQuestion("gtm.example.", dns.TypeSOA)
			m.Opcode = opcode
			ts := &dns.TSIG{Hdr: dns.RR_Header{Name: "one.", Rrtype: dns.TypeTSIG, Class: dns.ClassANY}, Algorithm: dns.HmacSHA256,
				MAC: "00", MACSize: 1}
			a := &dns.A{Hdr: dns.RR_Header{Name: "a.gtm.example.", Rrtype: dns.TypeA, Class: dns.ClassINET}, A: []byte{192, 0, 2, 1}}
			switch section {
			case "answer":
				m.Answer = []dns.RR{ts}
			case "authority":
				m.Ns = []dns.RR{ts}
			default:
				m.Extra = []dns.RR{ts, a}
			}
			wire, err := m.Pack()
			if err != nil {
				t.Fatal(err)
			}
			if _, _, reply := newWorld(t).handle(wire, false); reply == nil || reply.Rcode != dns.RcodeFormatError {
				t.Errorf("%s, opcode %d: %v", section, opcode, reply)
			}
		}
	}
}
