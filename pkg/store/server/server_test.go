package server

import (
	"net"
	"path/filepath"
	"strings"
	"testing"
)

// TestLongSocketPaths: a socket can be bound and reached below any folder.
func TestLongSocketPaths(t *testing.T) {
	for _, name := range []string{"s", strings.Repeat("x", maxSocketPath)} {
		path := filepath.Join(t.TempDir(), name[:min(len(name), 90)])
		short, release, err := ShortSocketPath(path)
		if err != nil {
			t.Fatal(err)
		}
		defer release()
		if len(short) > maxSocketPath+8 || len(path) <= maxSocketPath && short != path {
			t.Errorf("%s is shortened to %s", path, short)
		}
		l, err := net.Listen("unix", short)
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		conn, err := net.Dial("unix", short)
		if err != nil {
			t.Fatal(err)
		}
		conn.Close()
	}
}
