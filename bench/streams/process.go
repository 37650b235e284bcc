package main

import (
	"context"
	"path/filepath"
	"time"

	"github.com/gti/gtm/cmd/gtmd/interop/process"
)

// The cores of the server and of the load.
const serverCore, loadCore = "0", "1"

// A server is one process that answers at its ports.
type server struct {
	subject
	*process.Process
}

// openssl has what uses OpenSSL do so as the job's file says.
func (o options) openssl() []string {
	return []string{"OPENSSL_CONF=" + filepath.Join(o.Tmp, opensslFile)}
}

// startAll starts all of them, and waits until they answer by each of their transports. What it has started it gives back even when
// something failed.
func startAll(ctx context.Context, o options, subjects []subject) (servers []*server, err error) {
	for _, s := range subjects {
		p, err := process.Start(process.Command{Name: s.name, Args: s.args, Core: serverCore, Env: o.openssl(),
			Log: filepath.Join(o.Tmp, s.name+".log")})
		if err != nil {
			return servers, err
		}
		servers = append(servers, &server{s, p})
	}
	for _, s := range servers {
		if err := s.Await(ctx, 2*time.Minute, 200*time.Millisecond, func() error { return s.reachable(ctx, o) }); err != nil {
			return servers, err
		}
	}
	return servers, nil
}
