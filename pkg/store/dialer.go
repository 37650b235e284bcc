package store

import (
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"
)

// dialer connects for grpc. It resolves unix endpoints itself, because neither grpc's targets nor the
// kernel (107 bytes) take every path, and it remembers why the last attempt failed.
type dialer struct {
	targets []string          // what etcd's client is given
	sockets map[string]string // target address → socket path
	tls     *tls.Config

	mu   sync.Mutex
	last string
}

func newDialer(endpoints []string, conf *tls.Config) (*dialer, error) {
	scheme, err := checkEndpoints(endpoints, conf != nil)
	if err != nil {
		return nil, err
	}
	d := &dialer{sockets: map[string]string{}}
	if scheme == "https" {
		if conf == nil {
			conf = &tls.Config{MinVersion: tls.VersionTLS12}
		}
		d.tls = conf
	}
	for i, e := range endpoints {
		if scheme != "unix" {
			d.targets = append(d.targets, strings.TrimSuffix(e, "/"))
			continue
		}
		path := strings.TrimPrefix(strings.TrimPrefix(e, "unix:"), "//")
		name := fmt.Sprintf("socket-%d.invalid:1", i)
		d.sockets[name] = path
		d.targets = append(d.targets, "http://"+name)
	}
	return d, nil
}

func (d *dialer) dial(ctx context.Context, addr string) (net.Conn, error) {
	conn, err := d.open(ctx, addr)
	d.mu.Lock()
	defer d.mu.Unlock()
	d.last = ""
	if err != nil {
		d.last = err.Error()
	}
	return conn, err
}

func (d *dialer) open(ctx context.Context, addr string) (net.Conn, error) {
	nd := &net.Dialer{Timeout: 5 * time.Second}
	path, ok := d.sockets[addr]
	if !ok {
		return nd.DialContext(ctx, "tcp", addr)
	}
	short, release, err := shortSocketPath(path)
	if err != nil {
		return nil, err
	}
	defer release()
	return nd.DialContext(ctx, "unix", short)
}

func (d *dialer) lastError() string {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.last
}

// maxSocketPath is what every kernel takes in sockaddr_un.
const maxSocketPath = 100

// shortSocketPath gives a path to the same socket that is short enough to bind and dial; it is valid until
// release. A long one is reached through an open descriptor of its folder.
func shortSocketPath(path string) (short string, release func(), err error) {
	if len(path) <= maxSocketPath {
		return path, func() {}, nil
	}
	dir, err := os.Open(filepath.Dir(path))
	if err != nil {
		return "", nil, err
	}
	short = fmt.Sprintf("/proc/self/fd/%d/%s", dir.Fd(), filepath.Base(path))
	if _, err := os.Stat(filepath.Dir(short)); err != nil {
		dir.Close()
		return "", nil, fmt.Errorf("the path %s of the socket is longer than %d bytes, and /proc is not there to shorten it: use a shorter data folder", path, maxSocketPath)
	}
	return short, func() { dir.Close() }, nil
}
