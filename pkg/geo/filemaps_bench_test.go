//go:build linux

package geo

import (
	"bufio"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/gti/gtm/pkg/geo/mapfile"
)

// writeMapFile writes so many networks of a hundred maps, a quarter of them IPv6, sorted or not.
func writeMapFile(b *testing.B, count int, sorted bool) string {
	file := filepath.Join(b.TempDir(), "maps")
	f, err := os.Create(file)
	if err != nil {
		b.Fatal(err)
	}
	w, rnd := bufio.NewWriter(f), rand.New(rand.NewPCG(148, 1))
	order := rnd.Perm(count)
	for i := range count {
		if k := i; sorted {
			order[i] = k
		}
		k := uint32(order[i])
		p := netip.PrefixFrom(netip.AddrFrom4([4]byte{byte(20 + k>>17), byte(k >> 9), byte(k >> 1), byte(k << 7)}), 25)
		if k%4 == 3 {
			p = netip.PrefixFrom(netip.AddrFrom16([16]byte{0x2a, byte(k >> 24), byte(k >> 16), byte(k >> 8), byte(k)}), 48)
		}
		fmt.Fprintf(w, "%s map-%d\n", p, rnd.IntN(100))
	}
	if err := w.Flush(); err != nil {
		b.Fatal(err)
	}
	if err := f.Close(); err != nil {
		b.Fatal(err)
	}
	return file
}

// BenchmarkMapFile opens two million networks, compares them, and compiles a partition over them.
func BenchmarkMapFile(b *testing.B) {
	const count = 2_000_000
	for _, sorted := range []bool{true, false} {
		b.Run(fmt.Sprint("sorted=", sorted), func(b *testing.B) {
			file := writeMapFile(b, count, sorted)
			a := builtinAtlas(b)
			base := heap()
			for b.Loop() {
				begun := busy()
				f, err := mapfile.Open(file)
				if err != nil {
					b.Fatal(err)
				}
				b.ReportMetric(busy()-begun, "cpu-s/read")
				begun = busy()
				m := NewFileMaps(f)
				b.ReportMetric(busy()-begun, "cpu-s/pack")
				b.ReportMetric((float64(heap())-float64(base))/count, "B/network")
				begun = busy()
				if c := f.Since(f); c.Added+c.Removed+c.Renamed > 0 {
					b.Fatal(c)
				}
				b.ReportMetric(busy()-begun, "cpu-s/diff")
				var maps []Map
				for i := range 100 {
					maps = append(maps, Map{Name: fmt.Sprint("map-", i), Files: m})
				}
				begun = busy()
				if _, err := Compile(a, maps, FirstOf([]Matcher{{Maps: []string{"map-1"}}, {Geo: places(b, "EU")}, {}})); err != nil {
					b.Fatal(err)
				}
				b.ReportMetric(busy()-begun, "cpu-s/shape")
				begun = busy()
				p, err := Compile(a, maps, FirstOf([]Matcher{{Maps: []string{"map-2"}}, {}}))
				if err != nil {
					b.Fatal(err)
				}
				b.ReportMetric(busy()-begun, "cpu-s/partition")
				b.ReportMetric(float64(p.shape.bytes()), "B-shape")
				b.ReportMetric(float64(p.Bytes()), "B-partition")
				b.ReportMetric(peak(b), "MB-peak")
			}
		})
	}
}

// busy gives the CPU time that the process has taken, in seconds: of use where others work beside.
func busy() float64 {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		panic(err) // it cannot fail for the process itself
	}
	return float64(u.Utime.Nano()+u.Stime.Nano()) / 1e9
}

// peak gives the most memory that the process had so far, in MB.
func peak(b *testing.B) float64 {
	text, err := os.ReadFile("/proc/self/status")
	if err != nil {
		b.Skip(err)
	}
	var kb float64
	for line := range strings.Lines(string(text)) {
		if _, err := fmt.Sscanf(line, "VmHWM: %f kB", &kb); err == nil {
			break
		}
	}
	return kb / 1000
}
