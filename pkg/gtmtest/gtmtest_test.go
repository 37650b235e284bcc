package gtmtest

import (
	"encoding/binary"
	"os"
	"strings"
	"testing"
)

func TestRandomIsTheTestsOwn(t *testing.T) {
	t.Setenv(seedEnv, "")
	first := Random(t).Uint64()
	if again := Random(t).Uint64(); again != first {
		t.Errorf("%d, then %d", first, again)
	}
	t.Run("another", func(t *testing.T) {
		if Random(t).Uint64() == first {
			t.Error("two tests draw the same")
		}
	})
	t.Setenv(seedEnv, "7")
	if Random(t).Uint64() == first {
		t.Errorf("%s changes nothing", seedEnv)
	}
}

func TestPcapHoldsWhatWasSent(t *testing.T) {
	name := Pcap(t, []byte("one"), []byte("second"))
	defer os.Remove(name)
	file, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	at := 24
	for _, want := range []string{"one", "second"} {
		size := int(binary.LittleEndian.Uint32(file[at+8:]))
		packet := file[at+16:][:size]
		if checksum(packet[:20]) != 0 {
			t.Errorf("the IPv4 header of %q does not add up: %x", want, packet[:20])
		}
		if got := string(packet[28:]); got != want || int(binary.BigEndian.Uint16(packet[24:])) != 8+len(want) {
			t.Errorf("got %q in %x, want %q", got, packet, want)
		}
		at += 16 + size
	}
	if at != len(file) {
		t.Errorf("%d bytes after the last packet", len(file)-at)
	}
}

func TestLogTellsWhatWasLogged(t *testing.T) {
	l := NewLog(t)
	l.Logger().Info("something", "n", 1)
	if want := "level=INFO msg=something n=1\n"; !strings.Contains(l.String(), want) {
		t.Errorf("%q lacks %q", l, want)
	}
}
