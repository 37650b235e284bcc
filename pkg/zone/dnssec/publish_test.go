package dnssec

import (
	"bytes"
	"crypto"
	"encoding/hex"
	"encoding/json"
	"errors"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"filippo.io/age"
	"github.com/google/go-cmp/cmp"
	"github.com/miekg/dns"
)

// keyring makes keys and keeps them.
type keyring []*Key

func (r *keyring) generate(alg Algorithm, ksk bool) (*Key, error) {
	k, err := Generate(alg, ksk)
	*r = append(*r, k)
	return k, err
}

func TestPublish(t *testing.T) {
	var ring keyring
	p := testPolicy()
	s, _, _, err := Advance(State{}, p, began, ring.generate)
	if err != nil {
		t.Fatal(err)
	}
	check := func(s State, signed int, types ...uint16) []SignedSet {
		t.Helper()
		sets, until, err := Publish("example.", s, p, ring)
		if err != nil {
			t.Fatal(err)
		}
		if !until.Equal(s.Signed.Add(14 * day)) {
			t.Errorf("the signatures hold until %v", until)
		}
		var got []uint16
		for _, set := range sets {
			got = append(got, set.Type)
			var rrs []dns.RR
			for _, d := range set.Data {
				rrs = append(rrs, unpack(t, "example.", set.Type, set.TTL, d))
			}
			if len(set.Sigs) != signed {
				t.Errorf("%s has %d signatures, want %d", dns.TypeToString[set.Type], len(set.Sigs), signed)
			}
			for _, sig := range set.Sigs {
				rr := unpack(t, "example.", dns.TypeRRSIG, set.TTL, sig).(*dns.RRSIG)
				i := slices.IndexFunc(ring, func(k *Key) bool { return k.Tag() == rr.KeyTag && k.KSK() })
				verify(t, ring[i], "example.", sig, rrs)
				if !rr.ValidityPeriod(s.Signed) || !rr.ValidityPeriod(s.Signed.Add(-Skew)) || rr.ValidityPeriod(until.Add(1e9)) {
					t.Errorf("%v is not valid when it should be", rr)
				}
			}
		}
		if !slices.Equal(got, types) {
			t.Errorf("sets %v, want %v", got, types)
		}
		return sets
	}
	check(s, 1, dns.TypeDNSKEY)
	s, _, _, _ = Advance(s, p, began.Add(day), ring.generate)
	sets := check(s, 1, dns.TypeDNSKEY, dns.TypeCDS, dns.TypeCDNSKEY)
	key := unpack(t, "example.", dns.TypeDNSKEY, 3600, sets[2].Data[0]).(*dns.DNSKEY)
	if want := rdataOf(t, key.ToDS(dns.SHA256)); !bytes.Equal(sets[1].Data[0], want) {
		t.Errorf("CDS %x, want %x", sets[1].Data[0], want)
	}

	s, _ = s.DSSeen(began.Add(day))
	s, _ = s.Roll(true)
	s, _, _, _ = Advance(s, p, began.Add(day), ring.generate)   // published
	s, _, _, _ = Advance(s, p, began.Add(2*day), ring.generate) // offered
	sets = check(s, 2, dns.TypeDNSKEY, dns.TypeCDS, dns.TypeCDNSKEY)
	if len(sets[1].Data) != 2 || len(sets[0].Data) != 3 {
		t.Errorf("with both keys: %d DS, %d keys", len(sets[1].Data), len(sets[0].Data))
	}

	p.Sign = false
	s, _, _, _ = Advance(s, p, began.Add(3*day), ring.generate)
	sets = check(s, 2, dns.TypeDNSKEY, dns.TypeCDS, dns.TypeCDNSKEY)
	if got := unpack(t, "example.", dns.TypeCDS, 0, sets[1].Data[0]).String(); !strings.HasSuffix(got, "CDS\t0 0 0 00") {
		t.Errorf("CDS to delete: %s", got)
	}
	if got := unpack(t, "example.", dns.TypeCDNSKEY, 0, sets[2].Data[0]).String(); !strings.HasSuffix(got, "CDNSKEY\t0 3 0 AA==") {
		t.Errorf("CDNSKEY to delete: %s", got)
	}

	var missing *MissingKeyError
	if _, _, err := Publish("example.", s, p, ring[1:]); !errors.As(err, &missing) || missing.Tag != ring[0].Tag() {
		t.Errorf("without the key: %v", err)
	}
}

func TestDS(t *testing.T) {
	for _, alg := range []Algorithm{ECDSAP256, Ed25519} {
		for _, zone := range []string{".", "example.", "a.b.example."} {
			k := mustKey(t, alg, true)
			key := unpack(t, zone, dns.TypeDNSKEY, 3600, k.DNSKEY()).(*dns.DNSKEY)
			if got, want := DS(wire(t, zone), k.DNSKEY()), rdataOf(t, key.ToDS(dns.SHA256)); !bytes.Equal(got, want) {
				t.Errorf("%s: DS %x, want %x", zone, got, want)
			}
			if key.KeyTag() != k.Tag() || key.Flags != 257 || key.Protocol != 3 {
				t.Errorf("key %v, tag %d", key, k.Tag())
			}
		}
	}
}

