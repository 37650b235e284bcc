package geo

import (
	"bufio"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/maxmind/mmdbwriter"
	"github.com/maxmind/mmdbwriter/mmdbtype"

	builtin "github.com/gti/gtm/geo"
)

// large is a large database: so many networks of 24 bits, and of 44 bits. Neighbours are mostly of one country.
type large struct {
	v4, v6  uint64
	records []mmdbtype.Map
	record  func(i uint64) uint64 // the number of network i's record, modulo how many there are
}

// BenchmarkLarge takes a file of 5 million networks in some 3,000 places: reads and walks it, divides the
// addresses by it, and makes further partitions. Making the file takes a while.
func BenchmarkLarge(b *testing.B) {
	benchLarge(b, large{4_000_000, 1_000_000, largeRecords(), func(i uint64) uint64 { return i/50*7919 + i%3 }})
}

// BenchmarkCity takes a file of 1 million networks in 86,000 towns, each of which has coordinates.
func BenchmarkCity(b *testing.B) {
	benchLarge(b, large{800_000, 200_000, townRecords(), func(i uint64) uint64 { return i/64*7919 + i/4%3 }})
}

func benchLarge(b *testing.B, l large) {
	file := l.write(b, filepath.Join(b.TempDir(), "large.mmdb"))
	matchers := benchMatchers(b)
	var a *Atlas
	b.Run("walk", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			var err error
			if a, err = Open(file); err != nil {
				b.Fatal(err)
			}
		}
		b.ReportMetric(float64(a.Info()[0].Networks), "networks")
		b.ReportMetric(float64(len(a.places)), "places")
		b.ReportMetric(float64(a.v4.len()+a.v6.len()), "runs")
	})
	for _, points := range []bool{false, true} {
		c := FirstOf(matchers)
		c.Points = points
		b.Run(fmt.Sprintf("points=%t", points), func(b *testing.B) { benchLargeCompile(b, a, c) })
	}
}

func benchLargeCompile(b *testing.B, a *Atlas, c *Classifier) {
	b.Run("first", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			fresh := &Atlas{v4: a.v4, v6: a.v6, places: a.places}
			p, err := Compile(fresh, nil, c)
			if err != nil {
				b.Fatal(err)
			}
			b.ReportMetric(float64(p.shape.bytes()), "bytes")
		}
	})
	b.Run("further", func(b *testing.B) {
		p, err := Compile(a, nil, c)
		if err != nil {
			b.Fatal(err)
		}
		b.ReportAllocs()
		for b.Loop() {
			if p, err = Compile(a, nil, c); err != nil {
				b.Fatal(err)
			}
		}
		b.ReportMetric(float64(p.Bytes()), "bytes")
	})
}

// write makes the file.
func (l large) write(b *testing.B, file string) string {
	b.Helper()
	tree, err := mmdbwriter.New(mmdbwriter.Options{DatabaseType: "test", Description: map[string]string{"en": "test"},
		RecordSize: 28, IncludeReservedNetworks: true, BuildEpoch: 1700000000})
	if err != nil {
		b.Fatal(err)
	}
	for i := range l.v4 + l.v6 {
		x, bits := u128{hi: (1<<24 + i<<8) << 32}, 24
		if i >= l.v4 {
			x, bits = u128{hi: 0x2a00<<48 + (i-l.v4)<<20}, 44
		}
		addr := x.addr(i < l.v4)
		network := &net.IPNet{IP: addr.AsSlice(), Mask: net.CIDRMask(bits, addr.BitLen())}
		if err := tree.Insert(network, l.records[l.record(i)%uint64(len(l.records))]); err != nil {
			b.Fatal(err)
		}
	}
	f, err := os.Create(file)
	if err != nil {
		b.Fatal(err)
	}
	w := bufio.NewWriter(f)
	if _, err := tree.WriteTo(w); err != nil {
		b.Fatal(err)
	}
	if err := w.Flush(); err != nil {
		b.Fatal(err)
	}
	if err := f.Close(); err != nil {
		b.Fatal(err)
	}
	return file
}

// largeRecords gives data of places: each country in parts.
func largeRecords() (list []mmdbtype.Map) {
	for continent, countries := range countriesOf {
		for country := range strings.FieldsSeq(countries) {
			for part := range 12 {
				list = append(list, geoIP2(Place{Continent: continent, Country: country, Subdivision: fmt.Sprint(part)}))
			}
		}
	}
	slices.SortFunc(list, func(a, b mmdbtype.Map) int { return strings.Compare(fmt.Sprint(a), fmt.Sprint(b)) })
	return list
}

// townRecords gives data of towns: twenty around the centroid of each subdivision.
func townRecords() (list []mmdbtype.Map) {
	rng := rand.New(rand.NewPCG(1, 1))
	for line := range strings.Lines(builtin.Centroids) {
		code, _, _ := strings.Cut(line, " ")
		country, subdivision, ok := strings.Cut(code, "-")
		if !ok {
			continue
		}
		place := Place{Continent: continentOf[country], Country: country, Subdivision: subdivision}
		for range 20 {
			place.At = PointOf(place.Point().Lat()+0.7*rng.NormFloat64(), place.Point().Lon()+0.7*rng.NormFloat64())
			list = append(list, geoIP2(place))
			place.At = Point{}
		}
	}
	return list
}
