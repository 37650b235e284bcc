package serve

import (
	"bytes"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// brittle is echo, but panics when asked for a name that begins with "boom", after having spoilt the query.
func brittle(r *Request) (int, Action) {
	if bytes.HasPrefix(bytes.ToLower(r.Buf[headerSize+1:r.N]), []byte("boom")) {
		clear(r.Buf)
		var none []byte
		return int(none[r.N]), Send
	}
	return echo(r)
}

func TestPanicInABatch(t *testing.T) {
	w, client := newTestWorker(t, "127.0.0.1:0", brittle)
	made := 0
	w.shared.newHandler = func() Handler { made++; return handlerFunc(brittle) }
	asked := [][]byte{
		query(0, "a.example.", 1), query(1, "boom.example.", 1), query(2, "b.example.", 1),
		query(3, "BOOM.example.", 1), // its like: another ID, another case
		query(4, "boom.example.", 28), query(5, "c.example.", 1),
	}
	for _, msg := range asked {
		write(t, client, msg)
	}
	mustStep(t, w)
	buf := make([]byte, slotSize)
	want := []int{0, rcodeServFail, 0, rcodeRefused, rcodeServFail, 0}
	for range want {
		n, err := client.Read(buf)
		if err != nil {
			t.Fatal(err)
		}
		i := int(buf[1])            // the ID: replies may overtake each other
		expected := reply(asked[i]) // header and question, as asked
		expected[3] |= byte(want[i])
		if !bytes.Equal(buf[:n], expected) {
			t.Errorf("reply %d: %x, want %x", i, buf[:n], expected)
		}
	}
	if c := totals(w); c[countPanics] != 2 || c[countQuarantined] != 1 || c[countReplies] != 6 {
		t.Errorf("counts %v", c)
	}
	if made != 2 {
		t.Errorf("%d new handlers", made)
	}
}

func TestPanicOverSockets(t *testing.T) {
	var log lockedBuffer
	dir := filepath.Join(t.TempDir(), "new", "panics")
	reg := prometheus.NewRegistry()
	s := start(t, Config{PanicDir: dir, Logger: log.logger(), Registerer: reg}, brittle)
	var bad [][]byte
	for i, network := range []string{"tcp", "udp"} {
		conn := dial(t, network, s.Addrs()[0])
		msg := query(77, fmt.Sprintf("boom%d.example.", i), 1)
		bad = append(bad, msg)
		for try, want := range []int{rcodeServFail, rcodeRefused, rcodeRefused} {
			if got := ask(t, conn, msg); rcode(got) != want {
				t.Errorf("%s, try %d: rcode %d, want %d", network, try, rcode(got), want)
			}
		}
		if got := ask(t, conn, query(1, "fine.example.", 1)); rcode(got) != 0 {
			t.Errorf("%s: another name got rcode %d", network, rcode(got))
		}
	}
	stop(t, s) // files are written by then
	panics := s.Panics()
	if len(panics) != 2 {
		t.Fatalf("%d panics", len(panics))
	}
	for i, p := range panics {
		if !bytes.Equal(p.Packet, bad[i]) || !strings.Contains(p.Where, "panic_test.go:") ||
			!strings.Contains(p.Value, "index out of range") || !p.Source.IsValid() || p.Time.IsZero() {
			t.Errorf("panic %d: %+v", i, p)
		}
	}
	files, err := filepath.Glob(filepath.Join(dir, "packet-*.bin"))
	if err != nil || len(files) != 2 {
		t.Fatalf("files %v, %v", files, err)
	}
	var kept [][]byte
	for _, f := range files {
		data, err := os.ReadFile(f)
		info, err2 := os.Stat(f)
		if err != nil || err2 != nil || info.Mode().Perm() != 0o600 {
			t.Fatal(err, err2, info.Mode())
		}
		kept = append(kept, data)
	}
	slices.SortFunc(kept, bytes.Compare)
	if !slices.EqualFunc(kept, bad, bytes.Equal) {
		t.Errorf("kept %x", kept)
	}
	if n := strings.Count(log.String(), "level=ERROR"); n != 1 || !strings.Contains(log.String(), "brittle") {
		t.Errorf("%d errors logged, want 1 for one kind of panic:\n%s", n, log.String())
	}
}

func TestPanicMetrics(t *testing.T) {
	reg := prometheus.NewRegistry()
	s := start(t, Config{Registerer: reg, Workers: 1}, brittle)
	conn := dial(t, "udp", s.Addrs()[0])
	for range 5 {
		ask(t, conn, query(1, "boom.", 1))
	}
	for name, want := range map[string]float64{"gtm_serve_panics_total": 1, "gtm_serve_quarantined_total": 4, "gtm_serve_quarantine_entries": 1} {
		eventually(t, name, func() bool { return metric(t, reg, name) == want })
	}
}

// moody is a Handler whose parts can be told to panic.
type moody struct{ flush, impossible *atomic.Bool }

func (m moody) Handle(r *Request) (int, Action) {
	if m.impossible.Load() {
		return len(r.Buf) + 1, Send
	}
	return echo(r)
}

func (m moody) Flush() {
	if m.flush.Swap(false) {
		panic("flush")
	}
}

func TestOtherFaultsOfHandlers(t *testing.T) {
	var flush, impossible, unmakeable atomic.Bool
	s := start(t, Config{NewHandler: func() Handler {
		if unmakeable.Load() {
			panic("no handler")
		}
		return moody{&flush, &impossible}
	}}, nil)
	for i, network := range []string{"udp", "tcp"} {
		conn := dial(t, network, s.Addrs()[0])
		unmakeable.Store(false)
		flush.Store(true)
		if got := ask(t, conn, query(1, "a.", 1)); rcode(got) != 0 {
			t.Errorf("%s: a panic in Flush spoilt a reply: rcode %d", network, rcode(got))
		}
		if got := ask(t, conn, query(1, "a.", 1)); rcode(got) != 0 {
			t.Errorf("%s: after a panic in Flush: rcode %d", network, rcode(got))
		}
		unmakeable.Store(true)
		impossible.Store(true)
		if got := ask(t, conn, query(1, fmt.Sprintf("impossible%d.", i), 1)); rcode(got) != rcodeServFail {
			t.Errorf("%s: an impossible length gave rcode %d", network, rcode(got))
		}
		impossible.Store(false)
		if got := ask(t, conn, query(1, "b.", 1)); rcode(got) != 0 {
			t.Errorf("%s: without a new handler the old one does not go on: rcode %d", network, rcode(got))
		}
	}
}

func TestPanicsAreBounded(t *testing.T) {
	var log lockedBuffer
	dir := t.TempDir()
	for i := range 10 { // kept by an earlier run
		if err := os.WriteFile(filepath.Join(dir, fmt.Sprintf("packet-%d.bin", i)), nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	m, err := newMorgue(dir, log.logger(), time.Now)
	if err != nil {
		t.Fatal(err)
	}
	for i := range 3 * panicFiles {
		func() {
			defer func() { m.add(recover(), UDP, netip.AddrPort{}, query(uint16(i), "a.", 1), uint64(i)) }()
			panic(strings.Repeat("long", 1000))
		}()
		eventually(t, "room on the way to the disk", func() bool { return len(m.write) < panicQueue })
	}
	m.close()
	files, err := os.ReadDir(dir)
	if err != nil || len(files) != panicFiles {
		t.Errorf("%d files, %v; want %d", len(files), err, panicFiles)
	}
	last := m.recent()
	if len(last) != panicMemory || last[panicMemory-1].Packet[1] != byte(3*panicFiles-1) {
		t.Errorf("%d in memory", len(last))
	}
	if n := strings.Count(log.String(), "level=ERROR"); n != 1 {
		t.Errorf("%d errors logged for one kind", n)
	}
}

var attacker, honest = netip.MustParseAddr("192.0.2.66"), netip.MustParseAddr("198.51.100.53")

func TestQuarantine(t *testing.T) {
	now := time.Unix(1_000_000, 0)
	q := newQuarantine(func() time.Time { return now })
	bad := query(1, "boom.example.", 1)
	with := func(change func(m []byte) []byte) []byte { return change(bytes.Clone(bad)) }
	noQuestion := with(func(m []byte) []byte { m[5] = 0; return m })
	check := func(name string, msg []byte, want measure) {
		t.Helper()
		for _, source := range []netip.Addr{attacker, attacker.Next()} {
			if got := q.judge(msg, UDP, source); got != want {
				t.Errorf("%s from %s: measure %v, want %v", name, source, got, want)
			}
		}
	}
	check("nothing held yet", bad, passed)
	q.add(bad, UDP, attacker)
	check("itself", bad, refused)
	check("another ID", with(func(m []byte) []byte { m[0]++; return m }), refused)
	check("another case", with(func(m []byte) []byte { m[13] = 'B'; return m }), refused)
	check("another name", query(1, "beam.example.", 1), passed)
	check("another type", query(1, "boom.example.", 28), passed)
	check("a type that folds to the same", query(1, "boom.example.", 'A'), passed)
	check("another class", with(func(m []byte) []byte { m[len(m)-1] = 3; return m }), passed)
	check("other flags", with(func(m []byte) []byte { m[2] = 0; return m }), passed)
	check("other counts", with(func(m []byte) []byte { m[11] = 1; return m }), passed)
	check("something behind the question", append(bytes.Clone(bad), 0), passed)
	check("no question", noQuestion, passed)
	q.add(noQuestion, UDP, attacker)
	check("no question, held", noQuestion, refused)
	check("empty", nil, passed)

	now = now.Add(quarantineTime - 1)
	check("just before its end", bad, refused)
	now = now.Add(1)
	check("at its end", bad, passed)
	if q.last.Load() != 0 || q.size() != 0 {
		t.Error("not empty after all has ended")
	}
}

// variant is one of many messages for a name that have one length.
func variant(i int) []byte {
	return append(query(1, "www.example.", 1), byte(i>>8), byte(i), 41)
}

// TestNobodyIsRefusedForWhatOthersSend: a message that panicked had all of its length refused for that name, so that whoever found one
// could pick the length that resolvers send.
func TestNobodyIsRefusedForWhatOthersSend(t *testing.T) {
	q := newQuarantine(func() time.Time { return time.Unix(1_000_000, 0) })
	other := netip.MustParseAddr("192.0.3.66")
	for i := range maxStrikes {
		if got := q.judge(variant(i), UDP, attacker); got != passed {
			t.Errorf("variant %d: measure %v", i, got)
		}
		q.add(variant(i), UDP, attacker)
	}
	for _, tc := range []struct {
		name      string
		msg       []byte
		transport Transport
		source    netip.Addr
		want      measure
	}{
		{"the next variant", variant(100), UDP, attacker, sentToTCP},
		{"of a neighbour", variant(101), UDP, attacker.Next(), sentToTCP},
		{"of one of them by TCP: its address was not forged", variant(100), TCP, attacker, passed},
		{"of somebody else", variant(100), UDP, honest, passed},
		{"of the next network", variant(100), UDP, other, passed},
		{"another length", append(variant(100), 0), UDP, attacker, passed},
		{"another name", append(query(1, "ww2.example.", 1), 0, 0, 41), UDP, attacker, passed},
		{"one that panicked", variant(0), UDP, attacker, refused},
		{"one that panicked for others", variant(0), UDP, honest, passed},
	} {
		if got := q.judge(tc.msg, tc.transport, tc.source); got != tc.want {
			t.Errorf("%s: measure %v, want %v", tc.name, got, tc.want)
		}
	}
	for i := range maxStrikes {
		q.add(variant(200+i), TLS, attacker)
	}
	if got := q.judge(variant(300), HTTPS, attacker); got != refused {
		t.Errorf("after as many by a stream: measure %v", got)
	}
	if got := q.judge(variant(300), TCP, honest); got != passed {
		t.Errorf("somebody else by a stream: measure %v", got)
	}
	six := netip.MustParseAddr("2001:db8:0:1::1")
	for i := range maxStrikes {
		q.add(variant(i), UDP, six)
	}
	if q.judge(variant(300), UDP, netip.MustParseAddr("2001:db8:0:ff::2")) != sentToTCP ||
		q.judge(variant(300), UDP, netip.MustParseAddr("2001:db8:0:100::2")) != passed {
		t.Error("a network of IPv6 is not a /56")
	}
}

// TestAFaultInWhoAsksIsTheirs: a message that panicked for one client was refused to all who ask the same, byte for byte, as many
// resolvers do. What panics for many networks is refused to all.
func TestAFaultInWhoAsksIsTheirs(t *testing.T) {
	q := newQuarantine(func() time.Time { return time.Unix(1_000_000, 0) })
	msg := query(1, "www.example.", 1)
	for i := range byte(maxNetworks) {
		if got := q.judge(msg, UDP, honest); got != passed {
			t.Errorf("after %d networks: measure %v", i, got)
		}
		q.add(msg, UDP, netip.AddrFrom4([4]byte{10, 1, i, 1}))
	}
	if got := q.judge(msg, UDP, honest); got != refused {
		t.Errorf("after %d networks: measure %v", maxNetworks, got)
	}
}

// TestVariantsOfAPanicAreBounded: past the strikes, near variants reach no Handler any more, and the client is sent to TCP.
func TestVariantsOfAPanicAreBounded(t *testing.T) {
	w, client := newTestWorker(t, "127.0.0.1:0", brittle)
	const n = 3 * maxStrikes
	for i := range n {
		write(t, client, append(query(uint16(i), "boom.example.", 1), byte(i)))
	}
	mustStep(t, w)
	buf := make([]byte, slotSize)
	truncated := 0
	for range n {
		if _, err := client.Read(buf); err != nil {
			t.Fatal(err)
		}
		if buf[2]&2 != 0 && rcode(buf) == 0 {
			truncated++
		}
	}
	if c := totals(w); c[countPanics] != maxStrikes || c[countQuarantined] != n-maxStrikes || truncated != n-maxStrikes {
		t.Errorf("%d panics, %d stopped, %d truncated", c[countPanics], c[countQuarantined], truncated)
	}
}

func TestQuarantineIsBounded(t *testing.T) {
	now := time.Unix(1_000_000, 0)
	q := newQuarantine(func() time.Time { return now })
	name := func(i int) []byte { return query(1, fmt.Sprintf("n%d.example.", i), 1) }
	for i := range 10 * quarantineSize {
		now = now.Add(time.Second)
		q.add(name(i), UDP, attacker)
		if q.judge(name(i), UDP, attacker) != refused {
			t.Fatalf("message %d is not held", i)
		}
	}
	at := now.UnixNano()
	if messages, likes := q.size(), q.likes.count(at); messages != quarantineSize || likes != quarantineSize {
		t.Errorf("%d and %d held, want %d", messages, likes, quarantineSize)
	}
	for i := range 7 * quarantineSize { // by far the oldest: where they stood, newer ones do
		if q.judge(name(i), UDP, attacker) != passed {
			t.Errorf("message %d is held still", i)
		}
	}
	// A strike long ago does not count for what comes after it has ended.
	for i := range 2 * maxStrikes {
		now = now.Add(quarantineTime)
		q.add(variant(i), UDP, attacker)
	}
	if got := q.judge(variant(100), UDP, attacker); got != passed {
		t.Errorf("after strikes an hour apart: measure %v", got)
	}
}

// BenchmarkPanic is what one panic costs beside the Handler's own: whoever finds new names for it pays nothing for the next.
func BenchmarkPanic(b *testing.B) {
	q := newQuarantine(time.Now)
	for i := 0; b.Loop(); i++ {
		q.add(query(1, fmt.Sprint("n", i, ".example."), 1), UDP, attacker)
	}
}

// seer is a Foreseer that panics when it looks at names that begin with "LOOK", and answers what it was shown under the number
// that it was shown under.
type seer struct {
	Handler
	seen [Window]string
	bad  int
}

func (s *seer) Look(i int, msg []byte, _ netip.AddrPort) {
	if s.seen[i] = string(msg); len(msg) > 17 && string(msg[13:17]) == "LOOK" {
		panic("looked")
	}
}

func (s *seer) Follow(int) {}

func (s *seer) Handle(r *Request) (int, Action) {
	if r.Ahead > 0 && s.seen[r.Ahead-1] != string(r.Buf[:r.N]) {
		s.bad++
	}
	return s.Handler.Handle(r)
}

// TestPanicWhileLookingAhead: nobody is to blame for it, so everybody is answered, without having been looked at.
func TestPanicWhileLookingAhead(t *testing.T) {
	var seers []*seer
	w, client := newTestWorker(t, "127.0.0.1:0", echo)
	w.shared.newHandler = func() Handler {
		s := &seer{Handler: handlerFunc(echo)}
		seers = append(seers, s)
		return s
	}
	w.h = w.shared.newHandler()
	const n = 2*Window + 3
	for i := range n {
		name := "www.example."
		if i == Window+5 {
			name = "LOOK.example."
		}
		write(t, client, query(uint16(i), name, 1))
	}
	mustStep(t, w)
	buf := make([]byte, 512)
	for range n {
		if _, err := client.Read(buf); err != nil {
			t.Fatal(err)
		}
	}
	if got := totals(w); got[countBatches] != 1 || got[countReplies] != n || got[countPanics] != 1 || got[countQuarantined] != 0 {
		t.Errorf("counts %v", got)
	}
	if len(seers) != 2 || seers[0].bad+seers[1].bad > 0 {
		t.Errorf("%d handlers; messages under a wrong number: %+v", len(seers), seers)
	}
}
