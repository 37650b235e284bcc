package xdp

import (
	"bytes"
	"encoding/binary"
	"math/rand/v2"
	"net/netip"
	"slices"
	"testing"
)

// A plain datagram is what the slow twin reads in a frame.
type plain struct {
	from, to netip.AddrPort
	payload  []byte
	frame    string // hardware addresses, to and from
	ttl      byte
}

// plainSum adds words of two bytes, big-endian, one by one (RFC 1071).
func plainSum(parts ...[]byte) uint16 {
	all := slices.Concat(parts...)
	if len(all)%2 == 1 {
		all = append(all, 0)
	}
	sum := 0
	for i := 0; i < len(all); i += 2 {
		sum += int(all[i])<<8 | int(all[i+1])
		if sum > 0xffff {
			sum -= 0xffff
		}
	}
	return uint16(sum)
}

// plainRead is the slow twin of Parse: it cuts the frame into its parts one after the other.
func plainRead(frame []byte) (p plain, ok bool) {
	if len(frame) < 14 || frame[6]&1 == 1 {
		return p, false
	}
	p.frame = string(frame[:12])
	kind, packet := string(frame[12:14]), frame[14:]
	var source, dest, udp, pseudo []byte
	switch {
	case kind == "\x08\x00" && len(packet) >= 20:
		header := packet[:20]
		length := int(header[2])<<8 + int(header[3])
		whole := header[6]&0x3f == 0 && header[7] == 0
		if header[0] != 4<<4|5 || length < 20 || length > len(packet) || !whole || header[9] != 17 || plainSum(header) != 0xffff {
			return p, false
		}
		source, dest, udp, p.ttl = header[12:16], header[16:20], packet[20:length], header[8]
		if source[0] == 0 || source[0] == 127 || source[0] >= 224 || bytes.Equal(source, dest) {
			return p, false
		}
		pseudo = slices.Concat(source, dest, []byte{0, 17})
	case kind == "\x86\xdd" && len(packet) >= 40:
		header := packet[:40]
		length := int(header[4])<<8 + int(header[5])
		if header[0]>>4 != 6 || header[6] != 17 || length > len(packet)-40 {
			return p, false
		}
		source, dest, udp, p.ttl = header[8:24], header[24:40], packet[40:40+length], header[7]
		address, _ := netip.AddrFromSlice(source)
		for _, never := range []string{"::/128", "::1/128", "ff00::/8"} {
			if netip.MustParsePrefix(never).Contains(address) {
				return p, false
			}
		}
		if address.Is4In6() || bytes.Equal(source, dest) {
			return p, false
		}
		pseudo = slices.Concat(source, dest, []byte{0, 0, 0, 17})
	default:
		return p, false
	}
	if len(udp) < 8 {
		return p, false
	}
	length := int(udp[4])<<8 + int(udp[5])
	if length < 8 || length > len(udp) {
		return p, false
	}
	pseudo = append(pseudo, byte(length>>8), byte(length))
	switch written := binary.BigEndian.Uint16(udp[6:]); {
	case written == 0 && len(source) == 4:
	case written != 0 && plainSum(pseudo, udp[:length]) == 0xffff:
	case written != 0 && written == plainSum(pseudo):
	default:
		return p, false
	}
	address := func(raw, port []byte) netip.AddrPort {
		a, _ := netip.AddrFromSlice(raw)
		return netip.AddrPortFrom(a, uint16(port[0])<<8|uint16(port[1]))
	}
	p.from, p.to, p.payload = address(source, udp), address(dest, udp[2:]), udp[8:length]
	return p, true
}

// plainFrame makes a frame with right checksums, and with trailing bytes as Ethernet pads short ones.
func plainFrame(from, to netip.AddrPort, payload []byte, trailing int) []byte {
	frame := []byte{2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2}
	length := len(payload) + 8
	udp := binary.BigEndian.AppendUint16(binary.BigEndian.AppendUint16(nil, from.Port()), to.Port())
	udp = append(binary.BigEndian.AppendUint16(udp, uint16(length)), 0, 0)
	udp = append(udp, payload...)
	source, dest := from.Addr().AsSlice(), to.Addr().AsSlice()
	sum := ^plainSum(source, dest, []byte{0, 17, byte(length >> 8), byte(length)}, udp)
	if sum == 0 {
		sum = 0xffff
	}
	binary.BigEndian.PutUint16(udp[6:], sum)
	if from.Addr().Is4() {
		head := []byte{0x45, 0, byte((length + 20) >> 8), byte(length + 20), 7, 7, 0x40, 0, 61, 17, 0, 0}
		head = slices.Concat(head, source, dest)
		binary.BigEndian.PutUint16(head[10:], ^plainSum(head))
		frame = slices.Concat(frame, []byte{8, 0}, head, udp)
	} else {
		head := []byte{0x60, 1, 2, 3, byte(length >> 8), byte(length), 17, 61}
		frame = slices.Concat(frame, []byte{0x86, 0xdd}, head, source, dest, udp)
	}
	return append(frame, make([]byte, trailing)...)
}

