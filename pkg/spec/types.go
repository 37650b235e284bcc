package spec

import "net/netip"

// Zone is a zone that gtm answers for.
type Zone struct {
	// Nameservers and Contact make the NS and SOA records; needed only where Content has none.
	Nameservers []string `json:"nameservers,omitempty" yaml:"nameservers,omitempty"`
	Contact     string   `json:"contact,omitempty" yaml:"contact,omitempty"`
	// File is the master file (RFC 1035) that holds what is not steered, relative to the declaring file.
	// gtmctl reads it and sends Content.
	File string `json:"file,omitempty" yaml:"file,omitempty"`
	// Content is the text of that master file.
	Content string `json:"content,omitempty" yaml:"content,omitempty"`
	// Grants: for each tenant the names at and below which its services may stand.
	Grants map[string][]string `json:"grants,omitempty" yaml:"grants,omitempty"`
	// Debug serves the names whoami.<zone> and <host>._explain.<zone> (TXT). Absent: only in a zone with grants.
	Debug *bool `json:"debug,omitempty" yaml:"debug,omitempty"`
	// Transfer says who may copy the zone, and who is told of its changes. Absent: nobody.
	Transfer *Transfer `json:"transfer,omitempty" yaml:"transfer,omitempty"`
	// Primaries are the servers that the zone is copied from. Control keeps Content as they have it.
	Primaries []Peer `json:"primaries,omitempty" yaml:"primaries,omitempty"`
	// Catalog names the catalog zone (RFC 9432), one of ours, in which the zone is listed.
	Catalog string `json:"catalog,omitempty" yaml:"catalog,omitempty"`
	// Members has the zones that a catalog lists appear here. The catalog is copied from its Primaries.
	Members *Members `json:"members,omitempty" yaml:"members,omitempty"`
	// MemberOf is set by control on a zone that a catalog lists; where the list ends, so does the zone.
	MemberOf string `json:"memberOf,omitempty" yaml:"memberOf,omitempty"`
	// Expired is set by control when no primary has answered for as long as the zone's SOA record allows: it is not served.
	Expired bool `json:"expired,omitempty" yaml:"expired,omitempty"`
	// Update lets others change Content by messages (RFC 2136). A declaration without content keeps what is there.
	Update []UpdateRule `json:"update,omitempty" yaml:"update,omitempty"`
	// DNSSEC, where present (dnssec: {} is enough), has the zone signed. Taken away, the zone stays signed until
	// the DS at the parent is gone: see gtmctl dnssec status.
	DNSSEC *DNSSEC `json:"dnssec,omitempty" yaml:"dnssec,omitempty"`
	// Aliases are names of the zone that answer with the addresses of other names.
	Aliases []ZoneAlias `json:"aliases,omitempty" yaml:"aliases,omitempty"`
}

// Site is a place where endpoints stand.
type Site struct {
	Location *Location `json:"location,omitempty" yaml:"location,omitempty"`
	// Region is a place as in EU-DE.
	Region string `json:"region,omitempty" yaml:"region,omitempty"`
}

// Location is a point on Earth in degrees, WGS 84.
type Location struct {
	Lat float64 `json:"lat" yaml:"lat"`
	Lon float64 `json:"lon" yaml:"lon"`
}

// Map is the operator's own list of networks. A rule can match it by name (when: {map: NAME}); with Place
// (or ASN) it also corrects the geographic data for its networks, for everyone.
type Map struct {
	// Networks are needed, unless they come from files.
	Networks []netip.Prefix `json:"networks,omitempty" yaml:"networks,omitempty"`
	// FromFiles has the networks come from the map files that edges are started with, in the place of Networks.
	FromFiles bool `json:"fromFiles,omitempty" yaml:"fromFiles,omitempty"`
	// Place, as in EU-DE-BE, replaces what the geographic database says of these networks.
	Place string `json:"place,omitempty" yaml:"place,omitempty"`
	// ASN likewise; 0 leaves the database's.
	ASN uint32 `json:"asn,omitempty" yaml:"asn,omitempty"`
	// Location is where Place is, instead of its centroid.
	Location *Location `json:"location,omitempty" yaml:"location,omitempty"`
}

