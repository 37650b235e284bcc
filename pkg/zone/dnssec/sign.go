package dnssec

import (
	"bytes"
	"crypto"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"slices"
	"sync"
)

// What Sign cannot sign.
var (
	errNoPrivate = errors.New("a key without its private part cannot sign")
	errOwner     = errors.New("the owner is not a name in wire form, or has fewer labels than the signature is to name")
	errRDATA     = errors.New("an RDATA is longer than 65535 bytes, or there is none")
	errSignature = errors.New("a signature came out in an unknown form")
)

// The parts of an RRSIG's RDATA (RFC 4034, 3.1).
const (
	rrsigFixed    = 18 // in front of the signer's name
	signatureSize = 64 // of both algorithms
)

// scratch holds the bytes that one signature covers.
type scratch struct {
	message []byte
	digest  [sha256.Size]byte
}

var scratches = sync.Pool{New: func() any { return &scratch{message: make([]byte, 0, 4096)} }}

// Labels gives what an RRSIG's labels field says of an owner: its labels without the root and a leading
// asterisk (RFC 4034, 3.1.3).
func Labels(owner []byte) uint8 {
	n := uint8(0)
	for i := 0; i < len(owner) && owner[i] != 0; i += 1 + int(owner[i]) {
		n++
	}
	if isWildcard(owner) {
		n--
	}
	return n
}

func isWildcard(owner []byte) bool { return len(owner) > 1 && owner[0] == 1 && owner[1] == '*' }

// Sign gives the RDATA of the RRSIG of a set of class IN, with the key's tag and algorithm. Times are seconds
// since 1970; inception and expiration are what resolvers see. Where the owner has more labels than labels
// says, it was made from a wildcard and the signature is the wildcard's (RFC 4035, 5.3.2). Owner and signer are
// folded; data is any form of the set: it is brought into canonical form and order where it is not (RFC 4034, 6.2
// and 6.3; RFC 6840, 5.1). The same input gives the same signature (RFC 6979), at every edge.
// Safe for concurrent use.
func (k *Key) Sign(owner []byte, labels uint8, typ uint16, ttl uint32, data [][]byte, signer []byte, inception, expiration uint32) (
	[]byte, error) {
	if !k.Private() {
		return nil, errNoPrivate
	}
	star, suffix, err := signedOwner(owner, labels)
	if err != nil {
		return nil, err
	}
	rrsig := make([]byte, rrsigFixed, rrsigFixed+len(signer)+signatureSize)
	binary.BigEndian.PutUint16(rrsig, typ)
	rrsig[2], rrsig[3] = byte(k.alg), labels
	binary.BigEndian.PutUint32(rrsig[4:], ttl)
	binary.BigEndian.PutUint32(rrsig[8:], expiration)
	binary.BigEndian.PutUint32(rrsig[12:], inception)
	binary.BigEndian.PutUint16(rrsig[16:], k.tag)
	rrsig = append(rrsig, signer...)

	s := scratches.Get().(*scratch)
	defer scratches.Put(s)
	s.message = append(s.message[:0], rrsig...)
	for _, d := range canonicalSet(typ, data) {
		if len(d) > 0xFFFF {
			return nil, errRDATA
		}
		if star {
			s.message = append(s.message, 1, '*')
		}
		s.message = append(s.message, suffix...)
		s.message = binary.BigEndian.AppendUint16(s.message, typ)
		s.message = binary.BigEndian.AppendUint16(s.message, 1) // class IN
		s.message = binary.BigEndian.AppendUint32(s.message, ttl)
		s.message = binary.BigEndian.AppendUint16(s.message, uint16(len(d)))
		s.message = append(s.message, d...)
	}
	if len(data) == 0 {
		return nil, errRDATA
	}
	return k.appendSignature(rrsig, s)
}

// signedOwner gives the owner that a signature covers: suffix, behind an asterisk where star is set.
func signedOwner(owner []byte, labels uint8) (star bool, suffix []byte, err error) {
	n, end := 0, 0
	for end < len(owner) && owner[end] != 0 {
		if owner[end] > 63 {
			return false, nil, errOwner
		}
		end += 1 + int(owner[end])
		n++
	}
	if end != len(owner)-1 || n < int(labels) {
		return false, nil, errOwner
	}
	if n == int(labels) {
		return false, owner, nil
	}
	for range n - int(labels) {
		owner = owner[1+int(owner[0]):]
	}
	return true, owner, nil
}

func (k *Key) appendSignature(rrsig []byte, s *scratch) ([]byte, error) {
	if k.alg == Ed25519 {
		sig, err := k.ed.Sign(nil, s.message, crypto.Hash(0))
		return append(rrsig, sig...), err
	}
	s.digest = sha256.Sum256(s.message)
	der, err := k.ecdsa.Sign(nil, s.digest[:], crypto.SHA256) // no randomness: as RFC 6979 says
	if err != nil {
		return nil, err
	}
	return appendRS(rrsig, der)
}

// appendRS appends the two numbers of an ECDSA signature in ASN.1, each with 32 bytes (RFC 6605, 4).
func appendRS(b, der []byte) ([]byte, error) {
	if len(der) < 2 || der[0] != 0x30 || int(der[1]) != len(der)-2 {
		return nil, errSignature
	}
	der = der[2:]
	for range 2 {
		if len(der) < 2 || der[0] != 2 || int(der[1]) > len(der)-2 {
			return nil, errSignature
		}
		number := bytes.TrimLeft(der[2:2+int(der[1])], "\x00")
		der = der[2+int(der[1]):]
		if len(number) > 32 {
			return nil, errSignature
		}
		b = append(b, make([]byte, 32-len(number))...)
		b = append(b, number...)
	}
	if len(der) != 0 {
		return nil, errSignature
	}
	return b, nil
}

// canonicalSet gives the set in canonical form and order, without duplicates. It copies only where it must.
func canonicalSet(typ uint16, data [][]byte) [][]byte {
	own := false
	for i, d := range data {
		c := Canonical(typ, d)
		if len(c) == 0 || &c[0] == &d[0] {
			continue
		}
		if !own {
			data, own = slices.Clone(data), true
		}
		data[i] = c
	}
	for i := 1; i < len(data); i++ {
		if bytes.Compare(data[i-1], data[i]) < 0 {
			continue
		}
		if !own {
			data = slices.Clone(data)
		}
		slices.SortFunc(data, bytes.Compare)
		return slices.CompactFunc(data, bytes.Equal)
	}
	return data
}