// The example of RFC 6605, 6.1.
func TestPublishedVector(t *testing.T) {
	text := "Private-key-format: v1.2\nAlgorithm: 13 (ECDSAP256SHA256)\nPrivateKey: GU6SnQ/Ou+xC5RumuIUIuJZteXT2z0O/ok1s38Et6mQ=\n" +
		"Role: KSK\n"
	k, err := ParsePrivate([]byte(text))
	if err != nil {
		t.Fatal(err)
	}
	want := "GojIhhXUN/u4v54ZQqGSnyhWJwaubCvTmeexv7bR6edbkrSqQpF64cYbcB7wNcP+e+MAnLr+Wi9xMWyQLc8NAA=="
	if got := unpack(t, "example.net.", dns.TypeDNSKEY, 3600, k.DNSKEY()).(*dns.DNSKEY).PublicKey; got != want {
		t.Errorf("public key %s", got)
	}
	if k.Tag() != 55648 {
		t.Errorf("tag %d, want 55648", k.Tag())
	}
	ds := hex.EncodeToString(DS(wire(t, "example.net."), k.DNSKEY()))
	if want := "d9600d02" + "b4c8c1fe2e7477127b27115656ad6256f424625bf5c1e2770ce6d6e37df61d17"; ds != want {
		t.Errorf("DS %s, want %s", ds, want)
	}
}

func TestPrivateIsUnderstoodElsewhere(t *testing.T) {
	for _, alg := range []Algorithm{ECDSAP256, Ed25519} {
		k := mustKey(t, alg, true)
		text, err := k.MarshalText()
		if err != nil {
			t.Fatal(err)
		}
		key := unpack(t, "example.", dns.TypeDNSKEY, 3600, k.DNSKEY()).(*dns.DNSKEY)
		private, err := key.ReadPrivateKey(bytes.NewReader(text), "file")
		if err != nil {
			t.Fatal(err)
		}
		set := []dns.RR{unpack(t, "a.example.", dns.TypeA, 60, []byte{1, 2, 3, 4})}
		sig := &dns.RRSIG{Hdr: dns.RR_Header{Ttl: 60}, KeyTag: key.KeyTag(), SignerName: "example.", Algorithm: key.Algorithm, Inception: 1,
			Expiration: 2}
		if err := sig.Sign(private.(crypto.Signer), set); err != nil {
			t.Fatal(err)
		}
		if err := sig.Verify(key, set); err != nil {
			t.Errorf("%v: %v", alg, err)
		}
		again, err := ParsePrivate(text)
		if err != nil || !bytes.Equal(again.DNSKEY(), k.DNSKEY()) || !again.Private() || !again.KSK() {
			t.Errorf("%v: read again: %v %v", alg, again, err)
		}
	}
}

func TestParsePrivateRefuses(t *testing.T) {
	good, err := mustKey(t, ECDSAP256, false).MarshalText()
	if err != nil {
		t.Fatal(err)
	}
	for _, tc := range []struct{ name, old, new, want string }{
		{"not a key", "Private-key-format", "x", "no private key"},
		{"algorithm", "Algorithm: 13", "Algorithm: 8", "neither 13 nor 15"},
		{"secret", "PrivateKey: ", "PrivateKey: AAAA", "32 bytes"},
		{"role", "Role: ZSK", "Role: both", "Role"},
	} {
		_, err := ParsePrivate([]byte(strings.Replace(string(good), tc.old, tc.new, 1)))
		if err == nil || !strings.Contains(err.Error(), tc.want) {
			t.Errorf("%s: %v, want ...%s...", tc.name, err, tc.want)
		}
	}
	if _, err := ParsePrivate([]byte("Private-key-format: v1.3\nAlgorithm: 13\nRole: KSK\nPrivateKey: " +
		"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=\n")); err == nil {
		t.Error("zero is not a private key")
	}
}

func TestParseKeyRefuses(t *testing.T) {
	good := mustKey(t, Ed25519, true).DNSKEY()
	for _, bad := range [][]byte{nil, good[:20], append(slices.Clone(good), 0), append([]byte{1, 1, 2}, good[3:]...),
		append([]byte{0, 1}, good[2:]...), append([]byte{1, 0x81}, good[2:]...), append([]byte{1, 1, 3, 8}, good[4:]...)} {
		if k, err := ParseKey(bad); err == nil {
			t.Errorf("%x was taken for key %d", bad, k.Tag())
		}
	}
	if k, err := ParseKey(good); err != nil || !k.KSK() || k.Private() {
		t.Errorf("%v %v", k, err)
	}
}

