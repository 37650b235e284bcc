package edge

import (
	"bytes"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/gti/gtm/pkg/control/api"
	"github.com/gti/gtm/pkg/geo/latency"
	"github.com/gti/gtm/pkg/gtmtest"
	"github.com/gti/gtm/pkg/gtmtest/declared"
)

var measured = time.Date(2026, 5, 1, 6, 0, 0, 0, time.UTC)

// latencyTable makes a table.
func latencyTable(t *testing.T, lines string) []byte {
	t.Helper()
	var out bytes.Buffer
	cfg := latency.Config{Inputs: []latency.Input{{Name: "lines", Reader: strings.NewReader(lines)}}, Measured: measured}
	if _, err := latency.Build(&out, cfg); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

// seen gives what an edge tells of a client's latency.
func (r *running) seen(client string) string {
	r.t.Helper()
	x, err := r.e.explain(func(name string) string {
		return map[string]string{"host": "web.shop.gtm.example.", "subnet": client}[name]
	})
	if err != nil {
		r.t.Fatal(err.text)
	}
	return fmt.Sprint(x.Client.Latency, " ", x.Client.Network)
}

func TestLatencyTable(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	places := writeGeo(t, dir, fixtureGeo)
	line := european + ",fra,%d,40\n" + european + ",ams,9,3\n"
	file := replaceFile(t, filepath.Join(dir, "latency.mmdb"), latencyTable(t, fmt.Sprintf(line, 12)))
	r := startServing(t, func(c *Config) { c.GeoFiles, c.LatencyFile = []string{places}, file })
	r.always("web.shop.gtm.example.", "A", european, "NOERROR "+euA)
	if got := r.seen(european); !strings.HasPrefix(got, "[{ams 9 3} {fra 12 30}] ") {
		t.Errorf("the latency is %s", got)
	}
	if got := r.seen(american); !strings.HasPrefix(got, "[] ") {
		t.Errorf("elsewhere it is %s", got)
	}
	want := api.LatencyState{File: file, Measured: measured, Networks: 1, Sites: 2}
	before := r.fetchStatus()
	if before.Latency == nil || *before.Latency != want || before.LatencyFault != "" {
		t.Errorf("status %+v, %q", before.Latency, before.LatencyFault)
	}
	if got := r.value("gtm_edge_latency_measured_seconds"); got != float64(measured.Unix()) {
		t.Errorf("measured %v", got)
	}
	if got := r.value("gtm_edge_latency_networks"); got != 1 {
		t.Errorf("%v networks", got)
	}

	replaceFile(t, file, latencyTable(t, fmt.Sprintf(line, 7)+american+",iad,3,1\n"))
	gtmtest.Eventually(t, "the new table is known", func() error {
		if got := r.seen(european); !strings.HasPrefix(got, "[{fra 7 30} {ams 9 3}] ") {
			return fmt.Errorf("%s", got)
		}
		return nil
	})
	after := r.fetchStatus()
	if after.Latency == nil || after.Latency.Networks != 2 || after.View.Serial <= before.View.Serial ||
		!slices.Equal(after.Geo, before.Geo) {
		t.Errorf("status before %+v, after %+v", before, after)
	}
	r.valueIs(1, "gtm_edge_latency_open_seconds")
	r.valueIs(1, "gtm_edge_latency_compile_seconds")
	r.valueIs(0, "gtm_edge_geo_open_seconds")
	r.logged("level=INFO", "latency", "networks=2")
	r.always("web.shop.gtm.example.", "A", european, "NOERROR "+euA)
}

func TestCorruptLatencyIsRefused(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	places := writeGeo(t, dir, fixtureGeo)
	whole := latencyTable(t, european+",fra,12,40\n")
	file := replaceFile(t, filepath.Join(dir, "latency.mmdb"), whole)
	set := func(c *Config) { c.GeoFiles, c.LatencyFile = []string{places}, file }
	r := startServing(t, set)
	r.always("web.shop.gtm.example.", "A", european, "NOERROR "+euA)
	edgeDir := r.e.cfg.Dir
	gtmtest.Eventually(t, "copies are kept", func() error {
		if copies, _ := filepath.Glob(filepath.Join(edgeDir, "geo", "*.mmdb")); len(copies) != 2 {
			return fmt.Errorf("%v", copies)
		}
		return nil
	})
	replaceFile(t, file, whole[:len(whole)/2])
	r.valueIs(1, "gtm_edge_latency_refused_total")
	r.valueIs(0, "gtm_edge_geo_refused_total")
	r.logged("level=ERROR", "a new latency file is refused; the old one serves on", file)
	s := r.fetchStatus()
	if !strings.Contains(s.LatencyFault, file) || s.GeoFault != "" || s.Latency == nil || !strings.Contains(r.seen(european), "fra 12 30") {
		t.Errorf("status %q, %q, %+v", s.LatencyFault, s.GeoFault, s.Latency)
	}

	// What geography does has nothing to do with it.
	writeGeo(t, dir, map[string][2]string{european: {"NA", "US"}, american: {"EU", "DE"}})
	r.expect("web.shop.gtm.example.", "A", european, "NOERROR "+usA)
	if s := r.fetchStatus(); s.LatencyFault == "" || !strings.Contains(r.seen(european), "fra 12 30") {
		t.Errorf("after new geography: %+v", s)
	}

	// A start does not depend on it either, with its copy and without.
	r.stop()
	r = start(t, edgeDir, set)
	r.logged("level=ERROR", "a latency file is refused", "its last good copy is used", file)
	r.expect("web.shop.gtm.example.", "A", european, "NOERROR "+usA) // a table says what is in use once it is compiled
	if s := r.fetchStatus(); s.LatencyFault == "" || s.Latency == nil || s.Latency.File != file {
		t.Errorf("status %+v", s)
	}
	replaceFile(t, file, whole)
	r.logged("level=INFO", "the latency files are as those in use again")
	replaceFile(t, file, whole[:len(whole)/2])
	r.valueIs(2, "gtm_edge_latency_refused_total")
	r.stop()
	for _, copied := range globbed(t, filepath.Join(edgeDir, "geo", "*.mmdb")) {
		replaceFile(t, copied, []byte("damaged"))
	}
	r = start(t, edgeDir, set)
	r.logged("level=ERROR", "a latency file is refused", "no latency is known", file)
	r.expect("web.shop.gtm.example.", "A", european, "NOERROR "+usA)
	if s := r.fetchStatus(); s.LatencyFault == "" || s.Latency != nil || s.GeoFault != "" {
		t.Errorf("status %+v", s)
	}
	replaceFile(t, file, whole)
	gtmtest.Eventually(t, "the table is used", func() error {
		if s := r.fetchStatus(); s.Latency == nil || s.LatencyFault != "" {
			return fmt.Errorf("%+v", s)
		}
		return nil
	})
}

func globbed(t *testing.T, pattern string) []string {
	t.Helper()
	files, err := filepath.Glob(pattern)
	if err != nil || len(files) == 0 {
		t.Fatalf("%s: %v", pattern, err)
	}
	return files
}

// At a first start a table that cannot be used is more likely a wrong name than a bad day.
func TestCorruptLatencyAtTheStart(t *testing.T) {
	t.Parallel()
	file := replaceFile(t, filepath.Join(t.TempDir(), "bad.mmdb"), []byte("this is no table"))
	e, err := New(Config{ID: "e", Store: newFakeStore(), Dir: t.TempDir(), DNS: addrs("127.0.0.1:0"), LatencyFile: file})
	if err == nil {
		err = e.Run(t.Context())
	}
	if err == nil || !strings.Contains(err.Error(), file) {
		t.Fatalf("error %v; want one that names the file", err)
	}
}

// TestFastestFollowsTheTable: a new table reaches the answers of services that go by it, at an edge that serves on, and only those.
func TestFastestFollowsTheTable(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	places := writeGeo(t, dir, fixtureGeo)
	table := func(fra, iad int) []byte {
		return latencyTable(t, fmt.Sprintf("%s,fra,%d,40\n%s,iad,%d,40\n", european, fra, european, iad))
	}
	file := replaceFile(t, filepath.Join(dir, "latency.mmdb"), table(12, 90))
	r := startServing(t, func(c *Config) { c.GeoFiles, c.LatencyFile = []string{places}, file })
	r.tell(delta(t, 2, declared.Resources(t, `
{kind: Site, tenant: platform, name: fra, spec: {region: EU-DE}}
---
{kind: Site, tenant: platform, name: iad, spec: {region: NA-US}}
---
{kind: Pool, tenant: shop, name: e, spec: {site: fra, endpoints: [{name: a, addresses: [198.51.100.7]}]}}
---
{kind: Pool, tenant: shop, name: u, spec: {site: iad, endpoints: [{name: a, addresses: [198.51.100.8]}]}}
---
kind: Service
tenant: shop
name: quick
spec: {host: quick.shop.gtm.example., rules: [{pools: [{fastest: [u, e], maxAge: 100000d}]}]}
`)...))
	r.expect("quick.shop.gtm.example.", "A", european, "NOERROR 198.51.100.7")
	r.expect("quick.shop.gtm.example.", "A", american, "NOERROR 198.51.100.8") // of whom nothing is known: the nearest
	replaceFile(t, file, table(90, 12))
	r.expect("quick.shop.gtm.example.", "A", european, "NOERROR 198.51.100.8")
	r.always("quick.shop.gtm.example.", "A", american, "NOERROR 198.51.100.8")
	r.always("web.shop.gtm.example.", "A", european, "NOERROR "+euA)
}
