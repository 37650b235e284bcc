package geo

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"strconv"
	"strings"
	"time"

	"github.com/maxmind/mmdbwriter"
	"github.com/maxmind/mmdbwriter/mmdbtype"
)

// BuildConfig says what Build makes a country database from.
type BuildConfig struct {
	// IPv4 and IPv6 are the geoip and geoip6 files of Debian's tor-geoipdb: lines of first address, last
	// address (IPv4 as numbers) and country, and comments that begin with #. Either may be nil.
	IPv4, IPv6 io.Reader
	// Date is the date of the data. Zero: the latest "# Generated:" of the files' comments.
	Date time.Time
	// Skipped, where it is set, is told of each line whose network or code has no place in the database.
	Skipped func(line string, why error)
}

// Build writes a country MMDB in the layout of GeoLite2-Country. The same input gives the same bytes.
//
// UK is written as GB, and retired codes with one successor as that. The codes that are no country but tell the continent give only
// that: EU and CS (Europe), AP (Asia), AN (North America). Other codes that ISO 3166-1 does not have, above all "??", give nothing, and so
// do reserved networks. Of overlapping ranges the later line wins.
func Build(w io.Writer, cfg BuildConfig) error {
	b := &builder{skipped: cfg.Skipped, date: cfg.Date, records: map[string]mmdbtype.Map{}}
	if b.skipped == nil {
		b.skipped = func(string, error) {}
	}
	if err := b.read("IPv4", cfg.IPv4, parseNumber); err != nil {
		return err
	}
	if err := b.read("IPv6", cfg.IPv6, netip.ParseAddr); err != nil {
		return err
	}
	if len(b.lines) == 0 {
		return errors.New("the input holds no networks; give the files geoip and geoip6 of the package tor-geoipdb")
	}
	if b.date.IsZero() {
		b.date = b.found
	}
	if b.date.IsZero() {
		return errors.New(`the input does not say when it was made (no "# Generated:" line); give the date`)
	}
	return b.write(w)
}

// builder collects ranges.
type builder struct {
	skipped func(string, error)
	date    time.Time
	found   time.Time
	lines   []rangeLine
	records map[string]mmdbtype.Map
}

// rangeLine is one line of input.
type rangeLine struct {
	first, last netip.Addr
	code        string
	text        string
}

// continentOnly are the codes of the input that name no country.
var continentOnly = map[string]string{"EU": "EU", "CS": "EU", "AP": "AS", "AN": "NA"}

func parseNumber(s string) (netip.Addr, error) {
	n, err := strconv.ParseUint(s, 10, 32)
	return u128{hi: n << 32}.addr(true), err
}

// read parses one file.
func (b *builder) read(name string, r io.Reader, parse func(string) (netip.Addr, error)) error {
	if r == nil {
		return nil
	}
	scanner := bufio.NewScanner(r)
	for n := 1; scanner.Scan(); n++ {
		text := strings.TrimSpace(scanner.Text())
		if comment, ok := strings.CutPrefix(text, "#"); ok {
			b.comment(comment)
			continue
		}
		if text == "" {
			continue
		}
		line, err := parseRange(text, parse)
		if err != nil {
			return fmt.Errorf("%s input, line %d: %q: %w", name, n, text, err)
		}
		b.lines = append(b.lines, line)
	}
	if err := scanner.Err(); err != nil {
		return fmt.Errorf("%s input: %w", name, err)
	}
	return nil
}

// comment takes the date of the data from a comment, unless the caller gave one.
func (b *builder) comment(text string) {
	value, ok := strings.CutPrefix(strings.TrimSpace(text), "Generated:")
	if !ok {
		return
	}
	made, err := time.Parse(time.RFC1123, strings.TrimSpace(value))
	if err == nil && made.After(b.found) {
		b.found = made
	}
}

