package guard

import (
	"bytes"
	"net/netip"
	"testing"
	"time"

	"github.com/miekg/dns"

	"github.com/gti/gtm/pkg/serve/seam"
	"github.com/gti/gtm/pkg/serve/servetest"
)

// FuzzFailure feeds foreign bytes to all that serve itself does with them; miekg/dns must be able to read the reply.
func FuzzFailure(f *testing.F) {
	f.Add(servetest.Query(1, "www.example.", 1))
	f.Add(servetest.Query(1, "www.example.", 1)[:20])
	f.Add(append(servetest.Query(1, "a.", 255), 0, 0, 41, 4, 208, 0, 0, 0, 0, 0, 0))
	f.Add([]byte{0, 1, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0xc0, 0x0c, 0, 1, 0, 1})
	f.Fuzz(func(t *testing.T, msg []byte) {
		if len(msg) > 65535 {
			return
		}
		in := bytes.Clone(msg)
		q := newQuarantine(time.Now)
		q.message(msg)
		q.like(msg, seam.UDP, netip.MustParseAddr("192.0.2.1"))
		if !bytes.Equal(in, msg) {
			t.Fatal("the query was changed")
		}
		end := seam.QuestionEnd(msg)
		if end != 0 && (end < seam.HeaderSize+5 || end > len(msg) || end > seam.HeaderSize+255+4) {
			t.Fatalf("question ends at %d of %d", end, len(msg))
		}
		n := seam.Failure(msg, msg, seam.RcodeRefused) // in place
		if n == 0 {
			return
		}
		var m dns.Msg
		if err := m.Unpack(msg[:n]); err != nil {
			t.Fatalf("%v in %x", err, msg[:n])
		}
	})
}
