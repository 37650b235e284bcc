//go:build interop

package interop

import (
	"bytes"
	"context"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
)

// gdnsd looks at the IPv4 address that is inside of these, where the MMDB may have a record of their own, so it is no
// oracle there.
var embedsIPv4 = prefixes("::/96 ::ffff:0:0/96 ::ffff:0:0:0/96 64:ff9b::/96 2001::/32 2002::/16")

// The special-purpose blocks (RFC 6890 and the IANA registries) that tell nothing of where a client is: of a client
// there, the resolver's address decides, and the scope is the block's length. gdnsd knows nothing of them.
var special = prefixes(`0.0.0.0/8 10.0.0.0/8 100.64.0.0/10 127.0.0.0/8 169.254.0.0/16 172.16.0.0/12 192.0.0.0/24
	192.168.0.0/16 198.18.0.0/15 224.0.0.0/4 240.0.0.0/4 ::/128 ::1/128 64:ff9b:1::/48 100::/64 100:0:0:1::/64 2001:2::/48
	5f00::/16 fc00::/7 fe80::/10 ff00::/8`)

func prefixes(list string) []netip.Prefix {
	var all []netip.Prefix
	for _, field := range strings.Fields(list) {
		all = append(all, netip.MustParsePrefix(field))
	}
	return all
}

func inAny(addr netip.Addr, networks []netip.Prefix) bool {
	return slices.ContainsFunc(networks, func(p netip.Prefix) bool { return p.Contains(addr) })
}

func overlapsAny(network netip.Prefix, networks []netip.Prefix) bool {
	return slices.ContainsFunc(networks, network.Overlaps)
}

// besideSpecial gives the addresses at and beside both ends of the special-purpose blocks.
func besideSpecial() []netip.Addr {
	var all []netip.Addr
	for _, block := range special {
		for _, addr := range []netip.Addr{block.Addr().Prev(), block.Addr(), last(block), last(block).Next()} {
			if addr.IsValid() {
				all = append(all, addr)
			}
		}
	}
	return all
}

// gdnsdConfig writes a configuration of gdnsd with the service of lands as a map, and gives its folder.
func gdnsdConfig(t *testing.T) string {
	t.Helper()
	mmdb, err := filepath.Abs(database)
	if err != nil {
		t.Fatal(err)
	}
	names := append(lands[:len(lands):len(lands)], elsewhere)
	var tree strings.Builder
	for _, continent := range lands {
		if strings.Contains(continent, "-") {
			continue
		}
		fmt.Fprintf(&tree, "      %s => { default => [%s]", continent, continent)
		for _, land := range lands {
			if country, ok := strings.CutPrefix(land, continent+"-"); ok {
				fmt.Fprintf(&tree, ", %s => [%s]", country, land)
			}
		}
		tree.WriteString(" }\n")
	}
	dir := t.TempDir()
	writeFile(t, dir, "config", fmt.Sprintf(`plugins => { geoip => {
  maps => { lands => {
    geoip2_db => %s
    datacenters => [%s]
    map => {
      default => [%s]
%s    }
  } }
  resources => {}
} }
`, mmdb, strings.Join(names, ", "), elsewhere, tree.String()))
	return dir
}

// A finding is what gdnsd says of an address.
type finding struct {
	order []string // datacenters, the first choice first
	scope int
}

