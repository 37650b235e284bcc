package main

import (
	"bytes"
	"net"
	"net/netip"
	"testing"

	"github.com/gti/gtm/pkg/serve/xdp"
)

func TestFrameOf(t *testing.T) {
	from, to := netip.MustParseAddrPort("10.0.0.2:20003"), netip.MustParseAddrPort("10.0.0.1:53")
	mine, theirs := net.HardwareAddr{2, 0, 0, 0, 0, 2}, net.HardwareAddr{2, 0, 0, 0, 0, 1}
	frame := frameOf(mine, theirs, from, to, 0x1234, []byte("\x00\x00a query"))
	var d xdp.Datagram
	if !d.Parse(frame) || d.Source != from || d.To(frame) != to || d.Size != 9 {
		t.Fatalf("%x: %+v", frame, d)
	}
	if !bytes.Equal(frame[:6], theirs) || !bytes.Equal(frame[6:12], mine) || !bytes.Equal(frame[d.Payload:], []byte("\x12\x34a query")) {
		t.Errorf("%x", frame)
	}
}
