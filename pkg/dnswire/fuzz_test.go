package dnswire

import (
	"bytes"
	"testing"

	"github.com/miekg/dns"

	"github.com/gti/gtm/pkg/gtmtest"
)

func FuzzParse(f *testing.F) {
	r := gtmtest.Random(f)
	for range 50 {
		f.Add(randomQuery(f, r))
	}
	f.Add(withOPT(f, 0, option(optSubnet, 0, 1, 24, 0, 1, 2)))
	f.Add(withOPT(f, 1<<16))
	f.Add(withOPT(f, 0, option(optCookie, make([]byte, 9)...)))
	f.Add(message{ar: 1, body: record([]byte{0}, TypeOPT, 1232, 0, option(optCookie, make([]byte, 24)...))}.bytes())
	f.Add(message{qd: 1, body: []byte{0xC0, 12, 0, 1, 0, 1}}.bytes())
	f.Fuzz(func(t *testing.T, msg []byte) {
		q := Query{Labels: 99, NameLen: 300, End: 1 << 20, HasTSIG: true, Subnet: Subnet{Present: true, Source: 200}}
		result, rcode := q.Parse(msg)
		checkInvariants(t, &q, msg, result, rcode)

		// The bytes behind msg in its array, and what the Query held before, make no difference.
		longer := append(bytes.Clone(msg), bytes.Repeat([]byte{0xA5}, 300)...)
		var fresh Query
		if r2, rc2 := fresh.Parse(longer[:len(msg)]); r2 != result || rc2 != rcode || !sameQuery(&q, &fresh) {
			t.Fatalf("%d %d and %d %d, %+v and %+v", result, rcode, r2, rc2, q, fresh)
		}
		var m dns.Msg
		if result == Answer && m.Unpack(msg) == nil {
			if diff := compare(&q, msg, &m); diff != "" {
				t.Fatal(diff)
			}
		}
	})
}

// sameQuery compares what is defined of the two.
func sameQuery(a, b *Query) bool {
	if a.NameLen != b.NameLen || a.Labels != b.Labels || !bytes.Equal(a.Name[:a.NameLen], b.Name[:b.NameLen]) ||
		!bytes.Equal(a.LabelOff[:a.Labels], b.LabelOff[:b.Labels]) {
		return false
	}
	x, y := *a, *b
	if !a.Cookie.Present {
		x.Cookie.Client, y.Cookie.Client = [8]byte{}, [8]byte{}
	}
	clear(x.Cookie.Server[x.Cookie.ServerLen:])
	clear(y.Cookie.Server[y.Cookie.ServerLen:])
	x.Name, x.LabelOff, y.Name, y.LabelOff = [256]byte{}, [128]uint8{}, [256]byte{}, [128]uint8{}
	return x == y
}

func checkInvariants(t *testing.T, q *Query, msg []byte, result Result, rcode uint16) {
	switch result {
	case Silent:
		if len(msg) >= 12 && msg[2]&0x80 == 0 {
			t.Fatal("silent to a query")
		}
		return
	case Answer:
		if rcode != RcodeSuccess || q.NameLen == 0 || q.End == 12 {
			t.Fatalf("accepted with %s, End %d", RcodeString(rcode), q.End)
		}
	case CookieOnly:
		if rcode != RcodeSuccess || q.NameLen != 0 || q.End != 12 || !q.EDNS || !q.Cookie.Present {
			t.Fatalf("no question, but %s, %+v", RcodeString(rcode), q)
		}
	case Reject:
		if rcode != RcodeFormErr && rcode != RcodeNotImp && rcode != RcodeBadVers {
			t.Fatalf("rejected with %s", RcodeString(rcode))
		}
		if rcode == RcodeBadVers && (!q.EDNS || q.Version == 0) {
			t.Fatal("BADVERS without a version")
		}
	default:
		t.Fatalf("result %d", result)
	}
	if q.End < 12 || q.End > len(msg) || q.NameLen > 255 || q.Labels > 127 {
		t.Fatalf("End %d of %d, name %d, labels %d", q.End, len(msg), q.NameLen, q.Labels)
	}
	if q.End == 12 {
		if q.NameLen != 0 || q.Labels != 0 {
			t.Fatal("a name without a question")
		}
		return
	}
	if q.End != 12+q.NameLen+4 || !bytes.Equal(q.Name[:q.NameLen], slowFold(msg[12:12+q.NameLen])) {
		t.Fatalf("name %x", q.Name[:q.NameLen])
	}
	if c := q.Cookie; c.Present && (!q.EDNS || c.ServerLen > 32 || c.ServerLen != 0 && c.ServerLen < 8) {
		t.Fatalf("%+v", c)
	}
	if s := q.Subnet; s.Present && (s.OptLen != (s.Source+7)/8 || s.Source > 128 || !q.EDNS) {
		t.Fatalf("%+v", s)
	}
}

func FuzzName(f *testing.F) {
	for _, s := range []string{"", ".", "a.b.", `\.\\`, `\000.\255`, "..", `a\`, "*.x", "ÄÖ.", `\2561`} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		NameString([]byte(s)) // must not panic on what is no name
		wire, err := AppendName(nil, s)
		if err != nil {
			if wire != nil {
				t.Fatal("bytes beside an error")
			}
			return
		}
		if len(wire) > 255 || wire[len(wire)-1] != 0 {
			t.Fatalf("%q: %x", s, wire)
		}
		text := NameString(wire)
		again, err := AppendName(nil, text)
		if err != nil || !bytes.Equal(again, wire) {
			t.Fatalf("%q: %x, then %q: %x, %v", s, wire, text, again, err)
		}
		if theirs, n, err := dns.UnpackDomainName(wire, 0); err != nil || n != len(wire) || theirs != text {
			t.Fatalf("%q: %q, the oracle %q, %v", s, text, theirs, err)
		}
	})
}
