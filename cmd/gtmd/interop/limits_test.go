//go:build interop

package interop

import (
	"fmt"
	"net"
	"net/netip"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/miekg/dns"
)

// limited starts gtmd on primaryZone alone.
func limited(t *testing.T, args ...string) *daemon {
	t.Helper()
	apply := writeFile(t, t.TempDir(), "start.yaml", primaryZone(nil, "www A 192.0.2.1"))
	return startGtmd(t, t.TempDir(), append([]string{"--roles", "edge,control", "--apply", apply}, args...)...)
}

var shownCookie = regexp.MustCompile(`; COOKIE: ([0-9a-f]{16})([0-9a-f]{32}) \(good\)`)

// dig learns a server cookie and shows it again; where cookies are required, what has none of ours comes again with one.
func TestDigCookies(t *testing.T) {
	for _, required := range []bool{false, true} {
		t.Run(fmt.Sprintf("required %v", required), func(t *testing.T) {
			d := limited(t, fmt.Sprintf("--require-cookies=%v", required))
			dig := func(args ...string) string {
				return run(t, "dig", append([]string{"@127.0.0.1", "-p", port(d.dns), "www.gtm.test"}, args...)...)
			}
			learned := shownCookie.FindStringSubmatch(dig("+cookie=0123456789abcdef"))
			if learned == nil || learned[1] != "0123456789abcdef" {
				t.Fatalf("no cookie: %v", learned)
			}
			whole := learned[1] + learned[2]
			wrong := learned[1] + strings.Repeat("5a", 16)
			bad := "status: NOERROR"
			if required {
				bad = "status: BADCOOKIE"
			}
			for _, c := range []struct {
				name string
				args []string
				want string
			}{
				{"ours", []string{"+cookie=" + whole, "+nobadcookie"}, "status: NOERROR"},
				{"ours is given back", []string{"+cookie=" + whole, "+nobadcookie"}, "COOKIE: " + whole + " (good)"},
				{"none of ours", []string{"+cookie=0123456789abcdef", "+nobadcookie"}, bad},
				{"a wrong one", []string{"+cookie=" + wrong, "+nobadcookie"}, bad},
				{"a wrong one, and again", []string{"+cookie=" + wrong}, "status: NOERROR"},
				{"a wrong one by TCP", []string{"+cookie=" + wrong, "+nobadcookie", "+tcp"}, "status: NOERROR"},
				{"ours of another address", []string{"+cookie=" + whole, "+nobadcookie", "-b", "127.0.1.9"}, bad},
				{"no cookies at all", []string{"+nocookie"}, "status: NOERROR"},
				{"too short", []string{"+ednsopt=10:01234567", "+nocookie"}, "status: FORMERR"},
				{"server cookie too short", []string{"+ednsopt=10:0123456789abcdef01", "+nocookie"}, "status: FORMERR"},
			} {
				if output := dig(c.args...); !strings.Contains(output, c.want) {
					t.Errorf("%s: no %q in\n%s", c.name, c.want, output)
				}
			}
		})
	}
}

const (
	burst     = 400 // queries
	burstRate = 10  // replies a second
)

// A burstResult is what came back on a burst of queries.
type burstResult struct {
	full, cut         int // replies that have the answer, and those that are truncated
	limited, slipped  float64
	dropped, received float64
	took              time.Duration
}

// sendBurst sends queries from an address of loopback as fast as one socket takes them, and tells what came of them.
func sendBurst(t *testing.T, d *daemon, from string, option ...dns.EDNS0) (r burstResult) {
	t.Helper()
	conn, err := net.DialUDP("udp4", &net.UDPAddr{IP: net.ParseIP(from)}, net.UDPAddrFromAddrPort(d.dns))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	counts := func(sign float64) {
		label := `{family="ipv4",transport="udp"}`
		r.limited += sign * series(t, d, "gtm_serve_limited_total"+label)
		r.slipped += sign * series(t, d, "gtm_serve_slipped_total"+label)
		r.received += sign * series(t, d, "gtm_serve_packets_total"+label)
		r.dropped += sign * series(t, d, `gtm_serve_drops_total{family="ipv4",reason="rate",transport="udp"}`)
	}
	counts(-1)
	start := time.Now()
	var reading sync.WaitGroup
	reading.Go(func() { r.full, r.cut = readReplies(conn) })
	for i := range burst {
		m := new(dns.Msg).SetQuestion("www.gtm.test.", dns.TypeA)
		m.Id = uint16(i)
		m.SetEdns0(1232, false)
		m.IsEdns0().Option = option
		packed, err := m.Pack()
		if err != nil {
			t.Fatal(err)
		}
		if _, err := conn.Write(packed); err != nil {
			t.Fatal(err)
		}
		if i%20 == 19 {
			time.Sleep(time.Millisecond) // for the sockets' buffers
		}
	}
	r.took = time.Since(start)
	reading.Wait()
	counts(1)
	return r
}

