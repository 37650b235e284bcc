package gtmtest

import (
	"encoding/binary"
	"os"
	"testing"
)

// Pcap writes DNS messages to a file that tcpdump -r and Wireshark read, as UDP from 192.0.2.1 to 192.0.2.2, port 53, and gives its name:
// for the message of a test that fails. The file stays.
func Pcap(t testing.TB, messages ...[]byte) string {
	t.Helper()
	file, err := os.CreateTemp("", "gtm-*.pcap")
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	if _, err := file.Write(pcap(messages)); err != nil {
		t.Fatal(err)
	}
	return file.Name()
}

// pcap gives a capture in the format of libpcap: link type 228 is IPv4 without a link layer.
func pcap(messages [][]byte) []byte {
	const snapLen, rawIPv4 = 1 << 18, 228
	out := binary.LittleEndian.AppendUint32(nil, 0xa1b2c3d4)
	out = append(out, 2, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0) // version 2.4, UTC
	out = binary.LittleEndian.AppendUint32(out, snapLen)
	out = binary.LittleEndian.AppendUint32(out, rawIPv4)
	for i, message := range messages {
		size := 20 + 8 + len(message)
		for _, field := range []int{i, 0, size, size} { // the message's number instead of a time
			out = binary.LittleEndian.AppendUint32(out, uint32(field))
		}
		ip := []byte{0x45, 0, 0, 0, 0, 0, 0, 0, 64, 17, 0, 0, 192, 0, 2, 1, 192, 0, 2, 2}
		binary.BigEndian.PutUint16(ip[2:], uint16(size))
		binary.BigEndian.PutUint16(ip[10:], checksum(ip))
		out = append(out, ip...)
		for _, field := range []int{53, 53, 8 + len(message), 0} { // no checksum
			out = binary.BigEndian.AppendUint16(out, uint16(field))
		}
		out = append(out, message...)
	}
	return out
}

// checksum is that of IPv4 headers (RFC 1071).
func checksum(header []byte) uint16 {
	sum := uint32(0)
	for i := 0; i < len(header); i += 2 {
		sum += uint32(binary.BigEndian.Uint16(header[i:]))
	}
	for sum > 0xffff {
		sum = sum>>16 + sum&0xffff
	}
	return ^uint16(sum)
}
