package datagram

import (
	"bytes"
	"context"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"github.com/gti/gtm/pkg/serve/xdp"
)

// xdpCheck is how often an interface is looked at: whether it is still the same, and, where it is not served, whether
// it can be.
const xdpCheck = 2 * time.Second

// Way is the way past the kernel's stack for what comes by one interface. While it can't be had, the sockets serve;
// so they do, at any time, what the program does not pick out.
type Way struct {
	shared  *Shared
	Name    string
	origins []Origin

	mu      sync.Mutex
	port    *xdp.Port // nil: the sockets serve
	lost    uint64    // datagrams that earlier ports have lost
	ending  atomic.Bool
	wake    int // eventfd, readable once ending is set
	workers sync.WaitGroup
	said    string // the last warning
}

// Origin is a socket of the kernel's, from which late replies are sent, and the address that it is bound to.
type Origin struct {
	Addr netip.AddrPort
	FD   int
}

// NewWay makes a way that is closed still. origins has a socket for each address that is served.
func NewWay(s *Shared, name string, origins []Origin) *Way {
	return &Way{shared: s, Name: name, origins: origins}
}

// Keep looks after the way until ctx ends, and then ends it.
func (w *Way) Keep(ctx context.Context) {
	tick := time.NewTicker(xdpCheck)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			w.close()
			return
		case <-tick.C:
			w.check()
		}
	}
}

// check opens the way where it is closed, opens it anew where the interface is not what it was, and follows the
// machine's addresses.
func (w *Way) check() {
	if w.port == nil {
		w.Open()
		return
	}
	nic, err := net.InterfaceByName(w.Name)
	if err != nil || nic.Index != w.port.Index || !bytes.Equal(nic.HardwareAddr, w.port.MAC) || w.port.TooLong(nic.MTU) {
		w.shared.Logger.Warn("the interface of --xdp is gone, or another; the sockets serve", "interface", w.Name)
		w.close() // it is opened at the next check: the kernel gives queues back a little later
		return
	}
	if err := w.port.Serve(w.addrs()); err != nil {
		w.warn(err)
	}
}

// Open tries to open the way. Where it can't, the sockets serve, and the reason is logged when it is news.
func (w *Way) Open() {
	port, err := xdp.Open(w.Name, 0)
	if err != nil {
		w.warn(err)
		return
	}
	wake, err := unix.Eventfd(0, unix.EFD_CLOEXEC|unix.EFD_NONBLOCK)
	if err != nil {
		port.Close()
		w.warn(err)
		return
	}
	w.mu.Lock()
	w.port, w.wake = port, wake
	w.mu.Unlock()
	w.ending.Store(false)
	for _, sock := range port.Sockets {
		w.workers.Go(newXDPQueue(w.shared, w, sock, port.Limit, port.Index).run)
	}
	if err := port.Serve(w.addrs()); err != nil {
		w.close()
		w.warn(err)
		return
	}
	w.said = ""
	w.shared.Logger.Info("queries by UDP are taken past the kernel's stack", "interface", w.Name, "mode", string(port.Mode),
		"queues", len(port.Sockets))
}

// warn logs why the way can't be had, once for each reason.
func (w *Way) warn(err error) {
	if err.Error() == w.said {
		return
	}
	w.said = err.Error()
	w.shared.Logger.Warn("--xdp can't be had; the sockets serve", "error", err)
}

// close hands back to the sockets, once what has come is answered.
func (w *Way) close() {
	if w.port == nil {
		return
	}
	w.port.Detach()
	w.ending.Store(true)
	_, _ = unix.Write(w.wake, []byte{1, 0, 0, 0, 0, 0, 0, 0}) // it can't be full
	w.workers.Wait()
	w.mu.Lock()
	defer w.mu.Unlock()
	w.lost += lostOf(w.port)
	w.port.Close()
	w.port = nil
	_ = unix.Close(w.wake)
}

func lostOf(port *xdp.Port) (n uint64) {
	for _, sock := range port.Sockets {
		n += sock.Lost()
	}
	return n
}

// addrs are the addresses and ports that are served by UDP; a wildcard is all addresses of its family that this
// machine has.
func (w *Way) addrs() (all []netip.AddrPort) {
	var own []netip.Addr
	for _, o := range w.origins {
		if !o.Addr.Addr().IsUnspecified() {
			all = append(all, o.Addr)
			continue
		}
		if own == nil {
			own = machineAddrs(w.Name)
		}
		for _, a := range own {
			if a.Is4() == o.Addr.Addr().Is4() {
				all = append(all, netip.AddrPortFrom(a, o.Addr.Port()))
			}
		}
	}
	return all
}

// machineAddrs are the addresses of all interfaces; link-local ones of the one named only.
func machineAddrs(name string) (all []netip.Addr) {
	nics, err := net.Interfaces()
	if err != nil {
		return nil // the sockets serve what is not found here
	}
	for _, nic := range nics {
		addrs, err := nic.Addrs()
		if err != nil {
			continue
		}
		for _, a := range addrs {
			prefix, err := netip.ParsePrefix(a.String())
			if addr := prefix.Addr(); err == nil && !addr.IsLoopback() && (nic.Name == name || !addr.IsLinkLocalUnicast()) {
				all = append(all, addr.WithZone(""))
			}
		}
	}
	return all
}

// State tells, for the metrics, how the way is served: the mode, the number of queues, and the datagrams lost.
func (w *Way) State() (mode string, queues int, lost uint64) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.port == nil {
		return "none", 0, w.lost
	}
	return string(w.port.Mode), len(w.port.Sockets), w.lost + lostOf(w.port)
}
