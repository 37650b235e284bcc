package serve

import (
	"bytes"
	"encoding/binary"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"
)

func TestFailure(t *testing.T) {
	long := strings.Repeat("a.", 127) // 255 bytes in wire form: the longest name
	ok := query(0xabcd, "www.Example.", 1)
	edit := func(at int, b byte) []byte { m := bytes.Clone(ok); m[at] = b; return m }
	for _, tc := range []struct {
		name      string
		query     []byte
		questions int // -1: no reply
	}{
		{"plain", ok, 1},
		{"with more behind the question", append(bytes.Clone(ok), 0, 0, 41), 1},
		{"longest name", query(1, long, 1), 1},
		{"name too long", query(1, long+"a.", 1), 0},
		{"reply", edit(2, 0x80), -1},
		{"short header", ok[:headerSize-1], -1},
		{"header only", ok[:headerSize], 0},
		{"no question", edit(5, 0), 0},
		{"two questions", edit(5, 2), 0},
		{"256 questions", edit(4, 1), 0},
		{"compressed", edit(12, 0xc0), 0},
		{"label that leads out", edit(12, 63), 0},
		{"cut off in the type", ok[:len(ok)-3], 0},
		{"other opcode", edit(2, 0x29), 1},
	} {
		dst := bytes.Repeat([]byte{0xee}, 600)
		n := failure(dst, tc.query, rcodeServFail)
		if tc.questions < 0 {
			if n != 0 {
				t.Errorf("%s: replied", tc.name)
			}
			continue
		}
		var m dns.Msg
		if err := m.Unpack(dst[:n]); err != nil {
			t.Errorf("%s: %v in %x", tc.name, err, dst[:n])
			continue
		}
		flags := binary.BigEndian.Uint16(tc.query[2:])
		if m.Id != binary.BigEndian.Uint16(tc.query) || !m.Response || m.Rcode != dns.RcodeServerFailure ||
			m.RecursionDesired != (flags&flagRD != 0) || m.Opcode != int(flags>>11&15) || m.Authoritative || m.Truncated {
			t.Errorf("%s: header %+v", tc.name, m.MsgHdr)
		}
		if len(m.Question) != tc.questions {
			t.Errorf("%s: %d questions, want %d", tc.name, len(m.Question), tc.questions)
		}
		if tc.questions == 1 && !bytes.Equal(dst[headerSize:n], tc.query[headerSize:n]) {
			t.Errorf("%s: the question changed", tc.name)
		}
	}
}

// FuzzFailure feeds foreign bytes to all that serve itself does with them; miekg/dns must be able to read the reply.
func FuzzFailure(f *testing.F) {
	f.Add(query(1, "www.example.", 1))
	f.Add(query(1, "www.example.", 1)[:20])
	f.Add(append(query(1, "a.", 255), 0, 0, 41, 4, 208, 0, 0, 0, 0, 0, 0))
	f.Add([]byte{0, 1, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0xc0, 0x0c, 0, 1, 0, 1})
	f.Fuzz(func(t *testing.T, msg []byte) {
		if len(msg) > 65535 {
			return
		}
		in := bytes.Clone(msg)
		q := newQuarantine(time.Now)
		q.message(msg)
		q.like(msg, UDP, netip.MustParseAddr("192.0.2.1"))
		if !bytes.Equal(in, msg) {
			t.Fatal("the query was changed")
		}
		end := questionEnd(msg)
		if end != 0 && (end < headerSize+5 || end > len(msg) || end > headerSize+255+4) {
			t.Fatalf("question ends at %d of %d", end, len(msg))
		}
		n := failure(msg, msg, rcodeRefused) // in place
		if n == 0 {
			return
		}
		var m dns.Msg
		if err := m.Unpack(msg[:n]); err != nil {
			t.Fatalf("%v in %x", err, msg[:n])
		}
	})
}