var (
	client4 = netip.MustParseAddrPort("192.0.2.7:4711")
	server4 = netip.MustParseAddrPort("198.51.100.53:53")
	client6 = netip.MustParseAddrPort("[2001:db8::7]:4711")
	server6 = netip.MustParseAddrPort("[2001:db8:53::53]:53")
)

func TestParse(t *testing.T) {
	four, six := plainFrame(client4, server4, []byte("a query"), 0), plainFrame(client6, server6, []byte("a query"), 0)
	change := func(frame []byte, at int, to ...byte) []byte {
		frame = bytes.Clone(frame)
		copy(frame[at:], to)
		return frame
	}
	// sum4 makes the header's checksum right again.
	sum4 := func(frame []byte) []byte {
		frame = change(frame, 24, 0, 0)
		binary.BigEndian.PutUint16(frame[24:], ^plainSum(frame[14:34]))
		return frame
	}
	partial := func(frame []byte, addrs, udp int) []byte {
		length := frame[udp+4 : udp+6]
		return change(frame, udp+6, binary.BigEndian.AppendUint16(nil, plainSum(frame[addrs:udp], []byte{0, 17}, length))...)
	}
	for _, c := range []struct {
		name  string
		frame []byte
		ok    bool
	}{
		{"IPv4", four, true},
		{"IPv6", six, true},
		{"padded", plainFrame(client4, server4, nil, 18), true},
		{"no payload over IPv6", plainFrame(client6, server6, nil, 0), true},
		{"IPv4 without a UDP checksum", change(four, 40, 0, 0), true},
		{"IPv6 without a UDP checksum", change(six, 60, 0, 0), false},
		{"IPv4, checksum left to the card", partial(four, 26, 34), true},
		{"IPv6, checksum left to the card", partial(six, 22, 54), true},
		{"IPv4, wrong UDP checksum", change(four, 40, four[40]^1), false},
		{"IPv6, wrong UDP checksum", change(six, 60, six[60]^1), false},
		{"IPv4, changed payload", change(four, 45, 'x'), false},
		{"IPv4, wrong header checksum", change(four, 24, four[24]^1), false},
		{"IPv4 with options", sum4(change(four, 14, 0x46)), false},
		{"IPv4, first fragment", sum4(change(four, 20, 0x20)), false},
		{"IPv4, last fragment", sum4(change(four, 20, 0, 1)), false},
		{"IPv4, don't fragment", sum4(change(four, 20, 0x40, 0)), true},
		{"IPv4, TCP", sum4(change(four, 23, 6)), false},
		{"IPv6, fragment", change(six, 20, 44), false},
		{"IPv6, hop-by-hop", change(six, 20, 0), false},
		{"IPv4, total length beyond the frame", sum4(change(four, 16, 0, 43+1)), false},
		{"IPv4, total length too short", sum4(change(four, 16, 0, 27)), false},
		{"IPv6, length beyond the frame", change(six, 18, 0, 16), false},
		{"IPv6, length too short", change(six, 18, 0, 7), false},
		{"UDP length beyond the packet", change(four, 38, 0, 16), false},
		{"UDP length too short", change(four, 38, 0, 7), false},
		{"version 5", sum4(change(four, 14, 0x55)), false},
		{"IPv6 type, version 4", change(six, 14, 0x45), false},
		{"VLAN", change(four, 12, 0x81, 0), false},
		{"ARP", change(four, 12, 8, 6), false},
		{"from a group's hardware address", change(four, 6, 3), false},
		{"from loopback", sum4(change(four, 26, 127)), false},
		{"from nowhere", sum4(change(four, 26, 0)), false},
		{"from a group", sum4(change(four, 26, 224)), false},
		{"from broadcast", sum4(change(four, 26, 255)), false},
		{"IPv6, from a group", plainFrame(netip.MustParseAddrPort("[ff02::1]:9"), server6, nil, 0), false},
		{"IPv6, from loopback", plainFrame(netip.MustParseAddrPort("[::1]:9"), server6, nil, 0), false},
		{"IPv6, from nowhere", plainFrame(netip.MustParseAddrPort("[::]:9"), server6, nil, 0), false},
		{"IPv6, from a mapped address", plainFrame(netip.MustParseAddrPort("[::ffff:1.2.3.4]:9"), server6, nil, 0), false},
		{"from the server's own address", plainFrame(netip.AddrPortFrom(server4.Addr(), 9), server4, nil, 0), false},
		{"IPv6, from the server's own address", plainFrame(netip.AddrPortFrom(server6.Addr(), 9), server6, nil, 0), false},
		{"IPv6, link-local", plainFrame(netip.MustParseAddrPort("[fe80::9]:9"), server6, nil, 0), true},
	} {
		var d Datagram
		if got := d.Parse(c.frame); got != c.ok {
			t.Errorf("%s: %v, want %v", c.name, got, c.ok)
		}
		compare(t, c.frame)
	}
	for size := range len(six) { // cut off anywhere
		compare(t, six[:size])
		compare(t, four[:min(size, len(four))])
	}
}

