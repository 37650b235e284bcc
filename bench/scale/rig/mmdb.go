package rig

import (
	"errors"
	"fmt"
	"io/fs"
	"math"
	"math/bits"
	"math/rand/v2"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"

	"github.com/maxmind/mmdbwriter"
	"github.com/maxmind/mmdbwriter/mmdbtype"
)

// Geography gives a file in City layout with about so many networks, three of ten of them IPv6: a thousand places, strewn
// over all addresses. Equal seeds give equal files. What is in dir already is not made again.
func Geography(dir string, networks int, seed uint64) (string, error) {
	file := filepath.Join(dir, fmt.Sprintf("world-%d-%d.mmdb", networks, seed))
	if _, err := os.Stat(file); !errors.Is(err, fs.ErrNotExist) {
		return file, err
	}
	tree, err := mmdbwriter.New(mmdbwriter.Options{DatabaseType: "Bench-City", BuildEpoch: 1_700_000_000 + int64(seed), RecordSize: 28,
		Languages: []string{"en"}, IncludeReservedNetworks: true, DisableIPv4Aliasing: true, KeyGenerator: byName{}})
	if err != nil {
		return "", err
	}
	g := &geographer{tree: tree, random: rand.New(rand.NewPCG(seed, 5)), places: placeRecords()}
	v4 := networks * 7 / 10
	if err := g.strew(netip.MustParseAddr("1.0.0.0"), netip.MustParseAddr("223.255.255.255"), v4); err != nil {
		return "", err
	}
	if err := g.strew(netip.MustParseAddr("2400::"), netip.MustParseAddr("2bff:ffff:ffff:ffff::"), networks-v4); err != nil {
		return "", err
	}
	return file, g.write(file)
}

type geographer struct {
	tree   *mmdbwriter.Tree
	random *rand.Rand
	places []mmdbtype.Map
}

// byName tells the records apart by their names.
type byName struct{}

func (byName) Key(v mmdbtype.DataType) ([]byte, error) {
	return []byte(v.(mmdbtype.Map)["name"].(mmdbtype.String)), nil
}

// placeRecords are the places of worlds with 30 subdivisions each.
func placeRecords() []mmdbtype.Map {
	var out []mmdbtype.Map
	for _, p := range places {
		continent, country, _ := strings.Cut(p, "-")
		for i := range 30 {
			sub := mmdbtype.String(fmt.Sprintf("S%d", i))
			out = append(out, mmdbtype.Map{
				"continent":    mmdbtype.Map{"code": mmdbtype.String(continent)},
				"country":      mmdbtype.Map{"iso_code": mmdbtype.String(country)},
				"subdivisions": mmdbtype.Slice{mmdbtype.Map{"iso_code": sub}},
				"name":         mmdbtype.String(p) + "-" + sub,
			})
		}
	}
	return out
}

// strew lays about n networks of several sizes from one address to another, end to end. Those of IPv6 are counted in /64.
func (g *geographer) strew(from, to netip.Addr, n int) error {
	at, end := number(from), number(to)
	// A network has one, two, four or eight times the least size, less what alignment cuts off: 2.4 times it in the mean.
	least := max(1, float64(end-at)/float64(n)/2.4)
	power := math.Exp2(math.Floor(math.Log2(least)))
	for at < end {
		part := uint64(power) << g.random.IntN(4)
		if g.random.Float64() < least/power-1 {
			part <<= 1
		}
		for at%part != 0 || at+part-1 > end {
			part >>= 1
		}
		whole := min(64, from.BitLen()) // bits of the number
		prefix := netip.PrefixFrom(address(at, from.Is6()), whole-bits.TrailingZeros64(part))
		if err := g.tree.Insert(ipNet(prefix), g.places[g.random.IntN(len(g.places))]); err != nil {
			return fmt.Errorf("%s: %w", prefix, err)
		}
		at += part
	}
	return nil
}

// number is an IPv4 address, or the upper half of an IPv6 one.
func number(a netip.Addr) (n uint64) {
	for _, b := range a.AsSlice()[:min(8, a.BitLen()/8)] {
		n = n<<8 | uint64(b)
	}
	return n
}

func address(n uint64, six bool) netip.Addr {
	if !six {
		return netip.AddrFrom4([4]byte{byte(n >> 24), byte(n >> 16), byte(n >> 8), byte(n)})
	}
	var b [16]byte
	for i := range 8 {
		b[i] = byte(n >> (56 - 8*i))
	}
	return netip.AddrFrom16(b)
}

func ipNet(p netip.Prefix) *net.IPNet {
	return &net.IPNet{IP: p.Addr().AsSlice(), Mask: net.CIDRMask(p.Bits(), p.Addr().BitLen())}
}

func (g *geographer) write(file string) error {
	f, err := os.Create(file + ".new")
	if err != nil {
		return err
	}
	defer f.Close()
	if _, err := g.tree.WriteTo(f); err != nil {
		return err
	}
	if err := f.Close(); err != nil {
		return err
	}
	return os.Rename(file+".new", file)
}
