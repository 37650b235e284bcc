package serve

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/gti/gtm/pkg/serve/datagram"
	"github.com/gti/gtm/pkg/serve/servetest"
)

// take holds an address in one of the ways in which others do.
func take(t *testing.T, how string, at netip.AddrPort) netip.AddrPort {
	t.Helper()
	switch how {
	case "tcp":
		l, err := net.Listen("tcp", at.String())
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { l.Close() })
		return l.Addr().(*net.TCPAddr).AddrPort()
	case "udp":
		c, err := net.ListenPacket("udp", at.String())
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { c.Close() })
		return c.LocalAddr().(*net.UDPAddr).AddrPort()
	case "shared udp": // by a program that lets others share it
		at = netip.AddrPortFrom(at.Addr(), take(t, "tcp then free", at).Port())
		sock, err := datagram.OpenSocket(at, true)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { unix.Close(sock.FD) })
		return at
	case "tcp then free":
		l, err := net.Listen("tcp", at.String())
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		return l.Addr().(*net.TCPAddr).AddrPort()
	}
	return start(t, Config{Addrs: []netip.AddrPort{at}}, servetest.Echo).Addrs()[0]
}

func TestAddressInUse(t *testing.T) {
	for _, how := range []string{"tcp", "udp", "shared udp", "gtm"} {
		for _, local := range []string{"127.0.0.1:0", "[::1]:0", "0.0.0.0:0"} {
			wanted := netip.MustParseAddrPort(local).Addr()
			taken := take(t, how, netip.AddrPortFrom(wanted, 0))
			free := take(t, "tcp then free", netip.MustParseAddrPort("127.0.0.5:0"))
			_, err := Listen(Config{Addrs: []netip.AddrPort{free, netip.AddrPortFrom(wanted, taken.Port())},
				NewHandler: func() Handler { return servetest.HandlerFunc(servetest.Echo) }})
			if !errors.Is(err, unix.EADDRINUSE) {
				t.Errorf("%s %s: %v", how, local, err)
				continue
			}
			for _, want := range []string{fmt.Sprintf(":%d", taken.Port()), fmt.Sprintf("(process %d)", os.Getpid()),
				filepath.Base(os.Args[0])[:5], "--dns " + strings.TrimSuffix(local, "0")} {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("%s %s: %v; want %q in it", how, local, err, want)
				}
			}
			if strings.Count(err.Error(), "\n") != 0 {
				t.Errorf("more than a line: %v", err)
			}
			start(t, Config{Addrs: []netip.AddrPort{free}}, servetest.Echo) // all or nothing: it was given back
		}
	}
}

func TestBindHints(t *testing.T) {
	for _, tc := range []struct {
		addr  string
		errno unix.Errno
		want  string
	}{
		{"192.0.2.1:53", unix.EACCES, "CAP_NET_BIND_SERVICE; grant it, or give another port, as in --dns 192.0.2.1:5300"},
		{"[2001:db8::1]:53", unix.EADDRNOTAVAIL, "no interface"},
		{"[2001:db8::1]:53", unix.EAFNOSUPPORT, "address family"},
		{"192.0.2.1:5300", unix.EADDRINUSE, "as in --dns 192.0.2.1:5301"},
		{"192.0.2.1:65535", unix.EADDRINUSE, "as in --dns 192.0.2.1:5300"},
		{"192.0.2.1:53", unix.EBADF, "see --dns"},
	} {
		addr := netip.MustParseAddrPort(tc.addr)
		err := bindError(UDP, "udp", addr, fmt.Errorf("bind: %w", tc.errno))
		if !strings.HasPrefix(err.Error(), "listen udp "+tc.addr+": ") || !strings.Contains(err.Error(), tc.want) ||
			!errors.Is(err, tc.errno) {
			t.Errorf("%s %v: %v", tc.addr, tc.errno, err)
		}
	}
	if err := bindError(UDP, "udp", netip.AddrPort{}, os.ErrClosed); !errors.Is(err, os.ErrClosed) {
		t.Error(err)
	}
}

func TestHolderReadsTheKernelsTables(t *testing.T) {
	proc := t.TempDir()
	files := map[string]string{
		"net/tcp": "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n" +
			"   0: 0100007F:0035 0100007F:9999 01 00000000:00000000 00:00000000 00000000     0        0 11 1\n" + // not listening
			"   1: 0100007F:0035 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 22 1\n",
		"net/udp": "header\n   0: 00000000:0035 00000000:0000 07 00000000:00000000 00:00000000 00000000     0        0 33 2\nshort\nx:y " +
			"a b c d e f g h i j\n",
		"net/udp6": "header\n   0: 000080FE00000000000000000100000000000000:0035 x x x x x x x 44\n   0: " +
			"B80D0120000000000000000001000000:0036 0:0 07 0:0 00:0 0 0 0 55 2\n",
		"612/comm": "named\n", "613/comm": "other\n",
	}
	for name, text := range files {
		file := filepath.Join(proc, name)
		if err := errors.Join(os.MkdirAll(filepath.Dir(file), 0o700), os.WriteFile(file, []byte(text), 0o600)); err != nil {
			t.Fatal(err)
		}
	}
	for link, to := range map[string]string{"612/fd/3": "socket:[22]", "612/fd/4": "socket:[33]", "613/fd/0": "/dev/null",
		"613/fd/7": "socket:[55]"} {
		file := filepath.Join(proc, link)
		if err := errors.Join(os.MkdirAll(filepath.Dir(file), 0o700), os.Symlink(to, file)); err != nil {
			t.Fatal(err)
		}
	}
	for _, tc := range []struct{ network, addr, want string }{
		{"tcp", "127.0.0.1:53", "named (process 612) holds 127.0.0.1:53"},
		{"tcp", "0.0.0.0:53", "named (process 612) holds 127.0.0.1:53"},
		{"tcp", "127.0.0.2:53", ""},
		{"udp", "127.0.0.2:53", "named (process 612) holds 0.0.0.0:53"},
		{"udp", "[2001:db8::1]:54", "other (process 613) holds [2001:db8::1]:54"},
		{"udp", "127.0.0.1:55", ""},
	} {
		if got := holder(proc, tc.network, netip.MustParseAddrPort(tc.addr)); got != tc.want {
			t.Errorf("%s %s: %q, want %q", tc.network, tc.addr, got, tc.want)
		}
	}
}
