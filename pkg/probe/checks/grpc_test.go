package checks

import (
	"context"
	"crypto/tls"
	"net"
	"net/http"
	"net/netip"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/health"
	pb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/status"

	"github.com/gti/gtm/pkg/probe"
)

// odd is a health service that misbehaves, by the name of the service that is asked for.
type odd struct {
	pb.UnimplementedHealthServer
}

func (odd) Check(ctx context.Context, r *pb.HealthCheckRequest) (*pb.HealthCheckResponse, error) {
	switch r.Service {
	case "mute":
		<-ctx.Done()
		return nil, ctx.Err()
	case "secret":
		return nil, status.Error(codes.Internal, "SECRET")
	case "busy":
		return nil, status.Error(codes.ResourceExhausted, "SECRET")
	case "number":
		return &pb.HealthCheckResponse{Status: 77}, nil
	}
	return &pb.HealthCheckResponse{}, nil
}

// served runs a gRPC server.
func served(t *testing.T, service pb.HealthServer, options ...grpc.ServerOption) netip.AddrPort {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := grpc.NewServer(options...)
	if service != nil {
		pb.RegisterHealthServer(s, service)
	}
	go s.Serve(l)
	t.Cleanup(s.Stop)
	return netip.MustParseAddrPort(l.Addr().String())
}

func TestGRPC(t *testing.T) {
	ca := newAuthority(t)
	good := health.NewServer()
	good.SetServingStatus("shop.v1.Cart", pb.HealthCheckResponse_SERVING)
	good.SetServingStatus("shop.v1.Old", pb.HealthCheckResponse_NOT_SERVING)
	secure := grpc.Creds(credentials.NewTLS(&tls.Config{Certificates: []tls.Certificate{ca.issue(t, 5*day+time.Hour)},
		NextProtos: []string{"h2"}}))
	plain, encrypted, strange, bare := served(t, good), served(t, good, secure), served(t, odd{}), served(t, nil)
	web := server(t, ca, http.HandlerFunc(web), "h2", "http/1.1")
	for _, tc := range []struct {
		what   string
		to     netip.AddrPort
		check  probe.Check
		reason string
	}{
		{"the server as a whole", plain, probe.Check{}, ""},
		{"a service", plain, probe.Check{Service: "shop.v1.Cart"}, ""},
		{"one that does not serve", plain, probe.Check{Service: "shop.v1.Old"}, "grpc: NOT_SERVING, want SERVING"},
		{"one that it does not know", plain, probe.Check{Service: "shop.v1.New"}, "grpc: the server does not know the service"},
		{"over TLS", encrypted, probe.Check{TLS: true, CA: ca.pem, Service: "shop.v1.Cart"}, ""},
		{"by a name", encrypted, probe.Check{TLS: true, CA: ca.pem, Name: "example.com"}, ""},
		{"by another", encrypted, probe.Check{TLS: true, CA: ca.pem, Name: "evil.test"},
			"certificate: certificate is valid for example.com, not evil.test"},
		{"a certificate that ends soon", encrypted, probe.Check{TLS: true, CA: ca.pem, ValidFor: 14 * day},
			"certificate: valid for 5d, want 14d"},
		{"TLS where there is none", plain, probe.Check{TLS: true, CA: ca.pem}, "tls: the server does not speak TLS"},
		{"none where there is TLS", encrypted, probe.Check{}, "grpc: status Unavailable"},
		{"no health service", bare, probe.Check{}, "grpc: the server has no health service (grpc.health.v1)"},
		{"no gRPC", addrOf(web), probe.Check{TLS: true, CA: ca.pem}, "grpc: status Unknown"},
		{"never answers", strange, probe.Check{Service: "mute", Timeout: 200 * time.Millisecond}, "response: timeout after 200ms"},
		{"never says a word", mute(t), probe.Check{Timeout: 200 * time.Millisecond}, "response: timeout after 200ms"},
		{"another status", strange, probe.Check{Service: "secret"}, "grpc: status Internal"},
		{"a temporary one", strange, probe.Check{Service: "busy"}, "grpc: status ResourceExhausted"},
		{"no status", strange, probe.Check{}, "grpc: UNKNOWN, want SERVING"},
		{"a number of its own", strange, probe.Check{Service: "number"}, "grpc: an unknown status, want SERVING"},
		{"not gRPC at all", raw(t, "SSH-2.0-secret\r\n"), probe.Check{}, "grpc: status Unavailable"},
		{"nobody there", closed(t), probe.Check{}, "connect: connection refused"},
	} {
		c := tc.check
		c.Type, c.Addrs = "grpc", []netip.AddrPort{tc.to}
		if c.Timeout == 0 {
			c.Timeout = 10 * time.Second
		}
		want := probe.Passed
		if tc.reason != "" {
			want = probe.Failed
		}
		k := Checker{Guard: loopback}
		wants(t, k.Check(context.Background(), c), tc.what, want, tc.reason)
	}
	c := probe.Check{Type: "grpc", Addrs: []netip.AddrPort{plain}, Timeout: 10 * time.Second}
	wants(t, new(Checker).Check(context.Background(), c), "guarded", probe.Unable, errRefused.Error())
}
