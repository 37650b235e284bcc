package edge

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/gti/gtm/pkg/gtmtest"
	"github.com/gti/gtm/pkg/gtmtest/declared"
)

// partnersYAML has clients of partners go where Europeans go.
const partnersYAML = `
kind: Map
tenant: platform
name: partners
spec: {fromFiles: true}
---
kind: Service
tenant: shop
name: desk
spec:
  host: desk.shop.gtm.example.
  rules:
    - {name: partners, when: {map: partners}, pools: [eu]}
    - {name: rest, pools: [us]}
`

// servesMaps is startServing with a map file.
func servesMaps(t *testing.T, dir, file string) *running {
	t.Helper()
	r := start(t, dir, func(c *Config) { c.MapFiles = []string{file} })
	u := delta(t, 1, declared.Resources(t, platformYAML, shopYAML, partnersYAML)...)
	u.Full = true
	r.tell(u)
	r.ready()
	return r
}

// TestNewMapFilesWithoutRestart: what changed is told in log, status and metrics; names that nobody declares are told, too.
func TestNewMapFilesWithoutRestart(t *testing.T) {
	t.Parallel()
	file := replaceFile(t, filepath.Join(t.TempDir(), "maps"), []byte("6.7.8.0/24 partners\n9.0.0.0/8 b\n9.1.0.0/16 a\n"))
	r := servesMaps(t, t.TempDir(), file)
	r.expect("desk.shop.gtm.example.", "A", american, "NOERROR "+euA)
	r.always("desk.shop.gtm.example.", "A", european, "NOERROR "+usA)
	m := r.fetchStatus().Maps
	if m == nil || m.Networks != 3 || len(m.Files) != 1 || m.Files[0].File != file || m.Files[0].Maps != 3 || m.Undeclared != 2 ||
		strings.Join(m.Examples, " ") != "a b" || m.Fault != "" || !m.Changed.IsZero() {
		t.Errorf("status %+v", m)
	}
	r.logged("level=WARN", "names of map files have no effect", "count=2", "a, b")

	replaceFile(t, file, []byte("81.2.69.0/24 partners\n9.0.0.0/8 partners\n10.0.0.0/8 partners\n9.1.0.0/16 a\n"))
	r.expect("desk.shop.gtm.example.", "A", european, "NOERROR "+euA)
	r.always("desk.shop.gtm.example.", "A", american, "NOERROR "+usA)
	gtmtest.Eventually(t, "the status tells it", func() error {
		if m := r.fetchStatus().Maps; m.Added != 2 || m.Removed != 1 || m.Renamed != 1 || m.Changed.IsZero() || m.Undeclared != 1 {
			return fmt.Errorf("it is %+v", m)
		}
		return nil
	})
	r.logged("level=INFO", "map files", "2 networks added, 1 removed, 1 renamed")
	r.valueIs(4, "gtm_edge_map_file_networks")
	r.valueIs(2, "gtm_edge_map_file_changes_total", "change=added")

	replaceFile(t, file, []byte("81.2.69.0/24\n"))
	r.valueIs(1, "gtm_edge_map_files_refused_total")
	r.logged("level=ERROR", "a new map file is refused; the old one serves on", file, "line 1: write a network and a name")
	r.always("desk.shop.gtm.example.", "A", european, "NOERROR "+euA)
	if m := r.fetchStatus().Maps; !strings.Contains(m.Fault, file) || m.Networks != 4 {
		t.Errorf("status %+v", m)
	}
}

// TestAStartWithABrokenMapFile uses the copy that the edge kept of it. An edge that knows nothing yet does not start.
func TestAStartWithABrokenMapFile(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	file := replaceFile(t, filepath.Join(t.TempDir(), "maps"), []byte("6.7.8.0/24 partners\n"))
	r := servesMaps(t, dir, file)
	r.expect("desk.shop.gtm.example.", "A", american, "NOERROR "+euA)
	gtmtest.Eventually(t, "there are a copy and a snapshot", func() error {
		kept, err := filepath.Glob(filepath.Join(dir, "geo", "*.map"))
		_, noBase := os.Stat(filepath.Join(dir, "snapshot", "base"))
		if len(kept) != 1 {
			return errors.New("there is no copy")
		}
		return errors.Join(err, noBase)
	})
	r.stop()
	replaceFile(t, file, []byte("nonsense\n"))
	r = start(t, dir, func(c *Config) { c.MapFiles = []string{file} })
	r.ready()
	r.expect("desk.shop.gtm.example.", "A", american, "NOERROR "+euA)
	if m := r.fetchStatus().Maps; !strings.Contains(m.Fault, "its last good copy is used") || m.Networks != 1 {
		t.Errorf("status %+v", m)
	}
	r.stop()

	e, err := New(Config{ID: "edge-1", Store: newFakeStore(), Dir: t.TempDir(), DNS: addrs("127.0.0.1:0"), MapFiles: []string{file}})
	if err != nil {
		t.Fatal(err)
	}
	if err := e.Run(t.Context()); err == nil || !strings.Contains(err.Error(), "line 1: write a network and a name") {
		t.Errorf("a first start with a broken file ends with %v", err)
	}
}

// TestAnEdgeWithoutMapFiles tells that a map which needs some is empty, and what to do.
func TestAnEdgeWithoutMapFiles(t *testing.T) {
	t.Parallel()
	r := startServing(t, nil)
	r.tell(delta(t, 2, declared.Resources(t, partnersYAML)...))
	r.expect("desk.shop.gtm.example.", "A", european, "NOERROR "+usA)
	s := r.fetchStatus()
	if len(s.Broken) != 1 || s.Broken[0].Resource != "platform/Map/partners" || s.Broken[0].Serves != "nothing" ||
		!strings.Contains(s.Broken[0].Error, "start gtmd with --maps FILE") || s.Maps != nil {
		t.Errorf("status %+v", s)
	}
}
