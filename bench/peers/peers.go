// Package peers writes one steering job in the words of each server that is compared, and the queries for it.
//
// The job: zone gtm.test., n steered names w0 to w(n-1) and n static names s0 to s(n-1), all of type A. The client's
// continent, from its EDNS client subnet, picks one of four pools (NA, EU, AS, everything else); a pool has two
// addresses with the weights 3 and 1. Clients are networks of /24 drawn from the ranges of Debian's tor-geoipdb.
package peers

import (
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
)

// Zone is the zone of the job.
const Zone = "gtm.test."

// The query files that Write leaves in the job's folder: each query behind its length in two bytes.
const (
	Steered = "steered.q"
	Static  = "static.q"
)

// perFile is how many queries a file has: enough that no cache of the machine holds them.
const perFile = 200_000

// A Pool is one set of two addresses; the first has three times the weight of the second.
type Pool struct {
	Name      string
	Continent string // "" for everyone else
	Addresses [2]netip.Addr
}

// Pools are the pools of the job; the last is for everyone else.
var Pools = []Pool{
	{"na", "NA", [2]netip.Addr{netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("192.0.2.2")}},
	{"eu", "EU", [2]netip.Addr{netip.MustParseAddr("198.51.100.1"), netip.MustParseAddr("198.51.100.2")}},
	{"as", "AS", [2]netip.Addr{netip.MustParseAddr("203.0.113.1"), netip.MustParseAddr("203.0.113.2")}},
	{"xx", "", [2]netip.Addr{netip.MustParseAddr("192.0.2.101"), netip.MustParseAddr("192.0.2.102")}},
}

// PoolOf gives the pool that an address belongs to.
func PoolOf(addr netip.Addr) (Pool, bool) {
	for _, pool := range Pools {
		if addr == pool.Addresses[0] || addr == pool.Addresses[1] {
			return pool, true
		}
	}
	return Pool{}, false
}

// A Job is where and how big. Dir must be absolute: the servers run elsewhere.
type Job struct {
	Dir   string
	MMDB  string // the database for gdnsd; gtm has it built in
	Names int
}

// WriteQueries writes the two files of queries. ranges is Debian's /usr/share/tor/geoip.
func (j Job) WriteQueries(ranges string) error {
	networks, err := readRanges(ranges)
	if err != nil {
		return err
	}
	random := rand.New(rand.NewPCG(7, 7)) // the same clients in every run
	steered := func() []byte {
		r := networks[random.IntN(len(networks))]
		client := r.first + uint32(random.Uint64N(uint64(r.last-r.first)+1))
		return query(fmt.Sprintf("w%d.%s", random.IntN(j.Names), Zone), true, client)
	}
	static := func() []byte { return query(fmt.Sprintf("s%d.%s", random.IntN(j.Names), Zone), false, 0) }
	if err := j.writeQueries(Steered, steered); err != nil {
		return err
	}
	return j.writeQueries(Static, static)
}

func (j Job) writeQueries(name string, draw func() []byte) error {
	var all []byte
	for range perFile {
		q := draw()
		all = binary.BigEndian.AppendUint16(all, uint16(len(q)))
		all = append(all, q...)
	}
	return j.write(name, string(all))
}

// write writes one file of the job.
func (j Job) write(name, text string) error {
	file := filepath.Join(j.Dir, name)
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
		return err
	}
	return os.WriteFile(file, []byte(text), 0o644)
}

type addrRange struct{ first, last uint32 }

// readRanges reads lines of "first,last,country" with addresses as numbers; ranges without a country are left out.
func readRanges(file string) ([]addrRange, error) {
	text, err := os.ReadFile(file)
	if err != nil {
		return nil, fmt.Errorf("%w (apt-get install tor-geoipdb)", err)
	}
	var ranges []addrRange
	for line := range strings.Lines(string(text)) {
		var r addrRange
		var country string
		if strings.HasPrefix(line, "#") {
			continue
		}
		if _, err := fmt.Sscanf(strings.ReplaceAll(line, ",", " "), "%d %d %s", &r.first, &r.last, &country); err == nil && country != "??" {
			ranges = append(ranges, r)
		}
	}
	if len(ranges) < 1000 {
		return nil, fmt.Errorf("%s: only %d ranges", file, len(ranges))
	}
	return ranges, nil
}

// query writes a query for the name's A, with EDNS, and with the client's /24 where subnet is set.
func query(name string, subnet bool, client uint32) []byte {
	q := []byte{0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 1}
	for label := range strings.SplitSeq(strings.TrimSuffix(name, "."), ".") {
		q = append(append(q, byte(len(label))), label...)
	}
	q = append(q, 0, 0, 1, 0, 1)                           // the root; A, IN
	q = append(q, 0, 0, 41, 1232>>8, 1232&255, 0, 0, 0, 0) // OPT of 1232 bytes
	if !subnet {
		return append(q, 0, 0)
	}
	q = append(q, 0, 11, 0, 8, 0, 7, 0, 1, 24, 0) // client subnet, IPv4, /24
	return append(q, byte(client>>24), byte(client>>16), byte(client>>8))
}