// readReplies counts until nothing has come for a while.
func readReplies(conn *net.UDPConn) (full, cut int) {
	buf := make([]byte, 4096)
	for {
		if conn.SetReadDeadline(time.Now().Add(time.Second)) != nil {
			return full, cut
		}
		n, err := conn.Read(buf)
		var r dns.Msg
		switch {
		case err != nil || r.Unpack(buf[:n]) != nil:
			return full, cut
		case r.Truncated:
			cut++
		case len(r.Answer) == 1:
			full++
		}
	}
}

// most is how many replies the limit lets through at most.
func (r burstResult) most() int { return int(burstRate*(2.5+r.took.Seconds())) + 2 }

func TestRateLimit(t *testing.T) {
	t.Run("slip 1", func(t *testing.T) {
		d := limited(t, "--rate-limit", fmt.Sprint(burstRate), "--rate-exempt", "127.0.7.0/24,192.0.2.0/24")
		r := sendBurst(t, d, "127.0.1.1")
		t.Logf("%+v", r)
		if r.received != burst || r.full+r.cut != burst || r.full < 2*burstRate || r.full > r.most() || float64(r.cut) != r.limited ||
			r.slipped != r.limited {
			t.Errorf("want %d answers at most, and all the others truncated: %+v", r.most(), r)
		}
		output := run(t, "dig", "-b", "127.0.1.1", "@127.0.0.1", "-p", port(d.dns), "www.gtm.test", "+nocookie", "+tcp")
		if !strings.Contains(output, "192.0.2.1") {
			t.Errorf("an honest client behind that address, by TCP:\n%s", output)
		}
		if r := sendBurst(t, d, "127.0.7.1"); r.full != burst || r.limited != 0 {
			t.Errorf("an exempt network: %+v", r)
		}
		if r := sendBurst(t, d, "127.0.1.1", learnCookie(t, d, "127.0.1.1")); r.full != burst || r.limited != 0 {
			t.Errorf("with a cookie of ours: %+v", r)
		}
	})
	t.Run("slip 2", func(t *testing.T) {
		d := limited(t, "--rate-limit", fmt.Sprint(burstRate), "--rate-exempt", "192.0.2.0/24", "--rate-slip", "2", "--workers", "1")
		r := sendBurst(t, d, "127.0.1.1")
		t.Logf("%+v", r)
		if r.full > r.most() || float64(r.cut) != r.slipped || r.slipped+r.dropped != r.limited || r.slipped < r.dropped-1 ||
			r.slipped > r.dropped+1 {
			t.Errorf("want every second of what is too much truncated, and the other not answered: %+v", r)
		}
	})
	t.Run("slip 0", func(t *testing.T) {
		d := limited(t, "--rate-limit", fmt.Sprint(burstRate), "--rate-exempt", "192.0.2.0/24", "--rate-slip", "0")
		if r := sendBurst(t, d, "127.0.1.1"); r.full > r.most() || r.cut != 0 || r.slipped != 0 || r.dropped != r.limited ||
			r.limited != float64(burst-r.full) {
			t.Errorf("want nothing of what is too much answered: %+v", r)
		}
	})
	t.Run("dry run", func(t *testing.T) {
		d := limited(t, "--rate-limit", fmt.Sprint(burstRate), "--rate-exempt", "192.0.2.0/24", "--rate-dry-run")
		r := sendBurst(t, d, "127.0.1.1")
		if r.full != burst || r.slipped != 0 || r.dropped != 0 || r.limited < float64(burst-r.most()) {
			t.Errorf("want all answered, and what would have been held back counted: %+v", r)
		}
	})
	t.Run("loopback by default", func(t *testing.T) {
		d := limited(t, "--rate-limit", fmt.Sprint(burstRate))
		if r := sendBurst(t, d, "127.0.1.1"); r.full != burst || r.limited != 0 {
			t.Errorf("want no limit: %+v", r)
		}
	})
}

// learnCookie gets a cookie for an address.
func learnCookie(t *testing.T, d *daemon, from string) dns.EDNS0 {
	t.Helper()
	m := new(dns.Msg).SetQuestion("www.gtm.test.", dns.TypeA)
	m.SetEdns0(1232, false)
	m.IsEdns0().Option = []dns.EDNS0{&dns.EDNS0_COOKIE{Code: dns.EDNS0COOKIE, Cookie: "0123456789abcdef"}}
	client := &dns.Client{Timeout: 5 * time.Second,
		Dialer: &net.Dialer{LocalAddr: net.UDPAddrFromAddrPort(netip.AddrPortFrom(netip.MustParseAddr(from), 0))}}
	r, _, err := client.Exchange(m, d.dns.String())
	if err != nil {
		t.Fatal(err)
	}
	for _, o := range r.IsEdns0().Option {
		if c, ok := o.(*dns.EDNS0_COOKIE); ok {
			return c
		}
	}
	t.Fatalf("no cookie in %v", r)
	return nil
}
