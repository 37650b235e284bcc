package dnssec

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"strings"

	"filippo.io/age"
)

// MarshalText gives the private part in the form that BIND's tools and those of others read
// (Private-key-format v1.3), with a line that tells key-signing from zone-signing keys, which they pass over.
func (k *Key) MarshalText() ([]byte, error) {
	var secret []byte
	name := "15 (ED25519)"
	switch {
	case !k.Private():
		return nil, errors.New("the key has no private part")
	case k.ecdsa != nil:
		d, err := k.ecdsa.Bytes()
		if err != nil {
			return nil, err
		}
		secret, name = d, "13 (ECDSAP256SHA256)"
	default:
		secret = k.ed.Seed()
	}
	role := "ZSK"
	if k.ksk {
		role = "KSK"
	}
	return fmt.Appendf(nil, "Private-key-format: v1.3\nAlgorithm: %s\nPrivateKey: %s\nRole: %s\n",
		name, base64.StdEncoding.EncodeToString(secret), role), nil
}

// ParsePrivate reads what MarshalText gives.
func ParsePrivate(text []byte) (*Key, error) {
	fields := map[string]string{}
	for line := range strings.Lines(string(text)) {
		name, value, ok := strings.Cut(line, ":")
		if ok {
			fields[name] = strings.TrimSpace(value)
		}
	}
	if !strings.HasPrefix(fields["Private-key-format"], "v1.") {
		return nil, errors.New("this is no private key: it does not begin with Private-key-format: v1.3")
	}
	secret, err := base64.StdEncoding.DecodeString(fields["PrivateKey"])
	if err != nil || len(secret) != 32 {
		return nil, errors.New("its PrivateKey is not 32 bytes in base64")
	}
	ksk := fields["Role"] == "KSK"
	if !ksk && fields["Role"] != "ZSK" {
		return nil, errors.New("it does not say Role: KSK or Role: ZSK")
	}
	number, _, _ := strings.Cut(fields["Algorithm"], " ")
	switch number {
	case "13":
		k, err := ecdsa.ParseRawPrivateKey(elliptic.P256(), secret)
		if err != nil {
			return nil, fmt.Errorf("its PrivateKey: %w", err)
		}
		return fromECDSA(k, ksk)
	case "15":
		return fromEd25519(ed25519.NewKeyFromSeed(secret), ksk), nil
	}
	return nil, fmt.Errorf("its algorithm %.20q is neither 13 nor 15", number)
}

// Seal encrypts the private part for recipients (age), of whom each can open it.
func (k *Key) Seal(recipients ...age.Recipient) ([]byte, error) {
	text, err := k.MarshalText()
	if err != nil {
		return nil, err
	}
	var b bytes.Buffer
	w, err := age.Encrypt(&b, recipients...)
	if err != nil {
		return nil, err
	}
	if _, err := w.Write(text); err != nil {
		return nil, err
	}
	if err := w.Close(); err != nil {
		return nil, err
	}
	return b.Bytes(), nil
}

// sealedLimit bounds what is decrypted: a private part has some 150 bytes.
const sealedLimit = 4096

// Unseal opens what Seal gave.
func Unseal(sealed []byte, identity age.Identity) (*Key, error) {
	r, err := age.Decrypt(bytes.NewReader(sealed), identity)
	if err != nil {
		return nil, fmt.Errorf("its private part cannot be opened: %w", err)
	}
	text, err := io.ReadAll(io.LimitReader(r, sealedLimit))
	if err != nil {
		return nil, fmt.Errorf("its private part cannot be opened: %w", err)
	}
	return ParsePrivate(text)
}
