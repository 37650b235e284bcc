package session

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestContextsAreKept: what is put there is there for the next call, and for its owner alone.
func TestContextsAreKept(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "gtm")
	load := func() *Contexts {
		t.Helper()
		c, err := LoadContexts(dir)
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	want := Context{Server: "https://gtm.example.org:8053", TokenFile: "/t", Pin: "sha256:00", CAFile: "/ca", CertFile: "/c", KeyFile: "/k"}
	if err := load().Put("prod", want); err != nil {
		t.Fatal(err)
	}
	if err := load().Put("lab", Context{Server: "http://127.0.0.1:8053"}); err != nil {
		t.Fatal(err)
	}
	c := load()
	if got, err := c.Get("prod"); err != nil || got != want || c.Current != "prod" || fmt.Sprint(c.Names()) != "[lab prod]" {
		t.Errorf("got %+v, %v; current %q of %v", got, err, c.Current, c.Names())
	}
	if err := c.Use("lab"); err != nil || load().Current != "lab" {
		t.Errorf("lab is not the current one: %v", err)
	}
	if err := c.Remove("lab"); err != nil || load().Current != "" || len(load().All) != 1 {
		t.Errorf("lab is not forgotten: %v", err)
	}
	if info, err := os.Stat(c.path); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the file is %v, %v", info, err)
	}
	if err := os.Chmod(c.path, 0o666); err != nil {
		t.Fatal(err)
	}
	if _, err := LoadContexts(dir); err == nil || !strings.Contains(err.Error(), "the contexts") {
		t.Errorf("contexts that others may change are taken: %v", err)
	}
}

// TestThereAreNotTooManyContexts, and a file that is too long is not read.
func TestThereAreNotTooManyContexts(t *testing.T) {
	c, err := LoadContexts(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	for i := range mostContexts {
		c.All[fmt.Sprint("c", i)] = Context{}
	}
	if err := c.Put("more", Context{}); err == nil || !strings.Contains(err.Error(), "as many as are kept") {
		t.Errorf("got %v", err)
	}
	if err := os.WriteFile(c.path, make([]byte, maxContextsFile+1), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := LoadContexts(filepath.Dir(c.path)); err == nil || !strings.Contains(err.Error(), "it is not a file of contexts") {
		t.Errorf("got %v", err)
	}
}