// Monitor says how endpoints are checked. Which fields mean something to which type, monitorTypes says.
type Monitor struct {
	Type string `json:"type" yaml:"type"` // see MonitorTypes
	Port uint16 `json:"port,omitempty" yaml:"port,omitempty" zero:"absent"`
	Path string `json:"path,omitempty" yaml:"path,omitempty"`
	// Method is GET (default), HEAD, OPTIONS, POST or PUT.
	Method string `json:"method,omitempty" yaml:"method,omitempty"`
	// Host is the Host header and, with TLS, what ServerName is by default. Absent: the endpoint's own host name or address.
	Host string `json:"host,omitempty" yaml:"host,omitempty"`
	// Headers are further request headers.
	Headers map[string]Header `json:"headers,omitempty" yaml:"headers,omitempty"`
	// Send is the body of the request, or the message that a websocket is sent.
	Send string `json:"send,omitempty" yaml:"send,omitempty"`
	// Protocol is the version of HTTP that https speaks, by its name in TLS: http/1.1 (default), h2 or h3. No other will do.
	Protocol string `json:"protocol,omitempty" yaml:"protocol,omitempty"`

	// Script is an expression over the answer that must be true.
	Script *Script `json:"script,omitempty" yaml:"script,omitempty"`

	// TLS has grpc and websocket speak TLS.
	TLS bool `json:"tls,omitempty" yaml:"tls,omitempty"`
	// ServerName is the SNI of TLS, and the name that the certificate must hold. Absent: Host.
	ServerName string `json:"serverName,omitempty" yaml:"serverName,omitempty"`
	// CA are the authorities, in PEM form, that a certificate must come from, in the place of the system's.
	CA string `json:"ca,omitempty" yaml:"ca,omitempty"`
	// ClientCertificate is what the check shows of itself: a secret of the prober with a certificate and its key.
	ClientCertificate *SecretFile `json:"clientCertificate,omitempty" yaml:"clientCertificate,omitempty"`
	// ValidFor is how long the server's certificates must hold from now on.
	ValidFor Duration `json:"validFor,omitempty" yaml:"validFor,omitempty" zero:"absent"`
	// Insecure skips the check of the certificate.
	Insecure bool `json:"insecure,omitempty" yaml:"insecure,omitempty"`

	Interval Duration `json:"interval,omitempty" yaml:"interval,omitempty" zero:"absent"` // default 10s
	Timeout  Duration `json:"timeout,omitempty" yaml:"timeout,omitempty" zero:"absent"`   // default 2s, at most Interval
	// Recheck is from the beginning of a check whose result speaks against what is known to that of the next. Default: a fifth of Interval.
	Recheck Duration `json:"recheck,omitempty" yaml:"recheck,omitempty" zero:"absent"`
	Rise    int      `json:"rise,omitempty" yaml:"rise,omitempty" zero:"absent"` // default 2
	Fall    int      `json:"fall,omitempty" yaml:"fall,omitempty" zero:"absent"` // default 3
	// Score is graded (default): by how many checks pass, and how fast, or plain: up or down.
	Score string `json:"score,omitempty" yaml:"score,omitempty"`
	// Latency is what a good check takes at most: slower ones lower the score. Absent: all that pass are good.
	Latency Duration `json:"latency,omitempty" yaml:"latency,omitempty" zero:"absent"`

	// Status lists expected status codes and ranges, as in "200", "200-399". Default 200-299.
	Status []string `json:"status,omitempty" yaml:"status,omitempty" number:"ok"`
	// Body is text that the first 64 KiB of the response body must contain.
	Body string `json:"body,omitempty" yaml:"body,omitempty"`
	// Match is a regular expression (RE2) that must match something there.
	Match string `json:"match,omitempty" yaml:"match,omitempty"`
	// JSON says what fields of a JSON body must be, by JSON Pointer (RFC 6901).
	JSON map[string]Scalar `json:"json,omitempty" yaml:"json,omitempty"`

	// Service is what grpc asks for. Absent: the server as a whole.
	Service string `json:"service,omitempty" yaml:"service,omitempty"`
	// Silent says what it means for type signal that nothing is said: hold (default), or down.
	Silent string `json:"silent,omitempty" yaml:"silent,omitempty"`
	// DNS is what dns asks.
	DNS *Question `json:"dns,omitempty" yaml:"dns,omitempty"`

	// Vantages names the probers that are asked. Absent: every prober that is alive or has reported on the pool.
	Vantages []string `json:"vantages,omitempty" yaml:"vantages,omitempty"`
	// Quorum is how many vantages must agree. 0: a majority.
	Quorum int `json:"quorum,omitempty" yaml:"quorum,omitempty"`
	// Agree is how many vantages of a region, by its name as in EU or EU-DE, must be among those who agree.
	Agree map[string]int `json:"agree,omitempty" yaml:"agree,omitempty"`
}

