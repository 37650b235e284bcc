package embedded

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"testing"
)

// TestAClosedLogIsClosed, once and for all, and whoever goes on writing to it harms nobody.
func TestAClosedLogIsClosed(t *testing.T) {
	l, err := openBoundedLog(filepath.Join(t.TempDir(), "log"), 100)
	if err != nil {
		t.Fatal(err)
	}
	file := l.file
	for range 2 {
		if err := l.Close(); err != nil {
			t.Error(err)
		}
	}
	if _, err := file.Stat(); !errors.Is(err, os.ErrClosed) {
		t.Errorf("the file is open still: %v", err)
	}
	if n, err := l.Write([]byte("late\n")); n != 5 || err != nil || !slices.Contains(l.Tail(), "late") {
		t.Errorf("%d, %v, %q", n, err, l.Tail())
	}
}

func TestBoundedLog(t *testing.T) {
	path := filepath.Join(t.TempDir(), "etcd.log")
	l, err := openBoundedLog(path, 1000)
	if err != nil {
		t.Fatal(err)
	}
	for i := range 300 {
		fmt.Fprintf(l, "line %d of the log\n", i)
	}
	tail := l.Tail()
	if len(tail) != tailLines || tail[tailLines-1] != "line 299 of the log" {
		t.Errorf("tail %q", tail)
	}
	l.Close()
	for _, name := range []string{path, path + ".1"} {
		info, err := os.Stat(name)
		if err != nil || info.Size() > 1100 {
			t.Errorf("%s: %v, %v", name, info.Size(), err)
		}
	}
}