// compare has the codec and its slow twins read a frame, answer it, and read the answer.
func compare(t *testing.T, frame []byte) {
	t.Helper()
	var d Datagram
	p, want := plainRead(frame)
	if got := d.Parse(frame); got != want {
		t.Fatalf("%x: %v, want %v", frame, got, want)
	}
	if !want {
		return
	}
	if d.Source != p.from || d.To(frame) != p.to || !bytes.Equal(frame[d.Payload:d.Payload+d.Size], p.payload) {
		t.Fatalf("%x: %+v to %s, want %+v", frame, d, d.To(frame), p)
	}
	answer := append(slices.Clone(p.payload), p.payload...)
	reply := make([]byte, d.Payload+len(answer))
	copy(reply, frame)
	copy(reply[d.Payload:], answer)
	reply = reply[:d.Reply(reply, len(answer), 0x1234)]
	r, ok := plainRead(slices.Concat(reply[:6], []byte{2, 0, 0, 0, 0, 1}, reply[12:])) // the twin minds a group's address
	if p.to.Addr().IsMulticast() || p.to.Addr().IsLoopback() || p.to.Addr().IsUnspecified() || p.to.Addr().Is4In6() || p.to.Addr().Is4() &&
		(p.to.Addr().As4()[0] == 0 || p.to.Addr().As4()[0] == 255 || p.to.Addr().As4()[0] >= 224) {
		return // no address of a server's; the twin would not read the reply
	}
	if !ok || r.from != p.to || r.to != p.from || !bytes.Equal(r.payload, answer) || r.ttl != 64 ||
		!bytes.Equal(reply[:6], frame[6:12]) || !bytes.Equal(reply[6:12], frame[:6]) || len(reply) != d.Payload+len(answer) {
		t.Fatalf("%x is answered by %x: %+v, %v", frame, reply, r, ok)
	}
	at := d.Payload - 2
	if written := binary.BigEndian.Uint16(reply[at:]); written == 0 {
		t.Fatalf("%x: the reply has no UDP checksum", reply)
	}
}

// TestParseRandom compares on sound frames, and on frames with a few bytes changed.
func TestParseRandom(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	for range 100_000 {
		frame := randomFrame(random)
		compare(t, frame)
		for range random.IntN(3) {
			frame[random.IntN(len(frame))] = byte(random.Uint32())
		}
		compare(t, frame[:random.IntN(len(frame)+1)])
		compare(t, frame)
	}
}

func randomFrame(random *rand.Rand) []byte {
	payload := make([]byte, random.IntN(90))
	for i := range payload {
		payload[i] = byte(random.Uint32())
	}
	from, to := client4, server4
	if random.IntN(2) == 0 {
		from, to = client6, server6
	}
	from = netip.AddrPortFrom(from.Addr(), uint16(random.Uint32()))
	return plainFrame(from, to, payload, random.IntN(20))
}

// A sum of 0xffff is stored for one of 0, which would say that there is no checksum.
func TestReplyWithAChecksumOfZero(t *testing.T) {
	for _, pair := range [][2]netip.AddrPort{{client4, server4}, {client6, server6}} {
		found := false
		for n := range 1 << 16 {
			frame := plainFrame(pair[0], pair[1], []byte{byte(n >> 8), byte(n)}, 0)
			var d Datagram
			if !d.Parse(frame) {
				t.Fatalf("%x", frame)
			}
			d.Reply(frame, 2, 0)
			sum := binary.BigEndian.Uint16(frame[d.Payload-2:])
			found = found || sum == 0xffff
			if sum == 0 {
				t.Fatalf("%x: no checksum", frame)
			}
		}
		if !found {
			t.Errorf("no reply to %s had the sum in question", pair[0])
		}
	}
}

func TestAllocatesNothing(t *testing.T) {
	for _, frame := range [][]byte{plainFrame(client4, server4, []byte("a query"), 0), plainFrame(client6, server6, []byte("a query"), 0)} {
		var d Datagram
		if n := testing.AllocsPerRun(100, func() {
			d.Parse(frame)
			d.Reply(frame, d.Size, 1)
		}); n != 0 {
			t.Errorf("%v allocations", n)
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add(plainFrame(client4, server4, []byte("a query"), 0))
	f.Add(plainFrame(client6, server6, []byte("a query"), 3))
	f.Fuzz(func(t *testing.T, frame []byte) {
		if len(frame) <= 9000 {
			compare(t, frame)
		}
	})
}

func BenchmarkDatagram(b *testing.B) {
	frame := plainFrame(client4, server4, make([]byte, 60), 0)
	var d Datagram
	for b.Loop() {
		d.Parse(frame)
		d.Reply(frame, d.Size, 1)
	}
}
