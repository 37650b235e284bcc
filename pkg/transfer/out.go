package transfer

import (
	"encoding/binary"

	"github.com/gti/gtm/pkg/dnswire"
	"github.com/gti/gtm/pkg/table"
)

// transfer answers AXFR and IXFR.
func (x *exchange) transfer() Reply {
	kind := "axfr"
	if x.qtype == dnswire.TypeIXFR {
		kind = "ixfr"
	}
	refuse := func(rcode uint16) Reply {
		x.s.metrics.transfers.WithLabelValues(kind, "refused").Inc()
		return x.fail(rcode)
	}
	have, ok := x.clientSerial()
	if !ok {
		return refuse(dnswire.RcodeFormErr)
	}
	v := x.s.cfg.View()
	if v == nil {
		return refuse(dnswire.RcodeServFail)
	}
	z := v.Zone(x.name)
	switch {
	case z == nil:
		return refuse(rcodeNotAuth)
	case !x.allowed(z):
		x.s.warn("a zone transfer is refused", "zone", z.Name, "client", x.m.Source, "key", x.keyName())
		return refuse(dnswire.RcodeRefused)
	case x.qtype == dnswire.TypeIXFR && !x.m.Stream:
		return x.onlySOA(z) // RFC 1995, 2: the client comes again by TCP if it needs more
	case !x.m.Many:
		return refuse(dnswire.RcodeFormErr) // RFC 5936, 4.2
	case x.qtype == dnswire.TypeIXFR && !newer(z.Serial, have):
		return x.onlySOA(z)
	}
	p := &packer{head: x.begin(0), opt: x.opt, session: x.sess, now: func() uint64 { return uint64(x.s.cfg.Now().Unix()) }}
	if p.opt { // begin has put it behind the question; here it follows the answers
		p.head = p.head[:x.end]
		binary.BigEndian.PutUint16(p.head[10:], 0)
	}
	p.head[2] |= flagAA
	incremental, source := x.qtype == dnswire.TypeIXFR, x.m.Source
	return Reply{Produce: func(send func([]byte) error) error {
		p.send = send
		err := x.s.produce(p, v, z, incremental, have)
		result := "sent"
		if err != nil {
			result = "failed"
			x.s.log.Warn("a zone transfer failed", "zone", z.Name, "client", source, "error", err)
		}
		x.s.metrics.transfers.WithLabelValues(kind, result).Inc()
		return err
	}}
}

func (x *exchange) keyName() string {
	if x.sess == nil {
		return ""
	}
	return x.sess.key.name
}

// clientSerial reads the serial of the SOA record in the authority section of an IXFR (RFC 1995, 3).
func (x *exchange) clientSerial() (serial uint32, ok bool) {
	msg := x.plain
	an, ns := binary.BigEndian.Uint16(msg[6:]), binary.BigEndian.Uint16(msg[8:])
	if x.qtype != dnswire.TypeIXFR {
		return 0, an == 0 && ns == 0
	}
	if an != 0 || ns != 1 {
		return 0, false
	}
	_, off := readName(msg, x.end)
	end := skipRecord(msg, x.end)
	if off < 0 || end < off+10+22 || binary.BigEndian.Uint16(msg[off:]) != dnswire.TypeSOA {
		return 0, false
	}
	return soaSerial(msg[off+10 : end]), true
}

// onlySOA answers with the SOA record alone: there is nothing newer, or the client is to come by TCP.
func (x *exchange) onlySOA(z *table.Zone) Reply {
	x.s.metrics.transfers.WithLabelValues("ixfr", "current").Inc()
	var out []byte
	opt := x.opt
	x.opt = false
	p := &packer{head: x.begin(0), opt: opt, send: func(msg []byte) error { out = msg; return nil }}
	p.head[2] |= flagAA
	soa := z.SOARecord()
	if p.add(&rr{soa.Owner, soa.Type, soa.TTL, soa.Data[0]}) != nil || p.flush() != nil {
		return Reply{}
	}
	return x.finish(out)
}

// produce sends a zone, or what changed in it since the client's serial.
func (s *Server) produce(p *packer, v *table.View, z *table.Zone, incremental bool, have uint32) error {
	j := s.journal(z.Name)
	now, err := j.at(v, z)
	if err != nil {
		return err
	}
	if err := p.add(&now.soa); err != nil {
		return err
	}
	var steps []step
	if incremental {
		steps = j.since(have, now)
	}
	if steps == nil {
		err = p.all(now.records)
	}
	for i := range steps {
		err = p.step(&steps[i])
		if err != nil {
			break
		}
	}
	if err != nil {
		return err
	}
	if err := p.add(&now.soa); err != nil {
		return err
	}
	return p.flush()
}

// step writes a difference sequence (RFC 1995, 4).
func (p *packer) step(st *step) error {
	if err := p.add(&st.from); err != nil {
		return err
	}
	if err := p.all(st.gone); err != nil {
		return err
	}
	if err := p.add(&st.to); err != nil {
		return err
	}
	return p.all(st.come)
}

func (s *Server) journal(zone string) *journal {
	s.mu.Lock()
	defer s.mu.Unlock()
	j := s.journals[zone]
	if j == nil {
		j = &journal{}
		s.journals[zone] = j
	}
	return j
}
