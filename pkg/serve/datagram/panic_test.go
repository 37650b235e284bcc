package datagram

import (
	"bytes"
	"net/netip"
	"testing"

	"github.com/gti/gtm/pkg/serve/guard"
	"github.com/gti/gtm/pkg/serve/seam"
	"github.com/gti/gtm/pkg/serve/servetest"
)

func TestPanicInABatch(t *testing.T) {
	w, client := newTestWorker(t, "127.0.0.1:0", servetest.Brittle)
	made := 0
	w.shared.NewHandler = func() seam.Handler { made++; return servetest.HandlerFunc(servetest.Brittle) }
	asked := [][]byte{
		servetest.Query(0, "a.example.", 1), servetest.Query(1, "boom.example.", 1), servetest.Query(2, "b.example.", 1),
		servetest.Query(3, "BOOM.example.", 1), // its like: another ID, another case
		servetest.Query(4, "boom.example.", 28), servetest.Query(5, "c.example.", 1),
	}
	for _, msg := range asked {
		servetest.Write(t, client, msg)
	}
	mustStep(t, w)
	buf := make([]byte, slotSize)
	want := []int{0, seam.RcodeServFail, 0, seam.RcodeRefused, seam.RcodeServFail, 0}
	for range want {
		n, err := client.Read(buf)
		if err != nil {
			t.Fatal(err)
		}
		i := int(buf[1])                      // the ID: replies may overtake each other
		expected := servetest.Reply(asked[i]) // header and question, as asked
		expected[3] |= byte(want[i])
		if !bytes.Equal(buf[:n], expected) {
			t.Errorf("reply %d: %x, want %x", i, buf[:n], expected)
		}
	}
	if c := totals(w); c[guard.CountPanics] != 2 || c[guard.CountQuarantined] != 1 || c[guard.CountReplies] != 6 {
		t.Errorf("counts %v", c)
	}
	if made != 2 {
		t.Errorf("%d new handlers", made)
	}
}

// TestVariantsOfAPanicAreBounded: past the strikes, near variants reach no Handler any more, and the client is sent to TCP.
func TestVariantsOfAPanicAreBounded(t *testing.T) {
	w, client := newTestWorker(t, "127.0.0.1:0", servetest.Brittle)
	const maxStrikes = 4 // of the quarantine
	const n = 3 * maxStrikes
	for i := range n {
		servetest.Write(t, client, append(servetest.Query(uint16(i), "boom.example.", 1), byte(i)))
	}
	mustStep(t, w)
	buf := make([]byte, slotSize)
	truncated := 0
	for range n {
		if _, err := client.Read(buf); err != nil {
			t.Fatal(err)
		}
		if buf[2]&2 != 0 && servetest.Rcode(buf) == 0 {
			truncated++
		}
	}
	if c := totals(w); c[guard.CountPanics] != maxStrikes || c[guard.CountQuarantined] != n-maxStrikes || truncated != n-maxStrikes {
		t.Errorf("%d panics, %d stopped, %d truncated", c[guard.CountPanics], c[guard.CountQuarantined], truncated)
	}
}

// seer is a Prefetcher that panics when it parses names that begin with "LOOK", and answers what it was shown under the number
// that it was shown under.
type seer struct {
	seam.Handler
	seen [seam.Window]string
	bad  int
}

func (s *seer) Parse(i int, msg []byte, _ netip.AddrPort) {
	if s.seen[i] = string(msg); len(msg) > 17 && string(msg[13:17]) == "LOOK" {
		panic("looked")
	}
}

func (s *seer) Prefetch(int) {}

func (s *seer) Handle(r *seam.Request) (int, seam.Action) {
	if r.Prefetched > 0 && s.seen[r.Prefetched-1] != string(r.Buf[:r.N]) {
		s.bad++
	}
	return s.Handler.Handle(r)
}

// TestPanicWhileLookingAhead: nobody is to blame for it, so everybody is answered, without having been looked at.
func TestPanicWhileLookingAhead(t *testing.T) {
	var seers []*seer
	w, client := newTestWorker(t, "127.0.0.1:0", servetest.Echo)
	w.shared.NewHandler = func() seam.Handler {
		s := &seer{Handler: servetest.HandlerFunc(servetest.Echo)}
		seers = append(seers, s)
		return s
	}
	w.h = w.shared.NewHandler()
	const n = 2*seam.Window + 3
	for i := range n {
		name := "www.example."
		if i == seam.Window+5 {
			name = "LOOK.example."
		}
		servetest.Write(t, client, servetest.Query(uint16(i), name, 1))
	}
	mustStep(t, w)
	buf := make([]byte, 512)
	for range n {
		if _, err := client.Read(buf); err != nil {
			t.Fatal(err)
		}
	}
	if got := totals(w); got[guard.CountBatches] != 1 || got[guard.CountReplies] != n || got[guard.CountPanics] != 1 ||
		got[guard.CountQuarantined] != 0 {
		t.Errorf("counts %v", got)
	}
	if len(seers) != 2 || seers[0].bad+seers[1].bad > 0 {
		t.Errorf("%d handlers; messages under a wrong number: %+v", len(seers), seers)
	}
}
