package transfer

import (
	"crypto/hmac"
	"encoding/binary"
	"errors"

	"github.com/gti/gtm/pkg/dnswire"
)

// Errors of TSIG (RFC 8945, 3; RFC 6895).
const (
	badSig   = 16
	badKey   = 17
	badTime  = 18
	badTrunc = 22
)

const (
	typeTSIG = 250
	classANY = 255
	fudge    = 300 // seconds that clocks may differ
	header   = 12
)

// tsig is a TSIG record and where it stands.
type tsig struct {
	at    int // offset in the message
	owner []byte
	alg   []byte
	time  uint64
	fudge uint16
	mac   []byte
	id    uint16
	err   uint16
	other []byte
}

var errFormat = errors.New("the message cannot be read")

// findTSIG reads the TSIG record at the end of msg; nil: there is none. An error means FORMERR.
func findTSIG(msg []byte) (*tsig, error) {
	at, err := lastRecord(msg)
	if err != nil || at < 0 {
		return nil, err
	}
	owner, off := readName(msg, at)
	if off < 0 || len(msg)-off < 10 {
		return nil, errFormat
	}
	fixed := msg[off:]
	if binary.BigEndian.Uint16(fixed) != typeTSIG {
		return nil, nil
	}
	if binary.BigEndian.Uint16(fixed[2:]) != classANY || binary.BigEndian.Uint32(fixed[4:]) != 0 {
		return nil, errFormat
	}
	t := &tsig{at: at, owner: owner}
	if !t.data(fixed[10:]) {
		return nil, errFormat
	}
	return t, nil
}

// data reads the RDATA (RFC 8945, 4.2). All of it must be used.
func (t *tsig) data(b []byte) bool {
	alg, off := readName(b, 0)
	if off < 0 || len(b)-off < 10 || b[0] >= 0xC0 {
		return false
	}
	t.alg = alg
	b = b[off:]
	t.time = uint64(binary.BigEndian.Uint16(b))<<32 | uint64(binary.BigEndian.Uint32(b[2:]))
	t.fudge = binary.BigEndian.Uint16(b[6:])
	n := int(binary.BigEndian.Uint16(b[8:]))
	if b = b[10:]; len(b) < n+6 {
		return false
	}
	t.mac = b[:n]
	b = b[n:]
	t.id, t.err = binary.BigEndian.Uint16(b), binary.BigEndian.Uint16(b[2:])
	n = int(binary.BigEndian.Uint16(b[4:]))
	t.other = b[6:]
	return len(t.other) == n
}

// lastRecord gives the offset of the message's last additional record, -1 if it has none.
func lastRecord(msg []byte) (int, error) {
	if len(msg) < header {
		return 0, errFormat
	}
	counts := [4]int{}
	for i := range counts {
		counts[i] = int(binary.BigEndian.Uint16(msg[4+2*i:]))
	}
	off := header
	for range counts[0] {
		if _, off = readName(msg, off); off < 0 || len(msg)-off < 4 {
			return 0, errFormat
		}
		off += 4
	}
	last, records := -1, counts[1]+counts[2]+counts[3]
	for i := range records {
		if i >= counts[1]+counts[2] {
			last = off
		}
		if is := typeAt(msg, off) == typeTSIG; is && (i < records-1 || last < 0) {
			return 0, errFormat // it stands last, among the additional records (RFC 8945, 5.1)
		}
		if off = skipRecord(msg, off); off < 0 {
			return 0, errFormat
		}
	}
	if off != len(msg) {
		return 0, errFormat
	}
	return last, nil
}

// typeAt gives the type of the record at off; 0: there is none that can be read.
func typeAt(msg []byte, off int) uint16 {
	_, off = readName(msg, off)
	if off < 0 || len(msg)-off < 2 {
		return 0
	}
	return binary.BigEndian.Uint16(msg[off:])
}

func skipRecord(msg []byte, off int) int {
	_, off = readName(msg, off)
	if off < 0 || len(msg)-off < 10 {
		return -1
	}
	off += 10 + int(binary.BigEndian.Uint16(msg[off+8:]))
	if off > len(msg) {
		return -1
	}
	return off
}

// readName gives the name at off, folded and uncompressed, and the offset behind it; -1: it cannot be read.
// Pointers must point backwards, so there is an end.
func readName(msg []byte, off int) (name []byte, end int) {
	end = -1
	for limit := off; off < len(msg); {
		n := int(msg[off])
		switch {
		case n == 0:
			if end < 0 {
				end = off + 1
			}
			name = append(name, 0)
			if len(name) > 255 {
				return nil, -1
			}
			dnswire.FoldName(name)
			return name, end
		case n >= 0xC0:
			if off+2 > len(msg) {
				return nil, -1
			}
			to := int(binary.BigEndian.Uint16(msg[off:]) & 0x3FFF)
			if to >= limit || to < header {
				return nil, -1
			}
			if end < 0 {
				end = off + 2
			}
			off, limit = to, to
		case n > 63 || off+1+n > len(msg) || len(name)+1+n > 254:
			return nil, -1
		default:
			name = append(name, msg[off:off+1+n]...)
			off += 1 + n
		}
	}
	return nil, -1
}

