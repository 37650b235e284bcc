// Package etcds runs etcd for tests.
package etcds

import (
	"context"
	"fmt"
	"os"
	"testing"

	"github.com/gti/gtm/pkg/store"
	"github.com/gti/gtm/pkg/store/embedded"
)

// word, as a program's first argument, has it be an etcd.
const word = "etcd"

// Main is what TestMain calls first: where this program was started to be the etcd of its own tests, it does not return.
func Main() {
	var err error
	switch {
	case len(os.Args) == 3 && os.Args[1] == word:
		err = embedded.Run(context.Background(), os.Args[2])
	case len(os.Args) == 5 && os.Args[1] == memberWord:
		err = runMember(os.Args[2], os.Args[3], os.Args[4])
	default:
		return
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	os.Exit(0)
}

// Start starts an etcd that ends with the test, and gives its endpoint.
func Start(t testing.TB) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "gtm-etcd") // that of t.TempDir is too long for a socket
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	etcd, err := embedded.Start(context.Background(), embedded.Config{Dir: dir, Args: []string{word}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := etcd.Stop(); err != nil {
			t.Error(err)
		}
	})
	return etcd.Endpoint()
}

// Open gives a client that is closed with the test.
func Open(t testing.TB, endpoint string) *store.Client {
	t.Helper()
	return OpenAll(t, []string{endpoint})
}

// OpenAll is Open of a cluster.
func OpenAll(t testing.TB, endpoints []string) *store.Client {
	t.Helper()
	client, err := store.Open(t.Context(), store.Config{Endpoints: endpoints})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { client.Close() })
	return client
}
