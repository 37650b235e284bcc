package main

import (
	"fmt"
	"net/netip"

	"golang.org/x/sys/unix"
)

// A looker has the kernel take in what has come to an interface, on the thread that calls it, without waiting. For that, it
// is an ordinary socket that polls the queue that its own last datagram came by: not every kernel knows the queue of an AF_XDP
// socket that copies.
type looker struct{ fd int }

// newLooker asks the server one query, so that the kernel learns the queue.
func newLooker(to netip.AddrPort, query []byte) (k looker, err error) {
	if k.fd, err = unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0); err != nil {
		return k, err
	}
	for option, value := range map[int]int{unix.SO_PREFER_BUSY_POLL: 1, unix.SO_BUSY_POLL: 1, unix.SO_BUSY_POLL_BUDGET: burst} {
		if err = unix.SetsockoptInt(k.fd, unix.SOL_SOCKET, option, value); err != nil {
			return k, fmt.Errorf("asking for busy polling: %w; this needs Linux 5.11", err)
		}
	}
	second := unix.Timeval{Sec: 1}
	if err = unix.SetsockoptTimeval(k.fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &second); err != nil {
		return k, err
	}
	if err = unix.Connect(k.fd, &unix.SockaddrInet4{Addr: to.Addr().As4(), Port: int(to.Port())}); err != nil {
		return k, err
	}
	for range 3 {
		if _, err = unix.Write(k.fd, query); err == nil {
			_, err = unix.Read(k.fd, make([]byte, 4096))
		}
		if err != nil {
			continue
		}
		if id, _ := unix.GetsockoptInt(k.fd, unix.SOL_SOCKET, unix.SO_INCOMING_NAPI_ID); id == 0 {
			return k, fmt.Errorf("the kernel does not tell by which queue of the interface answers come")
		}
		return k, nil
	}
	return k, fmt.Errorf("asking once: %w", err)
}

// look looks once, for as many packets as a burst has.
func (k looker) look() {
	_, _, _ = unix.RawSyscall6(unix.SYS_RECVFROM, uintptr(k.fd), 0, 0, unix.MSG_DONTWAIT, 0, 0)
}