func parseRange(text string, parse func(string) (netip.Addr, error)) (line rangeLine, err error) {
	fields := strings.Split(text, ",")
	if len(fields) != 3 {
		return line, errors.New("write first address, last address, country")
	}
	if line.first, err = parse(fields[0]); err != nil {
		return line, errors.New("the first address cannot be read")
	}
	if line.last, err = parse(fields[1]); err != nil {
		return line, errors.New("the last address cannot be read")
	}
	if line.first.BitLen() != line.last.BitLen() {
		return line, errors.New("both addresses must be of one family")
	}
	if line.last.Less(line.first) {
		return line, errors.New("the last address is below the first")
	}
	line.code, line.text = fields[2], text
	return line, nil
}

// write makes the database.
func (b *builder) write(w io.Writer) error {
	tree, err := mmdbwriter.New(mmdbwriter.Options{
		BuildEpoch:   b.date.Unix(),
		DatabaseType: "gtm-Country",
		Description:  map[string]string{"en": "Countries of networks, from the IPFire location database (CC BY-SA 4.0)"},
		Languages:    []string{"en"},
		RecordSize:   24,
	})
	if err != nil {
		return err
	}
	for _, line := range b.lines {
		record, err := b.record(line.code)
		if err != nil {
			b.skipped(line.text, err)
			continue
		}
		if err := b.insert(tree, line, record); err != nil {
			return err
		}
	}
	var out bytes.Buffer
	if _, err := tree.WriteTo(&out); err != nil {
		return err
	}
	_, err = w.Write(out.Bytes())
	return err
}

// record is the data of a code.
func (b *builder) record(code string) (mmdbtype.Map, error) {
	if record, ok := b.records[code]; ok {
		return record, nil
	}
	country := code
	if iso := otherCodes[code]; iso != "" {
		country = iso
	}
	continent := continentOf[country]
	if continent == "" {
		country, continent = "", continentOnly[code]
	}
	if continent == "" {
		return nil, fmt.Errorf("%q is no code of ISO 3166-1", code)
	}
	record := mmdbtype.Map{"continent": mmdbtype.Map{"code": mmdbtype.String(continent)}}
	if country != "" {
		record["country"] = mmdbtype.Map{"iso_code": mmdbtype.String(country)}
	}
	b.records[code] = record
	return record, nil
}

// insert adds the networks of a range; reserved ones, and aliases of IPv4, are skipped.
func (b *builder) insert(tree *mmdbwriter.Tree, line rangeLine, record mmdbtype.Map) error {
	for _, network := range networksOfRange(line.first, line.last) {
		err := tree.Insert(ipNet(network), record)
		var reserved *mmdbwriter.ReservedNetworkError
		var aliasedNetwork *mmdbwriter.AliasedNetworkError
		switch {
		case errors.As(err, &reserved), errors.As(err, &aliasedNetwork):
			b.skipped(line.text, err)
		case err != nil:
			return fmt.Errorf("network %s: %w", network, err)
		}
	}
	return nil
}

func ipNet(p netip.Prefix) *net.IPNet {
	addr := p.Addr()
	return &net.IPNet{IP: addr.AsSlice(), Mask: net.CIDRMask(p.Bits(), addr.BitLen())}
}

// networksOfRange gives the fewest networks that make up the addresses first to last.
func networksOfRange(first, last netip.Addr) []netip.Prefix {
	x, v4 := fromAddr(first)
	r := newRuns(v4, 3)
	r.add(u128{}, 0)
	r.add(x, 1)
	end, _ := fromAddr(last)
	end, over := end.after(familyBits(v4))
	if !over {
		r.add(end, 0)
	}
	i := r.find(x)
	var list []netip.Prefix
	for {
		n := r.scope(i, x)
		list = append(list, netip.PrefixFrom(x.addr(v4), n))
		next, over := x.after(n)
		if over || i+1 < r.len() && next == r.start(i+1) {
			return list
		}
		x = next
	}
}
