package checks

import (
	"context"
	"net"
	"net/netip"
	"os"
	"runtime"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/gti/gtm/pkg/probe"
)

func pingCheck(to string) probe.Check {
	return probe.Check{Type: "icmp", Addrs: []netip.AddrPort{netip.AddrPortFrom(netip.MustParseAddr(to), 0)}, Timeout: 5 * time.Second}
}

// mayPing reports whether this process may send pings at all.
func mayPing() bool {
	for _, privileged := range []bool{false, true} {
		if came, _ := ping(context.Background(), netip.MustParseAddr("127.0.0.1"), privileged); came {
			return true
		}
	}
	return false
}

func TestICMP(t *testing.T) {
	k := Checker{Guard: loopback}
	if !mayPing() {
		wants(t, k.Check(context.Background(), pingCheck("127.0.0.1")), "without rights", probe.Unable, "icmp: "+errNoPings.Error())
		return // the rest needs root, which CI is, or a group in net.ipv4.ping_group_range
	}
	wants(t, k.Check(context.Background(), pingCheck("127.0.0.1")), "there", probe.Passed, "")
	wants(t, new(Checker).Check(context.Background(), pingCheck("127.0.0.1")), "guarded", probe.Unable, errRefused.Error())
	c := probe.Check{Type: "icmp", Host: "web.test", Timeout: 5 * time.Second}
	k.Resolver = nameServer(t, "127.0.0.1", "169.254.169.254")
	wants(t, k.Check(context.Background(), c), "by a name", probe.Passed, "")
	wants(t, k.Check(context.Background(), c), "rebound", probe.Unable, errRefused.Error())
	far := pingCheck("198.51.100.1") // a network for documentation, in which nobody answers
	far.Timeout = 200 * time.Millisecond
	if conn, err := net.Dial("udp", "198.51.100.1:9"); err == nil { // there is a route to it
		conn.Close()
		wants(t, k.Check(context.Background(), far), "nobody there", probe.Failed, "icmp: timeout after 200ms")
	}
	c.Host = "gone.test"
	wants(t, k.Check(context.Background(), c), "no such name", probe.Failed, "resolve: no such host")
}

// TestPingsNeedRights: a prober that may not send them says what it needs, and that is no word on the target.
func TestPingsNeedRights(t *testing.T) {
	if os.Geteuid() != 0 {
		return // it has none to give away, and TestICMP says the same of it
	}
	done := make(chan error)
	go func() {
		runtime.LockOSThread()                                  // for ever: the thread ends with this goroutine
		if err := unix.Unshare(unix.CLONE_NEWNET); err != nil { // where nobody's group may send pings
			t.Error(err)
		}
		header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
		var none [2]unix.CapUserData
		if err := unix.Capset(&header, &none[0]); err != nil {
			t.Error(err)
		}
		c := pingCheck("127.0.0.1")
		done <- runICMP(t.Context(), &attempt{&c, &Checker{Guard: loopback}, "127.0.0.1:0", time.Now()})
	}()
	wants(t, conclude(probe.Check{}, <-done), "without rights", probe.Unable, "icmp: "+errNoPings.Error())
}
