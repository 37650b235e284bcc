package answer

import "github.com/gti/gtm/pkg/dnswire"

// MaxUDP is the largest reply over UDP, and what the OPT record advertises (as the DNS flag day of 2020 advises),
// unless Config says otherwise.
const MaxUDP = 1232

// padBlock is what replies over encrypted transports are padded to a multiple of (RFC 8467, 4.1). Unlike that text it
// is done unasked too, since over QUIC it must be (RFC 9250, 5.4).
const padBlock = 468

// cookieLen is the length of the cookies in a reply: the client's and ours.
const cookieLen = 8 + dnswire.ServerCookieLen

// beginEDNS says what the reply's OPT record will hold, and takes its room off the limit. What was asked for and is
// not known here is left out of the reply, without a fault (RFC 6891, 6.1.2; RFC 8906, 3.2.4).
func (a *Answerer) beginEDNS(q *dnswire.Query) {
	r, o := &a.reply, &a.opt
	o.UDPSize, o.DO, o.CO, o.Subnet, o.Scope = uint16(a.cfg.MaxUDP), q.DO, q.CO, &q.Subnet, 0
	o.NSID, o.Cookie, o.HasKeepAlive, o.HasEDE, o.Block = nil, nil, false, false, 0
	if q.Cookie.Present {
		a.takeCookie(q)
	}
	if a.meta.Encrypted {
		o.Block = padBlock
	}
	if q.TCPKeepalive && a.meta.Stream && a.meta.KeepAlive > 0 {
		o.HasKeepAlive, o.KeepAlive = true, a.meta.KeepAlive
	}
	r.limit -= o.Len()
	// The other options always fit beside a question into 512 bytes; a long NSID may not.
	if q.NSID && r.pos+4+len(a.nsid) <= r.limit {
		o.NSID = a.nsid
		r.limit -= 4 + len(a.nsid)
	}
}

// takeCookie checks the query's cookies and gives the client those to use next time (RFC 7873, 5.2).
func (a *Answerer) takeCookie(q *dnswire.Query) {
	if a.cfg.Cookies == nil {
		return
	}
	secrets := a.cfg.Cookies.Load()
	if secrets == nil {
		return
	}
	c, addr, now := &q.Cookie, a.meta.Source.Addr(), a.cfg.Clock()
	valid, fresh := secrets.Verify(c, addr, now)
	*(*[8]byte)(a.cookie[:]) = c.Client
	server := (*[dnswire.ServerCookieLen]byte)(a.cookie[8:])
	if fresh {
		*server = [dnswire.ServerCookieLen]byte(c.Server[:])
	} else {
		secrets.Make(server, c.Client, addr, now)
	}
	a.opt.Cookie = a.cookie[:]
	a.exempt = valid
	switch {
	case valid:
	case q.NameLen == 0: // it asks whether its server cookie is good (RFC 7873, 5.4)
		a.badCookie = c.ServerLen > 0
	default:
		a.badCookie = a.cfg.RequireCookies && !a.meta.Stream
	}
}

// fail sets an error and, for clients with EDNS, its extended form (RFC 8914), as far as there is room. It comes
// before any section.
func (a *Answerer) fail(rcode, code uint16, text string) {
	a.rcode = rcode
	r, o := &a.reply, &a.opt
	if !a.q.EDNS || r.pos+6 > r.limit {
		return
	}
	if r.pos+6+len(text) > r.limit {
		text = ""
	}
	was := o.Len()
	o.HasEDE, o.EDE, o.EDEText = true, code, text
	r.limit -= o.Len() - was
}
