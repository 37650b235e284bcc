package xdp

import (
	"encoding/binary"
	"fmt"
	"net"
	"net/netip"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
)

const (
	maxAddrs  = 4096 // addresses with their ports that the program can know
	maxQueues = 1024
	// maxFrame is the largest frame that the program picks out: a larger one would not fit into a small frame of UMEM.
	maxFrame = smallFrame - headroom
	pass     = 2 // XDP_PASS
)

// addrKey is an address (IPv4 in its IPv6-mapped form) and a port as the program looks them up: big-endian.
type addrKey struct {
	Addr [16]byte
	Port [2]byte
	_    [2]byte
}

func keyOf(a netip.AddrPort) addrKey {
	k := addrKey{Addr: a.Addr().As16()}
	binary.BigEndian.PutUint16(k.Port[:], a.Port())
	return k
}

// program is the XDP program with its maps: addrs is what it looks for, sockets where it leads that, by queue.
type program struct {
	prog           *ebpf.Program
	addrs, sockets *ebpf.Map
}

func loadProgram(mac net.HardwareAddr) (_ *program, err error) {
	p := &program{}
	p.addrs, err = ebpf.NewMap(&ebpf.MapSpec{Name: "gtm_addrs", Type: ebpf.Hash, KeySize: 20, ValueSize: 4, MaxEntries: maxAddrs})
	if err == nil {
		p.sockets, err = ebpf.NewMap(&ebpf.MapSpec{Name: "gtm_sockets", Type: ebpf.XSKMap, KeySize: 4, ValueSize: 4, MaxEntries: maxQueues})
	}
	if err != nil {
		p.close()
		return nil, fmt.Errorf("making a map: %w", err)
	}
	p.prog, err = ebpf.NewProgram(&ebpf.ProgramSpec{Name: "gtm_dns", Type: ebpf.XDP, License: "GPL",
		Instructions: instructions(mac, p.addrs.FD(), p.sockets.FD(), pass)})
	if err != nil {
		p.close()
		return nil, fmt.Errorf("loading the XDP program: %w", err)
	}
	return p, nil
}

// close lets go of the program and its maps; what is attached stays until its link is closed too.
func (p *program) close() {
	_ = p.prog.Close() // these three close descriptors, which can be nil
	_ = p.addrs.Close()
	_ = p.sockets.Close()
}

// set makes the program look for addrs, and for nothing else.
func (p *program) set(addrs []netip.AddrPort) error {
	if len(addrs) > maxAddrs {
		return fmt.Errorf("%d addresses are too many: give %d at most", len(addrs), maxAddrs)
	}
	wanted := make(map[addrKey]bool, len(addrs))
	for _, a := range addrs {
		wanted[keyOf(a)] = true
	}
	var old []addrKey
	var k addrKey
	var value uint32
	known := p.addrs.Iterate()
	for known.Next(&k, &value) {
		if wanted[k] {
			delete(wanted, k)
		} else {
			old = append(old, k)
		}
	}
	if err := known.Err(); err != nil {
		return err
	}
	for _, k := range old {
		if err := p.addrs.Delete(k); err != nil {
			return err
		}
	}
	for k := range wanted {
		if err := p.addrs.Put(k, uint32(1)); err != nil {
			return err
		}
	}
	return nil
}

// Where things stand in a frame.
const (
	atType      = 12
	atVersion   = etherSize
	atFragment4 = etherSize + 6
	atProtocol4 = etherSize + 9
	atTo4       = etherSize + 16
	atPort4     = etherSize + ip4Size + 2
	atNext6     = etherSize + 6
	atTo6       = etherSize + 24
	atPort6     = etherSize + ip6Size + 2
	// The key stands on the program's stack.
	keyAt   = -24
	portAt  = keyAt + 16
	keySize = 20
)

