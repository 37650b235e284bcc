package dnswire

import (
	"bytes"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/miekg/dns"

	"github.com/gti/gtm/pkg/gtmtest"
)

func TestSetHeader(t *testing.T) {
	b := bytes.Repeat([]byte{0xEE}, 13)
	SetHeader(b, 0x0102, FlagQR|FlagAA|FlagRD|RcodeNXDomain, 1, 0x0304, 0x0506, 0x0708)
	want := []byte{1, 2, 0x85, 3, 0, 1, 3, 4, 5, 6, 7, 8, 0xEE}
	if !bytes.Equal(b, want) {
		t.Errorf("%x, want %x", b, want)
	}
}

// randomOPT gives any record that can be asked for, and room for what it points to.
func randomOPT(r *rand.Rand) OPT {
	o := OPT{UDPSize: uint16(r.Uint32()), Rcode: uint16(r.IntN(4096)), DO: r.IntN(2) == 0, CO: r.IntN(2) == 0}
	if r.IntN(2) == 0 {
		o.NSID = []byte("edge-1.fra"[:r.IntN(11)])
	}
	switch r.IntN(4) {
	case 0:
		o.Subnet = &Subnet{}
	case 1, 2:
		s := randomSubnet(r)
		o.Subnet = &s
		o.Scope = uint8(r.IntN(33))
	}
	if r.IntN(3) == 0 {
		o.Cookie = randomCookie(r)
	}
	if r.IntN(3) == 0 {
		o.HasKeepAlive, o.KeepAlive = true, uint16(1+r.IntN(1<<16-1)) // the oracle writes a timeout of 0 as if there were none
	}
	if r.IntN(3) == 0 {
		o.Block = uint16(1 + r.IntN(600))
	}
	if r.IntN(2) == 0 {
		o.HasEDE, o.EDE, o.EDEText = true, uint16(r.IntN(30)), strings.Repeat("ü", r.IntN(140))
	}
	return o
}

func TestAppendOPTAgainstOracle(t *testing.T) {
	r := gtmtest.Random(t)
	for range 20_000 {
		o := randomOPT(r)
		msg := bytes.Repeat([]byte{0xEE}, 2000)[:12]
		SetHeader(msg, 1, FlagQR|o.Rcode&0xF, 0, 0, 0, 1)
		msg = AppendOPT(msg, &o)
		if o.Block == 0 && len(msg)-12 != o.Len() || o.Block > 0 && len(msg)%int(o.Block) != 0 {
			t.Fatalf("%+v: Len %d, appended %d", o, o.Len(), len(msg)-12)
		}
		// The oracle takes a message that is only a header and OPT, but reads options leniently;
		// packing again what it read must give the same bytes.
		var m dns.Msg
		if err := m.Unpack(msg); err != nil {
			t.Fatalf("%+v: %x: %v", o, msg, err)
		}
		checkOPT(t, &o, &m)
		again, err := m.Pack()
		if err != nil || !bytes.Equal(again, msg) {
			t.Fatalf("%+v: %x, the oracle packs %x, %v", o, msg, again, err)
		}
	}
}

// TestAppendUsualOPT compares the short form with the general one.
func TestAppendUsualOPT(t *testing.T) {
	r := gtmtest.Random(t)
	most := 0
	for range 20_000 {
		o := randomOPT(r)
		if o.Subnet == nil {
			o.Subnet = &Subnet{}
		}
		cookie := []byte("client..1......server...")[:8+ServerCookieLen]
		usual := OPT{UDPSize: o.UDPSize, DO: o.DO, Subnet: o.Subnet, Scope: o.Scope}
		if r.IntN(2) == 0 {
			usual.Cookie = cookie
		}
		buf := make([]byte, 12, 12+r.IntN(100)) // with and without space behind
		got := AppendUsualOPT(buf, o.UDPSize, o.DO, o.Subnet, o.Scope, usual.Cookie)
		if want := AppendOPT(make([]byte, 12), &usual); !bytes.Equal(got, want) {
			t.Fatalf("%+v: %x, not %x", usual, got, want)
		}
		most = max(most, len(got)-12)
	}
	if most != MaxUsualOPT {
		t.Errorf("%d bytes at most, not %d", most, MaxUsualOPT)
	}
}