// Script is an expression in one of the languages that there are, which is one.
type Script struct {
	CEL string `json:"cel" yaml:"cel"`
}

// Question is what a dns check asks, and wants to hear.
type Question struct {
	Name string `json:"name" yaml:"name"`
	Type string `json:"type,omitempty" yaml:"type,omitempty"` // default A
	// Transport is udp (default), tcp or tls.
	Transport string `json:"transport,omitempty" yaml:"transport,omitempty"`
	Rcode     string `json:"rcode,omitempty" yaml:"rcode,omitempty"` // default NOERROR
	// Answers are data of records that must be in the answer, as in 192.0.2.1 or "10 mail.example.net".
	Answers []string `json:"answers,omitempty" yaml:"answers,omitempty"`
}

// Pool is a set of endpoints that serve the same thing at one site.
type Pool struct {
	Site    string `json:"site,omitempty" yaml:"site,omitempty"`
	Monitor string `json:"monitor,omitempty" yaml:"monitor,omitempty"`
	// Checks are several monitors, in the place of Monitor.
	Checks *Checks `json:"checks,omitempty" yaml:"checks,omitempty"`
	// MinHealthy is "50%" (of the endpoints that have a weight and are not drained) or "2" (so many of them).
	// With fewer healthy ones the pool counts as down. Absent: one healthy endpoint is enough.
	MinHealthy string `json:"minHealthy,omitempty" yaml:"minHealthy,omitempty" number:"ok"`
	// Session is how long a client stays with an endpoint that it was given, beyond the TTL of the answer: what is drained is gone then.
	Session   Duration   `json:"session,omitempty" yaml:"session,omitempty" zero:"absent"`
	Endpoints []Endpoint `json:"endpoints,omitempty" yaml:"endpoints,omitempty"`
	// Discover are sources of further endpoints, which come and go by themselves: see Pool.With.
	Discover []Source `json:"discover,omitempty" yaml:"discover,omitempty"`

	// Apart has health know the IPv4 and the IPv6 addresses of an endpoint apart, so that it can be up in one family: see Split.
	Apart bool `json:"apart,omitempty" yaml:"apart,omitempty"`
	// Regions has the pool judged for the clients of each continent by the vantages that stand there, beside the verdict for all.
	Regions bool `json:"regions,omitempty" yaml:"regions,omitempty"`

	// Resume is auto (default) or manual: a pool that failed stays out until gtmctl pool resume.
	Resume string `json:"resume,omitempty" yaml:"resume,omitempty"`
	// Depends are the tenant's pools and services without which this pool cannot serve: it is down while one of them is.
	Depends []Dependency `json:"depends,omitempty" yaml:"depends,omitempty"`
	// SlowStart is how long an endpoint that recovered takes to get its whole weight.
	SlowStart Duration `json:"slowStart,omitempty" yaml:"slowStart,omitempty" zero:"absent"`
	// Modes says of each of the three above, and of Discover, whether it acts.
	Modes *PoolModes `json:"modes,omitempty" yaml:"modes,omitempty"`
}

// Checks are monitors that are asked together of each endpoint.
type Checks struct {
	// Of are those of which Need must pass.
	Of []string `json:"of,omitempty" yaml:"of,omitempty"`
	// Need is all (default), any, or how many.
	Need string `json:"need,omitempty" yaml:"need,omitempty" number:"ok"`
	// Critical are those of which each alone takes an endpoint down.
	Critical []string `json:"critical,omitempty" yaml:"critical,omitempty"`
	// Watch are those that are told of, and change nothing.
	Watch []string `json:"watch,omitempty" yaml:"watch,omitempty"`
}

