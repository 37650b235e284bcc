package dnswire

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"strings"
	"testing"
)

// message is a query put together by hand, so that faults can be put in.
type message struct {
	flags          uint16
	qd, an, ns, ar uint16
	body           []byte
}

func (m message) bytes() []byte {
	b := make([]byte, 12, 12+len(m.body))
	SetHeader(b, 0xBEEF, m.flags, m.qd, m.an, m.ns, m.ar)
	return append(b, m.body...)
}

// question gives wire form: name, type, class IN.
func question(t testing.TB, name string, qtype uint16) []byte {
	t.Helper()
	b, err := AppendName(nil, name)
	if err != nil {
		t.Fatal(err)
	}
	return binary.BigEndian.AppendUint16(binary.BigEndian.AppendUint16(b, qtype), ClassIN)
}

// record gives one with TTL 0.
func record(owner []byte, rtype, class uint16, ttl uint32, rdata []byte) []byte {
	b := binary.BigEndian.AppendUint16(bytes.Clone(owner), rtype)
	b = binary.BigEndian.AppendUint16(b, class)
	b = binary.BigEndian.AppendUint32(b, ttl)
	b = binary.BigEndian.AppendUint16(b, uint16(len(rdata)))
	return append(b, rdata...)
}

func option(code uint16, data ...byte) []byte {
	b := binary.BigEndian.AppendUint16(nil, code)
	b = binary.BigEndian.AppendUint16(b, uint16(len(data)))
	return append(b, data...)
}

// withOPT is a query for web.example. A with an OPT record that holds the options.
func withOPT(t testing.TB, ttl uint32, options ...[]byte) []byte {
	opt := record([]byte{0}, TypeOPT, 1232, ttl, bytes.Join(options, nil))
	return message{qd: 1, ar: 1, body: append(question(t, "web.example", TypeA), opt...)}.bytes()
}

