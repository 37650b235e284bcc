package seam_test

import (
	"bytes"
	"encoding/binary"
	"strings"
	"testing"

	"github.com/miekg/dns"

	"github.com/gti/gtm/pkg/serve/seam"
	"github.com/gti/gtm/pkg/serve/servetest"
)

func TestFailure(t *testing.T) {
	long := strings.Repeat("a.", 127) // 255 bytes in wire form: the longest name
	ok := servetest.Query(0xabcd, "www.Example.", 1)
	edit := func(at int, b byte) []byte { m := bytes.Clone(ok); m[at] = b; return m }
	for _, tc := range []struct {
		name      string
		query     []byte
		questions int // -1: no reply
	}{
		{"plain", ok, 1},
		{"with more behind the question", append(bytes.Clone(ok), 0, 0, 41), 1},
		{"longest name", servetest.Query(1, long, 1), 1},
		{"name too long", servetest.Query(1, long+"a.", 1), 0},
		{"reply", edit(2, 0x80), -1},
		{"short header", ok[:seam.HeaderSize-1], -1},
		{"header only", ok[:seam.HeaderSize], 0},
		{"no question", edit(5, 0), 0},
		{"two questions", edit(5, 2), 0},
		{"256 questions", edit(4, 1), 0},
		{"compressed", edit(12, 0xc0), 0},
		{"label that leads out", edit(12, 63), 0},
		{"cut off in the type", ok[:len(ok)-3], 0},
		{"other opcode", edit(2, 0x29), 1},
	} {
		dst := bytes.Repeat([]byte{0xee}, 600)
		n := seam.Failure(dst, tc.query, seam.RcodeServFail)
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
			m.RecursionDesired != (flags&0x0100 != 0) || m.Opcode != int(flags>>11&15) || m.Authoritative || m.Truncated {
			t.Errorf("%s: header %+v", tc.name, m.MsgHdr)
		}
		if len(m.Question) != tc.questions {
			t.Errorf("%s: %d questions, want %d", tc.name, len(m.Question), tc.questions)
		}
		if tc.questions == 1 && !bytes.Equal(dst[seam.HeaderSize:n], tc.query[seam.HeaderSize:n]) {
			t.Errorf("%s: the question changed", tc.name)
		}
	}
}
