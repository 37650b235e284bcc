package spec

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// one makes a resource of YAML that must decode.
func one(t *testing.T, kind Kind, tenant, name, body string) *Resource {
	t.Helper()
	body = strings.TrimSpace(body)
	if !strings.HasPrefix(body, "{") {
		body = "{" + body + "}"
	}
	got, err := Decode("v.yaml", []byte(fmt.Sprintf("kind: %s\ntenant: %s\nname: %q\nspec: %s\n", kind, tenant, name, body)))
	if err != nil {
		t.Fatal(err)
	}
	return got[0]
}

// Every message of Validate; field and what is said, without the part that is always the same.
// seventeen are addresses.
var seventeen = func() (list []string) {
	for i := range 17 {
		list = append(list, fmt.Sprint("198.51.100.", i))
	}
	return list
}()

func TestValidate(t *testing.T) {
	const pools = "host: a.example, rules: [{pools: [eu]}]"
	for _, c := range []struct {
		kind       Kind
		body, want string
	}{
		{KindZone, `contact: hostmaster@gtm.example, nameservers: [ns1.gtm.example], grants: {shop: [shop.gtm.example]}`, ``},
		{KindZone, `contact: "a b@c"`, `spec.contact: wants hostmaster@example.org or hostmaster.example.org., not "a b@c"`},
		{KindZone, `nameservers: ["ns1..x"]`,
			`spec.nameservers[0]: "ns1..x" has an empty label; a host name is of letters, digits, - and _ in labels of at most 63`},
		{KindZone, `nameservers: ["bücher.example"]`,
			`spec.nameservers[0]: "bücher.example" has the letter 'ü'; write other scripts as in xn--bcher-kva.example`},
		{KindZone, `file: x.zone`, `spec.file: the content of x.zone was not sent; gtmctl sends the file's content as spec.content`},
		{KindZone, `grants: {shop: [shop.other.]}`, `spec.grants.shop[0]: shop.other. is not in the zone gtm.example.`},
		{KindZone, `grants: {Shop: [shop.gtm.example.]}`, `spec.grants.Shop: the tenant "Shop" has the letter 'S'`},
		{KindZone, `dnssec: {}`, ``},
		{KindZone, `dnssec: {algorithm: ed25519, zskLifetime: 6s, kskLifetime: 0s, propagation: 1s, keyTTL: 2s, parentTTL: 1s}`, ``},
		{KindZone, `dnssec: {algorithm: rsa}`, `spec.dnssec.algorithm: "rsa" is not possible; it can be ecdsa-p256, ed25519`},
		{KindZone, `dnssec: {zskLifetime: 1h, kskLifetime: 3h59m59s}`,
			"spec.dnssec.zskLifetime: 1h is shorter than 4h, twice keyTTL and propagation; 0s keeps a key until somebody asks for the " +
				"next\n" +
				"spec.dnssec.kskLifetime: 3h59m59s is shorter than 4h, twice keyTTL and propagation; 0s keeps a key until somebody asks " +
				"for the next"},
		{KindZone, `dnssec: {propagation: 1500ms, keyTTL: 25h, parentTTL: 721h}`,
			"spec.dnssec.propagation: 1.5s is not in whole seconds\n" +
				"spec.dnssec.keyTTL: 25h is too long: it can be up to 24h\nspec.dnssec.parentTTL: 721h is too long: it can be up to 720h"},
		{KindSite, `location: {lat: 91, lon: -181}, region: EU-DE`,
			"spec.location.lat: 91 is out of range: it can be -90 to 90 degrees\nspec.location.lon: -181 is out of range: it can be -180 " +
				"to 180 degrees"},
		{KindMap, `networks: []`, `spec.networks: needs at least one network`},
		{KindMap, `networks: [192.0.2.1/24]`, `spec.networks[0]: 192.0.2.1/24 has bits set behind its length; write 192.0.2.0/24`},
		{KindMap, `networks: ["::ffff:192.0.2.0/120"]`,
			`spec.networks[0]: ::ffff:192.0.2.0/120 is an IPv4 network in IPv6 form; write 192.0.2.0/24`},
		{KindMap, `networks: [192.0.2.0/24, 192.0.2.0/24]`, `spec.networks[1]: 192.0.2.0/24 stands twice, first at spec.networks[0]`},
		{KindMap, `fromFiles: true, place: EU-DE`, ``},
		{KindMap, `fromFiles: true, networks: [192.0.2.0/24]`,
			`spec.networks: goes not with fromFiles: the networks come from the files of the edges; remove it, or fromFiles`},
		{KindMap, `networks: [192.0.2.0/24], place: EU-DE, location: {lat: 52.52, lon: 13.4}`, ``},
		{KindMap, `networks: [192.0.2.0/24], place: EU-DE, location: {lat: 90.5, lon: 13.4}`,
			"spec.location.lat: 90.5 is out of range: it can be -90 to 90 degrees"},
		{KindMap, `networks: [192.0.2.0/24], location: {lat: 52.52, lon: 13.4}`,
			"spec.location: says where a place is, and there is none; give place, too, as in EU-DE"},
		{KindMonitor, `type: http`, ``},
		{KindMonitor, `type: http, interval: 1s`, ``},
		{KindMonitor, `{}`, `spec.type: is missing; it can be dns, grpc, http, https, icmp, signal, tcp, tls, websocket`},
		{KindMonitor, `type: htps`, `spec.type: "htps" is not possible; did you mean https?`},
		{KindMonitor, `type: http, interval: 100ms, timeout: 50ms`, `spec.interval: 100ms is out of range: it can be 200ms to 1h`},
		{KindMonitor, `type: http, interval: 1s, timeout: 2s`, `spec.timeout: 2s is out of range: it can be 10ms to the interval, 1s`},
		{KindMonitor, `type: http, interval: 1s, recheck: 1s`, ``},
		{KindMonitor, `type: http, score: graded, latency: 2s`, ``},
		{KindMonitor, `type: http, score: simple, latency: 2001ms`, `spec.score: "simple" is not possible; it can be graded, plain` +
			"\nspec.latency: 2.001s is out of range: it can be 1ms to the timeout, 2s"},
		{KindMonitor, `type: http, score: plain, latency: 1s`,
			`spec.latency: means nothing where spec.score is plain; remove one of them`},
		{KindMonitor, `type: http, interval: 1s, recheck: 2s`, `spec.recheck: 2s is out of range: it can be 40ms to the interval, 1s`},
		{KindMonitor, `type: http, recheck: 39ms`, `spec.recheck: 39ms is out of range: it can be 40ms to the interval, 10s`},
		{KindMonitor, `type: http, rise: 11, fall: -1`,
			"spec.rise: 11 is out of range: it can be 1 to 10\nspec.fall: -1 is out of range: it can be 1 to 10"},
		{KindMonitor, `type: tcp, path: /x`,
			"spec.port: is missing: a tcp check has no default port\nspec.path: means nothing for a " +
				"check of type tcp; remove it, or use type http, https, websocket"},
		{KindMonitor, `type: https, send: x, match: "(", validFor: 20000d, json: {a: 1}, clientCertificate: {file: a/b}`,
			"spec.clientCertificate.file: wants the name of a file as in api-token, in the tenant's folder of the prober's " +
				"--probe-secrets, not \"a/b\"\nspec.validFor: 480000h is longer than certificates are given for; " +
				"write days as in 14d\nspec.match: error parsing regexp: missing closing ): `(`; " +
				"it is written as on https://github.com/google/re2/wiki/Syntax\n" +
				"spec.json.a: \"a\" is not a JSON Pointer: write it as in /status or /checks/0/state\n" +
				"spec.send: a request of GET has no body; use method POST or PUT"},
		{KindMonitor, `type: https, protocol: h4`, `spec.protocol: "h4" is not possible; did you mean h2?`},
		{KindMonitor, `type: dns`, `spec.dns: is missing; write what to ask, as in dns: {name: www.example.com, type: A}`},
		{KindMonitor, `type: dns, ca: x, dns: {name: a b, type: a, transport: quic, rcode: NXDOMAIN, answers: [""]}`,
			"spec.ca: holds no certificate in PEM form\n" +
				"spec.dns.name: \"a b\" has the letter ' '; a host name is of letters, digits, - and _ in labels of at most 63\n" +
				"spec.dns.type: \"a\" is not possible; did you mean A?\n" +
				"spec.dns.transport: \"quic\" is not possible; it can be tcp, tls, udp\n" +
				"spec.dns.answers[0]: wants 1 to 512 bytes, not 0\n" +
				"spec.dns.answers: there is none with rcode NXDOMAIN; remove one of them\n" +
				"spec.ca: means nothing without TLS; use transport tls"},
		{KindMonitor, `type: dns, dns: {name: a, type: AAAA, answers: [192.0.2.1]}`,
			`spec.dns.answers[0]: "192.0.2.1" is no data of AAAA; write an address as a record of this type has it`},
		{KindMonitor, `type: grpc, service: "a b", insecure: true`,
			"spec.port: is missing: a grpc check has no default port\n" +
				"spec.service: wants the name of a service as in shop.v1.Cart, not \"a b\"\n" +
				"spec.insecure: means nothing without TLS; add tls: true"},
		{KindMonitor, `type: http, script: {}`, `spec.script.cel: is missing; write an expression as in status == 200 && json.ready`},
		{KindMonitor, `type: http, method: HEAD, script: {cel: status == 1}`,
			`spec.method: the answer to HEAD has no body to look at; use method GET`},
		{KindMonitor, `type: icmp, port: 7`, `spec.port: means nothing for a check of type icmp; remove it`},
		{KindMonitor, `type: signal, port: 7`, `spec.port: means nothing for a check of type signal; remove it`},
		{KindMonitor, `type: signal, silent: maybe`, `spec.silent: "maybe" is not possible; it can be down, hold`},
		{KindMonitor, `type: signal, timeout: 1s`,
			`spec.timeout: means nothing for a check of type signal, which waits for nobody; remove it`},
		{KindMonitor, `type: signal, latency: 1s`,
			`spec.latency: means nothing for a check of type signal, which waits for nobody; remove it`},
		{KindMonitor, `type: tcp, port: 7, silent: down`,
			`spec.silent: means nothing for a check of type tcp; remove it, or use type signal`},
		{KindMonitor, `type: websocket, path: x, method: GET, validFor: 1d`,
			"spec.method: means nothing for a check of type websocket; remove it, or use type http, https\n" +
				"spec.path: wants a path as in /healthz, without spaces, not \"x\"\n" +
				"spec.validFor: means nothing without TLS; add tls: true"},
		{KindMonitor, `type: tls, serverName: "a..b", path: /`,
			`spec.path: means nothing for a check of type tls; ` +
				`remove it, or use type http, https, websocket` +
				"\nspec.serverName: \"a..b\" has an empty label; " +
				"a host name is of letters, digits, - and _ in labels of at most 63"},
		{KindMonitor, `type: http, path: x`, `spec.path: wants a path as in /healthz, without spaces, not "x"`},
		{KindMonitor, `type: http, method: TRACE`, `spec.method: "TRACE" is not possible; it can be GET, HEAD, OPTIONS, POST, PUT`},
		{KindMonitor, `type: http, method: HEAD, body: x`, `spec.method: the answer to HEAD has no body to look at; use method GET`},
		{KindMonitor, `type: http, host: "a b"`,
			`spec.host: "a b" has the letter ' '; a host name is of letters, digits, - and _ in labels of at most 63`},
		{KindMonitor, `type: http, insecure: true`,
			`spec.insecure: means nothing for a check of type http; remove it, or use type dns, grpc, https, tls, websocket`},
		{KindMonitor, `type: http, headers: {"a b": c, Host: d, X: "a\nb"}`,
			"spec.headers.Host: is not set as a header; use spec.host\nspec.headers.X: a header is one line\nspec.headers.\"a b\": \"a " +
				"b\" is not the name of a header"},
		{KindMonitor, `type: http, status: [200-399, 99, 300-200]`,
			"spec.status[1]: wants a status from 100 to 599 or a range as in 200-399, not \"99\"\nspec.status[2]: wants a status from " +
				"100 to 599 or a range as in 200-399, not \"300-200\""},
		{KindMonitor, `type: http, vantages: [a, a], quorum: 3`,
			"spec.vantages[1]: a stands twice\nspec.quorum: 3 of 2 vantages can never agree"},
		{KindMonitor, `type: http, vantages: [a, b], agree: {EU: 3, DE: 1, AS: 0}`,
			"spec.agree.AS: cannot be 0; leave the region out\nspec.agree.DE: place \"DE\" must start with a continent: did you mean " +
				"\"EU-DE\"?\nspec.agree.EU: 3 of 2 vantages can never agree"},
		{KindMonitor, `type: http, vantages: [""], quorum: -1`,
			"spec.vantages[0]: \"\" is not the name of a prober\nspec.quorum: cannot be negative"},
		{KindPool, `endpoints: [{name: a, addresses: [192.0.2.1]}, {name: b, addresses: ["2001:db8::1"]}], minHealthy: 50%`, ``},
		{KindPool, `checks: {of: [a, b], need: 3, critical: [a], watch: [B]}, monitor: m, endpoints: [{name: a, host: x.}]`,
			"spec.monitor: a pool has one monitor or checks, and not both; put it into spec.checks.of\n" +
				"spec.checks.critical[0]: a stands twice\n" +
				"spec.checks.watch[0]: \"B\" has the letter 'B'; a name is of a-z, 0-9 and -, at most 63 letters\n" +
				"spec.checks.need: wants all, any, or a number from 1 to the 2 of spec.checks.of, not \"3\""},
		{KindPool, `checks: {need: any}, endpoints: [{name: a, host: x.}]`, `spec.checks: wants 1 to 8 monitors, not 0`},
		{KindPool, `checks: {watch: [m]}, resume: manual, endpoints: [{name: a, host: x.}]`,
			`spec.resume: a pool that nobody checks never fails; give it a monitor`},
		{KindPool, `checks: {of: [a, b], need: 1, critical: [c]}, resume: manual, endpoints: [{name: a, host: x.}]`, ``},
		{KindPool, `apart: true, endpoints: [{name: a, addresses: [192.0.2.1]}, {name: b, addresses: ["2001:db8::1"]}]`,
			`spec.apart: no endpoint has addresses of both families, and no probe; remove it`},
		{KindPool, `endpoints: []`, `spec.endpoints: wants 1 to 4096 endpoints, not 0`},
		{KindPool, `endpoints: [{name: a, addresses: [` + strings.Join(seventeen, ", ") + `]}]`,
			`spec.endpoints[0].addresses: has 17 addresses: an endpoint can have at most 16; make several endpoints of them`},
		{KindPool, `site: Fra, endpoints: [{name: a, host: x.}]`,
			`spec.site: "Fra" has the letter 'F'; a name is of a-z, 0-9 and -, at most 63 letters`},
		{KindPool, `endpoints: [{name: a, addresses: [192.0.2.1], host: x.}]`,
			`spec.endpoints[0]: has both addresses and a host; make two endpoints of it, in two pools`},
		{KindPool, `endpoints: [{name: a}]`, `spec.endpoints[0]: needs addresses or a host`},
		{KindPool, `endpoints: [{addresses: [192.0.2.1]}]`, `spec.endpoints[0].name: is missing`},
		{KindPool, `endpoints: [{name: a, addresses: [192.0.2.1]}, {name: a, addresses: [192.0.2.1]}]`,
			"spec.endpoints[1].name: \"a\" stands twice, first at spec.endpoints[0]\nspec.endpoints[1].addresses[0]: 192.0.2.1 stands " +
				"twice, first in endpoint a; to send it more clients, give it more weight"},
		{KindPool, `endpoints: [{name: a, addresses: [192.0.2.1]}, {name: b, host: x.}]`,
			`spec.endpoints: has endpoints with addresses and endpoints with host names; put them into two pools`},
		{KindPool, `endpoints: [{name: a, addresses: ["::ffff:192.0.2.1", 0.0.0.0, 224.0.0.1, "fe80::1%eth0", 255.255.255.255]}]`,
			"spec.endpoints[0].addresses[0]: ::ffff:192.0.2.1 is an IPv4 address in IPv6 form; write 192.0.2.1\n" +
				"spec.endpoints[0].addresses[1]: 0.0.0.0 is not the address of a server\nspec.endpoints[0].addresses[2]: 224.0.0.1 is " +
				"not the address of a server\n" +
				"spec.endpoints[0].addresses[3]: fe80::1%eth0 has a zone, which means nothing elsewhere\nspec.endpoints[0].addresses[4]: " +
				"255.255.255.255 is not the address of a server"},
		{KindPool, `endpoints: [{name: a, host: x., weight: 65536}]`,
			`spec.endpoints[0].weight: 65536 is out of range: it can be 0 to 65535`},
		{KindPool, `endpoints: [{name: a, host: x., probe: "x:80"}]`,
			`spec.endpoints[0].probe: wants an address, or one with a port as in 192.0.2.1:8080 or [2001:db8::1]:8080, not "x:80"`},
		{KindPool, `endpoints: [{name: a, host: x., probe: "0.0.0.0:80"}]`,
			`spec.endpoints[0].probe: 0.0.0.0 is not the address of a server`},
		{KindPool, `endpoints: [{name: a, host: x.}], minHealthy: 2`, `spec.minHealthy: 2 of 1 endpoints can never be healthy`},
		{KindPool, `apart: true, endpoints: [{name: a, addresses: [192.0.2.1, "2001:db8::1"]}], minHealthy: 2`, ``},
		{KindPool, `apart: true, endpoints: [{name: a, addresses: [192.0.2.1, "2001:db8::1"]}], minHealthy: 3`,
			`spec.minHealthy: 3 of 2 endpoints can never be healthy`},
		{KindPool, `endpoints: [{name: a, host: x.}], minHealthy: 101%`,
			`spec.minHealthy: wants a share as in 50% or a number of endpoints as in 2, not "101%"`},
		{KindService, pools, ``},
		{KindService, `rules: [{pools: [eu]}]`, `spec.host: is missing`},
		{KindService, pools + `, ttl: 1500ms`, `spec.ttl: 1.5s is not a whole number of seconds`},
		{KindService, `host: a.example, rules: [{ttl: 0s, when: {geo: [EU]}, pools: [eu]}, {ttl: 2147483647s, pools: [eu]}]`, ``},
		{KindService, `host: a.example, rules: [{when: {geo: [EU]}, pools: [eu]}, {ttl: 1500ms, pools: [eu]}]`,
			`spec.rules[1].ttl: 1.5s is not a whole number of seconds`},
		{KindService, `host: a.example, rules: [{ttl: 2147483648s, pools: [eu]}]`,
			`spec.rules[0].ttl: 596523h14m8s is out of range: it can be 0s to 2147483647s`},
		{KindService, pools + `, ttl: 2147483648s`, `spec.ttl: 596523h14m8s is out of range: it can be 0s to 2147483647s`},
		{KindService, pools + `, answers: 65`, `spec.answers: 65 is out of range: it can be 1 to 64`},
		{KindService, pools + `, ecs: off`, ``},
		{KindService, pools + `, ecs: offf`, `spec.ecs: "offf" is not possible; did you mean off?`},
		{KindService, `host: web.example, rules: [{when: {resolver: [-a]}, pools: [eu]}, {pools: [eu]}]`,
			`spec.rules[0].when.resolver[0]: "-a" has a - at the edge of a label; a name is of a-z, 0-9 and -, at most 63 letters`},
		{KindService, `host: a.example, rules: [{when: {resolver: own}, pools: [{nearest: [eu, us]}]}, {pools: [eu]}]`,
			"spec.rules[0].when.resolver: is possible only in a service whose rules name pools alone, without a fence; " +
				"make a service of its own for these rules"},
		{KindPolicy, `rules: [{when: {resolver: own}, pools: [eu]}]`,
			"spec.rules[0].when.resolver: is possible only in rules of a service that name pools alone; " +
				"make a service of its own for these rules"},
		{KindService, pools + `, pick: stiky`, `spec.pick: "stiky" is not possible; did you mean sticky?`},
		{KindService, `host: "*.Rtc.example", pick: sticky, sticky: {by: label}, rules: [{pools: [eu]}]`, ``},
		{KindService, `host: "*.rtc.example", rules: [{pools: [eu]}]`, ``},
		{KindService, `host: "*.", rules: [{pools: [eu]}]`,
			`spec.host: "*." is empty; a host name is of letters, digits, - and _ in labels of at most 63`},
		{KindService, `host: "a.*.example", rules: [{pools: [eu]}]`,
			`spec.host: "a.*.example" has the letter '*'; a host name is of letters, digits, - and _ in labels of at most 63`},
		{KindService, `host: "*.*.example", rules: [{pools: [eu]}]`,
			`spec.host: "*.*.example" has the letter '*'; a host name is of letters, digits, - and _ in labels of at most 63`},
		{KindService, `host: "*a.example", rules: [{pools: [eu]}]`,
			`spec.host: "*a.example" has the letter '*'; a host name is of letters, digits, - and _ in labels of at most 63`},
		{KindService, `host: old.example, alias: {to: "*.rtc.example"}`,
			`spec.alias.to: "*.rtc.example" has the letter '*'; a host name is of letters, digits, - and _ in labels of at most 63`},
		{KindService, `host: "*.old.example", alias: {to: web.example}`, ``},
		{KindService, `host: "*.old.example", sticky: {by: label}, alias: {to: web.example}`,
			`spec.sticky: goes not with alias, which answers as the name that it leads to; remove it, or alias`},
		{KindService, pools + `, pick: sticky, sticky: {period: 10m}`, ``},
		{KindService, pools + `, pick: sticky, sticky: {by: network, period: 720h}`, ``},
		{KindService, pools + `, sticky: {period: 1h}`, `spec.sticky: says what pick sticky goes by; add pick: sticky, or remove it`},
		{KindService, pools + `, pick: sticky, sticky: {by: lable}`, `spec.sticky.by: "lable" is not possible; did you mean label?`},
		{KindService, pools + `, pick: sticky, sticky: {by: label}`,
			`spec.sticky.by: label is what a wildcard stands for, and "a.example" has none; have the host begin with *.`},
		{KindService, `host: "*.rtc.example", pick: sticky, sticky: {by: label, period: 1h}, rules: [{pools: [eu]}]`,
			`spec.sticky.period: goes with by: network; a label keeps its endpoint, since its clients are to meet there; remove it`},
		{KindService, pools + `, pick: sticky, sticky: {period: 599s}`, `spec.sticky.period: 9m59s is out of range: it can be 10m to 720h`},
		{KindService, pools + `, pick: sticky, sticky: {period: 721h}`, `spec.sticky.period: 721h is out of range: it can be 10m to 720h`},
		{KindService, pools + `, pick: sticky, sticky: {period: 600500ms}`,
			`spec.sticky.period: 10m0.5s is not a whole number of seconds`},
		{KindService, pools + `, allDown: nxdomain`, `spec.allDown: "nxdomain" is not possible; it can be answer, servfail`},
		{KindService, pools + `, families: [ipv5, ipv6, ipv6]`,
			"spec.families[0]: \"ipv5\" is not possible; did you mean ipv4?\nspec.families[2]: ipv6 stands twice"},
		{KindService, `host: a., rules: []`, `spec.rules: wants 1 to 1000 rules, not 0`},
		{KindService, `host: a., rules: [{name: x, pools: [a]}, {name: x, pools: []}]`,
			"spec.rules[1].name: \"x\" stands twice, first at spec.rules[0]\nspec.rules[1].pools: needs at least one pool"},
		{KindService, `host: a., rules: [{when: {geo: [EU]}, pools: [a]}]`,
			`spec.rules: no rule matches the clients that the others leave; add a last rule without when, or lastResort`},
		{KindService, `host: a., rules: [{when: {geo: [EU]}, pools: [a]}], lastResort: [a]`, ``},
		{KindService, `host: a., rules: [{when: {geo: [XX], asn: [0], map: A}, pools: [a]}, {pools: [a]}]`,
			"spec.rules[0].when.geo[0]: PLACE\n" +
				"spec.rules[0].when.asn[0]: 0 is not the number of a network\nspec.rules[0].when.map[0]: \"A\" has the letter 'A'; a " +
				"name is of a-z, 0-9 and -, at most 63 letters"},
		{KindService, `host: a., rules: [{pools: [a, a, {pool: "", weight: 3}, {pool: b, weight: 70000}]}]`,
			"spec.rules[0].pools[1]: pool \"a\" stands twice, first at spec.rules[0].pools[0]\n" +
				"spec.rules[0].pools[2]: names nothing; write the name of a pool, or one of nearest, fastest, policy and split\n" +
				"spec.rules[0].pools[3].weight: 70000 is out of range: it can be 1 to 65535"},
		{KindOverride, `pool: eu, state: drain, reason: x, expires: 2030-01-01T00:00:00Z`, ``},
		{KindOverride, `reason: " "`, "spec.pool: is missing\nspec: says nothing to override; give state (up, down or drain) or weight\n" +
			"spec.reason: is missing; say why, for those who find it later"},
		{KindOverride, `pool: eu, state: dry, reason: x`, `spec.state: "dry" is not possible; it can be down, drain, up`},
		{KindOverride, `pool: eu, weight: -1, reason: x, expires: later`,
			"spec.weight: -1 is out of range: it can be 0 to 65535\nspec.weight: a weight belongs to one endpoint, or to a pool in a " +
				"rule; " +
				"name the endpoint, or the service and the rule\n" +
				"spec.expires: wants a time as in 2026-01-31T18:00:00Z, not \"later\""},
		{KindOverride, `pool: eu, endpoint: a, weight: {to: 30, over: 20m}, ` +
			`starts: 2030-01-01T00:00:00Z, expires: 2030-01-01T00:20:00Z, reason: x`, ``},
		{KindOverride, `service: web, rule: 2, pool: us, weight: {to: 10, over: 30s, from: 2.5}, reason: x`, ``},
		{KindOverride, `pool: eu, endpoint: a, state: drain, weight: {to: 0, over: 20m}, reason: x`, ``},
		{KindOverride, `pool: eu, state: drain, schedule: {cron: "0 2 * * 1-5", zone: Asia/Shanghai, for: 2h}, reason: x`, ``},
		{KindOverride, `service: web, rule: "", pool: us, endpoint: a, state: up, reason: x`,
			"spec.rule: is missing; name the rule by its name or number\nspec: a rule's pools are given weights alone; make an " +
				"override of the " +
				"pool for that, without service and rule\nspec.weight: is missing: the weight of the pool among those of the rule"},
		{KindOverride, `rule: europe, pool: us, weight: 3, reason: x`, `spec.service: is missing; name the service whose rule it is`},
		{KindOverride, `pool: eu, endpoint: a, weight: {to: -1, over: 29s, from: 70000}, reason: x`,
			"spec.weight: -1 is out of range: it can be 0 to 65535\nspec.weight.from: 70000 is out of range: it can be 0 to 65535\n" +
				"spec.weight.over: 29s is out of range: it can be 30s to 8784h; leave it out to be there at once"},
		{KindOverride, `pool: eu, endpoint: a, weight: {to: 1, from: 2}, reason: x`,
			`spec.weight.from: means nothing where the weight holds at once; say over how long, or leave it out`},
		{KindOverride, `pool: eu, endpoint: a, state: up, weight: {to: 0, over: 1m}, reason: x`,
			"spec.state: beside a weight that goes somewhere in steps only a drain makes sense, at its end; make it drain, with a weight " +
				"to: 0; or leave it out"},
		{KindOverride, `pool: eu, endpoint: a, state: drain, weight: {to: 1, over: 1m}, reason: x`,
			"spec.state: beside a weight that goes somewhere in steps only a drain makes sense, at its end; make it drain, with a weight " +
				"to: 0; or leave it out"},
		{KindOverride, `pool: eu, endpoint: a, weight: {to: 3, over: 21m}, ` +
			`starts: 2030-01-01T00:00:00Z, expires: 2030-01-01T00:20:00Z, reason: x`,
			`spec.weight.over: 21m is longer than the override holds, 20m`},
		{KindOverride, `pool: eu, endpoint: a, weight: {to: 3, over: 3h}, schedule: {cron: "0 2 * * *", for: 2h}, reason: x`,
			`spec.weight.over: 3h is longer than the override holds, 2h`},
		{KindOverride, `pool: eu, state: drain, starts: soon, expires: 2030-01-01T00:20:00Z, reason: x`,
			`spec.starts: wants a time as in 2026-01-31T18:00:00Z, not "soon"`},
		{KindOverride, `pool: eu, state: drain, starts: 2030-01-01T00:20:00Z, expires: 2030-01-01T00:20:00Z, reason: x`,
			`spec.expires: 2030-01-01T00:20:00Z is not after spec.starts, 2030-01-01T00:20:00Z`},
		{KindOverride, `pool: eu, state: drain, starts: 2030-01-01T00:20:00Z, schedule: {cron: "0 0 31 2 *", for: 0s}, reason: x`,
			"spec.starts: cannot stand beside a schedule, which says when it begins; leave one of them out\nspec.schedule.for: 0s is " +
				"out of " +
				"range: it can be up to 8784h\nspec.schedule.cron: \"0 0 31 2 *\": no such day ever comes"},
		{KindOverride, `pool: eu, state: drain, schedule: {cron: "at night", zone: Mars, for: 1h}, reason: x`,
			`spec.schedule: there is no time zone "Mars"; write an IANA name, as in Europe/Berlin, Asia/Shanghai or UTC`},
		{KindOverride, `pool: eu, state: drain, schedule: {cron: "at night", for: 1h}, reason: x`,
			"spec.schedule: wants five fields, minute, hour, day, month and weekday, as in 0 2 * * 1-5, not \"at night\""},
	} {
		t.Run(string(c.kind)+" "+c.body, func(t *testing.T) {
			name := "x"
			if c.kind == KindZone {
				name = "gtm.example"
			}
			r := one(t, c.kind, Platform, name, c.body)
			got := ""
			if err := Validate(r); err != nil {
				prefix := "v.yaml:4: " + r.Key.String() + ": "
				for line := range strings.SplitSeq(err.Error(), "\n") {
					if !strings.HasPrefix(line, prefix) {
						t.Errorf("%q does not start with %q", line, prefix)
					}
					line = strings.TrimPrefix(line, prefix)
					if at, msg, ok := strings.Cut(line, ": place "); ok && strings.Contains(msg, "XX") {
						line = at + ": PLACE" // its words are pkg/geo's
					}
					got += line + "\n"
				}
			}
			if diff := cmp.Diff(c.want, strings.TrimSuffix(got, "\n")); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestValidateEnvelope(t *testing.T) {
	for _, c := range []struct {
		key  Key
		spec Spec
		want string
	}{
		{Key{"Shop", KindSite, "a"}, &Site{}, `tenant: "Shop" has the letter 'S'; a name is of a-z, 0-9 and -, at most 63 letters` +
			"\ntenant: a Site belongs to the tenant platform; declare it there"},
		{Key{Platform, KindSite, "a_b"}, &Site{}, `name: "a_b" has the letter '_'; a name is of a-z, 0-9 and -, at most 63 letters`},
		{Key{Platform, KindSite, "-a"}, &Site{},
			`name: "-a" has a - at the edge of a label; a name is of a-z, 0-9 and -, at most 63 letters`},
		{Key{Platform, KindSite, strings.Repeat("a", 64)}, &Site{}, `name: "` + strings.Repeat("a", 60) +
			`..." has a label of more than 63 letters; a name is of a-z, 0-9 and -, at most 63 letters`},
		{Key{Platform, KindSite, ""}, &Site{}, `name: is missing`},
		{Key{Platform, KindZone, "GTM.example"}, &Zone{}, `name: must be written as gtm.example.`},
		{Key{Platform, KindZone, strings.Repeat("a.", 127) + "b."}, &Zone{}, `name: "` + strings.Repeat("a.", 30) +
			`..." longer than 255 bytes in wire form`},
		{Key{"shop", KindMap, "a"}, &Map{},
			"tenant: a Map belongs to the tenant platform; declare it there\nspec.networks: needs at least one network"},
	} {
		err := Validate(&Resource{Key: c.key, Spec: c.spec})
		if err == nil {
			t.Errorf("%s: no error", c.key)
			continue
		}
		got := strings.ReplaceAll(err.Error(), c.key.String()+": ", "")
		if diff := cmp.Diff(c.want, got); diff != "" {
			t.Error(diff)
		}
	}
}

func TestEffective(t *testing.T) {
	m := one(t, KindMonitor, "shop", "m", "type: https, interval: 1s").Spec.(*Monitor).Effective()
	want := Monitor{Type: "https", Port: 443, Path: "/", Method: "GET", Interval: Duration(1e9), Timeout: Duration(1e9),
		Recheck: Duration(2e8), Score: "graded", Rise: 2, Fall: 3, Status: []string{"200-299"}}
	if diff := cmp.Diff(want, m); diff != "" {
		t.Error(diff)
	}
	s := one(t, KindService, "shop", "s", "host: WEB.example, rules: [{pools: [a]}, {name: n, pools: [b]}]").Spec.(*Service)
	if e := s.Effective(); e.Host != "web.example." || *e.TTL != defaultTTL || e.Answers != 1 || e.Pick != "weighted" ||
		e.AllDown != "answer" || e.Rules[0].Name != "1" || e.Rules[1].Name != "n" {
		t.Errorf("got %+v", e)
	}
	if s.Rules[0].Name != "" || s.TTL != nil {
		t.Error("what is stored was changed")
	}
	s = one(t, KindService, "shop", "s", "host: x., ttl: 1m, rules: [{ttl: 20s, pools: [a]}, {pools: [b]}, {ttl: 0s, pools: [c]}]").
		Spec.(*Service)
	for _, s := range []Service{*s, s.Effective()} {
		if got := []uint32{s.RuleTTLSeconds(0), s.RuleTTLSeconds(1), s.RuleTTLSeconds(2)}; !slices.Equal(got, []uint32{20, 60, 0}) {
			t.Errorf("the rules have the TTLs %v", got)
		}
	}
	if s.TTLSeconds() != 60 || s.LongestTTLSeconds() != 60 || (&Service{Rules: []Rule{{TTL: s.TTL}}}).LongestTTLSeconds() != 60 {
		t.Error("the longest TTL is that of the service, or of a rule")
	}
	z := one(t, KindZone, Platform, "x.", "nameservers: [NS1.x], grants: {shop: [S.x]}").Spec.(*Zone).Effective()
	if z.Nameservers[0] != "ns1.x." || z.Grants["shop"][0] != "s.x." || !*z.Debug {
		t.Errorf("got %+v", z)
	}
	if z := (&Zone{}).Effective(); *z.Debug {
		t.Error("a zone without grants has debug")
	}
	bare := one(t, KindZone, Platform, "x.", "dnssec: {zskLifetime: 0s}").Spec.(*Zone)
	if d := bare.Effective().DNSSEC; d.Algorithm != AlgorithmECDSA || *d.ZSKLifetime != 0 || *d.KSKLifetime != defaultKSKLifetime ||
		d.Propagation != defaultPropagation || d.KeyTTL != defaultKeyTTL || d.ParentTTL != defaultParentTTL ||
		bare.DNSSEC.KSKLifetime != nil {
		t.Errorf("got %+v", d)
	}
	p := one(t, KindPool, "shop", "p", "endpoints: [{name: a, host: X}, {name: b, host: y, weight: 0}]").Spec.(*Pool).Effective()
	if *p.Endpoints[0].Weight != 1 || p.Endpoints[0].Host != "x." || *p.Endpoints[1].Weight != 0 {
		t.Errorf("got %+v", p)
	}
}

func TestNeeds(t *testing.T) {
	for _, c := range []struct {
		min     string
		n, want int
	}{{"", 4, 1}, {"50%", 4, 2}, {"50%", 3, 2}, {"1%", 300, 3}, {"1%", 1, 1}, {"100%", 7, 7}, {"2", 5, 2}, {"2", 1, 1}, {"50%", 0, 1},
		{"odd", 3, 1}} {
		if got := (&Pool{MinHealthy: c.min}).Needs(c.n); got != c.want {
			t.Errorf("%q of %d: %d, want %d", c.min, c.n, got, c.want)
		}
	}
}
