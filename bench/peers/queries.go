package peers

import (
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
)

// The query files that WriteQueries leaves in the job's folder: each query behind its length in two bytes.
const (
	Steered       = "steered.q"        // steered names with a client subnet
	Static        = "static.q"         // static names
	Mixed         = "mixed.q"          // half of them names that do not exist, half names below delegations
	SteeredDO     = "steered-do.q"     // as Steered, with DO, of the unsigned zone
	SteeredSigned = "steered-signed.q" // the same of the signed zone
	StaticSigned  = "static-signed.q"  // static names of the signed zone, with DO
)

// perFile is how many queries a file has at least: enough that no cache of the machine holds them.
const perFile = 200_000

// WriteQueries writes the files of queries. ranges is Debian's /usr/share/tor/geoip.
func (j Job) WriteQueries(ranges string) error {
	networks, err := readRanges(ranges)
	if err != nil {
		return err
	}
	files := map[string]func(*rand.Rand) []byte{
		Steered: func(r *rand.Rand) []byte { return Query(j.name(r, "w", Zone), networks.draw(r), false) },
		Static:  func(r *rand.Rand) []byte { return Query(j.name(r, "s", Zone), 0, false) },
	}
	if !j.Large {
		files[Mixed] = func(r *rand.Rand) []byte {
			if r.IntN(2) == 0 {
				return Query(fmt.Sprintf("n%d.%s", r.IntN(1_000_000), Zone), 0, false)
			}
			return Query(j.name(r, "a.d", Zone), 0, false)
		}
		files[SteeredDO] = func(r *rand.Rand) []byte { return Query(j.name(r, "w", Zone), networks.draw(r), true) }
		files[SteeredSigned] = func(r *rand.Rand) []byte { return Query(j.name(r, "w", SignedZone), networks.draw(r), true) }
		files[StaticSigned] = func(r *rand.Rand) []byte { return Query(j.name(r, "s", SignedZone), 0, true) }
	}
	for name, draw := range files {
		if err := WriteFile(filepath.Join(j.Dir, name), max(perFile, j.Names), draw); err != nil {
			return err
		}
	}
	return nil
}

// WriteFile writes n queries, the same in every run and of the same clients in every file, each behind its length in two bytes.
func WriteFile(file string, n int, draw func(*rand.Rand) []byte) error {
	random := rand.New(rand.NewPCG(7, 7))
	var all []byte
	for range n {
		q := draw(random)
		all = append(binary.BigEndian.AppendUint16(all, uint16(len(q))), q...)
	}
	return os.WriteFile(file, all, 0o644)
}

// ReadQueries reads the first n queries of such a file, or all of them if there are fewer; none is an error.
func ReadQueries(file string, n int) (queries [][]byte, err error) {
	text, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	for len(text) > 0 && len(queries) < n {
		if len(text) < 2 || len(text) < 2+int(binary.BigEndian.Uint16(text)) {
			return nil, fmt.Errorf("%s ends within a query", file)
		}
		size := 2 + int(binary.BigEndian.Uint16(text))
		queries, text = append(queries, text[2:size]), text[size:]
	}
	if len(queries) == 0 {
		return nil, fmt.Errorf("%s holds no query", file)
	}
	return queries, nil
}

// name draws one of the job's names of that kind.
func (j Job) name(r *rand.Rand, kind, zone string) string {
	return fmt.Sprintf("%s%d.%s", kind, r.IntN(j.Names), zone)
}

// Query is a question for a name's A with EDNS; with a client's network of /24, unless client is 0.
func Query(name string, client uint32, do bool) []byte {
	b := []byte{0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 1}
	for label := range strings.SplitSeq(strings.TrimSuffix(name, "."), ".") {
		b = append(append(b, byte(len(label))), label...)
	}
	b = append(b, 0, 0, 1, 0, 1)                     // the root; A, IN
	b = append(b, 0, 0, 41, 1232>>8, 1232&255, 0, 0) // OPT of 1232 bytes
	b = append(b, map[bool]byte{true: 0x80}[do], 0)
	if client == 0 {
		return append(b, 0, 0)
	}
	b = append(b, 0, 11, 0, 8, 0, 7, 0, 1, 24, 0) // client subnet, IPv4, /24
	return append(b, byte(client>>24), byte(client>>16), byte(client>>8))
}

type (
	addrRange  struct{ first, last uint32 }
	addrRanges []addrRange
)

// draw gives an address: first a range, each as likely as another, then one within.
func (all addrRanges) draw(r *rand.Rand) uint32 {
	in := all[r.IntN(len(all))]
	return in.first + uint32(r.Uint64N(uint64(in.last-in.first)+1))
}

// readRanges reads lines of "first,last,country" with addresses as numbers; ranges without a country are left out.
func readRanges(file string) (addrRanges, error) {
	text, err := os.ReadFile(file)
	if err != nil {
		return nil, fmt.Errorf("%w (apt-get install tor-geoipdb)", err)
	}
	var ranges addrRanges
	for line := range strings.Lines(string(text)) {
		var r addrRange
		var country string
		if strings.HasPrefix(line, "#") {
			continue
		}
		if _, err := fmt.Sscanf(strings.ReplaceAll(line, ",", " "), "%d %d %s", &r.first, &r.last, &country); err == nil &&
			country != "??" {
			ranges = append(ranges, r)
		}
	}
	if len(ranges) < 1000 {
		return nil, fmt.Errorf("%s: only %d ranges", file, len(ranges))
	}
	return ranges, nil
}
