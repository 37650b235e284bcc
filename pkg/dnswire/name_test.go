package dnswire

import (
	"bytes"
	"errors"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/miekg/dns"

	"github.com/gti/gtm/pkg/gtmtest"
)

func TestAppendName(t *testing.T) {
	label63 := strings.Repeat("x", 63)
	tests := []struct {
		in   string
		want string
		err  error
	}{
		{".", "\x00", nil},
		{"example", "\x07example\x00", nil},
		{"example.", "\x07example\x00", nil},
		{"Web.Example.", "\x03Web\x07Example\x00", nil},
		{`a\.b.c`, "\x03a.b\x01c\x00", nil},
		{`a\046b.c`, "\x03a.b\x01c\x00", nil},
		{`\000\255`, "\x02\x00\xff\x00", nil},
		{`\\.`, "\x01\\\x00", nil},
		{"*.example", "\x01*\x07example\x00", nil},
		{label63, "\x3f" + label63 + "\x00", nil},
		{strings.Repeat("a.", 127), strings.Repeat("\x01a", 127) + "\x00", nil},

		{"", "", errEmptyName},
		{"..", "", errEmptyLabel},
		{".a", "", errEmptyLabel},
		{"a..", "", errEmptyLabel},
		{"a..b", "", errEmptyLabel},
		{label63 + "x", "", errLongLabel},
		{strings.Repeat("a.", 128), "", errLongName},
		{strings.Repeat("a.", 126) + "aa", "", errLongName},
		{`a\`, "", errEscape},
		{`\25`, "", errEscape},
		{`\256`, "", errEscape},
		{`\2a6`, "", errEscape},
	}
	for _, tt := range tests {
		got, err := AppendName([]byte("kept"), tt.in)
		if !errors.Is(err, tt.err) || string(got) != "kept"+tt.want {
			t.Errorf("%q: %q, %v; want %q, %v", tt.in, got, err, tt.want, tt.err)
		}
	}
}

func TestNameStringMalformed(t *testing.T) {
	for in, want := range map[string]string{
		"": ".", "\x00": ".", "\x00abc": ".", "\x03ab": "ab.", "\x05": ".", "\x01a": "a.", "\xff\xff": `\255.`,
		"\x01a\x00\x01b": "a.",
	} {
		if got := NameString([]byte(in)); got != want {
			t.Errorf("%q: %q, want %q", in, got, want)
		}
	}
}

// randomName gives a name in wire form with any bytes, or with letters only.
func randomName(r *rand.Rand) []byte {
	var b []byte
	letters := r.IntN(2) == 0
	for range r.IntN(12) {
		n := 1 + r.IntN(10)
		if r.IntN(8) == 0 {
			n = 1 + r.IntN(63)
		}
		if len(b)+1+n > 254 {
			break
		}
		b = append(b, byte(n))
		for range n {
			c := byte(r.IntN(256))
			if letters {
				c = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_"[r.IntN(64)]
			}
			b = append(b, c)
		}
	}
	return append(b, 0)
}

func TestNamesAgainstOracle(t *testing.T) {
	r := gtmtest.Random(t)
	var packed [256]byte
	for range 20_000 {
		wire := randomName(r)
		want, _, err := dns.UnpackDomainName(wire, 0)
		if err != nil {
			t.Fatal(err)
		}
		if got := NameString(wire); got != want {
			t.Fatalf("%x: text %q, want %q", wire, got, want)
		}
		back, err := AppendName(nil, want)
		if err != nil || !bytes.Equal(back, wire) {
			t.Fatalf("%q: %x, %v; want %x", want, back, err, wire)
		}
		n, err := dns.PackDomainName(want, packed[:], 0, nil, false)
		if err != nil || !bytes.Equal(packed[:n], back) {
			t.Fatalf("%q: %x, the oracle %x, %v", want, back, packed[:n], err)
		}
		folded := bytes.Clone(wire)
		FoldName(folded)
		if !bytes.Equal(folded, slowFold(wire)) {
			t.Fatalf("%x: folded %x", wire, folded)
		}
	}
}

func TestFoldEveryByte(t *testing.T) {
	for c := range 256 {
		for at := range 8 {
			for _, beside := range []byte{0, 'A', 0x7F, 0x80, 0xFF} {
				b := bytes.Repeat([]byte{beside}, 8)
				b[at] = byte(c)
				want := slowFold(b)
				if FoldName(b); !bytes.Equal(b, want) {
					t.Fatalf("byte %#x at %d beside %#x: %x, want %x", c, at, beside, b, want)
				}
			}
		}
	}
}
