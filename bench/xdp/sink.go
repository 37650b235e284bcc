package main

import (
	"encoding/binary"
	"fmt"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
	"golang.org/x/sys/unix"

	"github.com/gti/gtm/pkg/serve/xdp"
)

// A sink is where answers end: a program in the kernel looks at each, counts and drops it, so that the load's core has
// little to do with them. Those to the first of the load's ports come through, as samples of latency.
type sink struct {
	counts, sockets *ebpf.Map
	prog            *ebpf.Program
	memory          *ebpf.Memory
	raw             [16]byte
}

// newSink puts a sink in front of a port.
func newSink(port *xdp.Port) (_ *sink, err error) {
	s := &sink{}
	if s.counts, err = ebpf.NewMap(&ebpf.MapSpec{Type: ebpf.Array, KeySize: 4, ValueSize: 8, MaxEntries: 2,
		Flags: unix.BPF_F_MMAPABLE}); err != nil {
		return nil, err
	}
	if s.sockets, err = ebpf.NewMap(&ebpf.MapSpec{Type: ebpf.XSKMap, KeySize: 4, ValueSize: 4, MaxEntries: 1}); err != nil {
		return nil, err
	}
	if err = s.sockets.Put(uint32(0), uint32(port.Sockets[0].FD())); err != nil {
		return nil, err
	}
	if s.memory, err = s.counts.Memory(); err != nil {
		return nil, err
	}
	s.prog, err = ebpf.NewProgram(&ebpf.ProgramSpec{Type: ebpf.XDP, License: "GPL", Instructions: s.instructions()})
	if err != nil {
		return nil, fmt.Errorf("loading the sink's program: %w", err)
	}
	return s, port.Replace(s.prog)
}

// read gives how many answers were good, and how many were not, of those that did not come through.
func (s *sink) read() (good, bad int) {
	if _, err := s.memory.ReadAt(s.raw[:], 0); err != nil {
		panic(err) // it reads what is mapped
	}
	return int(binary.NativeEndian.Uint64(s.raw[:])), int(binary.NativeEndian.Uint64(s.raw[8:]))
}

// instructions are the program: of UDP over IPv4 to the load's ports, answers to the first port go to the socket; the
// others are counted as good (QR, NOERROR, with records in the answer section) or bad, and dropped. All else passes.
func (s *sink) instructions() asm.Instructions {
	const (
		pass, drop        = 2, 1
		frame, end, v     = asm.R2, asm.R3, asm.R4
		flags, rcode, key = xdp.Overhead4 + 2, xdp.Overhead4 + 3, -8
	)
	return asm.Instructions{
		asm.LoadMem(frame, asm.R1, 0, asm.Word),
		asm.LoadMem(end, asm.R1, 4, asm.Word),
		asm.Mov.Reg(v, frame),
		asm.Add.Imm(v, xdp.Overhead4+12),
		asm.JGT.Reg(v, end, "pass"),
		asm.LoadMem(v, frame, 12, asm.Half),
		asm.HostTo(asm.BE, v, asm.Half),
		asm.JNE.Imm(v, 0x0800, "pass"),
		asm.LoadMem(v, frame, 23, asm.Byte),
		asm.JNE.Imm(v, unix.IPPROTO_UDP, "pass"),
		asm.LoadMem(v, frame, 36, asm.Half),
		asm.HostTo(asm.BE, v, asm.Half),
		asm.JLT.Imm(v, firstPort, "pass"),
		asm.JGE.Imm(v, firstPort+ports, "pass"),
		asm.JEq.Imm(v, firstPort, "sample"),

		asm.Mov.Imm(asm.R5, 1), // bad, until all is well
		asm.LoadMem(v, frame, flags, asm.Byte),
		asm.JSet.Imm(v, 0x80, "reply"),
		asm.Ja.Label("count"),
		asm.LoadMem(v, frame, rcode, asm.Byte).WithSymbol("reply"),
		asm.JSet.Imm(v, 15, "count"),
		asm.LoadMem(v, frame, xdp.Overhead4+6, asm.Half),
		asm.JEq.Imm(v, 0, "count"),
		asm.Mov.Imm(asm.R5, 0),
		asm.StoreMem(asm.RFP, key, asm.R5, asm.Word).WithSymbol("count"),
		asm.LoadMapPtr(asm.R1, s.counts.FD()),
		asm.Mov.Reg(asm.R2, asm.RFP),
		asm.Add.Imm(asm.R2, key),
		asm.FnMapLookupElem.Call(),
		asm.JEq.Imm(asm.R0, 0, "pass"),
		asm.Mov.Imm(asm.R1, 1),
		asm.StoreXAdd(asm.R0, asm.R1, asm.DWord),
		asm.Mov.Imm(asm.R0, drop),
		asm.Return(),

		asm.LoadMapPtr(asm.R1, s.sockets.FD()).WithSymbol("sample"),
		asm.Mov.Imm(asm.R2, 0),
		asm.Mov.Imm(asm.R3, pass),
		asm.FnRedirectMap.Call(),
		asm.Return(),

		asm.Mov.Imm(asm.R0, pass).WithSymbol("pass"),
		asm.Return(),
	}
}
