package geo

import (
	"bytes"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"
)

const smallInput4 = `# Generated: Thu, 25 Jun 2026 04:33:59 GMT
# first,last,country
16777216,16777471,AU
16777472,16778239,CN

151587081,151587081,DE
151587082,151587090,??
150994944,167772160,US
151060480,151126015,FR
335544320,335609855,UK
335609856,335675391,EU
335675392,335740927,AP
335740928,335806463,CS
335806464,335872000,ZZ
`

const smallInput6 = `# Generated: Wed, 24 Jun 2026 04:33:59 GMT
2001::,2001:0:ffff:ffff:ffff:ffff:ffff:ffff,JP
2400::,2400:7:ffff:ffff:ffff:ffff:ffff:ffff,JP
2005:5a0:3700:100::4,2005:5a0:3700:100::5,GB
fd00::,fd00:ffff:ffff:ffff:ffff:ffff:ffff:ffff,US
`

func TestBuild(t *testing.T) {
	var out bytes.Buffer
	var skipped []string
	err := Build(&out, BuildConfig{IPv4: strings.NewReader(smallInput4), IPv6: strings.NewReader(smallInput6),
		Skipped: func(line string, why error) { skipped = append(skipped, line) }})
	if err != nil {
		t.Fatal(err)
	}
	a, err := OpenBytes("small", out.Bytes())
	if err != nil {
		t.Fatal(err)
	}
	if built := a.Info()[0].Built; !built.Equal(time.Date(2026, 6, 25, 4, 33, 59, 0, time.UTC)) {
		t.Errorf("built %s", built)
	}
	tests := []struct{ addr, place, network string }{
		{"1.0.0.1", "OC-AU", "1.0.0.0/24"}, {"1.0.1.1", "AS-CN", "1.0.1.0/24"}, {"1.0.3.255", "AS-CN", "1.0.2.0/23"},
		{"1.0.4.0", "", "1.0.4.0/22"},
		{"9.0.0.0", "NA-US", "9.0.0.0/16"}, {"9.9.9.9", "NA-US", "9.8.0.0/13"}, {"9.1.2.3", "EU-FR", "9.1.0.0/16"},
		{"10.0.0.0", "", "10.0.0.0/7"},
		{"20.0.0.1", "EU-GB", "20.0.0.0/16"}, {"20.1.0.1", "EU", "20.1.0.0/16"}, {"20.2.0.1", "AS", "20.2.0.0/16"},
		{"20.3.0.1", "EU", "20.3.0.0/16"}, {"20.4.0.1", "", "20.4.0.0/14"},
		{"2400:7::1", "AS-JP", "2400::/29"}, {"2005:5a0:3700:100::5", "EU-GB", "2005:5a0:3700:100::4/127"}, {"2001::1", "", "2000::/6"},
		{"fd00::1", "", "c000::/2"},
	}
	for _, test := range tests {
		place, network := a.Lookup(netip.MustParseAddr(test.addr))
		if place.String() != test.place || test.place != "" && network.String() != test.network {
			t.Errorf("%s: %q in %s; want %q in %s", test.addr, place, network, test.place, test.network)
		}
	}
	slices.Sort(skipped)
	want := []string{"150994944,167772160,US", "151587082,151587090,??", "2001::,2001:0:ffff:ffff:ffff:ffff:ffff:ffff,JP",
		"335806464,335872000,ZZ", "fd00::,fd00:ffff:ffff:ffff:ffff:ffff:ffff:ffff,US"}
	if !slices.Equal(skipped, want) {
		t.Errorf("skipped %q", skipped)
	}
}

func TestBuildIsDeterministic(t *testing.T) {
	var first []byte
	for range 5 {
		var out bytes.Buffer
		if err := Build(&out, BuildConfig{IPv4: strings.NewReader(smallInput4), IPv6: strings.NewReader(smallInput6)}); err != nil {
			t.Fatal(err)
		}
		if first == nil {
			first = out.Bytes()
		} else if !bytes.Equal(first, out.Bytes()) {
			t.Fatal("two builds of one input differ")
		}
	}
}

