package xdp

import (
	"encoding/binary"
	"net/netip"
)

// Sizes and places of headers: Ethernet, then IPv4 without options or IPv6 without extension headers, then UDP.
const (
	etherSize = 14
	ip4Size   = 20
	ip6Size   = 40
	udpSize   = 8

	// Overhead4 and Overhead6 are the bytes of a frame that stand before a datagram's payload.
	Overhead4 = etherSize + ip4Size + udpSize
	Overhead6 = etherSize + ip6Size + udpSize

	etherIPv4   = 0x0800
	etherIPv6   = 0x86dd
	protocolUDP = 17
	freshTTL    = 64
)

// Datagram is what a frame's headers say, once they have been found to be whole and sound. The zero value holds none.
type Datagram struct {
	// Source is the sender's address and port; an IPv4 address is never in its IPv6-mapped form, and an IPv6
	// address has no zone.
	Source netip.AddrPort
	// Payload is where the payload begins in the frame (Overhead4 or Overhead6), Size its length.
	Payload, Size int
}

// Parse reads a frame. It gives false, and d is of no use, if the frame is not one whole UDP datagram over IPv4 without
// options or IPv6 without extension headers, if a checksum is wrong, or if the sender's address is none that can be
// answered.
//
// A UDP checksum may also be the sum of the pseudo header alone: so the kernel leaves it in packets that have not left
// the machine, where the network card would have filled it in (CHECKSUM_PARTIAL). None at all is lawful with
// IPv4 only (RFC 768; RFC 8200, 8.1).
func (d *Datagram) Parse(frame []byte) bool {
	if len(frame) < Overhead4 || frame[6]&1 != 0 { // nobody sends from a group's address
		return false
	}
	switch binary.BigEndian.Uint16(frame[12:]) {
	case etherIPv4:
		return d.parse4(frame)
	case etherIPv6:
		return d.parse6(frame)
	}
	return false
}

func (d *Datagram) parse4(frame []byte) bool {
	ip := frame[etherSize:]
	total := int(binary.BigEndian.Uint16(ip[2:]))
	const fragment = 0x3fff // more of them, or not the first
	if ip[0] != 0x45 || ip[9] != protocolUDP || total > len(ip) || total < ip4Size+udpSize ||
		binary.BigEndian.Uint16(ip[6:])&fragment != 0 || fold(add(0, ip[:ip4Size])) != 0xffff {
		return false
	}
	if first := ip[12]; first == 0 || first == 127 || first >= 224 {
		return false
	}
	udp := ip[ip4Size:total]
	d.Source = netip.AddrPortFrom(netip.AddrFrom4([4]byte(ip[12:16])), binary.BigEndian.Uint16(udp))
	d.Payload = Overhead4
	return d.payload(ip[12:20], udp, true)
}

func (d *Datagram) parse6(frame []byte) bool {
	if len(frame) < Overhead6 {
		return false
	}
	ip := frame[etherSize:]
	length := int(binary.BigEndian.Uint16(ip[4:]))
	if ip[0]>>4 != 6 || ip[6] != protocolUDP || length > len(ip)-ip6Size || length < udpSize {
		return false
	}
	source := netip.AddrFrom16([16]byte(ip[8:24]))
	if source.IsUnspecified() || source.IsLoopback() || source.IsMulticast() || source.Is4In6() {
		return false
	}
	udp := ip[ip6Size : ip6Size+length]
	d.Source = netip.AddrPortFrom(source, binary.BigEndian.Uint16(udp))
	d.Payload = Overhead6
	return d.payload(ip[8:40], udp, false)
}

// payload checks the UDP header: addrs are the packet's two addresses, udp all that the IP header counts as its content.
func (d *Datagram) payload(addrs, udp []byte, mayLack bool) bool {
	length := int(binary.BigEndian.Uint16(udp[4:]))
	if length < udpSize || length > len(udp) {
		return false
	}
	d.Size = length - udpSize
	sum := binary.LittleEndian.Uint16(udp[6:])
	if sum == 0 {
		return mayLack
	}
	head := pseudo(addrs, length)
	return fold(add(head, udp[:length])) == 0xffff || fold(head) == sum
}

// To gives the address and port that the frame, which d was parsed from, was sent to.
func (d *Datagram) To(frame []byte) netip.AddrPort {
	port := binary.BigEndian.Uint16(frame[d.Payload-udpSize+2:])
	if d.Payload == Overhead4 {
		return netip.AddrPortFrom(netip.AddrFrom4([4]byte(frame[etherSize+16:])), port)
	}
	return netip.AddrPortFrom(netip.AddrFrom16([16]byte(frame[etherSize+24:])), port)
}

// Reply turns the frame, which d was parsed from and whose payload has been written over with size bytes, into the
// reply: back to where it came from, with new lengths, lifetime and checksums. id is the IPv4 packet's identification.
// It gives the frame's length, which is within frame.
func (d *Datagram) Reply(frame []byte, size int, id uint16) int {
	end := d.Payload + size
	frame = frame[:end]
	swap(frame[0:6], frame[6:12])
	ip, udp := frame[etherSize:], frame[d.Payload-udpSize:]
	var addrs []byte
	if d.Payload == Overhead4 {
		addrs = ip[12:20]
		head4(ip, id)
	} else {
		addrs = ip[8:40]
		head6(ip)
	}
	swap(addrs[:len(addrs)/2], addrs[len(addrs)/2:])
	swap(udp[0:2], udp[2:4])
	binary.BigEndian.PutUint16(udp[4:], uint16(len(udp)))
	binary.LittleEndian.PutUint16(udp[6:], 0)
	sum := ^fold(add(pseudo(addrs, len(udp)), udp))
	if sum == 0 {
		sum = 0xffff // 0 would say that there is none
	}
	binary.LittleEndian.PutUint16(udp[6:], sum)
	return end
}

// head4 writes what is not an address into the IPv4 header of a packet. It may be fragmented, as what sockets send.
func head4(ip []byte, id uint16) {
	ip[0], ip[1] = 0x45, 0
	binary.BigEndian.PutUint16(ip[2:], uint16(len(ip)))
	binary.BigEndian.PutUint16(ip[4:], id)
	ip[6], ip[7], ip[8], ip[9], ip[10], ip[11] = 0, 0, freshTTL, protocolUDP, 0, 0
	binary.LittleEndian.PutUint16(ip[10:], ^fold(add(0, ip[:ip4Size])))
}

// head6 does so for IPv6.
func head6(ip []byte) {
	binary.BigEndian.PutUint32(ip, 6<<28)
	binary.BigEndian.PutUint16(ip[4:], uint16(len(ip)-ip6Size))
	ip[6], ip[7] = protocolUDP, freshTTL
}

// swap exchanges the content of two slices of the same length, 16 at most.
func swap(a, b []byte) {
	var c [16]byte
	n := copy(c[:], a)
	copy(a, b)
	copy(b, c[:n])
}