func checkOPT(t *testing.T, o *OPT, m *dns.Msg) {
	t.Helper()
	opt := m.IsEdns0()
	if opt == nil || opt.UDPSize() != o.UDPSize || opt.Do() != o.DO || opt.Co() != o.CO || opt.Version() != 0 || m.Rcode != int(o.Rcode) {
		t.Fatalf("%+v: read as %v", o, m)
	}
	want := 0
	if o.NSID != nil {
		want++
	}
	if o.Subnet != nil && o.Subnet.Present {
		want++
	}
	if o.HasEDE {
		want++
	}
	if len(o.Cookie) > 0 {
		want++
	}
	if o.HasKeepAlive {
		want++
	}
	if o.Block > 0 {
		want++
		if _, last := opt.Option[len(opt.Option)-1].(*dns.EDNS0_PADDING); !last {
			t.Fatalf("%+v: padding is not last: %v", o, opt)
		}
	}
	if len(opt.Option) != want {
		t.Fatalf("%+v: %d options, want %d", o, len(opt.Option), want)
	}
	for _, e := range opt.Option {
		switch e := e.(type) {
		case *dns.EDNS0_SUBNET:
			s := o.Subnet
			if e.Family != s.Family || e.SourceNetmask != s.Source || e.SourceScope != o.Scope || !sameAddress(e, s) {
				t.Fatalf("%+v: subnet %v", o, e)
			}
		case *dns.EDNS0_EDE:
			if e.InfoCode != o.EDE || !strings.HasPrefix(o.EDEText, e.ExtraText) ||
				len(e.ExtraText) < min(len(o.EDEText), 254) || len(e.ExtraText) > 255 || len(e.ExtraText)%2 != 0 {
				t.Fatalf("%+v: extended error %v", o, e)
			}
		case *dns.EDNS0_COOKIE:
			if e.Cookie != hexString(o.Cookie) {
				t.Fatalf("%+v: cookie %v", o, e)
			}
		case *dns.EDNS0_TCP_KEEPALIVE:
			if e.Timeout != o.KeepAlive {
				t.Fatalf("%+v: keepalive %v", o, e)
			}
		case *dns.EDNS0_PADDING:
			if !bytes.Equal(e.Padding, make([]byte, len(e.Padding))) || len(e.Padding) >= int(o.Block) {
				t.Fatalf("%+v: padding %x", o, e.Padding)
			}
		case *dns.EDNS0_NSID:
			if e.Nsid != hexString(o.NSID) {
				t.Fatalf("%+v: NSID %v", o, e)
			}
		default:
			t.Fatalf("%+v: option %v", o, e)
		}
	}
}

// RFC 8467, 4.1: up to the end of a block, or of the room; never beyond.
func TestPadding(t *testing.T) {
	for n := 12; n < 1500; n++ {
		for _, most := range []int{512, 1000, 1232, 4096} {
			if n+optFixed > most {
				continue
			}
			o := OPT{Block: 468}
			msg := AppendOPT(make([]byte, n, most), &o)
			unpadded := n + optFixed
			want := min((unpadded+4+467)/468*468, most)
			if unpadded+4 > most {
				want = unpadded
			}
			if len(msg) != want || cap(msg) != most {
				t.Fatalf("%d bytes of %d: padded to %d of %d, want %d", n, most, len(msg), cap(msg), want)
			}
			if size := int(msg[n+9])<<8 | int(msg[n+10]); size != len(msg)-unpadded {
				t.Fatalf("%d bytes of %d: RDLENGTH %d", n, most, size)
			}
		}
	}
}

func TestAppendTXTAgainstOracle(t *testing.T) {
	long := strings.Repeat("0123456789", 60)
	tests := []struct{ in, want []string }{
		{nil, []string{""}},
		{[]string{""}, []string{""}},
		{[]string{"a", "", "b c"}, []string{"a", "", "b c"}},
		{[]string{long[:255]}, []string{long[:255]}},
		{[]string{long[:256], "x"}, []string{long[:255], long[255:256], "x"}},
		{[]string{long}, []string{long[:255], long[255:510], long[510:]}},
	}
	for _, tt := range tests {
		rdata := AppendTXT(nil, tt.in...)
		rr, _, err := dns.UnpackRR(record([]byte{0}, TypeTXT, ClassIN, 0, rdata), 0)
		if err != nil {
			t.Fatalf("%q: %v", tt.in, err)
		}
		if got := rr.(*dns.TXT).Txt; !slices.Equal(got, tt.want) {
			t.Errorf("%q: read as %q, want %q", tt.in, got, tt.want)
		}
	}
}

func TestStringsAgainstOracle(t *testing.T) {
	for _, n := range typeNames {
		if want := dns.TypeToString[n.code]; n.name != want || TypeString(n.code) != want {
			t.Errorf("type %d is %s, want %s", n.code, TypeString(n.code), want)
		}
	}
	if got := TypeString(65280); got != "TYPE65280" {
		t.Error(got)
	}
	for _, n := range rcodeNames {
		want := dns.RcodeToString[int(n.code)]
		if n.code == RcodeBadVers {
			want = "BADVERS" // the oracle has 16 as BADSIG, which is TSIG's
		}
		if n.name != want || RcodeString(n.code) != want {
			t.Errorf("rcode %d is %s, want %s", n.code, RcodeString(n.code), want)
		}
	}
	if got := RcodeString(4095); got != "RCODE4095" {
		t.Error(got)
	}
}
