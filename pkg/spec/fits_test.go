package spec

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"
)

// A pool of 4,096 addresses was accepted for a service that names them all, and could never be answered: no message is so large.
func TestAnswersThatFitNoMessageAreRefused(t *testing.T) {
	address := func(v6 bool, i int) netip.Addr {
		if v6 {
			return netip.AddrFrom16([16]byte{0x20, 1, 0x0d, 0xb8, 14: byte(i >> 8), 15: byte(i)})
		}
		return netip.AddrFrom4([4]byte{198, 18, byte(i >> 8), byte(i)})
	}
	for _, tc := range []struct {
		name, service string
		endpoints, of int // addresses of each
		v6            bool
		want          string
	}{
		{"all that fit", "pick: all", 3840, 1, false, ""},
		{"one more", "pick: all", 3841, 1, false,
			"spec.rules[0].pools[0]: an answer with 3841 IPv4 addresses of pool big would have 61456 bytes, and at most 61440 fit a " +
				"message; " +
				"take fewer endpoints, or give them fewer addresses, or use answers with another pick"},
		{"one of them each time", "answers: 1", 4096, 1, false, ""},
		{"of IPv6", "pick: all", 2194, 1, true, ""},
		{"one more of IPv6", "pick: all", 2195, 1, true, "an answer with 2195 IPv6 addresses"},
		{"64 with many", "answers: 64", 100, 61, false, "an answer with 3904 IPv4 addresses"},
		{"64 with fewer", "answers: 64", 100, 60, false, ""},
		{"one with all", "answers: 1", 2, 4000, false, "an answer with 4000 IPv4 addresses"},
		{"hints", "pick: all, https: {}", 2195, 1, true, "IPv6 addresses"},
		{"only hints", "pick: all, https: {ech: \"" + strings.Repeat("A", 62000) + "\"}", 1, 1, true,
			"an HTTPS or SVCB record and hints of 1 addresses"},
		{"hosts", "mx: {}", 300, 0, false, "an answer with 300 hosts of pool big"},
		{"fewer hosts", "mx: {}", 200, 0, false, ""},
	} {
		t.Run(tc.name, func(t *testing.T) {
			pool := &Pool{}
			for i := range tc.endpoints {
				e := Endpoint{Name: fmt.Sprint("e", i)}
				for j := range tc.of {
					e.Addresses = append(e.Addresses, address(tc.v6, i*tc.of+j))
				}
				if tc.of == 0 {
					e.Host = strings.Repeat("abcdefghi.", 20) + fmt.Sprint("e", i, ".")
				}
				pool.Endpoints = append(pool.Endpoints, e)
			}
			set := Set{}
			in, err := Decode("", []byte("kind: Zone\ntenant: platform\nname: x.\nspec: {}\n"+
				"---\nkind: Service\ntenant: platform\nname: s\nspec: {host: a.x., rules: [{pools: [big]}], "+tc.service+"}\n"))
			if err != nil {
				t.Fatal(err)
			}
			in = append(in, &Resource{Key: Key{Platform, KindPool, "big"}, Spec: pool})
			for _, r := range in {
				set[r.Key] = r
			}
			_, err = ValidateSet(set, in[2:], nil)
			got := ""
			if err != nil {
				got = err.Error()
			}
			if tc.want == "" && strings.Contains(got, "fit a message") || !strings.Contains(got, tc.want) {
				t.Errorf("got %s", got)
			}
		})
	}
}
