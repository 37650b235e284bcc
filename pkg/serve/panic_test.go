package serve

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/gti/gtm/pkg/serve/seam"
	"github.com/gti/gtm/pkg/serve/servetest"
)

func TestPanicOverSockets(t *testing.T) {
	var log servetest.LockedBuffer
	dir := filepath.Join(t.TempDir(), "new", "panics")
	reg := prometheus.NewRegistry()
	s := start(t, Config{PanicDir: dir, Logger: log.Logger(), Registerer: reg}, servetest.Brittle)
	var bad [][]byte
	for i, network := range []string{"tcp", "udp"} {
		conn := servetest.Dial(t, network, s.Addrs()[0])
		msg := servetest.Query(77, fmt.Sprintf("boom%d.example.", i), 1)
		bad = append(bad, msg)
		for try, want := range []int{seam.RcodeServFail, seam.RcodeRefused, seam.RcodeRefused} {
			if got := servetest.Ask(t, conn, msg); servetest.Rcode(got) != want {
				t.Errorf("%s, try %d: rcode %d, want %d", network, try, servetest.Rcode(got), want)
			}
		}
		if got := servetest.Ask(t, conn, servetest.Query(1, "fine.example.", 1)); servetest.Rcode(got) != 0 {
			t.Errorf("%s: another name got rcode %d", network, servetest.Rcode(got))
		}
	}
	stop(t, s) // files are written by then
	panics := s.Panics()
	if len(panics) != 2 {
		t.Fatalf("%d panics", len(panics))
	}
	for i, p := range panics {
		if !bytes.Equal(p.Packet, bad[i]) || !strings.Contains(p.Where, "servetest/message.go:") ||
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
	if n := strings.Count(log.String(), "level=ERROR"); n != 1 || !strings.Contains(log.String(), "Brittle") {
		t.Errorf("%d errors logged, want 1 for one kind of panic:\n%s", n, log.String())
	}
}

func TestPanicMetrics(t *testing.T) {
	reg := prometheus.NewRegistry()
	s := start(t, Config{Registerer: reg, Workers: 1}, servetest.Brittle)
	conn := servetest.Dial(t, "udp", s.Addrs()[0])
	for range 5 {
		servetest.Ask(t, conn, servetest.Query(1, "boom.", 1))
	}
	for name, want := range map[string]float64{"gtm_serve_panics_total": 1, "gtm_serve_quarantined_total": 4,
		"gtm_serve_quarantine_entries": 1} {
		servetest.Eventually(t, name, func() bool { return metric(t, reg, name) == want })
	}
}

// moody is a Handler whose parts can be told to panic.
type moody struct{ flush, impossible *atomic.Bool }

func (m moody) Handle(r *Request) (int, Action) {
	if m.impossible.Load() {
		return len(r.Buf) + 1, Send
	}
	return servetest.Echo(r)
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
		conn := servetest.Dial(t, network, s.Addrs()[0])
		unmakeable.Store(false)
		flush.Store(true)
		if got := servetest.Ask(t, conn, servetest.Query(1, "a.", 1)); servetest.Rcode(got) != 0 {
			t.Errorf("%s: a panic in Flush spoilt a reply: rcode %d", network, servetest.Rcode(got))
		}
		if got := servetest.Ask(t, conn, servetest.Query(1, "a.", 1)); servetest.Rcode(got) != 0 {
			t.Errorf("%s: after a panic in Flush: rcode %d", network, servetest.Rcode(got))
		}
		unmakeable.Store(true)
		impossible.Store(true)
		got := servetest.Ask(t, conn, servetest.Query(1, fmt.Sprintf("impossible%d.", i), 1))
		if servetest.Rcode(got) != seam.RcodeServFail {
			t.Errorf("%s: an impossible length gave rcode %d", network, servetest.Rcode(got))
		}
		impossible.Store(false)
		if got := servetest.Ask(t, conn, servetest.Query(1, "b.", 1)); servetest.Rcode(got) != 0 {
			t.Errorf("%s: without a new handler the old one does not go on: rcode %d", network, servetest.Rcode(got))
		}
	}
}
