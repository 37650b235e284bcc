package draws

import (
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"math"
	"net/netip"

	"github.com/gti/gtm/pkg/dnswire"
	"github.com/gti/gtm/pkg/spec"
	"github.com/gti/gtm/pkg/steer"
	"github.com/gti/gtm/pkg/table/rr"
)

// render appends the records of a set, owner pointing at the question, TTL zero: the service fills it in. asIfUp
// has weights told as they are declared.
func (p *Picks) render(pool *steer.Pool, f rr.Family, set []int, x *Extra, asIfUp bool) (count uint16, err error) {
	switch f {
	case rr.IPv4, rr.IPv6:
		for _, i := range set {
			for _, a := range pool.Candidates[i].Endpoint.Addresses {
				if a.Is4() == (f == rr.IPv4) {
					p.data = rr.Append(p.data, f.Type(), 0, a.AsSlice())
					count++
				}
			}
		}
		return count, nil
	case rr.HTTPS:
		p.data = rr.Append(p.data, f.Type(), 0, svcbData(x.https, pool, set))
		return 1, nil
	case rr.SVCB:
		p.data = rr.Append(p.data, f.Type(), 0, svcbData(x.svcb, pool, set))
		return 1, nil
	}
	for _, i := range set {
		c := &pool.Candidates[i]
		data, err := dnswire.AppendName(hostHead(f, c, x, asIfUp), c.Endpoint.Host)
		if err != nil {
			return 0, fmt.Errorf("endpoint %s: host %q: %w", c.Endpoint.Name, c.Endpoint.Host, err)
		}
		p.data = rr.Append(p.data, f.Type(), 0, data)
		count++
	}
	return count, nil
}

// hostHead gives the RDATA that stands before the host name.
func hostHead(f rr.Family, c *steer.Candidate, x *Extra, asIfUp bool) []byte {
	switch f {
	case rr.SRV: // priority, weight, port (RFC 2782)
		weight := c.Effective
		if asIfUp {
			_, declared := rankOf(c)
			weight = float64(declared)
		}
		b := binary.BigEndian.AppendUint16(nil, uint16((x.srv-1)>>16))
		b = binary.BigEndian.AppendUint16(b, uint16(RecordWeight(weight)))
		return binary.BigEndian.AppendUint16(b, uint16(x.srv-1))
	case rr.MX:
		return binary.BigEndian.AppendUint16(nil, uint16(x.mx-1))
	}
	return nil
}

// RecordWeight is what an SRV record tells of a weight.
func RecordWeight(weight float64) float64 { return math.Ceil(min(weight, math.MaxUint16)) }

// Keys of service parameters (RFC 9460, 14.3.2).
const (
	paramALPN  = 1
	paramPort  = 3
	paramHint4 = 4
	paramECH   = 5
	paramHint6 = 6
)

// svcbHead encodes what a service says of HTTPS or SVCB: the RDATA up to the IPv4 hints, then, behind its length, the ECH
// parameter, which stands between the hints. The target is the owner itself (".").
func svcbHead(r *spec.SVCB) (string, error) {
	if r == nil {
		return "", nil
	}
	b := binary.BigEndian.AppendUint16(nil, max(1, r.Priority))
	b = append(b, 0)
	var alpn []byte
	for _, id := range r.ALPN {
		alpn = append(append(alpn, byte(len(id))), id...)
	}
	if alpn != nil {
		b = appendParam(b, paramALPN, alpn)
	}
	if r.Port != 0 {
		b = appendParam(b, paramPort, binary.BigEndian.AppendUint16(nil, r.Port))
	}
	ech, err := base64.StdEncoding.DecodeString(r.ECH)
	if err != nil {
		return "", fmt.Errorf("ech: %w", err)
	}
	out := append(binary.BigEndian.AppendUint16(nil, uint16(len(b))), b...)
	if len(ech) > 0 {
		out = appendParam(out, paramECH, ech)
	}
	return string(out), nil
}

func appendParam(b []byte, key uint16, value []byte) []byte {
	b = binary.BigEndian.AppendUint16(b, key)
	b = binary.BigEndian.AppendUint16(b, uint16(len(value)))
	return append(b, value...)
}

// svcbData puts the hints of a set of endpoints into what svcbHead encoded; parameters stand in the order of their keys.
func svcbData(head string, pool *steer.Pool, set []int) []byte {
	n := 2 + int(head[0])<<8 + int(head[1])
	var hints [2][]byte
	for _, i := range set {
		for _, a := range pool.Candidates[i].Endpoint.Addresses {
			six := 0
			if !a.Is4() {
				six = 1
			}
			hints[six] = append(hints[six], netip.Addr.AsSlice(a)...)
		}
	}
	data := []byte(head[2:n])
	if hints[0] != nil {
		data = appendParam(data, paramHint4, hints[0])
	}
	data = append(data, head[n:]...)
	if hints[1] != nil {
		data = appendParam(data, paramHint6, hints[1])
	}
	return data
}

// ExtraOf encodes what a service adds to its pools' records.
func ExtraOf(s *spec.Service) (x Extra, err error) {
	if x.https, err = svcbHead(s.HTTPS); err != nil {
		return x, fmt.Errorf("https: %w", err)
	}
	if x.svcb, err = svcbHead(s.SVCB); err != nil {
		return x, fmt.Errorf("svcb: %w", err)
	}
	if s.SRV != nil {
		x.srv = 1 + (uint32(s.SRV.Priority)<<16 | uint32(s.SRV.Port))
	}
	if s.MX != nil {
		x.mx = 1 + uint32(s.MX.Preference)
		if s.MX.Preference == 0 {
			x.mx = 1 + defaultPreference
		}
	}
	return x, nil
}

const defaultPreference = 10
