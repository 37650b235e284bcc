package transfer

import (
	"bytes"
	"cmp"
	"encoding/binary"

	"github.com/gti/gtm/pkg/dnswire"
	"github.com/gti/gtm/pkg/table"
	"github.com/gti/gtm/pkg/zone"
)

// rr is one record: owner folded, nothing compressed.
type rr struct {
	owner []byte
	typ   uint16
	ttl   uint32
	data  []byte
}

// compare orders records canonically, and those of one set by their bytes.
func (r *rr) compare(o *rr) int {
	if !bytes.Equal(r.owner, o.owner) {
		return zone.CompareNames(r.owner, o.owner)
	}
	return cmp.Or(cmp.Compare(r.typ, o.typ), cmp.Compare(r.ttl, o.ttl), bytes.Compare(r.data, o.data))
}

func (r *rr) size() int { return len(r.owner) + 10 + len(r.data) }

// flatten gives the records of sets that are in canonical order.
func flatten(sets []table.RRset) []rr {
	var out []rr
	for _, s := range sets {
		for _, d := range s.Data {
			out = append(out, rr{s.Owner, s.Type, s.TTL, d})
		}
	}
	return out
}

// diff tells what goes and what comes between two sorted lists, the SOA records apart.
func diff(old, fresh []rr) (gone, come []rr) {
	for len(old) > 0 || len(fresh) > 0 {
		c := 0
		switch {
		case len(old) == 0:
			c = 1
		case len(fresh) == 0:
			c = -1
		default:
			c = old[0].compare(&fresh[0])
		}
		if c <= 0 {
			if c < 0 && old[0].typ != dnswire.TypeSOA {
				gone = append(gone, old[0])
			}
			old = old[1:]
		}
		if c >= 0 {
			if c > 0 && fresh[0].typ != dnswire.TypeSOA {
				come = append(come, fresh[0])
			}
			fresh = fresh[1:]
		}
	}
	return gone, come
}

// newer reports whether serial a comes after b (RFC 1982).
func newer(a, b uint32) bool { return int32(a-b) > 0 }

// packer puts records into messages and sends each that is full.
type packer struct {
	head    []byte // header and question, as the first message has them
	opt     bool
	session *session // nil: not signed
	now     func() uint64
	send    func([]byte) error

	msg   []byte
	count int
	names map[string]uint16 // suffixes of owners, and where they stand
	sent  int               // messages
}

// maxMessage is where a message is full: up to there compression pointers reach.
const maxMessage = 0x3FFF

func (p *packer) add(r *rr) error {
	if p.count > 0 && len(p.msg)+r.size() > maxMessage {
		if err := p.flush(); err != nil {
			return err
		}
	}
	if p.msg == nil {
		p.begin()
	}
	p.owner(r.owner)
	p.msg = binary.BigEndian.AppendUint16(p.msg, r.typ)
	p.msg = binary.BigEndian.AppendUint16(p.msg, dnswire.ClassIN)
	p.msg = binary.BigEndian.AppendUint32(p.msg, r.ttl)
	p.msg = binary.BigEndian.AppendUint16(p.msg, uint16(len(r.data)))
	p.msg = append(p.msg, r.data...)
	p.count++
	return nil
}

func (p *packer) all(list []rr) error {
	for i := range list {
		if list[i].typ == dnswire.TypeSOA {
			continue
		}
		if err := p.add(&list[i]); err != nil {
			return err
		}
	}
	return nil
}

// begin starts a message. Only the first one repeats the question (RFC 5936, 2.2.1 leaves that open for the rest).
func (p *packer) begin() {
	p.msg = append(make([]byte, 0, maxMessage+1024), p.head...)
	p.names, p.count = map[string]uint16{}, 0
	if p.sent > 0 {
		p.msg = p.msg[:header]
		binary.BigEndian.PutUint16(p.msg[4:], 0)
	}
}

// owner writes a name, and points to what of it stands in the message already.
func (p *packer) owner(name []byte) {
	for off := 0; name[off] != 0; off += 1 + int(name[off]) {
		if at, ok := p.names[string(name[off:])]; ok {
			p.msg = binary.BigEndian.AppendUint16(p.msg, 0xC000|at)
			return
		}
		if len(p.msg) <= maxMessage {
			p.names[string(name[off:])] = uint16(len(p.msg))
		}
		p.msg = append(p.msg, name[off:off+1+int(name[off])]...)
	}
	p.msg = append(p.msg, 0)
}

func (p *packer) flush() error {
	if p.count == 0 {
		return nil
	}
	binary.BigEndian.PutUint16(p.msg[6:], uint16(p.count))
	if p.opt {
		p.msg = appendOPT(p.msg)
	}
	if p.session != nil {
		p.msg = p.session.sign(p.msg, p.now(), 0, 0)
		p.session.later = true
	}
	err := p.send(p.msg)
	p.sent++
	p.msg, p.count = nil, 0
	return err
}

// appendOPT writes an OPT record without options, and counts it.
func appendOPT(msg []byte) []byte {
	msg = dnswire.AppendOPT(msg, &dnswire.OPT{UDPSize: udpSize})
	binary.BigEndian.PutUint16(msg[10:], binary.BigEndian.Uint16(msg[10:])+1)
	return msg
}

const udpSize = 1232