// instructions are the program, for the interface with that hardware address:
//
//	of frames to us, of maxFrame bytes at most,
//	that hold UDP over IPv4 without options and not in fragments, or UDP right behind an IPv6 header,
//	those to one of our addresses and ports go to the socket of their queue (or where it has none, to
//	the action otherwise); everything else passes.
//
// Numbers from the frame are compared in network order, as they are loaded.
func instructions(mac net.HardwareAddr, addrs, sockets int, otherwise int32) asm.Instructions {
	const ctx, frame, end, v, fp = asm.R6, asm.R2, asm.R3, asm.R4, asm.RFP
	return asm.Instructions{
		asm.Mov.Reg(ctx, asm.R1),
		asm.LoadMem(frame, ctx, 0, asm.Word),
		asm.LoadMem(end, ctx, 4, asm.Word),
		asm.Mov.Reg(v, frame),
		asm.Add.Imm(v, Overhead4),
		asm.JGT.Reg(v, end, "pass"),
		asm.Mov.Reg(v, frame),
		asm.Add.Imm(v, maxFrame),
		asm.JGT.Reg(end, v, "pass"),

		asm.LoadMem(v, frame, 0, asm.Word),
		asm.JNE.Imm32(v, int32(binary.NativeEndian.Uint32(mac)), "pass"),
		asm.LoadMem(v, frame, 4, asm.Half),
		asm.JNE.Imm32(v, int32(binary.NativeEndian.Uint16(mac[4:])), "pass"),

		asm.StoreImm(fp, portAt, 0, asm.Word),
		asm.LoadMem(v, frame, atType, asm.Half),
		asm.JEq.Imm32(v, network16(etherIPv6), "six"),
		asm.JNE.Imm32(v, network16(etherIPv4), "pass"),
		asm.LoadMem(v, frame, atVersion, asm.Byte),
		asm.JNE.Imm32(v, 0x45, "pass"),
		asm.LoadMem(v, frame, atFragment4, asm.Half),
		asm.JSet.Imm32(v, network16(0x3fff), "pass"),
		asm.LoadMem(v, frame, atProtocol4, asm.Byte),
		asm.JNE.Imm32(v, protocolUDP, "pass"),
		asm.StoreImm(fp, keyAt, 0, asm.Word),
		asm.StoreImm(fp, keyAt+4, 0, asm.Word),
		asm.StoreImm(fp, keyAt+8, int64(network32(0xffff)), asm.Word),
		asm.LoadMem(v, frame, atTo4, asm.Word),
		asm.StoreMem(fp, keyAt+12, v, asm.Word),
		asm.LoadMem(v, frame, atPort4, asm.Half),
		asm.StoreMem(fp, portAt, v, asm.Half),
		asm.Ja.Label("find"),

		asm.Mov.Reg(v, frame).WithSymbol("six"),
		asm.Add.Imm(v, Overhead6),
		asm.JGT.Reg(v, end, "pass"),
		asm.LoadMem(v, frame, atNext6, asm.Byte),
		asm.JNE.Imm32(v, protocolUDP, "pass"),
		asm.LoadMem(v, frame, atTo6, asm.DWord),
		asm.StoreMem(fp, keyAt, v, asm.DWord),
		asm.LoadMem(v, frame, atTo6+8, asm.DWord),
		asm.StoreMem(fp, keyAt+8, v, asm.DWord),
		asm.LoadMem(v, frame, atPort6, asm.Half),
		asm.StoreMem(fp, portAt, v, asm.Half),

		asm.LoadMapPtr(asm.R1, addrs).WithSymbol("find"),
		asm.Mov.Reg(asm.R2, fp),
		asm.Add.Imm(asm.R2, keyAt),
		asm.FnMapLookupElem.Call(),
		asm.JEq.Imm(asm.R0, 0, "pass"),
		asm.LoadMapPtr(asm.R1, sockets),
		asm.LoadMem(asm.R2, ctx, 16, asm.Word), // rx_queue_index
		asm.Mov.Imm(asm.R3, otherwise),
		asm.FnRedirectMap.Call(),
		asm.Return(),

		asm.Mov.Imm(asm.R0, pass).WithSymbol("pass"),
		asm.Return(),
	}
}

// network16 and network32 give numbers as they look when they are loaded from a packet.
func network16(n uint16) int32 {
	return int32(binary.NativeEndian.Uint16(binary.BigEndian.AppendUint16(nil, n)))
}

func network32(n uint32) int32 {
	return int32(binary.NativeEndian.Uint32(binary.BigEndian.AppendUint32(nil, n)))
}