func TestBuildDate(t *testing.T) {
	var out bytes.Buffer
	date := time.Date(2020, 1, 2, 0, 0, 0, 0, time.UTC)
	if err := Build(&out, BuildConfig{IPv4: strings.NewReader(smallInput4), Date: date}); err != nil {
		t.Fatal(err)
	}
	if a, err := OpenBytes("small", out.Bytes()); err != nil || !a.Info()[0].Built.Equal(date) {
		t.Errorf("built %v, %v; want the date given", a.Info(), err)
	}
}

func TestBuildErrors(t *testing.T) {
	tests := []struct{ v4, v6, want string }{
		{"1,2", "", `IPv4 input, line 1: "1,2": write first address, last address, country`},
		{"# x\n1,2,DE\nx,2,DE", "", "IPv4 input, line 3"},
		{"1,4294967296,DE", "", "the last address cannot be read"},
		{"5,4,DE", "", "the last address is below the first"},
		{"1,2,DE", "2001::,x,DE", "IPv6 input, line 1"},
		{"", "", "the input holds no networks"},
		{"1,2,DE", "", "give the date"},
		{"1,2,DE", "1.2.3.4,2400::,DE", "both addresses must be of one family"},
	}
	for _, test := range tests {
		err := Build(&bytes.Buffer{}, BuildConfig{IPv4: strings.NewReader(test.v4), IPv6: strings.NewReader(test.v6)})
		if err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%q, %q: error %v; want %q", test.v4, test.v6, err, test.want)
		}
	}
	full := errors.New("disk full")
	err := Build(failingWriter{full}, BuildConfig{IPv4: strings.NewReader(smallInput4)})
	if !errors.Is(err, full) {
		t.Errorf("error %v; want the writer's", err)
	}
}

type failingWriter struct{ err error }

func (w failingWriter) Write([]byte) (int, error) { return 0, w.err }

func FuzzBuild(f *testing.F) {
	f.Add(smallInput4, smallInput6)
	f.Add("0,4294967295,DE", "::,ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff,US")
	f.Fuzz(func(t *testing.T, v4, v6 string) {
		var out bytes.Buffer
		date := time.Unix(1, 0)
		if Build(&out, BuildConfig{IPv4: strings.NewReader(v4), IPv6: strings.NewReader(v6), Date: date}) != nil {
			return
		}
		if _, err := OpenBytes("built", out.Bytes()); err != nil && !strings.Contains(err.Error(), "it holds no continent") {
			t.Errorf("what was built cannot be opened: %v", err)
		}
	})
}

func TestNetworksOfRange(t *testing.T) {
	tests := []struct{ first, last, want string }{
		{"0.0.0.0", "255.255.255.255", "[0.0.0.0/0]"},
		{"1.2.3.4", "1.2.3.4", "[1.2.3.4/32]"},
		{"1.0.1.0", "1.0.3.255", "[1.0.1.0/24 1.0.2.0/23]"},
		{"255.255.255.254", "255.255.255.255", "[255.255.255.254/31]"},
		{"0.0.0.0", "0.0.0.2", "[0.0.0.0/31 0.0.0.2/32]"},
		{"::", "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", "[::/0]"},
		{"::3", "::8", "[::3/128 ::4/126 ::8/128]"},
		{"2400::", "2400:7:ffff:ffff:ffff:ffff:ffff:ffff", "[2400::/29]"},
	}
	for _, test := range tests {
		got := fmt.Sprint(networksOfRange(netip.MustParseAddr(test.first), netip.MustParseAddr(test.last)))
		if got != test.want {
			t.Errorf("%s-%s: %s; want %s", test.first, test.last, got, test.want)
		}
	}
}