// session is what signed messages of one exchange have in common. The zero value signs a request.
type session struct {
	key     *key
	pending []byte // messages that came without TSIG since
	prior   []byte // the MAC before: the request's, then that of each message of a stream
	later   bool   // a message of this stream has been signed or verified: from now on the digest has timers only
	// relayed: a forwarder gave the request another ID than it was signed with (RFC 8945, 5.5). Replies are signed with that one, and
	// go out with the one that the forwarder knows, id.
	relayed bool
	id      uint16
}

// digest gives the MAC over a message without its TSIG record, and the record's own fields (RFC 8945, 4.3.3).
func (s *session) digest(msg []byte, t *tsig) []byte {
	h := s.key.mac()
	if s.prior != nil {
		_, _ = h.Write(binary.BigEndian.AppendUint16(nil, uint16(len(s.prior))))
		_, _ = h.Write(s.prior)
	}
	_, _ = h.Write(s.pending)
	_, _ = h.Write(msg)
	var b []byte
	if !s.later {
		b = append(append(b, s.key.wire...), 0, classANY, 0, 0, 0, 0)
		b = append(b, s.key.alg.wire...)
	}
	b = appendTime(b, t.time)
	b = binary.BigEndian.AppendUint16(b, t.fudge)
	if !s.later {
		b = binary.BigEndian.AppendUint16(b, t.err)
		b = binary.BigEndian.AppendUint16(b, uint16(len(t.other)))
		b = append(b, t.other...)
	}
	_, _ = h.Write(b)
	return h.Sum(nil)
}

func appendTime(b []byte, t uint64) []byte {
	return binary.BigEndian.AppendUint32(binary.BigEndian.AppendUint16(b, uint16(t>>32)), uint32(t))
}

// strip gives a copy of the message without the TSIG record, with the ID that it was signed with.
func (t *tsig) strip(msg []byte) []byte {
	out := append(make([]byte, 0, len(msg)), msg[:t.at]...)
	binary.BigEndian.PutUint16(out, t.id)
	binary.BigEndian.PutUint16(out[10:], binary.BigEndian.Uint16(out[10:])-1)
	return out
}

// verify checks the TSIG of a message at a time (Unix seconds) and gives the message without it. code is 0, or the TSIG error.
func (s *session) verify(msg []byte, t *tsig, now uint64) (plain []byte, code uint16, err error) {
	size := s.key.alg.size
	if len(t.mac) > size || len(t.mac) < max(10, size/2) {
		return nil, 0, errFormat // RFC 8945, 5.2.2.1
	}
	plain = t.strip(msg)
	sum := s.digest(plain, t)
	switch {
	case !hmac.Equal(sum[:len(t.mac)], t.mac):
		return nil, badSig, nil
	case now > t.time+uint64(t.fudge) || now+uint64(t.fudge) < t.time:
		code = badTime
	case len(t.mac) < size:
		code = badTrunc // a shorter MAC is not what we agreed on
	}
	s.prior = t.mac
	return plain, code, nil
}

// overhead is how much sign appends at most.
func (s *session) overhead() int {
	return len(s.key.wire) + 10 + len(s.key.alg.wire) + 16 + s.key.alg.size + 6
}

// sign appends the TSIG record to a message. code is a TSIG error to tell of; with badTime the time is the request's, and ours
// goes along.
func (s *session) sign(msg []byte, now uint64, code uint16, requested uint64) []byte {
	t := &tsig{time: now, fudge: fudge, id: binary.BigEndian.Uint16(msg), err: code}
	if code == badTime {
		t.time, t.other = requested, appendTime(nil, now)
	}
	t.mac = s.digest(msg, t)
	t.owner, t.alg = s.key.wire, s.key.alg.wire
	s.prior = t.mac
	if s.relayed {
		binary.BigEndian.PutUint16(msg, s.id)
	}
	return t.append(msg)
}

// append writes the record, and counts it.
func (t *tsig) append(msg []byte) []byte {
	msg = append(msg, t.owner...)
	msg = append(msg, 0, typeTSIG, 0, classANY, 0, 0, 0, 0)
	msg = binary.BigEndian.AppendUint16(msg, uint16(len(t.alg)+16+len(t.mac)+len(t.other)))
	msg = append(msg, t.alg...)
	msg = appendTime(msg, t.time)
	msg = binary.BigEndian.AppendUint16(msg, t.fudge)
	msg = binary.BigEndian.AppendUint16(msg, uint16(len(t.mac)))
	msg = append(msg, t.mac...)
	msg = binary.BigEndian.AppendUint16(msg, t.id)
	msg = binary.BigEndian.AppendUint16(msg, t.err)
	msg = binary.BigEndian.AppendUint16(msg, uint16(len(t.other)))
	msg = append(msg, t.other...)
	binary.BigEndian.PutUint16(msg[10:], binary.BigEndian.Uint16(msg[10:])+1)
	return msg
}
