package dnswire

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"math/bits"
	"net/netip"
	"testing"

	"github.com/gti/gtm/pkg/gtmtest"
)

func unhex(t testing.TB, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(s)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func secrets(t testing.TB, hexes ...string) *CookieSecrets {
	t.Helper()
	var raw [][]byte
	for _, h := range hexes {
		raw = append(raw, unhex(t, h))
	}
	s, err := NewCookieSecrets(raw...)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func cookieOf(t testing.TB, s string) *Cookie {
	t.Helper()
	c := new(Cookie)
	if !c.parse(unhex(t, s)) {
		t.Fatalf("cookie %s does not parse", s)
	}
	return c
}

// The vectors of RFC 9018, appendix A.
func TestCookieVectors(t *testing.T) {
	const (
		secret = "e5e973e5a6b2a43f48e7dc849e37bfcf"
		old6   = "dd3bdf9344b678b185a6f5cb60fca715"
		new6   = "445536bcd2513298075a5d379663c962"
	)
	for _, tt := range []struct {
		name    string
		secrets []string
		addr    string
		query   string // as it comes
		learned uint32 // when the query's server cookie is checked; 0: it has none
		fresh   bool   // then
		now     uint32 // when the reply is made
		reply   string
	}{
		{"A.1 learning", []string{secret}, "198.51.100.100", "2464c4abcf10c957", 0, false,
			1559731985, "2464c4abcf10c957010000005cf79f111f8130c3eee29480"},
		{"A.2 renewing", []string{secret}, "198.51.100.100", "2464c4abcf10c957010000005cf79f111f8130c3eee29480", 1559734385, false,
			1559734385, "2464c4abcf10c957010000005cf7a871d4a564a1442aca77"},
		{"A.3 reserved bytes", []string{secret}, "203.0.113.203", "fc93fc62807ddb8601abcdef5cf78f71a314227b6679ebf5", 1559727985, false,
			1559734700, "fc93fc62807ddb86010000005cf7a9acf73a7810aca2381e"},
		{"A.4 rolled over", []string{new6, old6}, "2001:db8:220:1:59de:d0f4:8769:82b8", "22681ab97d52c298010000005cf7c57926556bd0934c72f8",
			1559741961, false, 1559741961, "22681ab97d52c298010000005cf7c609a6bb79d16625507a"},
		{"A.4 before", []string{old6}, "2001:db8:220:1:59de:d0f4:8769:82b8", "22681ab97d52c298010000005cf7c57926556bd0934c72f8",
			1559741817, true, 1559741817, "22681ab97d52c298010000005cf7c57926556bd0934c72f8"},
	} {
		s, c, addr := secrets(t, tt.secrets...), cookieOf(t, tt.query), netip.MustParseAddr(tt.addr)
		valid, fresh := s.Verify(c, addr, tt.learned)
		if valid != (tt.learned != 0) || fresh != tt.fresh {
			t.Errorf("%s: valid %v, fresh %v", tt.name, valid, fresh)
		}
		var server [ServerCookieLen]byte
		s.Make(&server, c.Client, addr, tt.now)
		if got := hexString(c.Client[:]) + hexString(server[:]); got != tt.reply {
			t.Errorf("%s: made %s, want %s", tt.name, got, tt.reply)
		}
	}
	// A.4 without the old secret
	c := cookieOf(t, "22681ab97d52c298010000005cf7c57926556bd0934c72f8")
	if valid, _ := secrets(t, new6).Verify(c, netip.MustParseAddr("2001:db8:220:1:59de:d0f4:8769:82b8"), 1559741961); valid {
		t.Error("a cookie of a secret that is gone is valid")
	}
}

func TestCookieTimes(t *testing.T) {
	s, addr := secrets(t, "000102030405060708090a0b0c0d0e0f"), netip.MustParseAddr("192.0.2.1")
	for _, made := range []uint32{1559731985, 10, 1<<32 - 10, 1<<31 - 10} { // about where serial numbers wrap
		c := Cookie{Present: true, ServerLen: ServerCookieLen, Client: [8]byte{1, 2, 3}}
		s.Make((*[ServerCookieLen]byte)(c.Server[:]), c.Client, addr, made)
		for _, tt := range []struct {
			age          int
			valid, fresh bool
		}{{0, true, true}, {1, true, true}, {1800, true, true}, {1801, true, false}, {3600, true, false}, {3601, false, false},
			{1 << 30, false, false}, {-1, true, true}, {-300, true, true}, {-301, false, false}, {-3600, false, false}} {
			if valid, fresh := s.Verify(&c, addr, made+uint32(tt.age)); valid != tt.valid || fresh != tt.fresh {
				t.Errorf("made at %d, %d later: valid %v, fresh %v", made, tt.age, valid, fresh)
			}
		}
	}
}

// Whatever is changed of client cookie, server cookie, address or secret, the cookie is not valid any more.
func TestCookieForgeries(t *testing.T) {
	const now = 1_700_000_000
	s := secrets(t, "000102030405060708090a0b0c0d0e0f")
	for _, a := range []string{"192.0.2.1", "2001:db8::1", "::"} {
		addr := netip.MustParseAddr(a)
		good := Cookie{Present: true, ServerLen: ServerCookieLen, Client: [8]byte{8, 7, 6, 5, 4, 3, 2, 1}}
		s.Make((*[ServerCookieLen]byte)(good.Server[:]), good.Client, addr, now)
		if valid, fresh := s.Verify(&good, addr, now); !valid || !fresh {
			t.Fatalf("%s: its own cookie is not valid", a)
		}
		for bit := range 64 + 8*ServerCookieLen {
			c := good
			if bit < 64 {
				c.Client[bit/8] ^= 1 << (bit % 8)
			} else {
				c.Server[bit/8-8] ^= 1 << (bit % 8)
			}
			if valid, fresh := s.Verify(&c, addr, now); valid || fresh {
				t.Errorf("%s: valid with bit %d changed", a, bit)
			}
		}
		for _, other := range []string{"192.0.2.0", "2001:db8::2", "2001:db8:0:1::1", "::ffff:192.0.2.1"} {
			if valid, _ := s.Verify(&good, netip.MustParseAddr(other), now); valid {
				t.Errorf("a cookie of %s is valid from %s", a, other)
			}
		}
		for _, n := range []uint8{0, 8, 15, 17, 32} {
			c := good
			c.ServerLen = n
			if valid, _ := s.Verify(&c, addr, now); valid {
				t.Errorf("valid with %d bytes", n)
			}
		}
	}
	if valid, _ := s.Verify(&Cookie{}, netip.Addr{}, 0); valid {
		t.Error("no cookie is valid")
	}
}

func TestNewCookieSecrets(t *testing.T) {
	ok := make([]byte, 16)
	for _, bad := range [][][]byte{{}, {ok, ok, ok}, {ok[:15]}, {ok, nil}, {append(ok, 0)}} {
		if s, err := NewCookieSecrets(bad...); err == nil || s != nil {
			t.Errorf("%d secrets: %v", len(bad), err)
		}
	}
}

// slowSip is SipHash-2-4 as its paper tells it, over bytes.
func slowSip(key, msg []byte) uint64 {
	k0, k1 := binary.LittleEndian.Uint64(key), binary.LittleEndian.Uint64(key[8:])
	v := [4]uint64{k0, k1, k0, k1}
	for i, c := range []string{"somepseu", "dorandom", "lygenera", "tedbytes"} {
		v[i] ^= binary.BigEndian.Uint64([]byte(c))
	}
	rounds := func(n int) {
		for range n {
			v[0], v[2] = v[0]+v[1], v[2]+v[3]
			v[1], v[3] = bits.RotateLeft64(v[1], 13), bits.RotateLeft64(v[3], 16)
			v[1], v[3] = v[1]^v[0], v[3]^v[2]
			v[0] = bits.RotateLeft64(v[0], 32)
			v[2], v[0] = v[2]+v[1], v[0]+v[3]
			v[1], v[3] = bits.RotateLeft64(v[1], 17), bits.RotateLeft64(v[3], 21)
			v[1], v[3] = v[1]^v[2], v[3]^v[0]
			v[2] = bits.RotateLeft64(v[2], 32)
		}
	}
	padded := append(bytes.Clone(msg), make([]byte, 8-len(msg)%8)...)
	padded[len(padded)-1] = byte(len(msg))
	for ; len(padded) > 0; padded = padded[8:] {
		m := binary.LittleEndian.Uint64(padded)
		v[3] ^= m
		rounds(2)
		v[0] ^= m
	}
	v[2] ^= 0xFF
	rounds(4)
	return v[0] ^ v[1] ^ v[2] ^ v[3]
}

func TestSipHashAgainstOracle(t *testing.T) {
	counting := unhex(t, "000102030405060708090a0b0c0d0e0f")
	if got := slowSip(counting, counting[:15]); got != 0xa129ca6149be45e5 { // the vector of the paper's appendix A
		t.Fatalf("the oracle itself gives %x", got)
	}
	r := gtmtest.Random(t)
	random := func(n int) []byte {
		b := make([]byte, n)
		for i := range b {
			b[i] = byte(r.Uint32())
		}
		return b
	}
	for range 2000 {
		key, client, head, ip := random(16), random(8), random(8), random(4+12*r.IntN(2))
		s, err := NewCookieSecrets(key)
		if err != nil {
			t.Fatal(err)
		}
		addr, _ := netip.AddrFromSlice(ip)
		want := slowSip(key, bytes.Join([][]byte{client, head, ip}, nil))
		if got := s.keys[0].cookie([8]byte(client), [8]byte(head), addr); got != want {
			t.Fatalf("%x %x %x %x: %x, want %x", key, client, head, ip, got, want)
		}
	}
}

func TestParseCookie(t *testing.T) {
	var q Query
	full := make([]byte, 42)
	for i := range full {
		full[i] = byte(i + 1)
	}
	for n := range full {
		ok := n == 8 || n >= 16 && n <= 40
		r, rcode := q.Parse(withOPT(t, ednsDO, option(optNSID), option(optCookie, full[:n]...), option(optPadding)))
		if !ok {
			if r != Reject || rcode != RcodeFormErr || q.Cookie.Present || !q.EDNS || !q.DO || !q.NSID {
				t.Errorf("%d bytes: %d %s; want FORMERR", n, r, RcodeString(rcode))
			}
			continue
		}
		c := &q.Cookie
		if r != Answer || !c.Present || int(c.ServerLen) != n-8 || !q.Padding ||
			!bytes.Equal(c.Client[:], full[:8]) || !bytes.Equal(c.Server[:c.ServerLen], full[8:n]) {
			t.Errorf("%d bytes: %d, %+v", n, r, c)
		}
	}
	// Only the first counts, even where a later one is malformed.
	r, _ := q.Parse(withOPT(t, 0, option(optCookie, full[:8]...), option(optCookie, full[1:17]...), option(optCookie, 1)))
	if r != Answer || q.Cookie.Client[0] != 1 || q.Cookie.ServerLen != 0 {
		t.Errorf("several cookies: %d, %+v", r, q.Cookie)
	}
	if r, _ := q.Parse(withOPT(t, 0)); r != Answer || q.Cookie.Present || q.Cookie.ServerLen != 0 {
		t.Errorf("something is left of the query before: %+v", q.Cookie)
	}
}

// RFC 7873, 5.4: a query without a question asks for a server cookie.
func TestParseWithoutQuestion(t *testing.T) {
	opt := func(version uint32, options ...[]byte) []byte {
		return record([]byte{0}, TypeOPT, 1232, version<<16, bytes.Join(options, nil))
	}
	cookie := option(optCookie, 1, 2, 3, 4, 5, 6, 7, 8)
	var q Query
	for _, tt := range []struct {
		name   string
		msg    message
		result Result
		rcode  uint16
	}{
		{"client cookie", message{ar: 1, body: opt(0, cookie)}, CookieOnly, 0},
		{"both cookies", message{ar: 1, body: opt(0, option(optCookie, make([]byte, 24)...))}, CookieOnly, 0},
		{"no cookie", message{ar: 1, body: opt(0, option(optNSID))}, Reject, RcodeFormErr},
		{"no OPT", message{}, Reject, RcodeFormErr},
		{"a short cookie", message{ar: 1, body: opt(0, option(optCookie, 1))}, Reject, RcodeFormErr},
		{"version 1", message{ar: 1, body: opt(1, cookie)}, Reject, RcodeBadVers},
		{"an answer", message{an: 1, ar: 1, body: append(record([]byte{0}, TypeA, ClassIN, 0, nil), opt(0, cookie)...)}, Reject,
			RcodeFormErr},
		{"authority", message{ns: 1, ar: 1, body: append(record([]byte{0}, TypeSOA, ClassIN, 0, nil), opt(0, cookie)...)}, Reject,
			RcodeFormErr},
		{"garbage", message{ar: 1, body: append(opt(0, cookie), 0)}, Reject, RcodeFormErr},
	} {
		r, rcode := q.Parse(tt.msg.bytes())
		if r != tt.result || rcode != tt.rcode || q.End != 12 || q.NameLen != 0 {
			t.Errorf("%s: %d %s, %+v", tt.name, r, RcodeString(rcode), q.Cookie)
		}
		if (tt.result == CookieOnly) != (r == CookieOnly && q.Cookie.Present) {
			t.Errorf("%s: cookie %+v", tt.name, q.Cookie)
		}
	}
}

func TestCookieAllocations(t *testing.T) {
	s, addr := secrets(t, "000102030405060708090a0b0c0d0e0f", "e5e973e5a6b2a43f48e7dc849e37bfcf"), netip.MustParseAddr("2001:db8::1")
	msg := withOPT(t, 0, option(optCookie, make([]byte, 24)...))
	var q Query
	var server [ServerCookieLen]byte
	if n := testing.AllocsPerRun(100, func() {
		q.Parse(msg)
		s.Verify(&q.Cookie, addr, 0)
		s.Make(&server, q.Cookie.Client, addr, 0)
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}
