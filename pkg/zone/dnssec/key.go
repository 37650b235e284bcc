// Package dnssec makes what signed zones need: keys, signatures, DS and its like, type bitmaps, NSEC, and the
// life of a zone's keys, as RFC 4033 to 4035, 5155 (bitmaps), 6605, 6781, 6840, 7344, 7583, 8078 and 8080 say.
//
// It knows no clock, no file and no network. Names and RDATA are in wire form, never compressed. All functions
// may be called concurrently; keys and keysets are not changed by being used.
package dnssec

import (
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
)

// Algorithm is the number of a signature algorithm (IANA, DNS Security Algorithm Numbers).
type Algorithm uint8

// The algorithms.
const (
	ECDSAP256 Algorithm = 13 // with SHA-256, RFC 6605
	Ed25519   Algorithm = 15 // RFC 8080
)

// String gives the algorithm as it is declared, as in ecdsa-p256.
func (a Algorithm) String() string {
	switch a {
	case ECDSAP256:
		return "ecdsa-p256"
	case Ed25519:
		return "ed25519"
	}
	return fmt.Sprintf("algorithm %d", uint8(a))
}

// ParseAlgorithm reads what String gives.
func ParseAlgorithm(s string) (Algorithm, error) {
	for _, a := range []Algorithm{ECDSAP256, Ed25519} {
		if s == a.String() {
			return a, nil
		}
	}
	return 0, fmt.Errorf("%q is not an algorithm that can be signed with: use ecdsa-p256 or ed25519", s)
}

// Flags of a DNSKEY (RFC 4034, 2.1.1). Every key here is a zone key; a key-signing key is a secure entry point too.
const (
	flagZone = 1 << 8
	flagSEP  = 1
)

// Key is a key of a zone: its public part and, where it can sign, its private part.
type Key struct {
	alg    Algorithm
	ksk    bool
	tag    uint16
	rdata  []byte // of the DNSKEY
	ecdsa  *ecdsa.PrivateKey
	ed     ed25519.PrivateKey
	public []byte // rdata[4:]
}

// Generate makes a key with its private part. ksk tells a key-signing key from a zone-signing key.
func Generate(alg Algorithm, ksk bool) (*Key, error) {
	switch alg {
	case ECDSAP256:
		k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		if err != nil {
			return nil, err
		}
		return fromECDSA(k, ksk)
	case Ed25519:
		_, k, err := ed25519.GenerateKey(rand.Reader)
		if err != nil {
			return nil, err
		}
		return fromEd25519(k, ksk), nil
	}
	return nil, fmt.Errorf("no key can be made for %v", alg)
}

func fromECDSA(k *ecdsa.PrivateKey, ksk bool) (*Key, error) {
	point, err := k.PublicKey.Bytes()
	if err != nil {
		return nil, err
	}
	key := newKey(ECDSAP256, ksk, point[1:]) // without the byte that says "uncompressed"
	key.ecdsa = k
	return key, nil
}

func fromEd25519(k ed25519.PrivateKey, ksk bool) *Key {
	key := newKey(Ed25519, ksk, k.Public().(ed25519.PublicKey))
	key.ed = k
	return key
}

// publicSize is the length of a public key in a DNSKEY.
func publicSize(a Algorithm) int {
	switch a {
	case ECDSAP256:
		return 64
	case Ed25519:
		return ed25519.PublicKeySize
	}
	return -1
}

func newKey(a Algorithm, ksk bool, public []byte) *Key {
	flags := uint16(flagZone)
	if ksk {
		flags |= flagSEP
	}
	rdata := binary.BigEndian.AppendUint16(make([]byte, 0, 4+len(public)), flags)
	rdata = append(rdata, 3, byte(a)) // protocol (RFC 4034, 2.1.2)
	rdata = append(rdata, public...)
	return &Key{alg: a, ksk: ksk, tag: keyTag(rdata), rdata: rdata, public: rdata[4:]}
}

// ParseKey reads the RDATA of a DNSKEY. The key cannot sign.
func ParseKey(rdata []byte) (*Key, error) {
	if len(rdata) < 4 || rdata[2] != 3 {
		return nil, errors.New("this is not the RDATA of a DNSKEY")
	}
	a := Algorithm(rdata[3])
	if len(rdata)-4 != publicSize(a) {
		return nil, fmt.Errorf("a public key of %v has not %d bytes", a, len(rdata)-4)
	}
	flags := binary.BigEndian.Uint16(rdata)
	if flags&^flagSEP != flagZone {
		return nil, fmt.Errorf("a DNSKEY with flags %d is not used here", flags)
	}
	return newKey(a, flags&flagSEP != 0, rdata[4:]), nil
}

// keyTag is the checksum of RFC 4034, appendix B.
func keyTag(rdata []byte) uint16 {
	sum := uint32(0)
	for i, b := range rdata {
		if i&1 == 0 {
			sum += uint32(b) << 8
		} else {
			sum += uint32(b)
		}
	}
	return uint16(sum + sum>>16)
}

// DNSKEY gives the RDATA of the key's DNSKEY record. It must not be changed.
func (k *Key) DNSKEY() []byte { return k.rdata }

// Tag gives the key tag (RFC 4034, appendix B).
func (k *Key) Tag() uint16 { return k.tag }

// Algorithm gives the key's algorithm.
func (k *Key) Algorithm() Algorithm { return k.alg }

// KSK reports whether it is a key-signing key.
func (k *Key) KSK() bool { return k.ksk }

// Private reports whether the key has its private part and so can sign.
func (k *Key) Private() bool { return k.ecdsa != nil || k.ed != nil }
