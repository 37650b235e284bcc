//go:build !noembed

package embedded

import (
	"context"
	"testing"
)

// TestCtrlCAtTheStartIsNoFailure: a Ctrl-C that reached the child before it had a process group of its own made gtmd say that its etcd
// had failed, and end with 1.
func TestCtrlCAtTheStartIsNoFailure(t *testing.T) {
	const interruptedOnce = `if [ -e "$0/once" ]; then echo "` + readyLine + `"; cat; else touch "$0/once"; kill -INT $$; fi`
	c, err := Start(context.Background(), Config{Binary: "/bin/sh", Args: []string{"-c", interruptedOnce}, Dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Stop(); err != nil {
		t.Error(err)
	}
}

// A child that ends for another reason before it is ready has failed.
func TestAChildThatEndsHasFailed(t *testing.T) {
	for _, script := range []string{"exit 1", "kill -TERM $$"} {
		if c, err := Start(context.Background(), Config{Binary: "/bin/sh", Args: []string{"-c", script}, Dir: t.TempDir()}); err == nil {
			t.Errorf("%s: it came up", script)
			_ = c.Stop()
		}
	}
}
