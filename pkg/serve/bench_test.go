package serve

import (
	"sync"
	"testing"

	"github.com/gti/gtm/pkg/serve/servetest"
)

// BenchmarkEchoTCP keeps some pipelines full.
func BenchmarkEchoTCP(b *testing.B) {
	s := start(b, Config{Workers: 1}, servetest.Echo)
	const conns, depth = 4, 32
	msgs := servetest.Frame()
	for range depth {
		msgs = append(msgs, servetest.Frame(servetest.Query(1, "www.example.", 1))...)
	}
	var group sync.WaitGroup
	for range conns {
		conn := servetest.Dial(b, "tcp", s.Addrs()[0])
		group.Go(func() {
			for range (b.N + conns*depth - 1) / (conns * depth) {
				if _, err := conn.Write(msgs); err != nil {
					b.Error(err)
					return
				}
				for range depth {
					if _, err := servetest.ReadFrame(conn); err != nil {
						b.Error(err)
						return
					}
				}
			}
		})
	}
	group.Wait()
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "queries/s")
}
