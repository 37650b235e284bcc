package stream

import (
	"io"
	"log/slog"
	"net"
	"net/netip"
	"testing"
	"time"

	"github.com/gti/gtm/pkg/serve/cert"
	"github.com/gti/gtm/pkg/serve/guard"
	"github.com/gti/gtm/pkg/serve/seam"
	"github.com/gti/gtm/pkg/serve/servetest"
)

// A rig is all that serves streams, at addresses of its own, without a server around it.
type rig struct {
	*Shared
	endpoints [seam.NumTransports]*Endpoint // TCP stands at its own number
	sockets   []io.Closer
	files     []cert.Files
}

// startRig serves h by every transport of streams until the end of the test.
func startRig(t testing.TB, limits Limits, h func(*seam.Request) (int, seam.Action)) *rig {
	t.Helper()
	return startRigWith(t, limits, h, servetest.WriteCertificate(t, t.TempDir(), time.Now().Add(time.Hour), "ns.example"))
}

// startRigWith is startRig with a certificate.
func startRigWith(t testing.TB, limits Limits, h func(*seam.Request) (int, seam.Action), file cert.Files) *rig {
	t.Helper()
	r := &rig{files: []cert.Files{file}}
	keys, err := cert.New(r.files, slog.New(slog.DiscardHandler), time.Now)
	if err != nil {
		t.Fatal(err)
	}
	r.Shared = newTestShared(t, limits, keys, h)
	for transport := seam.TCP; transport < seam.NumTransports; transport++ {
		r.endpoints[transport] = r.listen(t, transport)
		r.endpoints[transport].Start()
	}
	t.Cleanup(r.end)
	return r
}

// sharedOf makes what connections share, with the usual limits where there are none.
func newTestShared(t testing.TB, limits Limits, keys *cert.Keyring, h func(*seam.Request) (int, seam.Action)) *Shared {
	t.Helper()
	for _, d := range []struct {
		limit *time.Duration
		usual time.Duration
	}{{&limits.FirstTimeout, 5 * time.Second}, {&limits.IdleTimeout, 20 * time.Second}, {&limits.MessageTimeout, 5 * time.Second},
		{&limits.WriteTimeout, 5 * time.Second}} {
		if *d.limit == 0 {
			*d.limit = d.usual
		}
	}
	if limits.MaxConnsPerClient == 0 {
		limits.MaxConnsPerClient = 128
	}
	limits.MaxConns, limits.SlowWorkers = 2048, 4
	all, err := guard.NewShared(func() seam.Handler { return servetest.HandlerFunc(h) }, "", slog.New(slog.DiscardHandler), time.Now)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(all.Morgue.Close)
	return NewShared(all, limits, keys)
}

// listen opens an endpoint at a free port.
func (r *rig) listen(t testing.TB, transport seam.Transport) *Endpoint {
	t.Helper()
	for range 32 {
		var tcp *net.TCPListener
		var packets *net.UDPConn
		addr, err := netip.MustParseAddrPort("127.0.0.1:0"), error(nil)
		if transport != seam.QUIC {
			if tcp, err = net.ListenTCP("tcp", net.TCPAddrFromAddrPort(addr)); err != nil {
				t.Fatal(err)
			}
			addr = tcp.Addr().(*net.TCPAddr).AddrPort()
			r.sockets = append(r.sockets, tcp)
		}
		if transport == seam.QUIC || transport == seam.HTTPS {
			if packets, err = net.ListenUDP("udp", net.UDPAddrFromAddrPort(addr)); err != nil {
				continue // somebody else has that port with UDP
			}
			addr = packets.LocalAddr().(*net.UDPAddr).AddrPort()
			r.sockets = append(r.sockets, packets)
		}
		e, err := r.Open(transport, addr, tcp, packets)
		if err != nil {
			t.Fatal(err)
		}
		return e
	}
	t.Fatalf("no free port for %v", transport)
	return nil
}

// AddrsOf gives the address of a transport.
func (r *rig) AddrsOf(t seam.Transport) []netip.AddrPort {
	return []netip.AddrPort{r.endpoints[t].addr}
}

// CertificateFiles gives the files of the certificate.
func (r *rig) CertificateFiles() []cert.Files { return r.files }

// shutdown does what Shutdown of a server does with its streams.
func (r *rig) shutdown() {
	r.Stop()
	r.Stopping.Store(true)
	for _, e := range r.endpoints[seam.TCP:] {
		if e.tcp != nil {
			_ = e.tcp.Close()
		}
		e.Stop()
	}
	r.Hurry()
	r.Wait()
}

// end ends what is open still.
func (r *rig) end() {
	done := make(chan struct{})
	go func() { r.shutdown(); close(done) }()
	select {
	case <-done:
	case <-time.After(servetest.Patience):
		r.Abort()
		<-done
	}
	for _, e := range r.endpoints[seam.TCP:] {
		e.Close()
	}
	for _, s := range r.sockets {
		_ = s.Close()
	}
}
