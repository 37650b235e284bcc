package edge

import (
	"bytes"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/maxmind/mmdbwriter"
	"github.com/maxmind/mmdbwriter/mmdbtype"

	"github.com/gti/gtm/pkg/gtmtest"
)

// fixtureGeo tells continent and country of networks.
var fixtureGeo = map[string][2]string{european: {"EU", "GB"}, american: {"NA", "US"}, "2001:db8:e::/48": {"EU", "DE"}}

// mmdb makes a database.
func mmdb(t *testing.T, places map[string][2]string) []byte {
	t.Helper()
	w, err := mmdbwriter.New(mmdbwriter.Options{DatabaseType: "Test-Country", BuildEpoch: 1700000000, IncludeReservedNetworks: true,
		Description: map[string]string{"en": "test"}})
	if err != nil {
		t.Fatal(err)
	}
	for network, p := range places {
		_, n, err := net.ParseCIDR(network)
		if err != nil {
			t.Fatal(err)
		}
		record := mmdbtype.Map{"continent": mmdbtype.Map{"code": mmdbtype.String(p[0])},
			"country": mmdbtype.Map{"iso_code": mmdbtype.String(p[1])}}
		if err := w.Insert(n, record); err != nil {
			t.Fatal(err)
		}
	}
	var out bytes.Buffer
	if _, err := w.WriteTo(&out); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

// writeGeo writes a database, as one does: beside, and renamed.
func writeGeo(t *testing.T, dir string, places map[string][2]string) string {
	t.Helper()
	return replaceFile(t, filepath.Join(dir, "country.mmdb"), mmdb(t, places))
}

func replaceFile(t *testing.T, file string, data []byte) string {
	t.Helper()
	if err := os.WriteFile(file+".new", data, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(file+".new", file); err != nil {
		t.Fatal(err)
	}
	return file
}

func TestNewGeographyWithoutRestart(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	file := writeGeo(t, dir, fixtureGeo)
	r := startServing(t, func(c *Config) { c.GeoFiles = []string{file} })
	r.always("web.shop.gtm.example.", "A", european, "NOERROR "+euA)
	before := r.fetchStatus()

	writeGeo(t, dir, map[string][2]string{european: {"NA", "US"}, american: {"EU", "DE"}, "9.0.0.0/8": {"AS", "JP"},
		"11.0.0.0/8": {"AS", "SG"}})
	r.expect("web.shop.gtm.example.", "A", european, "NOERROR "+usA)
	r.always("web.shop.gtm.example.", "A", american, "NOERROR "+euA)
	after := r.fetchStatus()
	if len(after.Geo) != 1 || after.Geo[0].File != file || after.Geo[0].Networks == before.Geo[0].Networks ||
		after.View.Serial <= before.View.Serial {
		t.Errorf("status before %+v, after %+v", before, after)
	}
	if got := r.value("gtm_edge_geo_refused_total"); got != 0 {
		t.Errorf("%v refused", got)
	}
	r.valueIs(1, "gtm_edge_geo_open_seconds")
	r.valueIs(1, "gtm_edge_geo_compile_seconds")
	r.logged("level=INFO", "geography", "partitions=2")
}

func TestCorruptGeographyIsRefused(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	file := writeGeo(t, dir, fixtureGeo)
	r := startServing(t, func(c *Config) { c.GeoFiles = []string{file} })
	whole := mmdb(t, map[string][2]string{european: {"NA", "US"}})
	replaceFile(t, file, whole[:len(whole)/2])
	r.valueIs(1, "gtm_edge_geo_refused_total")
	r.logged("level=ERROR", "a new geography file is refused; the old one serves on", file)
	r.always("web.shop.gtm.example.", "A", european, "NOERROR "+euA)
	if got := r.fetchStatus().Geo; len(got) != 1 || got[0].File != file {
		t.Errorf("geography %+v", got)
	}
	replaceFile(t, file, whole)
	r.expect("web.shop.gtm.example.", "A", european, "NOERROR "+usA)
}

func TestCorruptGeographyAtTheStart(t *testing.T) {
	t.Parallel()
	file := replaceFile(t, filepath.Join(t.TempDir(), "bad.mmdb"), []byte("this is no database"))
	e, err := New(Config{ID: "e", Store: newFakeStore(), Dir: t.TempDir(), DNS: addrs("127.0.0.1:0"), GeoFiles: []string{file}})
	if err == nil {
		err = e.Run(t.Context())
	}
	if err == nil || !strings.Contains(err.Error(), file) {
		t.Fatalf("error %v; want one that names the file", err)
	}
}

// A geography file that was refused while running stopped the next start: a rolling restart would have taken the whole fleet down.
func TestCorruptGeographyStopsNoRestart(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	file := writeGeo(t, dir, fixtureGeo)
	good := mmdb(t, fixtureGeo)
	r := startServing(t, func(c *Config) { c.GeoFiles = []string{file} })
	r.always("web.shop.gtm.example.", "A", european, "NOERROR "+euA)
	edgeDir := r.e.cfg.Dir
	gtmtest.Eventually(t, "a copy is kept", func() error {
		if copies, _ := filepath.Glob(filepath.Join(edgeDir, "geo", "*.mmdb")); len(copies) != 1 {
			return fmt.Errorf("%v", copies)
		}
		return nil
	})
	replaceFile(t, file, good[:len(good)/2])
	r.valueIs(1, "gtm_edge_geo_refused_total")
	r.stop()
	r = start(t, edgeDir, func(c *Config) { c.GeoFiles = []string{file} })
	r.expect("web.shop.gtm.example.", "A", european, "NOERROR "+euA)
	r.logged("level=ERROR", "a geography file is refused", "its last good copy is used", file)
	if s := r.fetchStatus(); !strings.Contains(s.GeoFault, file) || len(s.Geo) != 1 || s.Geo[0].File != file {
		t.Errorf("status %q, %+v", s.GeoFault, s.Geo)
	}
	replaceFile(t, file, good)
	r.logged("level=INFO", "the geography files are as those in use again")
	if s := r.fetchStatus(); s.GeoFault != "" {
		t.Errorf("then %q", s.GeoFault)
	}
	if err := os.RemoveAll(filepath.Join(edgeDir, "geo")); err != nil {
		t.Fatal(err)
	}
	replaceFile(t, file, good[:len(good)/2])
	r.stop()
	r = start(t, edgeDir, func(c *Config) { c.GeoFiles = []string{file} }) // without a copy, but with a snapshot
	r.logged("level=ERROR", "a geography file is refused", "the built-in database is used", file)
	r.expect("web.shop.gtm.example.", "A", european, "NOERROR "+euA)
}
