// Package peers writes one job in the words of each server that is compared, and the queries for it.
//
// The job: zone gtm.test., all of type A, with n steered names w0 to w(n-1), n static names s0 to s(n-1) and n
// delegations d0 to d(n-1); and zone sig.test., signed, with n steered and n static names. The client's continent, from
// its EDNS client subnet, picks one of four pools (NA, EU, AS, everything else); a pool has two addresses with the
// weights 3 and 1. Clients are networks of /24 drawn from the ranges of Debian's tor-geoipdb.
package peers

import (
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
)

// The zones of the job. Their names are of equal length, so that answers from both differ by signatures alone.
const (
	Zone       = "gtm.test."
	SignedZone = "sig.test."
)

// TTL of every record of the job but those of SOA's negative answers, in seconds.
const TTL = 60

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
	MMDB  string // the database for the peers; gtm has it built in
	Names int
	Large bool // without the signed zone and delegations, and Knot without steering: what matters with many names alone
}

// master is a zone as a master file: what is static in it, for a server that has the origin from elsewhere.
func (j Job) master(zone string) string {
	var b strings.Builder
	fmt.Fprintf(&b, "$TTL %d\n@ SOA ns1 hostmaster 1 7200 1800 1209600 60\n@ NS ns1\nns1 A 127.0.0.1\n", TTL)
	for i := range j.Names {
		fmt.Fprintf(&b, "s%d A 10.%d.%d.%d\n", i, i>>16&255, i>>8&255, i&255)
	}
	if zone == Zone && !j.Large {
		for i := range j.Names {
			fmt.Fprintf(&b, "d%d NS ns.d%d\nns.d%d A 172.16.%d.%d\n", i, i, i, i>>8&255, i&255)
		}
	}
	return b.String()
}

// Static is the unsigned zone as a master file, with what is static in it alone.
func (j Job) Static() string { return "$ORIGIN " + Zone + "\n" + j.master(Zone) }

// flat is a zone for servers that do not steer: each steered name has the address for everyone else.
func (j Job) flat(zone string) string {
	var b strings.Builder
	b.WriteString("$ORIGIN " + zone + "\n" + j.master(zone))
	for i := range j.Names {
		fmt.Fprintf(&b, "w%d A %s\n", i, Pools[len(Pools)-1].Addresses[0])
	}
	return b.String()
}

// zones are the zones of the job.
func (j Job) zones() []string {
	if j.Large {
		return []string{Zone}
	}
	return []string{Zone, SignedZone}
}

// write writes one file of the job.
func (j Job) write(name, text string) error {
	file := filepath.Join(j.Dir, name)
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
		return err
	}
	return os.WriteFile(file, []byte(text), 0o644)
}

// writeAll writes files by their names.
func (j Job) writeAll(files map[string]string) error {
	for name, text := range files {
		if err := j.write(name, text); err != nil {
			return err
		}
	}
	return nil
}
