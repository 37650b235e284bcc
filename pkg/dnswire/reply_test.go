package dnswire

import (
	"bytes"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/miekg/dns"
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
	if r.IntN(2) == 0 {
		o.HasEDE, o.EDE, o.EDEText = true, uint16(r.IntN(30)), strings.Repeat("ü", r.IntN(140))
	}
	return o
}

func TestAppendOPTAgainstOracle(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 4))
	for range 20_000 {
		o := randomOPT(r)
		msg := make([]byte, 12, 600)
		SetHeader(msg, 1, FlagQR|o.Rcode&0xF, 0, 0, 0, 1)
		msg = AppendOPT(msg, &o)
		if len(msg)-12 != o.Len() {
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
		case *dns.EDNS0_NSID:
			if e.Nsid != hexString(o.NSID) {
				t.Fatalf("%+v: NSID %v", o, e)
			}
		default:
			t.Fatalf("%+v: option %v", o, e)
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
