package guard

import (
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/gti/gtm/pkg/serve/seam"
	"github.com/gti/gtm/pkg/serve/servetest"
)

func TestPanicsAreBounded(t *testing.T) {
	var log servetest.LockedBuffer
	dir := t.TempDir()
	for i := range 10 { // kept by an earlier run
		if err := os.WriteFile(filepath.Join(dir, fmt.Sprintf("packet-%d.bin", i)), nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	m, err := newMorgue(dir, log.Logger(), time.Now)
	if err != nil {
		t.Fatal(err)
	}
	for i := range 3 * panicFiles {
		func() {
			defer func() { m.add(recover(), seam.UDP, netip.AddrPort{}, servetest.Query(uint16(i), "a.", 1), uint64(i)) }()
			panic(strings.Repeat("long", 1000))
		}()
		servetest.Eventually(t, "room on the way to the disk", func() bool { return len(m.write) < panicQueue })
	}
	m.Close()
	files, err := os.ReadDir(dir)
	if err != nil || len(files) != panicFiles {
		t.Errorf("%d files, %v; want %d", len(files), err, panicFiles)
	}
	last := m.Recent()
	if len(last) != panicMemory || last[panicMemory-1].Packet[1] != byte(3*panicFiles-1) {
		t.Errorf("%d in memory", len(last))
	}
	if n := strings.Count(log.String(), "level=ERROR"); n != 1 {
		t.Errorf("%d errors logged for one kind", n)
	}
}
