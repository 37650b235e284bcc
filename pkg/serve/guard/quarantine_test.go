package guard

import (
	"bytes"
	"fmt"
	"net/netip"
	"testing"
	"time"

	"github.com/gti/gtm/pkg/serve/seam"
	"github.com/gti/gtm/pkg/serve/servetest"
)

var attacker, honest = netip.MustParseAddr("192.0.2.66"), netip.MustParseAddr("198.51.100.53")

func TestQuarantine(t *testing.T) {
	now := time.Unix(1_000_000, 0)
	q := newQuarantine(func() time.Time { return now })
	bad := servetest.Query(1, "boom.example.", 1)
	with := func(change func(m []byte) []byte) []byte { return change(bytes.Clone(bad)) }
	noQuestion := with(func(m []byte) []byte { m[5] = 0; return m })
	check := func(name string, msg []byte, want Measure) {
		t.Helper()
		for _, source := range []netip.Addr{attacker, attacker.Next()} {
			if got := q.Judge(msg, seam.UDP, source); got != want {
				t.Errorf("%s from %s: measure %v, want %v", name, source, got, want)
			}
		}
	}
	check("nothing held yet", bad, Passed)
	q.add(bad, seam.UDP, attacker)
	check("itself", bad, Refused)
	check("another ID", with(func(m []byte) []byte { m[0]++; return m }), Refused)
	check("another case", with(func(m []byte) []byte { m[13] = 'B'; return m }), Refused)
	check("another name", servetest.Query(1, "beam.example.", 1), Passed)
	check("another type", servetest.Query(1, "boom.example.", 28), Passed)
	check("a type that folds to the same", servetest.Query(1, "boom.example.", 'A'), Passed)
	check("another class", with(func(m []byte) []byte { m[len(m)-1] = 3; return m }), Passed)
	check("other flags", with(func(m []byte) []byte { m[2] = 0; return m }), Passed)
	check("other counts", with(func(m []byte) []byte { m[11] = 1; return m }), Passed)
	check("something behind the question", append(bytes.Clone(bad), 0), Passed)
	check("no question", noQuestion, Passed)
	q.add(noQuestion, seam.UDP, attacker)
	check("no question, held", noQuestion, Refused)
	check("empty", nil, Passed)

	now = now.Add(quarantineTime - 1)
	check("just before its end", bad, Refused)
	now = now.Add(1)
	check("at its end", bad, Passed)
	if q.last.Load() != 0 || q.Size() != 0 {
		t.Error("not empty after all has ended")
	}
}

// TestNobodyIsRefusedForWhatOthersSend: a message that panicked had all of its length refused for that name, so that whoever found one
// could pick the length that resolvers send.
func TestNobodyIsRefusedForWhatOthersSend(t *testing.T) {
	q := newQuarantine(func() time.Time { return time.Unix(1_000_000, 0) })
	other := netip.MustParseAddr("192.0.3.66")
	for i := range maxStrikes {
		if got := q.Judge(servetest.Variant(i), seam.UDP, attacker); got != Passed {
			t.Errorf("variant %d: measure %v", i, got)
		}
		q.add(servetest.Variant(i), seam.UDP, attacker)
	}
	for _, tc := range []struct {
		name      string
		msg       []byte
		transport seam.Transport
		source    netip.Addr
		want      Measure
	}{
		{"the next variant", servetest.Variant(100), seam.UDP, attacker, SentToTCP},
		{"of a neighbour", servetest.Variant(101), seam.UDP, attacker.Next(), SentToTCP},
		{"of one of them by TCP: its address was not forged", servetest.Variant(100), seam.TCP, attacker, Passed},
		{"of somebody else", servetest.Variant(100), seam.UDP, honest, Passed},
		{"of the next network", servetest.Variant(100), seam.UDP, other, Passed},
		{"another length", append(servetest.Variant(100), 0), seam.UDP, attacker, Passed},
		{"another name", append(servetest.Query(1, "ww2.example.", 1), 0, 0, 41), seam.UDP, attacker, Passed},
		{"one that panicked", servetest.Variant(0), seam.UDP, attacker, Refused},
		{"one that panicked for others", servetest.Variant(0), seam.UDP, honest, Passed},
	} {
		if got := q.Judge(tc.msg, tc.transport, tc.source); got != tc.want {
			t.Errorf("%s: measure %v, want %v", tc.name, got, tc.want)
		}
	}
	for i := range maxStrikes {
		q.add(servetest.Variant(200+i), seam.TLS, attacker)
	}
	if got := q.Judge(servetest.Variant(300), seam.HTTPS, attacker); got != Refused {
		t.Errorf("after as many by a stream: measure %v", got)
	}
	if got := q.Judge(servetest.Variant(300), seam.TCP, honest); got != Passed {
		t.Errorf("somebody else by a stream: measure %v", got)
	}
	six := netip.MustParseAddr("2001:db8:0:1::1")
	for i := range maxStrikes {
		q.add(servetest.Variant(i), seam.UDP, six)
	}
	if q.Judge(servetest.Variant(300), seam.UDP, netip.MustParseAddr("2001:db8:0:ff::2")) != SentToTCP ||
		q.Judge(servetest.Variant(300), seam.UDP, netip.MustParseAddr("2001:db8:0:100::2")) != Passed {
		t.Error("a network of IPv6 is not a /56")
	}
}

