package latency

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"net/netip"
	"strconv"

	"github.com/gti/gtm/pkg/geo"
)

// measurements are what lines say, summed up by network and site. There may be hundreds of millions, hence numbers instead of pointers.
type measurements struct {
	lines    int
	networks []network
	ids      map[prefix]uint32 // indexes into networks
	sums     [][]sum           // in pieces, so that nothing is copied while they grow; see at
	count    uint32            // of sums
	sites    []string
	siteIDs  map[string]uint16
	last     []byte // the text of the network that came last, and its index
	lastID   uint32
}

// prefix is a network: an IPv6 one, or an IPv4 one in ::/96, where MMDB files have those.
type prefix struct {
	hi, lo uint64
	bits   uint8
}

// network is a prefix, and what is known of it.
type network struct {
	prefix
	first  uint32 // 1 + index of a sum; 0: none
	record uint32 // see table.record
}

// sum is what lines say of one network and site.
type sum struct {
	next    uint32  // of the same network, as network.first
	samples uint32  // at most math.MaxUint32
	ms      float32 // on average
	site    uint16
}

// row is a site of a network.
type row struct {
	site    uint16
	ms      float64
	samples int
}

func newMeasurements() *measurements {
	return &measurements{ids: map[prefix]uint32{}, siteIDs: map[string]uint16{}}
}

// read takes the lines of a file.
func (m *measurements) read(in Input) error {
	m.last = m.last[:0]
	scanner := bufio.NewScanner(in.Reader)
	header := true // may come yet
	n := 0
	for scanner.Scan() {
		n++
		line := bytes.TrimSpace(scanner.Bytes())
		if len(line) == 0 || line[0] == '#' {
			continue
		}
		if header && bytes.HasPrefix(line, []byte("network")) {
			header = false
			continue
		}
		header = false
		if err := m.line(line); err != nil {
			return fmt.Errorf("%s, line %d: %.100q: %w", in.Name, n, line, err)
		}
	}
	if err := scanner.Err(); err != nil {
		return fmt.Errorf("%s, line %d: %w", in.Name, n+1, err)
	}
	return nil
}

// line takes one line.
func (m *measurements) line(line []byte) error {
	var fields [4][]byte
	rest, more := line, true
	for i := range fields {
		if !more {
			return errFields
		}
		fields[i], rest, more = bytes.Cut(rest, []byte(","))
		fields[i] = bytes.TrimSpace(fields[i])
	}
	if more {
		return errFields
	}
	ms, err := strconv.ParseFloat(string(fields[2]), 64)
	if err != nil || !(ms >= 0 && ms <= maxMilliseconds) {
		return fmt.Errorf("%q is no number of milliseconds from 0 to %d", fields[2], maxMilliseconds)
	}
	samples, err := strconv.ParseUint(string(fields[3]), 10, 32)
	if err != nil || samples == 0 {
		return fmt.Errorf("%q is no number of samples, which is 1 or more", fields[3])
	}
	site, err := m.site(fields[1])
	if err != nil {
		return err
	}
	if !bytes.Equal(fields[0], m.last) {
		if m.lastID, err = m.network(string(fields[0])); err != nil {
			m.last = m.last[:0]
			return err
		}
		m.last = append(m.last[:0], fields[0]...)
	}
	m.add(m.lastID, site, ms, uint32(samples))
	m.lines++
	return nil
}

var errFields = errors.New("write network, site, milliseconds and samples, as in 192.0.2.0/24,fra,12.5,40")

// maxMilliseconds is an hour.
const maxMilliseconds = 3_600_000

// site gives the index of a site.
func (m *measurements) site(name []byte) (uint16, error) {
	if i, ok := m.siteIDs[string(name)]; ok {
		return i, nil
	}
	switch {
	case !geo.IsSite(string(name)):
		return 0, fmt.Errorf("%q is not the name of a site: a-z, 0-9 and -, at most 63", name)
	case len(m.sites) == geo.MaxLatencySites:
		return 0, fmt.Errorf("with %s there are more than %d sites", name, geo.MaxLatencySites)
	}
	i := uint16(len(m.sites))
	m.sites = append(m.sites, string(name))
	m.siteIDs[string(name)] = i
	return i, nil
}

// network gives the index of a network.
func (m *measurements) network(text string) (uint32, error) {
	p, err := parseNetwork(text)
	if err != nil {
		return 0, err
	}
	a := p.Addr().As16()
	key := prefix{binary.BigEndian.Uint64(a[:8]), binary.BigEndian.Uint64(a[8:]), uint8(p.Bits())}
	if p.Addr().Is4() {
		key.lo, key.bits = key.lo&math.MaxUint32, key.bits+96
	} else if key.hi == 0 && key.lo>>32 == 0 && key.bits >= 96 {
		return 0, errors.New("in ::/96 there are no IPv6 clients; write IPv4 networks as in 192.0.2.0/24")
	}
	id, ok := m.ids[key]
	if !ok {
		id = uint32(len(m.networks))
		m.networks = append(m.networks, network{prefix: key})
		m.ids[key] = id
	}
	return id, nil
}

// parseNetwork reads a network, or a single address.
func parseNetwork(text string) (netip.Prefix, error) {
	p, err := netip.ParsePrefix(text)
	if err != nil {
		a, err := netip.ParseAddr(text)
		if err != nil || a.Zone() != "" {
			return p, fmt.Errorf("%q is not a network; write it as in 192.0.2.0/24", text)
		}
		p = netip.PrefixFrom(a, a.BitLen())
	}
	if p.Addr().Is4In6() {
		if p.Bits() < 96 {
			return p, fmt.Errorf("%q is not a network; write it as in 192.0.2.0/24", text)
		}
		p = netip.PrefixFrom(p.Addr().Unmap(), p.Bits()-96)
	}
	if masked := p.Masked(); masked != p {
		return p, fmt.Errorf("%s has bits behind its length: did you mean %s?", text, masked)
	}
	return p, nil
}

// piece is how many sums lie side by side.
const piece = 1 << 16

// at gives a sum, by 1 + its index.
func (m *measurements) at(i uint32) *sum { return &m.sums[(i-1)/piece][(i-1)%piece] }

// add takes samples of a network and a site.
func (m *measurements) add(id uint32, site uint16, ms float64, samples uint32) {
	n := &m.networks[id]
	for i := n.first; i != 0; {
		s := m.at(i)
		if s.site == site {
			all := uint64(s.samples) + uint64(samples)
			s.ms += float32((ms - float64(s.ms)) * float64(samples) / float64(all))
			s.samples = uint32(min(all, math.MaxUint32))
			return
		}
		i = s.next
	}
	if m.count%piece == 0 {
		m.sums = append(m.sums, make([]sum, piece))
	}
	m.count++
	*m.at(m.count) = sum{next: n.first, samples: samples, ms: float32(ms), site: site}
	n.first = m.count
}

// rowsOf appends what is known of a network, what came last first.
func (m *measurements) rowsOf(n *network, rows []row) []row {
	for i := n.first; i != 0; {
		s := m.at(i)
		ms, samples := geo.RoundLatency(float64(s.ms), int(s.samples))
		rows = append(rows, row{s.site, ms, samples})
		i = s.next
	}
	return rows
}
