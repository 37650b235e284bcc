package geo

import "net/netip"

// specialBlocks are the special-purpose blocks of the IANA registries (RFC 6890 and its successors) whose
// addresses tell nothing of where a client is. Not among them: the blocks for documentation (people steer
// them in examples and tests), what is globally reachable (AS112, NAT64's 64:ff9b::/96, 6to4, Teredo), and what lies within
// another block of the list.
var specialBlocks = []netip.Prefix{
	netip.MustParsePrefix("0.0.0.0/8"),      // this network, RFC 791
	netip.MustParsePrefix("10.0.0.0/8"),     // private, RFC 1918
	netip.MustParsePrefix("100.64.0.0/10"),  // shared with carrier NAT, RFC 6598
	netip.MustParsePrefix("127.0.0.0/8"),    // loopback, RFC 1122
	netip.MustParsePrefix("169.254.0.0/16"), // link-local, RFC 3927
	netip.MustParsePrefix("172.16.0.0/12"),  // private, RFC 1918
	netip.MustParsePrefix("192.0.0.0/24"),   // IETF protocol assignments, RFC 6890
	netip.MustParsePrefix("192.168.0.0/16"), // private, RFC 1918
	netip.MustParsePrefix("198.18.0.0/15"),  // benchmarking, RFC 2544
	netip.MustParsePrefix("224.0.0.0/4"),    // multicast, RFC 5771
	netip.MustParsePrefix("240.0.0.0/4"),    // reserved, RFC 1112; broadcast, RFC 919
	netip.MustParsePrefix("::/128"),         // unspecified, RFC 4291
	netip.MustParsePrefix("::1/128"),        // loopback, RFC 4291
	netip.MustParsePrefix("64:ff9b:1::/48"), // local-use translation, RFC 8215
	netip.MustParsePrefix("100::/64"),       // discard-only, RFC 6666
	netip.MustParsePrefix("100:0:0:1::/64"), // dummy prefix, RFC 9780
	netip.MustParsePrefix("2001:2::/48"),    // benchmarking, RFC 5180
	netip.MustParsePrefix("5f00::/16"),      // segment routing identifiers, RFC 9602
	netip.MustParsePrefix("fc00::/7"),       // unique local, RFC 4193
	netip.MustParsePrefix("fe80::/10"),      // link-local, RFC 4291
	netip.MustParsePrefix("ff00::/8"),       // multicast, RFC 4291
}
