package main

import (
	"bytes"
	"encoding/binary"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"testing"
	"time"

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

func TestReadQueries(t *testing.T) {
	file := filepath.Join(t.TempDir(), "q")
	for _, c := range []struct {
		text string
		want int // 0: an error
	}{{"\x00\x02ab\x00\x01c", 2}, {"\x00\x02ab\x00\x02c", 0}, {"", 0}} {
		if err := os.WriteFile(file, []byte(c.text), 0o644); err != nil {
			t.Fatal(err)
		}
		queries, err := readQueries(file)
		if len(queries) != c.want || (err == nil) != (c.want > 0) {
			t.Errorf("%q: %q, %v", c.text, queries, err)
		}
		for _, q := range queries {
			if len(q) == 0 || binary.BigEndian.Uint16([]byte(c.text)) > 2 {
				t.Errorf("%q: %q", c.text, q)
			}
		}
	}
}

func TestStat(t *testing.T) {
	before, err := parseStat("cpu  9 9 9 9 9 9 9 9 0 0\ncpu0 10 0 5 100 5 0 0 0 0 0\ncpu1 1 1 1 1 1 1 1 1 9 9\nintr 1 2\n")
	if err != nil {
		t.Fatal(err)
	}
	after, err := parseStat("cpu0 40 5 15 140 10 3 2 5 30 0\ncpu1 1 1 1 1 1 1 1 1 9 9\n")
	if err != nil {
		t.Fatal(err)
	}
	if busy := after.busy(before, 0); busy != 0.55 {
		t.Errorf("busy %v", busy)
	}
	if worked := after.worked(before); worked != 550*time.Millisecond {
		t.Errorf("worked %v", worked)
	}
	if _, err := parseStat("intr 1 2\n"); err == nil {
		t.Error("no core, and no error")
	}
}
