package latency

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"math/rand/v2"
	"net/netip"
	"os"
	"path/filepath"
	"runtime"
	"syscall"
	"testing"
	"time"

	"github.com/gti/gtm/pkg/geo"
)

const (
	large4 = 4_000_000 // networks of 24 bits
	large6 = 1_000_000 // networks of 44 bits
	// of each of them eight of fifty sites are known
	largeSites, largeKnown = 50, 8
)

// BenchmarkLarge takes five million networks: those of one kind have one of 20,000 different latencies each, those of the other all have
// their own. It builds a table, opens it, divides the addresses by it, and by the fastest of five sites, and changes to another table.
func BenchmarkLarge(b *testing.B) {
	for _, different := range []int{20_000, large4 + large6} {
		b.Run(fmt.Sprintf("different=%d", different), func(b *testing.B) { benchLarge(b, different) })
	}
}

func benchLarge(b *testing.B, different int) {
	file := filepath.Join(b.TempDir(), "latency.mmdb")
	b.Run("lines", func(b *testing.B) { // which build makes, too
		used := cpu(b)
		for b.Loop() {
			if err := writeLines(io.Discard, different); err != nil {
				b.Fatal(err)
			}
		}
		used()
	})
	b.Run("build", func(b *testing.B) {
		used := cpu(b)
		for b.Loop() {
			read, write := io.Pipe()
			go func() { write.CloseWithError(writeLines(write, different)) }()
			out, err := os.Create(file)
			if err != nil {
				b.Fatal(err)
			}
			s, err := Build(out, Config{[]Input{{"large", read}}, time.Unix(1700000000, 0)})
			if err != nil {
				b.Fatal(err)
			}
			size, _ := out.Seek(0, io.SeekCurrent)
			out.Close()
			b.ReportMetric(float64(s.Lines), "lines")
			b.ReportMetric(float64(s.Records), "records")
			b.ReportMetric(float64(size)/1e6, "MB/file")
			var m runtime.MemStats
			runtime.ReadMemStats(&m)
			b.ReportMetric(float64(m.HeapSys)/1e6, "MB/heap")
		}
		used()
	})
	var table *geo.LatencyTable
	b.Run("open", func(b *testing.B) {
		before, used := heap(), cpu(b)
		for b.Loop() {
			var err error
			if table, err = geo.OpenLatency(file); err != nil {
				b.Fatal(err)
			}
		}
		used()
		b.ReportMetric(float64(heap()-before)/1e6, "MB")
	})
	plain, err := geo.Open()
	if err != nil {
		b.Fatal(err)
	}
	var a *geo.Atlas
	b.Run("join", func(b *testing.B) {
		before, used := heap(), cpu(b)
		for b.Loop() {
			a = plain.WithLatency(table)
		}
		used()
		b.ReportMetric(float64(heap()-before)/1e6, "MB")
	})
	var p *geo.Partition
	b.Run("first", func(b *testing.B) {
		before, used := heap(), cpu(b)
		for b.Loop() {
			fresh := a.WithLatency(table) // which has no shape yet
			if p, err = geo.Compile(fresh, nil, fastest5()); err != nil {
				b.Fatal(err)
			}
			a = fresh
		}
		used()
		b.ReportMetric(float64(heap()-before)/1e6, "MB")
	})
	b.Run("further", func(b *testing.B) {
		used := cpu(b)
		for b.Loop() {
			if p, err = geo.Compile(a, nil, fastest5()); err != nil {
				b.Fatal(err)
			}
		}
		used()
		b.ReportMetric(float64(p.Bytes())/1e6, "MB")
	})
	b.Run("lookup", func(b *testing.B) {
		rng := rand.New(rand.NewPCG(1, 1))
		for b.Loop() {
			p.Lookup4(1<<24 + rng.Uint32N(large4<<8))
		}
	})
}

// cpu begins to count the CPU's time of the process, which a busy machine does not stretch; what it gives reports it.
func cpu(b *testing.B) (report func()) {
	now := func() float64 {
		var u syscall.Rusage
		if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
			b.Fatal(err)
		}
		return float64(u.Utime.Nano()+u.Stime.Nano()) / 1e9
	}
	begun := now()
	return func() { b.ReportMetric((now()-begun)/float64(b.N), "cpu-s") }
}

func heap() uint64 {
	var m runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}

// fastest5 ranks five sites by latency.
func fastest5() *geo.Classifier {
	sites := []string{"site3", "site13", "site23", "site33", "site43"}
	return &geo.Classifier{Classes: 6, Latency: true, Class: func(p geo.Place, _ geo.Hits) int {
		best, least := 5, 0.0
		for i, s := range sites {
			if ms, samples, _, ok := p.Latency.Of(s); ok && samples >= 10 && (best == 5 || ms < least) {
				best, least = i, ms
			}
		}
		return best
	}}
}

// writeLines writes the lines of all networks.
func writeLines(to io.Writer, different int) error {
	w := bufio.NewWriterSize(to, 1<<20)
	rng := rand.New(rand.NewPCG(1, 1))
	var lines [][]byte
	for range min(different, 20_000) {
		lines = append(lines, linesOf(rng))
	}
	for i := range uint64(large4 + large6) {
		network := make([]byte, 0, 40)
		if i < large4 {
			x := uint32(1<<24 + i<<8)
			network = netip.PrefixFrom(netip.AddrFrom4([4]byte{byte(x >> 24), byte(x >> 16), byte(x >> 8)}), 24).AppendTo(network)
		} else {
			x := 0x2a00<<48 + (i-large4)<<20
			network = netip.PrefixFrom(netip.AddrFrom16([16]byte{byte(x >> 56), byte(x >> 48), byte(x >> 40), byte(x >> 32), byte(x >> 24),
				byte(x >> 16)}), 44).AppendTo(network)
		}
		rest := lines[(i*7919)%uint64(len(lines))]
		if different > len(lines) {
			rest = linesOf(rng)
		}
		for line := range bytes.Lines(rest) {
			_, _ = w.Write(network)
			_, _ = w.Write(line)
		}
	}
	return w.Flush()
}

func linesOf(rng *rand.Rand) (b []byte) {
	first := rng.IntN(largeSites)
	for i := range largeKnown {
		b = fmt.Appendf(b, ",site%d,%.1f,%d\n", (first+i*5)%largeSites, 5+rng.Float64()*250, 1+rng.IntN(300))
	}
	return b
}