func TestOpen(t *testing.T) {
	edge, err := age.GenerateX25519Identity()
	if err != nil {
		t.Fatal(err)
	}
	stranger, err := age.GenerateX25519Identity()
	if err != nil {
		t.Fatal(err)
	}
	var zsks []ZSK
	for i := range 3 {
		k := mustKey(t, []Algorithm{ECDSAP256, Ed25519, ECDSAP256}[i], false)
		sealed, err := k.Seal(edge.Recipient())
		if err != nil {
			t.Fatal(err)
		}
		zsks = append(zsks, ZSK{Tag: k.Tag(), Algorithm: k.Algorithm(), Public: k.DNSKEY(), Sealed: sealed, Active: i < 2})
	}
	ks := Keyset{Zone: "example.", Serial: 1, ZSKs: zsks}
	text, err := json.Marshal(&ks)
	if err != nil {
		t.Fatal(err)
	}
	var stored Keyset
	if err := json.Unmarshal(text, &stored); err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(ks, stored); d != "" {
		t.Errorf("stored and read again:\n%s", d)
	}
	keys, err := stored.Open(edge)
	if err != nil || len(keys) != 2 {
		t.Fatalf("%d keys, %v", len(keys), err)
	}
	for i, k := range keys {
		if !bytes.Equal(k.DNSKEY(), zsks[i].Public) || !k.Private() || k.KSK() {
			t.Errorf("key %d is another", i)
		}
	}
	if _, err := stored.Open(stranger); err == nil || !strings.Contains(err.Error(), "example.") {
		t.Errorf("a stranger opened it: %v", err)
	}
	stored.ZSKs[0].Sealed = stored.ZSKs[1].Sealed
	if _, err := stored.Open(edge); err == nil || !strings.Contains(err.Error(), "another key") {
		t.Errorf("exchanged keys: %v", err)
	}
	public, _ := ParseKey(zsks[0].Public)
	if _, err := public.Seal(edge.Recipient()); err == nil {
		t.Error("a public key was sealed")
	}
}

func TestBitmap(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 4))
	for range 500 {
		seen := map[uint16]bool{}
		for range 1 + r.IntN(20) {
			seen[uint16(r.IntN(1<<r.IntN(17)))] = true
		}
		delete(seen, 0) // miekg/dns has no type 0
		var types []uint16
		for typ := range seen {
			types = append(types, typ)
		}
		given := slices.Clone(types)
		got := NSEC(wire(t, "Next.example."), types)
		if !slices.Equal(types, given) {
			t.Fatal("the caller's types were sorted")
		}
		slices.Sort(types)
		nsec := &dns.NSEC{Hdr: dns.RR_Header{Name: ".", Rrtype: dns.TypeNSEC, Class: 1}, NextDomain: "Next.example.", TypeBitMap: types}
		if want := rdataOf(t, nsec); !bytes.Equal(got, want) {
			t.Fatalf("%v: %x, want %x", types, got, want)
		}
		if !bytes.HasSuffix(got, TypeBitmap(types)) {
			t.Fatal("NSEC and TypeBitmap differ")
		}
	}
	if b := TypeBitmap(nil); len(b) != 0 {
		t.Errorf("no types: %x", b)
	}
}

func TestParseAlgorithm(t *testing.T) {
	for _, a := range []Algorithm{ECDSAP256, Ed25519} {
		if got, err := ParseAlgorithm(a.String()); got != a || err != nil {
			t.Errorf("%v: %v %v", a, got, err)
		}
	}
	if _, err := ParseAlgorithm("rsa"); err == nil || !strings.Contains(err.Error(), "ecdsa-p256") {
		t.Errorf("rsa: %v", err)
	}
	if _, err := Generate(8, true); err == nil {
		t.Error("an RSA key was made")
	}
}

func FuzzParsePrivate(f *testing.F) {
	for _, alg := range []Algorithm{ECDSAP256, Ed25519} {
		text, err := mustKey(f, alg, true).MarshalText()
		if err != nil {
			f.Fatal(err)
		}
		f.Add(text)
	}
	f.Add([]byte("Private-key-format: v1.3\nAlgorithm: 15\nPrivateKey: \nRole: ZSK"))
	f.Fuzz(func(t *testing.T, text []byte) {
		k, err := ParsePrivate(text)
		if err != nil {
			return
		}
		if _, err := ParseKey(k.DNSKEY()); err != nil || !k.Private() {
			t.Fatalf("a key that is none: %v", err)
		}
	})
}

func FuzzUnseal(f *testing.F) {
	id, err := age.GenerateX25519Identity()
	if err != nil {
		f.Fatal(err)
	}
	sealed, err := mustKey(f, Ed25519, false).Seal(id.Recipient())
	if err != nil {
		f.Fatal(err)
	}
	f.Add(sealed)
	f.Add([]byte("age-encryption.org/v1\n-> X25519 AAAA\n\n--- \n"))
	f.Fuzz(func(t *testing.T, b []byte) {
		if k, err := Unseal(b, id); err == nil && !k.Private() {
			t.Fatal("no private part")
		}
	})
}
