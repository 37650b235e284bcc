// Package server is what gtm and an etcd of its own have agreed on: how much one request holds, and how a socket is reached whose path
// is longer than the kernel takes.
package server

import (
	"fmt"
	"os"
	"path/filepath"
)

// maxSocketPath is what every kernel takes in sockaddr_un.
const maxSocketPath = 100

// ShortSocketPath gives a path to the same socket that is short enough to bind and dial; it is valid until
// release. A long one is reached through an open descriptor of its folder.
func ShortSocketPath(path string) (short string, release func(), err error) {
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
		return "", nil, fmt.Errorf("the path %s of the socket is longer than %d bytes, and /proc is not there to shorten it: "+
			"use a shorter data folder", path, maxSocketPath)
	}
	return short, func() { dir.Close() }, nil
}

// What the embedded etcd is told, with space for what surrounds the values.
const (
	MaxTxnOps       = 8192
	MaxRequestBytes = 32 << 20
)
