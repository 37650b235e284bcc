package xdp

import (
	"encoding/binary"
	"math/bits"
	"net/netip"
)

// Sizes and offsets of headers: Ethernet, then IPv4 without options or IPv6 without extension headers, then UDP.
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

// Over6 reports whether a frame says that it holds IPv6.
func Over6(frame []byte) bool {
	return len(frame) >= etherSize && binary.BigEndian.Uint16(frame[12:]) == etherIPv6
}

// Parse reads a frame. It gives false, and d is of no use, if the frame is not one whole UDP datagram over IPv4 without
// options or IPv6 without extension headers, if a checksum is wrong, or if the sender's address is none that can be
// answered, or the one that it was sent to.
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
	if first := ip[12]; first == 0 || first == 127 || first >= 224 || string(ip[12:16]) == string(ip[16:20]) {
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
	if source.IsUnspecified() || source.IsLoopback() || source.IsMulticast() || source.Is4In6() || string(ip[8:24]) == string(ip[24:40]) {
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
	return fold(head) == sum || fold(add(head, udp[:length])) == 0xffff
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
	swapEther(frame)
	var sum uint64 // of the addresses, in either order
	ip := frame[etherSize:]
	if d.Payload == Overhead4 {
		sum = turn4(ip, id)
	} else {
		sum = turn6(ip)
	}
	udp := frame[d.Payload-udpSize:]
	ports := binary.LittleEndian.Uint32(udp)
	length := number(len(udp))
	sum += number(protocolUDP) + length // the pseudo header's
	sum += uint64(ports) + length       // the header's
	check := ^fold(add(sum, udp[udpSize:]))
	if check == 0 {
		check = 0xffff // 0 would say that there is none
	}
	binary.LittleEndian.PutUint64(udp, uint64(bits.RotateLeft32(ports, 16))|length<<32|uint64(check)<<48)
	return end
}

// swapEther exchanges the hardware addresses.
func swapEther(frame []byte) {
	a, b := binary.LittleEndian.Uint64(frame), binary.LittleEndian.Uint32(frame[8:])
	binary.LittleEndian.PutUint64(frame, a>>48|uint64(b)<<16|a<<48)
	binary.LittleEndian.PutUint32(frame[8:], uint32(a>>16))
}

// turn4 makes the IPv4 header of a packet into the reply's, which may be fragmented, as what sockets send. It gives the sum of
// the addresses.
func turn4(ip []byte, id uint16) uint64 {
	const lifetime = freshTTL | protocolUDP<<8
	first := 0x45 | number(len(ip))<<16 | number(int(id))<<32
	addrs := binary.LittleEndian.Uint64(ip[12:])
	sum := words(addrs)
	check := ^fold(sum + words(first) + lifetime)
	binary.LittleEndian.PutUint64(ip, first)
	binary.LittleEndian.PutUint32(ip[8:], lifetime|uint32(check)<<16)
	binary.LittleEndian.PutUint64(ip[12:], bits.RotateLeft64(addrs, 32))
	return sum
}

// turn6 does so for IPv6.
func turn6(ip []byte) uint64 {
	const version, lifetime = 0x60, protocolUDP | freshTTL<<8
	binary.LittleEndian.PutUint64(ip, version|number(len(ip)-ip6Size)<<32|lifetime<<48)
	from, to := [16]byte(ip[8:]), [16]byte(ip[24:])
	copy(ip[8:24], to[:])
	copy(ip[24:40], from[:])
	return add(0, ip[8:40])
}
