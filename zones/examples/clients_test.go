package examples_test

import (
	"bytes"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/maxmind/mmdbwriter"
	"github.com/maxmind/mmdbwriter/mmdbtype"

	"github.com/gti/gtm/pkg/geo"
	"github.com/gti/gtm/pkg/geo/latency"
)

// A client is a network that the examples speak of: where it is, and how far, in milliseconds, some sites are from it.
type client struct {
	name, place string
	lat, lon    float64
	asn         uint32
	fra         int
	iad         int
	sin         int
}

// The clients, whose networks follow each other. Coordinates are those of the towns, systems those of large carriers there; the
// milliseconds are made up, but of the usual size.
var clients = []client{
	{"berlin", "EU-DE-BE", 52.52, 13.41, 3320, 12, 95, 165},
	{"london", "EU-GB-ENG", 51.51, -0.13, 2856, 18, 76, 170},
	{"zurich", "EU-CH-ZH", 47.38, 8.54, 3303, 9, 96, 160},
	{"dubai", "AS-AE-DU", 25.20, 55.27, 5384, 115, 190, 78},
	{"mumbai", "AS-IN-MH", 19.08, 72.88, 9498, 112, 195, 58},
	{"vladivostok", "EU-RU-PRI", 43.12, 131.89, 12389, 150, 230, 190},
	{"beijing", "AS-CN-BJ", 39.90, 116.41, 4134, 210, 220, 72},
	{"shanghai", "AS-CN-SH", 31.23, 121.47, 4837, 230, 215, 65},
	{"tokyo", "AS-JP-13", 35.68, 139.69, 2516, 225, 160, 70},
	{"sydney", "OC-AU-NSW", -33.87, 151.21, 1221, 270, 205, 93},
	{"new-york", "NA-US-NY", 40.71, -74.01, 7922, 84, 8, 230},
	{"san-francisco", "NA-US-CA", 37.77, -122.42, 7922, 148, 64, 172},
	{"toronto", "NA-CA-ON", 43.65, -79.38, 577, 98, 22, 225},
	{"sao-paulo", "SA-BR-SP", -23.55, -46.63, 28573, 205, 118, 320},
	{"nairobi", "AF-KE-30", -1.29, 36.82, 33771, 150, 220, 175},
	{"office", "EU-DE-HE", 50.11, 8.68, 64500, 0, 0, 0},
	{"partner", "NA-US-TX", 32.78, -96.80, 64501, 0, 0, 0},
	{"nowhere", "", 0, 0, 0, 0, 0, 0},
}

// network is a client's /12: 20.0.0.0/12 is the first one's, 20.16.0.0/12 the second's.
func (c *client) network() netip.Prefix {
	i := slices.IndexFunc(clients, func(other client) bool { return other.name == c.name })
	return netip.PrefixFrom(netip.AddrFrom4([4]byte{20 + byte(i>>4), byte(i << 4), 0, 0}), 12)
}

// row is the client's line in the table of README.md.
func (c *client) row() string {
	words := []string{c.name, c.network().String(), c.place, "", "", ""}
	if c.place != "" {
		words[3] = fmt.Sprintf("%.2f, %.2f", c.lat, c.lon)
		words[4] = fmt.Sprint("AS", c.asn)
	}
	if c.fra != 0 {
		words[5] = fmt.Sprintf("fra %d, iad %d, sin %d", c.fra, c.iad, c.sin)
	}
	return "| " + strings.Join(words, " | ") + " |"
}

// world makes a geography of the clients, with a table of latencies.
func world(t *testing.T) *geo.Atlas {
	t.Helper()
	tree, err := mmdbwriter.New(mmdbwriter.Options{DatabaseType: "examples", Description: map[string]string{"en": "examples"}})
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range clients {
		if c.place == "" {
			continue
		}
		code := strings.Split(c.place, "-")
		network := c.network()
		err := tree.Insert(&net.IPNet{IP: network.Addr().AsSlice(), Mask: net.CIDRMask(network.Bits(), 32)}, mmdbtype.Map{
			"continent":                mmdbtype.Map{"code": mmdbtype.String(code[0])},
			"country":                  mmdbtype.Map{"iso_code": mmdbtype.String(code[1])},
			"subdivisions":             mmdbtype.Slice{mmdbtype.Map{"iso_code": mmdbtype.String(code[2])}},
			"location":                 mmdbtype.Map{"latitude": mmdbtype.Float64(c.lat), "longitude": mmdbtype.Float64(c.lon)},
			"autonomous_system_number": mmdbtype.Uint32(c.asn),
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	var out bytes.Buffer
	if _, err := tree.WriteTo(&out); err != nil {
		t.Fatal(err)
	}
	atlas, err := geo.OpenBytes("examples", out.Bytes())
	if err != nil {
		t.Fatal(err)
	}
	return atlas.WithLatency(latencies(t))
}

// latencies makes a table of what was measured of the clients, today and 40 times each.
func latencies(t *testing.T) *geo.LatencyTable {
	t.Helper()
	var lines strings.Builder
	for _, c := range clients {
		if c.fra != 0 {
			fmt.Fprintf(&lines, "%[1]s,fra,%[2]d,40\n%[1]s,iad,%[3]d,40\n%[1]s,sin,%[4]d,40\n", c.network(), c.fra, c.iad, c.sin)
		}
	}
	var out bytes.Buffer
	inputs := []latency.Input{{Name: "clients", Reader: strings.NewReader(lines.String())}}
	if _, err := latency.Build(&out, latency.Config{Inputs: inputs, Measured: time.Now()}); err != nil {
		t.Fatal(err)
	}
	table, err := geo.OpenLatencyBytes("clients", out.Bytes())
	if err != nil {
		t.Fatal(err)
	}
	return table
}
