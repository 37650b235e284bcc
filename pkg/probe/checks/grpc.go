package checks

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync/atomic"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	health "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/status"

	"github.com/gti/gtm/pkg/probe"
	"github.com/gti/gtm/pkg/spec"
)

// messageLimit is more than any answer of the health service has.
const messageLimit = 4 << 10

func compileGRPC(c *probe.Check, _ string, m *spec.Monitor) error {
	c.Name, c.Service, c.TLS = m.Host, m.Service, m.TLS
	return nil
}

// runGRPC asks the health service (grpc.health.v1), and passes where it says SERVING.
func runGRPC(ctx context.Context, a *attempt) error {
	conn, done, err := a.dial(ctx, "tcp")
	if err != nil {
		return err
	}
	defer done()
	if a.TLS {
		if conn, err = a.secure(ctx, conn, "h2"); err != nil {
			return err
		}
	}
	var taken atomic.Bool
	client, err := grpc.NewClient("passthrough:///"+hostHeader(a.name(), ""),
		grpc.WithTransportCredentials(insecure.NewCredentials()), // the connection has those that it needs
		grpc.WithContextDialer(func(context.Context, string) (net.Conn, error) {
			if taken.Swap(true) {
				return nil, errors.New("a check has one connection")
			}
			return conn, nil
		}),
		grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(messageLimit)), grpc.WithMaxHeaderListSize(headerLimit),
		grpc.WithDisableServiceConfig(), grpc.WithDisableRetry(), grpc.WithNoProxy(), grpc.WithUserAgent("gtm-probe"))
	if err != nil {
		return unable{fail("grpc", err)}
	}
	defer client.Close()
	reply, err := health.NewHealthClient(client).Check(ctx, &health.HealthCheckRequest{Service: a.Service})
	switch code := status.Code(err); {
	case err == nil && reply.Status == health.HealthCheckResponse_SERVING:
		return nil
	case err == nil:
		return fmt.Errorf("grpc: %s, want SERVING", servingWord(reply.Status))
	case code == codes.DeadlineExceeded || ctx.Err() != nil:
		return fail("response", context.DeadlineExceeded)
	case code == codes.NotFound:
		return errors.New("grpc: the server does not know the service")
	case code == codes.Unimplemented:
		return errors.New("grpc: the server has no health service (grpc.health.v1)")
	default: // what stands beside the code is the server's text
		return fmt.Errorf("grpc: status %s", code)
	}
}

// servingWord is the name of a status; a server can send any number.
func servingWord(s health.HealthCheckResponse_ServingStatus) string {
	if _, known := health.HealthCheckResponse_ServingStatus_name[int32(s)]; known {
		return s.String()
	}
	return "an unknown status"
}
