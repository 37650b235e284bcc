package dnswire

import "encoding/binary"

// SetHeader writes the header of a reply into msg[:12]. The lower four bits of flags are the rcode's lower
// four; the others travel in OPT.Rcode. A reply that does not fit is truncated by the caller: it cuts the
// message behind the question, appends OPT again and calls SetHeader with FlagTC.
func SetHeader(msg []byte, id, flags, qd, an, ns, ar uint16) {
	_ = msg[headerLen-1]
	binary.BigEndian.PutUint32(msg, uint32(id)<<16|uint32(flags))
	binary.BigEndian.PutUint64(msg[4:], uint64(qd)<<48|uint64(an)<<32|uint64(ns)<<16|uint64(ar))
}

// OPT describes the OPT record of a reply (RFC 6891).
type OPT struct {
	UDPSize uint16  // what this server takes
	Rcode   uint16  // all 12 bits; the record carries the upper 8
	DO, CO  bool    // echoed
	NSID    []byte  // nil: no option (RFC 5001)
	Subnet  *Subnet // nil or not Present: no option (RFC 7871); else echoed with Scope
	Scope   uint8
	// Cookie is the data of a COOKIE option, client and server cookie (RFC 7873); empty: no option.
	Cookie []byte
	// HasKeepAlive: with KeepAlive, how long the stream may be idle, in units of 100 ms (RFC 7828). Never over UDP.
	HasKeepAlive bool
	KeepAlive    uint16
	HasEDE       bool // an extended error with code EDE and EDEText (RFC 8914)
	EDE          uint16
	EDEText      string // UTF-8, at most 255 bytes of it are sent
	// Block, if not 0, pads the message to a multiple of so many bytes (RFC 7830, 8467), as far as there is room.
	Block uint16
}

// optFixed is the length of an OPT record without options.
const optFixed = 1 + recordLen

// Len is how many bytes AppendOPT appends, without the padding.
func (o *OPT) Len() int {
	n := optFixed
	if o.NSID != nil {
		n += 4 + len(o.NSID)
	}
	if o.Subnet != nil && o.Subnet.Present {
		n += 8 + int(o.Subnet.OptLen)
	}
	if len(o.Cookie) > 0 {
		n += 4 + len(o.Cookie)
	}
	if o.HasKeepAlive {
		n += 6
	}
	if o.HasEDE {
		n += 6 + len(o.text())
	}
	return n
}

// text is EDEText cut to what is sent, between two characters.
func (o *OPT) text() string {
	s := o.EDEText
	if len(s) <= 255 {
		return s
	}
	n := 255
	for n > 0 && s[n]&0xC0 == 0x80 {
		n--
	}
	return s[:n]
}

// AppendOPT appends the record to b and gives b back. It allocates only where b has no room for o.Len() bytes. With
// Block, b is the message from its header on, cap(b) is all that it may take, and the record must be its last.
func AppendOPT(b []byte, o *OPT) []byte {
	flags := flagsOf(o.DO)
	if o.CO {
		flags |= ednsCO
	}
	size := o.Len() - optFixed
	pad := 0
	if o.Block > 0 {
		pad = o.padding(len(b)+optFixed+size, cap(b))
		size += pad
	}
	b = appendFixed(b, o.UDPSize, o.Rcode, flags, size)
	if o.NSID != nil {
		b = append(b, 0, optNSID, byte(len(o.NSID)>>8), byte(len(o.NSID)))
		b = append(b, o.NSID...)
	}
	if s := o.Subnet; s != nil && s.Present {
		b = s.append(b, o.Scope)
	}
	if len(o.Cookie) > 0 {
		b = append(b, 0, optCookie, byte(len(o.Cookie)>>8), byte(len(o.Cookie)))
		b = append(b, o.Cookie...)
	}
	if o.HasKeepAlive {
		b = append(b, 0, optTCPKeepalive, 0, 2, byte(o.KeepAlive>>8), byte(o.KeepAlive))
	}
	if o.HasEDE {
		text := o.text()
		size := 2 + len(text)
		b = append(b, 0, optEDE, byte(size>>8), byte(size), byte(o.EDE>>8), byte(o.EDE))
		b = append(b, text...)
	}
	if pad > 0 {
		b = append(b, 0, optPadding, byte((pad-4)>>8), byte(pad-4))
		clear(b[len(b) : len(b)+pad-4])
		b = b[:len(b)+pad-4]
	}
	return b
}

// appendFixed appends an OPT record that has size bytes of options, up to them.
func appendFixed(b []byte, udpSize, rcode, flags uint16, size int) []byte {
	return append(b, 0, 0, byte(TypeOPT), byte(udpSize>>8), byte(udpSize),
		byte(rcode>>4), 0, byte(flags>>8), byte(flags), byte(size>>8), byte(size))
}

// append appends the option that tells a client for which network an answer holds (RFC 7871, 6).
func (s *Subnet) append(b []byte, scope uint8) []byte {
	b = append(b, 0, optSubnet, 0, 4+s.OptLen, byte(s.Family>>8), byte(s.Family), s.Source, scope)
	if n := len(b); cap(b)-n >= len(s.Addr) { // as one piece, quicker than a few bytes
		*(*[16]byte)(b[n:cap(b)]) = s.Addr
		return b[:n+int(s.OptLen)]
	}
	return append(b, s.Addr[:s.OptLen]...)
}

// AppendUsualOPT is AppendOPT for an OPT that has UDPSize, DO, Subnet, Scope and Cookie alone, with a cookie that is empty or as long
// as those of this server.
func AppendUsualOPT(b []byte, udpSize uint16, do bool, s *Subnet, scope uint8, cookie []byte) []byte {
	size := 0
	if s.Present {
		size = 8 + int(s.OptLen)
	}
	if len(cookie) == 0 {
		b = appendFixed(b, udpSize, 0, flagsOf(do), size)
		if s.Present {
			b = s.append(b, scope)
		}
		return b
	}
	b = appendFixed(b, udpSize, 0, flagsOf(do), size+4+len(cookie))
	if s.Present {
		b = s.append(b, scope)
	}
	b = append(b, 0, optCookie, 0, byte(len(cookie)))
	return append(b, cookie...)
}

func flagsOf(do bool) uint16 {
	if do {
		return ednsDO
	}
	return 0
}

// MaxUsualOPT is how many bytes AppendUsualOPT appends at most.
const MaxUsualOPT = optFixed + 8 + 16 + 4 + 8 + ServerCookieLen

// padding gives the length of the Padding option, with its head, for a message of n bytes that may have most bytes:
// up to the end of a block, or to most (RFC 8467, 4.1). 0: no option.
func (o *OPT) padding(n, most int) int {
	block := int(o.Block)
	end := min((n+4+block-1)/block*block, most)
	if end < n+4 {
		return 0
	}
	return end - n
}

// AppendTXT appends the RDATA of a TXT record (RFC 1035, 3.3.14), without its length. A string longer than
// 255 bytes goes on in a further one; no strings at all make one empty string, since there must be one.
func AppendTXT(b []byte, strings ...string) []byte {
	if len(strings) == 0 {
		return append(b, 0)
	}
	for _, s := range strings {
		for len(s) > 255 {
			b = append(b, 255)
			b = append(b, s[:255]...)
			s = s[255:]
		}
		b = append(b, byte(len(s)))
		b = append(b, s...)
	}
	return b
}
