package datagram

import (
	"encoding/binary"

	"golang.org/x/sys/unix"
)

// Clients that ask much from one socket (forwarders, load balancers before resolvers) get several replies of one length in a
// batch. Those go through the kernel's stack as one, and are divided behind it, by the network card if it can: UDP_SEGMENT of
// udp(7), Linux 4.18. On the wire it is the same; here it is cheaper, since the stack is most of what a reply costs.
const (
	bundleReply     = 1232  // longest reply that is bundled: it fits into a packet on every path (RFC 9715)
	bundleBytes     = 60000 // of a bundle at most; a packet has 65535 with its headers
	bundleIndexSize = 1 << 7

	bundleControl = unix.SizeofCmsghdr + 8
)

// bundles is the memory in which a batch's replies are bundled.
type bundles struct {
	hdrs  [batchSize]mmsghdr
	vecs  [batchSize]unix.Iovec
	ctl   [batchSize][bundleControl]byte
	first [batchSize]uint8       // reply of each bundle
	last  [batchSize]uint8       // likewise
	count [batchSize]uint8       // of a bundle's replies
	next  [batchSize]uint8       // reply of the same bundle, by reply; what it is for the last means nothing
	index [bundleIndexSize]uint8 // 1 + a bundle; hashed by client and length, 0: empty
}

func newBundles() *bundles {
	s := new(bundles)
	for i := range s.ctl {
		c := s.ctl[i][:]
		binary.NativeEndian.PutUint64(c, unix.SizeofCmsghdr+2)
		binary.NativeEndian.PutUint32(c[unix.SizeofCmsghdr-8:], unix.SOL_UDP)
		binary.NativeEndian.PutUint32(c[unix.SizeofCmsghdr-4:], unix.UDP_SEGMENT)
	}
	return s
}

// gather sorts what b has queued into bundles, and tells how many there are. Each has replies of one length to one client, in
// the order in which they were queued.
func (s *bundles) gather(b *batch) int {
	clear(s.index[:])
	n := 0
	for k := range b.queued {
		if index := s.find(b, k); *index > 0 {
			g := *index - 1
			s.next[s.last[g]], s.last[g] = uint8(k), uint8(k)
			s.count[g]++
		} else {
			s.first[n], s.last[n], s.count[n] = uint8(k), uint8(k), 1
			n++
			*index = uint8(n)
		}
	}
	return n
}

// find gives the entry of the index for the bundle into which reply k goes, or an empty one. There are more entries than replies.
func (s *bundles) find(b *batch, k int) *uint8 {
	size := b.outVec[k].Len
	port := uint64(binary.NativeEndian.Uint16(b.names[b.from[k]][2:]))
	for at := (port<<16 | size) * 0x9e3779b97f4a7c15 >> 57; ; at++ {
		index := &s.index[at%bundleIndexSize]
		if *index == 0 {
			return index
		}
		g := *index - 1
		k0 := s.first[g]
		if b.outVec[k0].Len == size && size <= bundleReply && (uint64(s.count[g])+1)*size <= bundleBytes && b.sameClient(b.from[k0],
			b.from[k]) {
			return index
		}
	}
}

// sameClient reports whether datagrams i and j came from the same address and port.
func (b *batch) sameClient(i, j uint8) bool {
	x, y := &b.names[i], &b.names[j]
	if b.in[i].Hdr.Namelen == unix.SizeofSockaddrInet4 {
		return binary.NativeEndian.Uint64(x[:]) == binary.NativeEndian.Uint64(y[:])
	}
	return *x == *y
}

// make gives what b has queued in bundles; count tells how many replies each holds. If there are as many bundles as replies, they
// are not filled in.
func (s *bundles) make(b *batch) []mmsghdr {
	n, at := s.gather(b), 0
	if n == b.queued {
		return s.hdrs[:n]
	}
	for g := range n {
		k := s.first[g]
		h := &s.hdrs[g].Hdr
		*h = b.out[k].Hdr
		h.Iov = &s.vecs[at]
		h.SetIovlen(int(s.count[g]))
		if s.count[g] > 1 {
			binary.NativeEndian.PutUint16(s.ctl[g][unix.SizeofCmsghdr:], uint16(b.outVec[k].Len))
			h.Control = &s.ctl[g][0]
			h.SetControllen(bundleControl)
		}
		for range s.count[g] {
			s.vecs[at] = b.outVec[k]
			k = s.next[k]
			at++
		}
	}
	return s.hdrs[:n]
}

// sendBundles is send for bundles. What can't go as a bundle goes one by one; if it can, then it is bundling that does not work
// here, and there is no more of it.
func (b *batch) sendBundles(hdrs []mmsghdr) (sent, failed, busy int) {
	s := b.bundles
	for at := 0; at < len(hdrs); {
		n, errno := b.trySend(hdrs[at:])
		for range n {
			sent += int(s.count[at])
			at++
		}
		switch {
		case errno == 0:
		case errno == unix.EAGAIN:
			return sent, failed, b.queued - sent - failed
		case s.count[at] == 1:
			failed++
			at++
		default:
			ok, bad := b.sendApart(s, at)
			if sent, failed = sent+ok, failed+bad; ok > 0 {
				b.bundles = nil
			}
			at++
		}
	}
	return sent, failed, 0
}

// sendApart sends the replies of a bundle one by one. What finds no room counts as failed.
func (b *batch) sendApart(s *bundles, bundle int) (sent, failed int) {
	k := int(s.first[bundle])
	for range s.count[bundle] {
		if n, _ := b.trySend(b.out[k : k+1]); n == 1 {
			sent++
		} else {
			failed++
		}
		k = int(s.next[k])
	}
	return sent, failed
}