// TestAFaultInWhoAsksIsTheirs: a message that panicked for one client was refused to all who ask the same, byte for byte, as many
// resolvers do. What panics for many networks is refused to all.
func TestAFaultInWhoAsksIsTheirs(t *testing.T) {
	q := newQuarantine(func() time.Time { return time.Unix(1_000_000, 0) })
	msg := servetest.Query(1, "www.example.", 1)
	for i := range byte(maxNetworks) {
		if got := q.Judge(msg, seam.UDP, honest); got != Passed {
			t.Errorf("after %d networks: measure %v", i, got)
		}
		q.add(msg, seam.UDP, netip.AddrFrom4([4]byte{10, 1, i, 1}))
	}
	if got := q.Judge(msg, seam.UDP, honest); got != Refused {
		t.Errorf("after %d networks: measure %v", maxNetworks, got)
	}
}

func TestQuarantineIsBounded(t *testing.T) {
	now := time.Unix(1_000_000, 0)
	q := newQuarantine(func() time.Time { return now })
	name := func(i int) []byte { return servetest.Query(1, fmt.Sprintf("n%d.example.", i), 1) }
	for i := range 10 * quarantineSize {
		now = now.Add(time.Second)
		q.add(name(i), seam.UDP, attacker)
		if q.Judge(name(i), seam.UDP, attacker) != Refused {
			t.Fatalf("message %d is not held", i)
		}
	}
	at := now.UnixNano()
	if messages, likes := q.Size(), q.likes.count(at); messages != quarantineSize || likes != quarantineSize {
		t.Errorf("%d and %d held, want %d", messages, likes, quarantineSize)
	}
	for i := range 7 * quarantineSize { // by far the oldest: where they stood, newer ones do
		if q.Judge(name(i), seam.UDP, attacker) != Passed {
			t.Errorf("message %d is held still", i)
		}
	}
	// A strike long ago does not count for what comes after it has ended.
	for i := range 2 * maxStrikes {
		now = now.Add(quarantineTime)
		q.add(servetest.Variant(i), seam.UDP, attacker)
	}
	if got := q.Judge(servetest.Variant(100), seam.UDP, attacker); got != Passed {
		t.Errorf("after strikes an hour apart: measure %v", got)
	}
}

// BenchmarkPanic is what one panic costs beside the Handler's own: whoever finds new names for it pays nothing for the next.
func BenchmarkPanic(b *testing.B) {
	q := newQuarantine(time.Now)
	for i := 0; b.Loop(); i++ {
		q.add(servetest.Query(1, fmt.Sprint("n", i, ".example."), 1), seam.UDP, attacker)
	}
}
