package serve

import (
	"crypto/tls"
	"net"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/gti/gtm/pkg/serve/servetest"
)

// BenchmarkConnectTLS asks one query by each of many new connections, several at once, client and all: what a new
// connection costs, of memory too. The certificate is looked at by nobody, so that the client has little to do.
func BenchmarkConnectTLS(b *testing.B) {
	s := startSecure(b, Config{}, servetest.Echo)
	to := s.AddrsOf(TLS)[0].String()
	config := servetest.ClientTLS(b, s, servetest.ProtocolDoT)
	config.InsecureSkipVerify, config.CurvePreferences = true, []tls.CurveID{tls.X25519}
	msg := servetest.Frame(servetest.Query(1, "www.example.", 1))
	var left atomic.Int64
	left.Store(int64(b.N))
	b.ReportAllocs()
	var group sync.WaitGroup
	for range 8 {
		group.Go(func() {
			for left.Add(-1) >= 0 {
				if err := connectOnce(to, config, msg); err != nil {
					b.Error(err)
					return
				}
			}
		})
	}
	group.Wait()
}

func connectOnce(to string, config *tls.Config, msg []byte) error {
	raw, err := net.Dial("tcp", to)
	if err != nil {
		return err
	}
	conn := tls.Client(raw, config)
	defer conn.Close()
	if _, err := conn.Write(msg); err != nil {
		return err
	}
	_, err = servetest.ReadFrame(conn)
	return err
}