func TestParseHeader(t *testing.T) {
	q1 := question(t, "Web.Example", TypeA)
	end := 12 + len(q1)
	soa := record([]byte{0xC0, 12}, TypeSOA, ClassIN, 0, make([]byte, 22))
	ixfr := question(t, "example", TypeIXFR)
	opt := record([]byte{0}, TypeOPT, 4096, 0, nil)
	tsig := record([]byte{1, 'k', 0}, TypeTSIG, ClassANY, 0, make([]byte, 30))
	other := record([]byte{0xC0, 12}, TypeA, ClassIN, 0, make([]byte, 4))
	owner := func(last string) []byte { // 252 bytes and a last label
		return record([]byte(strings.Repeat("\x01a", 126)+last+"\x00"), TypeA, ClassIN, 0, nil)
	}
	join := func(parts ...[]byte) []byte { return bytes.Join(parts, nil) }
	tests := []struct {
		name   string
		msg    []byte
		result Result
		rcode  uint16
		end    int
	}{
		{"empty", nil, Silent, 0, 0},
		{"eleven bytes", make([]byte, 11), Silent, 0, 0},
		{"response", message{flags: FlagQR, qd: 1, body: q1}.bytes(), Silent, 0, 12},
		{"plain", message{flags: FlagRD, qd: 1, body: q1}.bytes(), Answer, 0, end},
		{"TC and reserved bits", message{flags: FlagTC | 1<<6 | FlagRA | 0xF, qd: 1, body: q1}.bytes(), Answer, 0, end},
		{"NOTIFY", message{flags: 4 << 11, qd: 1, body: q1}.bytes(), Reject, RcodeNotImp, 12},
		{"UPDATE of nothing", message{flags: 5 << 11}.bytes(), Reject, RcodeNotImp, 12},
		{"no question", message{}.bytes(), Reject, RcodeFormErr, 12},
		{"two questions", message{qd: 2, body: join(q1, q1)}.bytes(), Reject, RcodeFormErr, 12},
		{"question missing", message{qd: 1}.bytes(), Reject, RcodeFormErr, 12},
		{"question cut", message{qd: 1, body: q1[:len(q1)-1]}.bytes(), Reject, RcodeFormErr, 12},
		{"name cut", message{qd: 1, body: q1[:5]}.bytes(), Reject, RcodeFormErr, 12},
		{"compressed name", message{qd: 1, body: []byte{1, 'a', 0xC0, 12, 0, 1, 0, 1}}.bytes(), Reject, RcodeFormErr, 12},
		{"label type 01", message{qd: 1, body: append(append([]byte{64}, make([]byte, 64)...), 0, 0, 1, 0, 1)}.bytes(), Reject,
			RcodeFormErr, 12},
		{"an answer", message{qd: 1, an: 1, body: join(q1, other)}.bytes(), Reject, RcodeFormErr, end},
		{"authority", message{qd: 1, ns: 1, body: join(q1, soa)}.bytes(), Reject, RcodeFormErr, end},
		{"IXFR", message{qd: 1, ns: 1, body: join(ixfr, soa)}.bytes(), Answer, 0, 12 + len(ixfr)},
		{"IXFR, OPT and TSIG", message{qd: 1, ns: 1, ar: 2, body: join(ixfr, soa, opt, tsig)}.bytes(), Answer, 0, 12 + len(ixfr)},
		{"IXFR without SOA", message{qd: 1, ns: 1, body: join(ixfr, other)}.bytes(), Reject, RcodeFormErr, 12 + len(ixfr)},
		{"IXFR, SOA cut", message{qd: 1, ns: 1, body: join(ixfr, soa[:len(soa)-1])}.bytes(), Reject, RcodeFormErr, 12 + len(ixfr)},
		{"IXFR, two SOA", message{qd: 1, ns: 2, body: join(ixfr, soa, soa)}.bytes(), Reject, RcodeFormErr, 12 + len(ixfr)},
		{"OPT", message{qd: 1, ar: 1, body: join(q1, opt)}.bytes(), Answer, 0, end},
		{"OPT and TSIG", message{qd: 1, ar: 2, body: join(q1, opt, tsig)}.bytes(), Answer, 0, end},
		{"TSIG first", message{qd: 1, ar: 2, body: join(q1, tsig, opt)}.bytes(), Reject, RcodeFormErr, end},
		{"two OPT", message{qd: 1, ar: 2, body: join(q1, opt, opt)}.bytes(), Reject, RcodeFormErr, end},
		{"OPT below the root", message{qd: 1, ar: 1, body: join(q1, record([]byte{1, 'a', 0}, TypeOPT, 4096, 0, nil))}.bytes(), Reject,
			RcodeFormErr, end},
		{"OPT at a pointer", message{qd: 1, ar: 1, body: join(q1, record([]byte{0xC0, 12}, TypeOPT, 4096, 0, nil))}.bytes(), Reject,
			RcodeFormErr, end},
		{"other additional records", message{qd: 1, ar: 3, body: join(q1, other, opt, other)}.bytes(), Answer, 0, end},
		{"an owner of 255 bytes", message{qd: 1, ar: 1, body: join(q1, owner("\x01b"))}.bytes(), Answer, 0, end},
		{"an owner of 256 bytes", message{qd: 1, ar: 1, body: join(q1, owner("\x02bb"))}.bytes(), Reject, RcodeFormErr, end},
		{"an owner with a reserved label type",
			message{qd: 1, ar: 1, body: join(q1, record([]byte{0x80, 0}, TypeA, ClassIN, 0, nil))}.bytes(), Reject, RcodeFormErr, end},
		{"pointer forwards", message{qd: 1, ar: 1, body: join(q1, record([]byte{0xC0, 200}, TypeA, ClassIN, 0, nil))}.bytes(), Reject,
			RcodeFormErr, end},
		{"pointer at itself", message{qd: 1, ar: 1, body: join(q1, record([]byte{0xC0, byte(end)}, TypeA, ClassIN, 0, nil))}.bytes(),
			Reject, RcodeFormErr, end},
		{"fewer records than counted", message{qd: 1, ar: 2, body: join(q1, opt)}.bytes(), Reject, RcodeFormErr, end},
		{"65535 records counted", message{qd: 1, ar: 65535, body: join(q1, opt)}.bytes(), Reject, RcodeFormErr, end},
		{"garbage behind the question", message{qd: 1, body: join(q1, []byte{0})}.bytes(), Reject, RcodeFormErr, end},
		{"garbage behind OPT", message{qd: 1, ar: 1, body: join(q1, opt, []byte{1})}.bytes(), Reject, RcodeFormErr, end},
		{"OPT cut", message{qd: 1, ar: 1, body: join(q1, opt[:len(opt)-1])}.bytes(), Reject, RcodeFormErr, end},
	}
	var q Query
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			result, rcode := q.Parse(tt.msg)
			if result != tt.result || rcode != tt.rcode {
				t.Fatalf("got %d %s, want %d %s", result, RcodeString(rcode), tt.result, RcodeString(tt.rcode))
			}
			if q.End != tt.end {
				t.Errorf("End %d, want %d", q.End, tt.end)
			}
		})
	}
}

