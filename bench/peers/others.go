package peers

import (
	"context"
	"fmt"
	"path/filepath"
	"strings"

	"github.com/gti/gtm/cmd/gtmd/interop/process"
)

// WriteKnot writes the job for Knot, in the folder knot: it signs by itself, and steers, but draws no weights, so that
// it has the heavier address of each pool only.
func (j Job) WriteKnot(port int) error {
	files := map[string]string{"knot/run/.keep": ""}
	config := fmt.Sprintf(knotConfig, port, j.Dir)
	for _, zone := range j.zones() {
		files["knot/"+zone+"zone"] = j.flat(zone)
		config += fmt.Sprintf("  - domain: %s\n    storage: %s/knot\n    file: %szone\n", zone, j.Dir, zone)
		if zone == SignedZone {
			config += "    dnssec-signing: on\n    dnssec-policy: job\n    zonefile-sync: -1\n    zonefile-load: difference\n    " +
				"journal-content: all\n"
		}
		if !j.Large {
			config += "    module: mod-geoip/" + strings.TrimSuffix(zone, ".") + "\n"
			files["knot/"+zone+"geo"] = j.knotGeo(zone)
		}
	}
	modules := ""
	if !j.Large {
		modules = "mod-geoip:\n"
		for _, zone := range j.zones() {
			modules += fmt.Sprintf(knotModule, strings.TrimSuffix(zone, "."), j.Dir, zone, TTL, j.MMDB)
		}
	}
	files["knot/knot.conf"] = strings.Replace(config, "zone:\n", modules+"zone:\n", 1)
	if err := j.writeAll(files); err != nil || j.Large {
		return err
	}
	// The module signs what it steers with the keys that are there when it is loaded: before Knot would make them.
	for _, role := range []string{"ksk=yes", "zsk=yes"} {
		if _, err := command(j.Dir, "keymgr", "-c", "knot/knot.conf", SignedZone, "generate", "algorithm=ecdsap256sha256",
			role); err != nil {
			return err
		}
	}
	return nil
}

// knotGeo is the table of Knot's module geoip, in mode geodb.
func (j Job) knotGeo(zone string) string {
	var b strings.Builder
	for i := range j.Names {
		fmt.Fprintf(&b, "w%d.%s:\n", i, zone)
		for _, pool := range Pools {
			continent := pool.Continent
			if continent == "" {
				continent = "*"
			}
			fmt.Fprintf(&b, "  - geo: %q\n    A: %s\n", continent, pool.Addresses[0])
		}
	}
	return b.String()
}

const knotConfig = `server:
    listen: 127.0.0.1@%[1]d
    rundir: %[2]s/knot/run
    udp-workers: 1
    tcp-workers: 1
    background-workers: 1
    edns-client-subnet: on
database:
    storage: %[2]s/knot/run
policy:
  - id: job
    algorithm: ecdsap256sha256
zone:
`

const knotModule = `  - id: %[1]s
    config-file: %[2]s/knot/%[3]sgeo
    ttl: %[4]d
    mode: geodb
    geodb-file: %[5]s
    geodb-key: [ continent/code ]
`

// WriteNSD writes what is static of the job for NSD, in the folder nsd. Sign comes before it, for the signed zone.
func (j Job) WriteNSD(port int) error {
	config := NSD(j.Dir+"/nsd", port)
	for _, zone := range j.zones() {
		config += fmt.Sprintf("zone:\n    name: %s\n    zonefile: %s/%s\n", zone, j.Dir, flatFile(zone))
	}
	return j.write("nsd/nsd.conf", config)
}

// NSD is a configuration of NSD without zones, which works in a folder, with further lines of the section server.
func NSD(dir string, port int, more ...string) string {
	server := ""
	for _, line := range more {
		server += "    " + line + "\n"
	}
	return fmt.Sprintf(nsdConfig, port, dir, server)
}

const nsdConfig = `server:
%[3]s    ip-address: 127.0.0.1@%[1]d
    server-count: 1
    zonesdir: %[2]s
    pidfile: %[2]s/nsd.pid
    database: ""
    xfrdfile: %[2]s/xfrd.state
    zonelistfile: %[2]s/zone.list
    username: ""
    rrl-ratelimit: 0
    rrl-whitelist-ratelimit: 0
    minimal-responses: yes
remote-control:
    control-enable: no
`

// WriteBIND writes what is static of the job for BIND, in the folder bind. Sign comes before it, for the signed zone.
func (j Job) WriteBIND(port int) error {
	config := fmt.Sprintf(bindConfig, port, j.Dir)
	for _, zone := range j.zones() {
		config += fmt.Sprintf("zone %q { type primary; file \"%s/%s\"; };\n", zone, j.Dir, flatFile(zone))
	}
	return j.write("bind/named.conf", config)
}

const bindConfig = `options {
	directory "%[2]s/bind"; listen-on port %[1]d { 127.0.0.1; }; listen-on-v6 { none; };
	recursion no; pid-file "%[2]s/bind/named.pid"; minimal-responses yes; answer-cookie no;
};
controls { };
`

// flatFile is where WriteFlat and Sign leave a zone.
func flatFile(zone string) string {
	if zone == SignedZone {
		return "flat/" + zone + "zone.signed"
	}
	return "flat/" + zone + "zone"
}

// WriteFlat writes the zones as master files for servers that do not steer, and signs the signed one with ldnsutils.
func (j Job) WriteFlat() error {
	for _, zone := range j.zones() {
		if err := j.write("flat/"+zone+"zone", j.flat(zone)); err != nil {
			return err
		}
		if zone != SignedZone {
			continue
		}
		dir := filepath.Join(j.Dir, "flat")
		key, err := command(dir, "ldns-keygen", "-a", "ECDSAP256SHA256", "-r", "/dev/urandom", zone)
		if err != nil {
			return err
		}
		if _, err := command(dir, "ldns-signzone", "-f", filepath.Base(flatFile(zone)), zone+"zone", strings.TrimSpace(key)); err != nil {
			return err
		}
	}
	return nil
}

// command runs a program in a folder and gives what it prints.
func command(dir, name string, args ...string) (string, error) {
	text, err := process.Output(context.Background(), process.Command{Args: append([]string{name}, args...), Dir: dir})
	if err != nil {
		return "", fmt.Errorf("%w (apt-get install knot ldnsutils)", err)
	}
	return text, nil
}
