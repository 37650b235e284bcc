package datagram

import (
	"encoding/binary"
	"net/netip"

	"golang.org/x/sys/unix"
)

// batch is the memory of one UDP socket: slots that datagrams are received into and answered in. It is made
// once; its headers point into itself, so it must not be copied. Not safe for concurrent use.
type batch struct {
	fd      int
	pktinfo bool // the socket is bound to a wildcard: say which address to answer from
	used    int  // slots that the last receive filled
	queued  int  // headers of out that are to be sent
	tries   int  // waits for room in the socket's send buffer that are left to the batch

	in, out       [batchSize]mmsghdr
	inVec, outVec [batchSize]unix.Iovec
	names         [batchSize][nameSize]byte
	ctl           [batchSize][ctlSize]byte
	from          [batchSize]uint8 // the datagram that each of out answers
	bundles       *bundles         // nil: replies are sent one by one
	poll          [1]unix.PollFd
	buf           []byte
}

func newBatch(fd int, pktinfo bool) *batch {
	b := &batch{fd: fd, pktinfo: pktinfo, buf: make([]byte, batchSize*slotStride)}
	b.poll[0] = unix.PollFd{Fd: int32(fd), Events: unix.POLLOUT}
	for i := range batchSize {
		b.inVec[i].Base = &b.slot(i)[0]
		b.inVec[i].SetLen(slotSize)
		h := &b.in[i].Hdr
		h.Name, h.Iov = &b.names[i][0], &b.inVec[i]
		h.SetIovlen(1)
		if pktinfo {
			h.Control = &b.ctl[i][0]
		}
		o := &b.out[i].Hdr
		o.Iov = &b.outVec[i]
		o.SetIovlen(1)
	}
	b.used = batchSize
	if !pktinfo {
		b.bundles = newBundles()
	}
	return b
}

// slot gives all the room of datagram i.
func (b *batch) slot(i int) []byte { return b.buf[i*slotStride:][:slotSize:slotSize] }

// receive fills slots with datagrams, at least one, and tells how many. With flags MSG_DONTWAIT it returns
// EAGAIN when there is none. What the last receive held is lost.
func (b *batch) receive(flags int) (int, unix.Errno) {
	for i := range b.used { // the kernel wrote over these
		h := &b.in[i].Hdr
		h.Namelen, h.Flags = nameSize, 0
		if b.pktinfo {
			h.SetControllen(ctlSize)
		}
	}
	b.used, b.queued = 0, 0
	n, errno := recvmmsg(b.fd, &b.in, unix.MSG_WAITFORONE|flags)
	if errno != 0 {
		return 0, errno
	}
	b.used = n
	return n, 0
}

// take gives datagram i.
func (b *batch) take(i int, d *datagram) {
	d.slot, d.size, d.source = b.slot(i), int(b.in[i].Len), b.source(i)
	d.cut = b.in[i].Hdr.Flags&unix.MSG_TRUNC != 0
}

// source tells who sent datagram i. It is not valid if nobody did: a receive that was woken by shutdown(2)
// reports one empty datagram without a sender.
func (b *batch) source(i int) netip.AddrPort {
	name := &b.names[i]
	length := b.in[i].Hdr.Namelen
	port := binary.BigEndian.Uint16(name[2:])
	switch family := binary.NativeEndian.Uint16(name[:]); {
	case family == unix.AF_INET && length >= unix.SizeofSockaddrInet4:
		return netip.AddrPortFrom(netip.AddrFrom4([4]byte(name[4:8])), port)
	case family == unix.AF_INET6 && length >= unix.SizeofSockaddrInet6:
		return netip.AddrPortFrom(netip.AddrFrom16([16]byte(name[8:24])).Unmap(), port)
	}
	return netip.AddrPort{}
}

// queue puts the first n bytes of slot i among what send sends, to where datagram i came from. At most once
// per slot and receive.
func (b *batch) queue(i, n int) {
	k := b.queued
	b.queued++
	b.from[k] = uint8(i)
	b.outVec[k].Base = &b.slot(i)[0]
	b.outVec[k].SetLen(n)
	h := &b.out[k].Hdr
	h.Name, h.Namelen = &b.names[i][0], b.in[i].Hdr.Namelen
	if b.pktinfo {
		b.answerFrom(h, i)
	}
}

// answerFrom makes the control message that came with datagram i into the one that sends from the address that
// was asked. Routing chooses the interface, except for link-local addresses, which mean nothing without theirs.
func (b *batch) answerFrom(h *unix.Msghdr, i int) {
	const at4, at6 = unix.SizeofCmsghdr, unix.SizeofCmsghdr + 16 // of the interface's index
	c := &b.ctl[i]
	got := int(b.in[i].Hdr.Controllen)
	level := binary.NativeEndian.Uint32(c[unix.SizeofCmsghdr-8:])
	kind := binary.NativeEndian.Uint32(c[unix.SizeofCmsghdr-4:])
	switch {
	case level == unix.IPPROTO_IP && kind == unix.IP_PKTINFO && got >= unix.CmsgLen(unix.SizeofInet4Pktinfo):
		clear(c[at4 : at4+4])
	case level == unix.IPPROTO_IPV6 && kind == unix.IPV6_PKTINFO && got >= unix.CmsgLen(unix.SizeofInet6Pktinfo):
		if c[at4] != 0xfe || c[at4+1]&0xc0 != 0x80 {
			clear(c[at6 : at6+4])
		}
	default:
		h.Control = nil
		h.SetControllen(0)
		return
	}
	h.Control = &c[0]
	h.SetControllen(got)
}

// putOff notes in j how datagram i is answered later.
func (b *batch) putOff(i int, j *slowJob) {
	j.fd, j.name, j.nameLen, j.ctlLen = b.fd, b.names[i], b.in[i].Hdr.Namelen, 0
	if b.pktinfo {
		var h unix.Msghdr
		b.answerFrom(&h, i)
		j.ctlLen = copy(j.ctl[:], b.ctl[i][:h.Controllen])
	}
}

// send sends what was queued. Replies that can't be sent are given up: failed, because of an error of their own;
// busy, because the send buffer stayed full for sendTries waits.
func (b *batch) send() (sent, failed, busy int) {
	b.tries = sendTries
	if b.bundles != nil {
		if hdrs := b.bundles.make(b); len(hdrs) < b.queued {
			return b.sendBundles(hdrs)
		}
	}
	for at := 0; at < b.queued; {
		n, errno := b.trySend(b.out[at:b.queued])
		at += n
		sent += n
		switch errno {
		case 0:
		case unix.EAGAIN:
			return sent, failed, b.queued - at
		default:
			at++
			failed++
		}
	}
	return sent, failed, 0
}

// trySend sends some of hdrs, at least one if errno is 0. It is EAGAIN when the send buffer stayed full for as long as is left of
// the batch's waits.
func (b *batch) trySend(hdrs []mmsghdr) (n int, errno unix.Errno) {
	for {
		n, errno = sendmmsg(b.fd, hdrs)
		switch {
		case errno == unix.EINTR:
		case errno == unix.EAGAIN && b.tries > 0:
			b.tries--
			b.poll[0].Revents = 0
			_, _ = unix.Poll(b.poll[:], sendWaitMSs) // whatever it says, the next sendmmsg knows better
		case errno != 0:
			return 0, errno
		default:
			return n, 0
		}
	}
}