// Dependency is what a pool depends on: one of the two.
type Dependency struct {
	Pool string `json:"pool,omitempty" yaml:"pool,omitempty"`
	// Service is down while no pool of its rules is up; those of LastResort do not count.
	Service string `json:"service,omitempty" yaml:"service,omitempty"`
}

// PoolModes are off, observe (it is told what it would do) or enforce (default) of what moves traffic of a pool by itself.
type PoolModes struct {
	Resume    string `json:"resume,omitempty" yaml:"resume,omitempty"`
	Depends   string `json:"depends,omitempty" yaml:"depends,omitempty"`
	SlowStart string `json:"slowStart,omitempty" yaml:"slowStart,omitempty"`
	Discover  string `json:"discover,omitempty" yaml:"discover,omitempty"`
}

// Endpoint is one server (or one load balancer) of a pool: addresses, or a host name.
type Endpoint struct {
	Name      string       `json:"name" yaml:"name"`
	Addresses []netip.Addr `json:"addresses,omitempty" yaml:"addresses,omitempty"`
	// Host is a host name to answer as CNAME; not together with Addresses.
	Host string `json:"host,omitempty" yaml:"host,omitempty"`
	// Weight is the endpoint's share among its pool's. Absent: 1. 0 takes it out.
	Weight *int `json:"weight,omitempty" yaml:"weight,omitempty"`
	// Probe is the address (and port, where given) that is checked instead of Addresses.
	Probe string `json:"probe,omitempty" yaml:"probe,omitempty"`
}

// Service is a steered name.
type Service struct {
	Host string `json:"host" yaml:"host"`
	// TTL of every answer whose rule has none of its own, in whole seconds. Default 30s.
	TTL *Duration `json:"ttl,omitempty" yaml:"ttl,omitempty"`
	// TTLUnsure is the most that answers have while the pool that they come from is unsure, so that caches let go early.
	TTLUnsure *Duration `json:"ttlUnsure,omitempty" yaml:"ttlUnsure,omitempty"`
	// Answers is how many endpoints one answer names. Default 1. Ignored by pick all.
	Answers int `json:"answers,omitempty" yaml:"answers,omitempty" zero:"absent"`
	// Pick is weighted (default), sticky or all.
	Pick string `json:"pick,omitempty" yaml:"pick,omitempty"`
	// Sticky says what pick sticky goes by. Absent: the client's network, for ever.
	Sticky *Sticky `json:"sticky,omitempty" yaml:"sticky,omitempty"`
	// Families narrows what is served: ipv4, ipv6. Absent: each family for which every rule has a pool.
	Families []string `json:"families,omitempty" yaml:"families,omitempty"`
	// Rules are needed, unless there is an alias.
	Rules []Rule `json:"rules,omitempty" yaml:"rules,omitempty"`
	// Pools are what policies draw from that the rules name, and "sites". Absent: the pools that the service names itself.
	Pools []Member `json:"pools,omitempty" yaml:"pools,omitempty"`
	// Fence is that of every rule and of lastResort: see Rule.Fence.
	Fence []string `json:"fence,omitempty" yaml:"fence,omitempty"`
	// LastResort are the pools to answer from when every pool of the rule is down. Absent: as if all were up.
	LastResort []Target `json:"lastResort,omitempty" yaml:"lastResort,omitempty"`
	// AllDown is answer (default) or servfail: what a client gets when every pool, LastResort's too, is down.
	AllDown string `json:"allDown,omitempty" yaml:"allDown,omitempty"`
	// Metrics asks for series of this service's own.
	Metrics bool `json:"metrics,omitempty" yaml:"metrics,omitempty"`

	// Coherent has every type of record name the same pool for one client: pools that share a step are chosen by the client's
	// network instead of by chance. Pick sticky has that too.
	Coherent bool `json:"coherent,omitempty" yaml:"coherent,omitempty"`
	// ECS off has the resolver's address decide, whatever client subnet a query tells (RFC 7871). Default on.
	ECS string `json:"ecs,omitempty" yaml:"ecs,omitempty"`
	// HTTPS and SVCB (RFC 9460) stand beside A and AAAA, with hints of the endpoints' addresses. Pools of addresses only.
	HTTPS *SVCB `json:"https,omitempty" yaml:"https,omitempty"`
	SVCB  *SVCB `json:"svcb,omitempty" yaml:"svcb,omitempty"`
	// SRV or MX is answered instead of CNAME, with every healthy endpoint of the pool. Pools of host names only.
	SRV *SRV `json:"srv,omitempty" yaml:"srv,omitempty"`
	MX  *MX  `json:"mx,omitempty" yaml:"mx,omitempty"`
	// Alias stands in the place of rules: the host answers as another name does. Only TTL and Metrics go with it.
	Alias *Alias `json:"alias,omitempty" yaml:"alias,omitempty"`
}

