package geo

import (
	"bufio"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/maxmind/mmdbwriter"
	"github.com/maxmind/mmdbwriter/mmdbtype"
)

const (
	large4 = 4_000_000 // networks of 24 bits
	large6 = 1_000_000 // networks of 44 bits
)

// BenchmarkLarge takes a file of 5 million networks in some 3,000 places: reads and walks it, divides the
// addresses by it, and makes further partitions. Making the file takes a while.
func BenchmarkLarge(b *testing.B) {
	file := writeLarge(b, filepath.Join(b.TempDir(), "large.mmdb"))
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
	})
	b.Run("first", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			fresh := &Atlas{v4: a.v4, v6: a.v6, places: a.places}
			if _, err := Compile(fresh, nil, FirstOf(matchers)); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("further", func(b *testing.B) {
		p := mustCompile(b, a, nil, matchers...)
		b.ReportAllocs()
		for b.Loop() {
			p = mustCompile(b, a, nil, matchers...)
		}
		b.ReportMetric(float64(p.Bytes()), "bytes")
	})
}

// writeLarge makes the file.
func writeLarge(b *testing.B, file string) string {
	b.Helper()
	tree, err := mmdbwriter.New(mmdbwriter.Options{DatabaseType: "test", Description: map[string]string{"en": "test"},
		RecordSize: 28, IncludeReservedNetworks: true, BuildEpoch: 1700000000})
	if err != nil {
		b.Fatal(err)
	}
	records := largeRecords()
	for i := range uint64(large4 + large6) {
		x, bits := u128{hi: (1<<24 + i<<8) << 32}, 24
		if i >= large4 {
			x, bits = u128{hi: 0x2a00<<48 + (i-large4)<<20}, 44
		}
		addr := x.addr(i < large4)
		network := &net.IPNet{IP: addr.AsSlice(), Mask: net.CIDRMask(bits, addr.BitLen())}
		// neighbours are mostly of one country
		record := records[(i/50*7919+i%3)%uint64(len(records))]
		if err := tree.Insert(network, record); err != nil {
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