func TestParseQuestion(t *testing.T) {
	long := strings.Repeat("a.", 127) // 255 bytes, as many labels as there can be
	for _, name := range []string{".", "A.", "Example.", "wEb.ShOp.gTm.eXaMpLe.", "abcdefg.", "abcdef.", `\000\255[`, long,
		strings.Repeat("Z", 63) + "." + strings.Repeat("Y", 63) + "." + strings.Repeat("X", 63) + "." + strings.Repeat("@", 61)} {
		wire, err := AppendName(nil, name)
		if err != nil {
			t.Fatal(err)
		}
		msg := message{flags: FlagRD, qd: 1, body: question(t, name, TypeAAAA)}.bytes()
		q := Query{HasTSIG: true, Version: 7, DO: true, Subnet: Subnet{Present: true, Source: 9}} // of another query
		if r, _ := q.Parse(msg); r != Answer {
			t.Fatalf("%s: not accepted", name)
		}
		if want := slowFold(wire); !bytes.Equal(q.Name[:q.NameLen], want) { // lengths are no letters
			t.Errorf("%s: name %q, want %q", name, q.Name[:q.NameLen], want)
		}
		if pad := q.Name[q.NameLen:min(256, (q.NameLen+7)&^7)]; !bytes.Equal(pad, make([]byte, len(pad))) {
			t.Errorf("%s: not padded with zeros: %v", name, pad)
		}
		if q.ID != 0xBEEF || q.Flags != FlagRD || q.QType != TypeAAAA || q.QClass != ClassIN {
			t.Errorf("%s: %+v", name, q)
		}
		if q.EDNS || q.DO || q.HasTSIG || q.Version != 0 || q.Subnet != (Subnet{}) {
			t.Errorf("%s: something is left of the query before", name)
		}
		off := 0
		for i := range q.Labels {
			if int(q.LabelOff[i]) != off {
				t.Fatalf("%s: label %d at %d, want %d", name, i, q.LabelOff[i], off)
			}
			off += int(wire[off]) + 1
		}
		if off != q.NameLen-1 {
			t.Errorf("%s: %d labels end at %d of %d", name, q.Labels, off, q.NameLen)
		}
	}
	tooLong := append(bytes.Repeat([]byte{1, 'a'}, 127), 1, 0, 0, 0, 1, 0, 1)
	var q Query
	if r, rcode := q.Parse(message{qd: 1, body: tooLong}.bytes()); r != Reject || rcode != RcodeFormErr {
		t.Error("a name of 257 bytes was accepted")
	}
	tooLong = append(append(bytes.Repeat([]byte{1, 'a'}, 126), 2, 'a', 'a'), 0, 0, 1, 0, 1)
	if r, rcode := q.Parse(message{qd: 1, body: tooLong}.bytes()); r != Reject || rcode != RcodeFormErr {
		t.Error("a name of 256 bytes was accepted")
	}
}

func TestParseEDNS(t *testing.T) {
	var q Query
	msg := withOPT(t, ednsDO|ednsCO, option(optNSID), option(65001, 1, 2, 3), option(optTCPKeepalive), option(optPadding, 0, 0))
	if r, _ := q.Parse(msg); r != Answer {
		t.Fatal("not accepted")
	}
	if !q.EDNS || q.UDPSize != 1232 || !q.DO || !q.CO || !q.NSID || !q.TCPKeepalive || !q.Padding || q.Subnet.Present {
		t.Errorf("%+v", q)
	}
	// The options of another version are not ours to read.
	if r, rcode := q.Parse(withOPT(t, 1<<16|ednsDO, []byte{9})); r != Reject || rcode != RcodeBadVers {
		t.Errorf("version 1: %d %s", r, RcodeString(rcode))
	}
	if !q.EDNS || q.Version != 1 || !q.DO {
		t.Errorf("version 1: %+v", q)
	}
	for _, bad := range [][]byte{{0}, {0, 3, 0}, {0, 3, 0, 1}, append(option(optNSID), 0), {0xFF, 0xFF, 0xFF, 0xFF}} {
		if r, rcode := q.Parse(withOPT(t, 0, bad)); r != Reject || rcode != RcodeFormErr || !q.EDNS || q.End != 29 {
			t.Errorf("options %x: %d %s", bad, r, RcodeString(rcode))
		}
	}
}

