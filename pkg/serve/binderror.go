package serve

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/gti/gtm/pkg/serve/seam"
)

// bindError says why addr can't be served and what to do about it. The cause stays in it for errors.Is.
func bindError(t Transport, network string, addr netip.AddrPort, cause error) error {
	var errno unix.Errno
	if !errors.As(cause, &errno) {
		return fmt.Errorf("listen %s %s: %w", network, addr, cause)
	}
	return fmt.Errorf("listen %s %s: %w: %s", network, addr, errno, bindHint(t, network, addr, errno))
}

func bindHint(t Transport, network string, addr netip.AddrPort, errno unix.Errno) string {
	other := netip.AddrPortFrom(addr.Addr(), [seam.NumTransports]uint16{UDP: 5300, TLS: 8853, HTTPS: 8443, QUIC: 8853}[t])
	if addr.Port() >= 1024 && addr.Port() < 65535 {
		other = netip.AddrPortFrom(addr.Addr(), addr.Port()+1)
	}
	flag := "--" + t.String()
	if t == UDP {
		flag = "--dns"
	}
	switch errno {
	case unix.EADDRINUSE:
		who := holder("/proc", network, addr)
		if who == "" {
			who = fmt.Sprintf("another program holds it (as root, ss -lnp 'sport = :%d' tells which)", addr.Port())
		}
		return fmt.Sprintf("%s; stop that, or give another address or port, as in %s %s", who, flag, other)
	case unix.EACCES, unix.EPERM:
		return fmt.Sprintf("ports below 1024 need the capability CAP_NET_BIND_SERVICE; grant it, or give another port, as in %s %s", flag,
			other)
	case unix.EADDRNOTAVAIL:
		return "no interface of this machine has that address; add it (ip address add ... dev lo), or give one that it has"
	case unix.EAFNOSUPPORT:
		return "this system has no such address family; give addresses of the other one only"
	}
	return "see " + flag
}

// holder tells who holds the address: "named (process 612) holds 0.0.0.0:53". Empty: it can't be told.
func holder(proc, network string, addr netip.AddrPort) string {
	for _, table := range []string{network, network + "6"} {
		at, inode := findSocket(filepath.Join(proc, "net", table), network, addr)
		if inode == "" {
			continue
		}
		if who := findProcess(proc, inode); who != "" {
			return who + " holds " + at.String()
		}
	}
	return ""
}

// findSocket looks in one of the kernel's tables of sockets for one that is in addr's way.
func findSocket(file, network string, addr netip.AddrPort) (at netip.AddrPort, inode string) {
	f, err := os.Open(file)
	if err != nil {
		return at, "" // no table, no name in the message
	}
	defer f.Close()
	const listening = "0A"
	for lines := bufio.NewScanner(f); lines.Scan(); {
		fields := strings.Fields(lines.Text())
		if len(fields) < 10 || network == "tcp" && fields[3] != listening {
			continue
		}
		local, ok := parseProcAddr(fields[1])
		if !ok || local.Port() != addr.Port() {
			continue
		}
		if local.Addr() == addr.Addr() || local.Addr().IsUnspecified() || addr.Addr().IsUnspecified() {
			return local, fields[9]
		}
	}
	return at, ""
}

// parseProcAddr reads "0100007F:14B4": words of the address in the machine's byte order, and the port.
func parseProcAddr(text string) (netip.AddrPort, bool) {
	words, portText, ok := strings.Cut(text, ":")
	port, err := strconv.ParseUint(portText, 16, 16)
	if !ok || err != nil || len(words)%8 != 0 {
		return netip.AddrPort{}, false
	}
	var raw []byte
	for ; words != ""; words = words[8:] {
		w, err := strconv.ParseUint(words[:8], 16, 32)
		if err != nil {
			return netip.AddrPort{}, false
		}
		raw = binary.NativeEndian.AppendUint32(raw, uint32(w))
	}
	addr, ok := netip.AddrFromSlice(raw)
	return netip.AddrPortFrom(addr.Unmap(), uint16(port)), ok
}

// findProcess looks for the process that has the socket open.
func findProcess(proc, inode string) string {
	links, err := filepath.Glob(filepath.Join(proc, "[0-9]*", "fd", "*"))
	if err != nil {
		return ""
	}
	for _, link := range links {
		if target, err := os.Readlink(link); err != nil || target != "socket:["+inode+"]" {
			continue
		}
		dir := filepath.Dir(filepath.Dir(link))
		name, err := os.ReadFile(filepath.Join(dir, "comm"))
		if err != nil {
			return ""
		}
		return fmt.Sprintf("%s (process %s)", strings.TrimSpace(string(name)), filepath.Base(dir))
	}
	return ""
}
