package xdp

import (
	"errors"
	"fmt"
	"net"
	"net/netip"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/link"
	"golang.org/x/sys/unix"
)

// Frames is how many frames each receive queue has: about as many queries may wait in it.
const Frames = 2048

// smallestMTU is what a reply of 512 bytes needs.
const smallestMTU = 512 + ip6Size + udpSize

// Mode is how frames come.
type Mode string

// The modes, best first.
const (
	ZeroCopy Mode = "zerocopy" // the driver puts them into UMEM
	Native   Mode = "native"   // the driver runs the program, and the kernel copies
	Generic  Mode = "generic"  // the kernel runs the program, for a driver that can't
)

// Port is an interface from which datagrams are taken. Its methods are not safe for concurrent use; its sockets are
// independent of each other.
type Port struct {
	Name    string
	Index   int
	MAC     net.HardwareAddr
	Limit   int // bytes of the largest frame that may be sent
	Mode    Mode
	Sockets []*Socket // by receive queue

	reserve int // frames of each socket, see Socket.Spare
	program *program
	link    link.Link
}

// Open attaches the program to the interface and opens a socket for each of its receive queues. No datagram comes
// before Serve has been called. Sockets keep a reserve of so many frames (Frames at most) for what is not a reply; see
// Socket.Spare. The error says what stands in the way, and what to do.
func Open(name string, reserve int) (*Port, error) {
	nic, err := net.InterfaceByName(name)
	if err != nil {
		return nil, fmt.Errorf("interface %s: there is none of that name; ip link lists those that there are", name)
	}
	if len(nic.HardwareAddr) != 6 || nic.Flags&net.FlagLoopback != 0 {
		return nil, fmt.Errorf("interface %s: it is not an Ethernet; choose one that is", name)
	}
	if nic.MTU < smallestMTU {
		return nil, fmt.Errorf("interface %s: its MTU of %d is below %d; raise it", name, nic.MTU, smallestMTU)
	}
	p := &Port{Name: name, Index: nic.Index, MAC: nic.HardwareAddr, Limit: nic.MTU + etherSize, reserve: reserve}
	if err := p.open(); err != nil {
		p.Close()
		return nil, fmt.Errorf("interface %s: %w", name, explain(err))
	}
	return p, nil
}

func (p *Port) open() (err error) {
	if p.program, err = loadProgram(p.MAC); err != nil {
		return err
	}
	if err = p.attach(link.XDPDriverMode); err == nil {
		p.Mode = Native
		if err = p.bindAll(false); err == nil {
			if p.Sockets[0].zeroCopy {
				p.Mode = ZeroCopy
			}
			return nil
		}
		p.detach()
	}
	if errors.Is(err, unix.EBUSY) || errors.Is(err, unix.EEXIST) || errors.Is(err, unix.EPERM) {
		return err // the other mode would not help
	}
	p.Mode = Generic
	if err = p.attach(link.XDPGenericMode); err != nil {
		return err
	}
	return p.bindAll(true)
}

// attach attaches the program by a link, which ends with this process, however it ends.
func (p *Port) attach(mode link.XDPAttachFlags) (err error) {
	p.link, err = link.AttachXDP(link.XDPOptions{Program: p.program.prog, Interface: p.Index, Flags: mode})
	if err != nil {
		p.link = nil
		return fmt.Errorf("attaching the XDP program: %w", err)
	}
	return nil
}

// detach undoes attach and bindAll.
func (p *Port) detach() {
	if p.link != nil {
		_ = p.link.Close()
		p.link = nil
	}
	for _, s := range p.Sockets {
		s.Close()
	}
	p.Sockets = nil
}

// bindAll opens a socket for each queue. The kernel says by EINVAL that there are no more.
func (p *Port) bindAll(copy bool) error {
	size := smallFrame
	if p.Limit > maxFrame {
		size = largeFrame
	}
	for queue := range maxQueues {
		s, err := newSocket(Frames, size, p.reserve)
		if err != nil {
			return err
		}
		if err := s.bind(p.Index, queue, copy); err != nil {
			s.Close()
			if queue > 0 && errors.Is(err, unix.EINVAL) {
				return nil
			}
			return fmt.Errorf("queue %d: %w", queue, err)
		}
		p.Sockets = append(p.Sockets, s)
	}
	return nil
}

// Serve leads the datagrams that come for addrs, and no others, to the sockets. It may be called again.
func (p *Port) Serve(addrs []netip.AddrPort) error {
	if err := p.program.set(addrs); err != nil {
		return fmt.Errorf("interface %s: telling the XDP program its addresses: %w", p.Name, err)
	}
	for queue, s := range p.Sockets {
		if err := p.program.sockets.Put(uint32(queue), uint32(s.fd)); err != nil {
			return fmt.Errorf("interface %s: leading queue %d to its socket: %w", p.Name, queue, err)
		}
	}
	return nil
}

// TooLong reports whether an MTU is another than that which the port was opened with.
func (p *Port) TooLong(mtu int) bool { return mtu+etherSize != p.Limit }

// Replace puts another program into the place of the port's own, as long as the port is open.
func (p *Port) Replace(with *ebpf.Program) error { return p.link.Update(with) }

// Detach hands everything that comes from now on back to the kernel. What has come stays in the sockets.
func (p *Port) Detach() {
	if p.link != nil {
		_ = p.link.Close() // at worst it goes when the process does
		p.link = nil
	}
}

// Close detaches and closes the sockets, which nobody may be using any more.
func (p *Port) Close() {
	p.detach()
	if p.program != nil {
		p.program.close()
	}
}

// explain adds to an error what to do about it.
func explain(err error) error {
	var hint string
	switch {
	case errors.Is(err, unix.EPERM) || errors.Is(err, unix.EACCES):
		hint = "this needs CAP_NET_ADMIN, CAP_NET_RAW and CAP_BPF; grant them (deploy/systemd shows how)"
	case errors.Is(err, unix.ENOBUFS) || errors.Is(err, unix.ENOMEM):
		hint = fmt.Sprintf("each receive queue locks %d MB of memory; raise the limit (LimitMEMLOCK in systemd, ulimit -l), or grant "+
			"CAP_IPC_LOCK",
			Frames*smallFrame>>20)
	case errors.Is(err, unix.EBUSY) || errors.Is(err, unix.EEXIST):
		hint = "another XDP program or socket has it; ip link show and bpftool net tell which: end that first"
	case errors.Is(err, unix.EAFNOSUPPORT) || errors.Is(err, unix.ENOSYS):
		hint = "this kernel has no AF_XDP sockets; take one with CONFIG_XDP_SOCKETS=y"
	case errors.Is(err, unix.ENETDOWN) || errors.Is(err, unix.ENODEV) || errors.Is(err, unix.ENXIO):
		hint = "the interface is down or gone; ip link set dev ... up"
	case errors.Is(err, unix.EOPNOTSUPP) || errors.Is(err, unix.EINVAL):
		hint = "the kernel or the driver can't do that; choose another interface, or do without --xdp"
	default:
		return err
	}
	return fmt.Errorf("%w: %s", err, hint)
}
