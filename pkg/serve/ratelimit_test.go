package serve

import (
	"bytes"
	"errors"
	"net/netip"
	"os"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/gti/gtm/pkg/serve/servetest"
)

func TestRateLimitOverSockets(t *testing.T) {
	for _, tc := range []struct {
		name            string
		limit           RateLimit
		cookie          bool
		sent, truncated int
	}{
		{"drop", RateLimit{Rate: 4, Exempt: []netip.Prefix{}}, false, 10, 0},
		{"slip 2", RateLimit{Rate: 4, Exempt: []netip.Prefix{}, Slip: 2}, false, 10, 5},
		{"slip 1", RateLimit{Rate: 4, Exempt: []netip.Prefix{}, Slip: 1}, false, 10, 10},
		{"dry run", RateLimit{Rate: 4, Exempt: []netip.Prefix{}, DryRun: true, Slip: 1}, false, 20, 0},
		{"loopback", RateLimit{Rate: 4, Slip: 1}, false, 20, 0},
		{"cookies", RateLimit{Rate: 4, Exempt: []netip.Prefix{}, Slip: 1}, true, 20, 0},
	} {
		reg := prometheus.NewRegistry()
		now := time.Now()
		s := start(t, Config{Workers: 1, RateLimit: &tc.limit, Registerer: reg, Now: func() time.Time { return now }},
			func(r *Request) (int, Action) {
				r.Exempt = tc.cookie
				return servetest.Echo(r)
			})
		conn := servetest.Dial(t, "udp", s.Addrs()[0])
		for i := range 20 {
			servetest.Write(t, conn, servetest.Query(uint16(i), "a.", 1))
		}
		servetest.Eventually(t, "all have come", func() bool {
			return metric(t, reg, "gtm_serve_packets_total", "transport=udp") == 20
		})
		sent, truncated := 0, 0
		buf := make([]byte, 512)
		for range tc.sent + tc.truncated {
			n, err := conn.Read(buf)
			if err != nil {
				t.Fatalf("%s: %v", tc.name, err)
			}
			want := servetest.Reply(servetest.Query(uint16(buf[1]), "a.", 1))
			if buf[2]&2 != 0 {
				want[2] |= 2
				truncated++
			} else {
				sent++
			}
			if !bytes.Equal(buf[:n], want) {
				t.Errorf("%s: %x, want %x", tc.name, buf[:n], want)
			}
		}
		if sent != tc.sent || truncated != tc.truncated {
			t.Errorf("%s: %d sent, %d truncated", tc.name, sent, truncated)
		}
		limited := 10.0
		if tc.sent == 20 && !tc.limit.DryRun {
			limited = 0
		}
		dropped := float64(20 - tc.sent - tc.truncated)
		for name, want := range map[string]float64{"gtm_serve_limited_total": limited, "gtm_serve_slipped_total": float64(tc.truncated)} {
			if got := metric(t, reg, name, "transport=udp"); got != want {
				t.Errorf("%s: %s %v, want %v", tc.name, name, got, want)
			}
		}
		if got := metric(t, reg, "gtm_serve_drops_total", "reason=rate"); got != dropped {
			t.Errorf("%s: %v dropped, want %v", tc.name, got, dropped)
		}
		if err := conn.SetReadDeadline(time.Now()); err != nil {
			t.Fatal(err)
		}
		if _, err := conn.Read(buf); !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("%s: more came: %v", tc.name, err)
		}
		servetest.Ask(t, servetest.Dial(t, "tcp", s.Addrs()[0]), servetest.Query(1, "a.", 1)) // TCP has no such limit
	}
}

// TestRateLimitOfFailures limits what serve answers without a Handler, too.
func TestRateLimitOfFailures(t *testing.T) {
	reg := prometheus.NewRegistry()
	now := time.Now()
	s := start(t, Config{Workers: 1, RateLimit: &RateLimit{Rate: 4, Exempt: []netip.Prefix{}}, Registerer: reg,
		Now: func() time.Time { return now }}, servetest.Brittle)
	conn := servetest.Dial(t, "udp", s.Addrs()[0])
	for range 30 { // SERVFAIL, then REFUSED
		servetest.Write(t, conn, servetest.Query(1, "boom.", 1))
	}
	servetest.Eventually(t, "drops", func() bool { return metric(t, reg, "gtm_serve_drops_total", "reason=rate") == 20 })
}
