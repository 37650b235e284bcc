package dnswire

import (
	"encoding/binary"
	"fmt"
	"net/netip"
)

// Cookie is a COOKIE option (RFC 7873). Without Present the rest means nothing.
type Cookie struct {
	Present   bool
	ServerLen uint8 // 0: the client knows no server cookie yet; else 8 to 32
	Client    [8]byte
	Server    [32]byte // in its first ServerLen bytes; what is behind them is undefined
}

// parse reads the option's data. Lengths other than 8 and 16 to 40 are malformed (RFC 7873, 5.2.2).
func (c *Cookie) parse(data []byte) bool {
	if len(data) != 8 && (len(data) < 16 || len(data) > 40) {
		return false
	}
	c.Client = [8]byte(data)
	c.ServerLen = uint8(copy(c.Server[:], data[8:]))
	c.Present = true
	return true
}

// ServerCookieLen is the length of the server cookies made here.
const ServerCookieLen = 16

// How old a server cookie may be, in seconds (RFC 9018, 4.3).
const (
	cookieLife   = 3600 // after this it is not valid any more
	cookieRenew  = 1800 // after this a new one is due
	cookieFuture = 300  // how far the clock of another server of the same anycast set may be ahead
)

// CookieSecrets make and verify server cookies of version 1 (RFC 9018), which servers that share the secrets take
// from each other, of whatever make they are. They are immutable.
type CookieSecrets struct {
	keys [2]sipKey
	n    int
}

// NewCookieSecrets takes one or two secrets of 16 bytes: the first signs, both verify. To roll over, a set of servers
// first learns the new secret as second, then swaps the two, and drops the old one an hour later (RFC 9018, 5).
func NewCookieSecrets(secrets ...[]byte) (*CookieSecrets, error) {
	s := &CookieSecrets{n: len(secrets)}
	if s.n < 1 || s.n > len(s.keys) {
		return nil, fmt.Errorf("%d cookie secrets: there must be one, or two during a rollover", s.n)
	}
	for i, secret := range secrets {
		if len(secret) != 16 {
			return nil, fmt.Errorf("cookie secret %d has %d bytes: it must have 16", i+1, len(secret))
		}
		s.keys[i] = sipKey{binary.LittleEndian.Uint64(secret), binary.LittleEndian.Uint64(secret[8:])}
	}
	return s, nil
}

// Make writes the server cookie for a client cookie that came from addr. now is in Unix seconds.
func (s *CookieSecrets) Make(to *[ServerCookieLen]byte, client [8]byte, addr netip.Addr, now uint32) {
	binary.BigEndian.PutUint64(to[:], 1<<56|uint64(now)) // version 1, three reserved bytes, the time
	hash := s.keys[0].cookie(client, [8]byte(to[:]), addr)
	binary.LittleEndian.PutUint64(to[8:], hash)
}

// Verify reports whether c came with a server cookie that was made for this client cookie and address within the last
// hour. fresh tells that the client may go on with it; otherwise a new one is due.
func (s *CookieSecrets) Verify(c *Cookie, addr netip.Addr, now uint32) (valid, fresh bool) {
	if !c.Present || c.ServerLen != ServerCookieLen || c.Server[0] != 1 {
		return false, false
	}
	age := int32(now - binary.BigEndian.Uint32(c.Server[4:])) // in serial number arithmetic (RFC 1982)
	if age > cookieLife || age < -cookieFuture {
		return false, false
	}
	hash := binary.LittleEndian.Uint64(c.Server[8:])
	for i := range s.n {
		if s.keys[i].cookie(c.Client, [8]byte(c.Server[:]), addr) == hash {
			reserved := c.Server[1] | c.Server[2] | c.Server[3]
			return true, i == 0 && age <= cookieRenew && reserved == 0
		}
	}
	return false, false
}

// cookie hashes client cookie, the head of the server cookie, and the address as its bytes (RFC 9018, 4.4).
func (k sipKey) cookie(client, head [8]byte, addr netip.Addr) uint64 {
	s := k.start()
	s.feed(binary.LittleEndian.Uint64(client[:]))
	s.feed(binary.LittleEndian.Uint64(head[:]))
	if addr.Is4() {
		ip := addr.As4()
		return s.end(20<<56 | uint64(binary.LittleEndian.Uint32(ip[:])))
	}
	ip := addr.As16()
	s.feed(binary.LittleEndian.Uint64(ip[:8]))
	s.feed(binary.LittleEndian.Uint64(ip[8:]))
	return s.end(32 << 56)
}