// askGdnsd asks gdnsd_geoip_test for the datacenters and scope of all addresses, by the map lands of a folder's configuration.
func askGdnsd(t *testing.T, dir string, addrs []netip.Addr) map[netip.Addr]finding {
	t.Helper()
	var input bytes.Buffer
	for _, addr := range addrs {
		fmt.Fprintf(&input, "lands %s\n", addr)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	defer cancel()
	command := exec.CommandContext(ctx, "gdnsd_geoip_test", "-c", dir)
	command.Stdin = &input
	output, err := command.CombinedOutput()
	found := map[netip.Addr]finding{}
	for _, line := range regexp.MustCompile(`lands => ([0-9a-fA-F:.]+)/(\d+) => (.+)`).FindAllStringSubmatch(string(output), -1) {
		addr, err := netip.ParseAddr(line[1])
		if err != nil {
			t.Fatal(err)
		}
		scope, err := strconv.Atoi(line[2])
		if err != nil {
			t.Fatal(err)
		}
		found[addr] = finding{strings.Split(line[3], ", "), scope}
	}
	if len(found) == 0 {
		t.Fatalf("gdnsd_geoip_test: %v\n%s", err, tail(string(output), 4000))
	}
	return found
}

// The same addresses asked of gtmd (over UDP, as clients of length /32 and /128) and of gdnsd, over the same MMDB, must
// come out at the same place. The scope is gdnsd's, or shorter and yet correct, or longer for a stated reason.
func TestGdnsdAgrees(t *testing.T) {
	seed := runSeed(t)
	world := openAtlas(t)
	addrs := slices.DeleteFunc(append(besideSpecial(), world.addresses(rand.New(rand.NewPCG(seed, 1)), 21_000)...),
		func(addr netip.Addr) bool { return inAny(addr, embedsIPv4) })
	addrs = addrs[:min(20_000, len(addrs))]
	theirs := askGdnsd(t, gdnsdConfig(t), addrs)
	d := startGtmd(t, t.TempDir(), "--apply", landsJob(t))
	ours := newQuestioner(t, d.dns)
	tally := map[string]int{}
	for _, addr := range addrs {
		land, scope, err := ours.askLand(netip.PrefixFrom(addr, addr.BitLen()))
		if err != nil {
			t.Fatal(err)
		}
		want, ok := theirs[addr]
		if !ok {
			t.Fatalf("gdnsd says nothing of %s", addr)
		}
		if land != want.order[0] {
			t.Errorf("%s: %s here, %s at gdnsd; the database says %q", addr, land, want.order[0], world.place(t, addr))
		}
		tally[judgeScope(t, world, addr, land, scope, want.scope)]++
		if tally["wrong"] > 20 {
			t.Fatal("too many wrong scopes to go on")
		}
	}
	t.Logf("%d addresses: %v", len(addrs), tally)
	if len(addrs) < 19_000 || tally["equal"] < len(addrs)*3/4 {
		t.Errorf("%d addresses were asked and %d scopes are gdnsd's own: that shows too little", len(addrs), tally["equal"])
	}
}

// judgeScope sorts a scope: as gdnsd's, or else correct (the answer is the same for the whole network) and no longer
// than needed (it is not for the network twice as large).
func judgeScope(t *testing.T, world *atlas, addr netip.Addr, land string, scope, theirs int) string {
	t.Helper()
	if scope == theirs {
		return "equal"
	}
	network, err := addr.Prefix(scope)
	if err != nil {
		t.Errorf("%s: a scope of %d", addr, scope)
		return "wrong"
	}
	for _, block := range special {
		if block.Contains(addr) && scope == block.Bits() {
			return "special"
		}
	}
	if inAny(addr, special) || !uniform(t, world, network, land) {
		t.Errorf("%s: scope %d, and %d at gdnsd, but not everything in %s is %s", addr, scope, theirs, network, land)
		return "wrong"
	}
	if scope < theirs {
		return "shorter"
	}
	if wider, err := addr.Prefix(scope - 1); err == nil && uniform(t, world, wider, land) {
		t.Errorf("%s: scope %d, and %d at gdnsd, but all of %s is %s", addr, scope, theirs, wider, land)
		return "wrong"
	}
	return "longer, beside a special-purpose block"
}

// uniform reports whether everyone in the network gets this land's answer.
func uniform(t *testing.T, world *atlas, network netip.Prefix, land string) bool {
	t.Helper()
	if overlapsAny(network, special) {
		return false
	}
	for _, place := range world.placesWithin(t, network) {
		if landOf(place) != land {
			return false
		}
	}
	return true
}