// Sticky is what decides which endpoint a client of a sticky service gets.
type Sticky struct {
	// By is network (default): the client's, /24 or /48; or label: what a wildcard host stands for, and nothing of the client.
	By string `json:"by,omitempty" yaml:"by,omitempty"`
	// Period is after how long a network is given a new endpoint. Absent: never.
	Period Duration `json:"period,omitempty" yaml:"period,omitempty" zero:"absent"`
}

// SVCB is what an HTTPS or SVCB record says beside the addresses (RFC 9460, RFC 9848).
type SVCB struct {
	Priority uint16   `json:"priority,omitempty" yaml:"priority,omitempty"` // default 1
	ALPN     []string `json:"alpn,omitempty" yaml:"alpn,omitempty"`         // as in h2, h3
	Port     uint16   `json:"port,omitempty" yaml:"port,omitempty"`         // absent: the scheme's own
	// ECH is the ECHConfigList in base64.
	ECH string `json:"ech,omitempty" yaml:"ech,omitempty"`
}

// SRV is what SRV records say beside host and weight, which are the endpoints' (RFC 2782).
type SRV struct {
	Priority uint16 `json:"priority,omitempty" yaml:"priority,omitempty"` // default 0
	Port     uint16 `json:"port" yaml:"port"`
}

// MX is what MX records say beside the host.
type MX struct {
	Preference uint16 `json:"preference,omitempty" yaml:"preference,omitempty"` // default 10
}

// Rule sends the clients that it matches to its pools.
type Rule struct {
	Name string `json:"name,omitempty" yaml:"name,omitempty"`
	// When is absent in a rule that matches everyone.
	When *When `json:"when,omitempty" yaml:"when,omitempty"`
	// TTL of what this rule's pools answer, in the place of the service's; shorter or longer. Absent: the service's.
	TTL *Duration `json:"ttl,omitempty" yaml:"ttl,omitempty"`
	// Fence lists places, as in EU or EU-DE: only pools whose site's region lies in one of them can answer, whatever fails.
	Fence []string `json:"fence,omitempty" yaml:"fence,omitempty"`
	// Pools in the order of failover; neighbours that carry a weight share one step, split by weight.
	Pools []Target `json:"pools" yaml:"pools"`
}

// When matches a client if each field that is present matches (one of its values does).
type When struct {
	Geo []string   `json:"geo,omitempty" yaml:"geo,omitempty"` // EU, EU-DE, NA-US-CA
	ASN []uint32   `json:"asn,omitempty" yaml:"asn,omitempty"`
	Map StringList `json:"map,omitempty" yaml:"map,omitempty"` // names of the platform's maps
	// Resolver names maps of resolvers' addresses. It matches no client whose query tells its network (RFC 7871).
	Resolver StringList `json:"resolver,omitempty" yaml:"resolver,omitempty"`
}

func (*Zone) kind() Kind     { return KindZone }
func (*Site) kind() Kind     { return KindSite }
func (*Map) kind() Kind      { return KindMap }
func (*Monitor) kind() Kind  { return KindMonitor }
func (*Pool) kind() Kind     { return KindPool }
func (*Service) kind() Kind  { return KindService }
func (*Override) kind() Kind { return KindOverride }