func TestParseSubnet(t *testing.T) {
	tests := []struct {
		data string // hex: family, source, scope, address
		ok   bool
	}{
		{"0001 18 00 515245", true},
		{"0001 20 00 51524501", true},
		{"0001 00 00", true},
		{"0001 01 00 80", true},
		{"0001 08 00 51", true},
		{"0001 09 00 5180", true},
		{"0001 15 00 5152f8", true},
		{"0002 00 00", true},
		{"0002 38 00 20010db8123456", true},
		{"0002 40 00 20010db812345678", true},
		{"0002 41 00 20010db81234567880", true},
		{"0002 80 00 20010db8000000000000000000000001", true},
		{"0002 7f 00 20010db8000000000000000000000002", true},
		{"0000 00 00", true}, // no family, no address

		{"", false},
		{"0001 18", false},
		{"0001 18 00 5152", false},       // too short
		{"0001 18 00 51524500", false},   // too long
		{"0001 00 00 00", false},         // too long
		{"0001 20 00 5152450100", false}, // too long
		{"0001 18 18 515245", false},     // a scope in a query
		{"0001 00 01", false},            // likewise
		{"0001 21 00 5152450100", false}, // IPv4 ends at 32
		{"0001 09 00 5140", false},       // a bit behind the prefix
		{"0001 17 00 515245", false},     // likewise
		{"0001 01 00 c0", false},         // likewise
		{"0002 81 00 20010db800000000000000000000000100", false},
		{"0002 41 00 20010db812345678c0", false},
		{"0002 7f 00 20010db8000000000000000000000001", false},
		{"0002 39 00 20010db812345601", false},
		{"0002 80 00 20010db80000000000000000000001", false},
		{"0002 ff 00 20010db80000000000000000000000010000000000000000000000000000000000", false},
		{"0000 08 00 51", false}, // family 0 has no addresses
		{"0000 00 01", false},
		{"0003 00 00", false}, // unknown families
		{"0003 08 00 51", false},
		{"0100 18 00 515245", false},
	}
	var q Query
	for _, tt := range tests {
		data, err := hex.DecodeString(strings.ReplaceAll(tt.data, " ", ""))
		if err != nil {
			t.Fatal(err)
		}
		r, rcode := q.Parse(withOPT(t, ednsDO, option(optNSID), option(optSubnet, data...), option(optPadding)))
		if !tt.ok {
			if r != Reject || rcode != RcodeFormErr || q.Subnet.Present || !q.EDNS || !q.DO || !q.NSID || q.End != 29 {
				t.Errorf("%s: %d %s, %+v; want FORMERR", tt.data, r, RcodeString(rcode), q.Subnet)
			}
			continue
		}
		want := Subnet{Present: true, Family: binary.BigEndian.Uint16(data), Source: data[2], OptLen: uint8(len(data) - 4)}
		copy(want.Addr[:], data[4:])
		if r != Answer || q.Subnet != want || !q.Padding {
			t.Errorf("%s: %d %s, %+v; want %+v", tt.data, r, RcodeString(rcode), q.Subnet, want)
		}
	}
	subnet := option(optSubnet, 0, 1, 8, 0, 10)
	if r, rcode := q.Parse(withOPT(t, 0, subnet, subnet)); r != Reject || rcode != RcodeFormErr {
		t.Error("two subnets were accepted")
	}
}

func slowFold(b []byte) []byte {
	out := bytes.Clone(b)
	for i, c := range out {
		if c >= 'A' && c <= 'Z' {
			out[i] = c - 'A' + 'a'
		}
	}
	return out
}
