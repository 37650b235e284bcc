// Package layout is what stands in etcd: the keys, the forms of versions and records, and the runs that zones are cut into.
//
// # Keys
//
// All keys stand below a prefix, "/gtm/" by default. Components are path-escaped, <gen> is a generation
// as 16 hexadecimal digits, so that keys sort as numbers do.
//
//	access/token/<tenant>/<name>               tokens.Token (JSON): what a service token is recognized by; of control alone
//	config/aim/<tenant>                       state.Aim (JSON): the generations that groups of edges are pointed at, written by control
//	config/discovered/<tenant>/<pool>/<source> spec.Found (JSON): the endpoints that a source has, written by control
//	config/epoch                              {"epoch":N,"author":...,"time":...}: see store.Client.Accept
//	config/head/<tenant>                      the tenant's head, in decimal
//	config/keys/<zone>                        dnssec.Keyset (JSON): a signed zone's keys, written by control
//	config/log/<tenant>/<gen>                 Record of the change that made the generation (JSON)
//	config/oldest/<tenant>                    Oldest (JSON): the oldest generation that is whole, where older ones were removed
//	config/res/<tenant>/<kind>/<name>/<gen>   one version: {"resource":{...},"text":[...]} or {"deleted":true}
//	config/swept                              when runs were removed last; a change that relies on runs compares it
//	config/text/<sha256>                      a run of lines of zone content, addressed by its content
//	verdict/<tenant>/<pool>                   health.Verdict (JSON), written by the elected judge only
//	verdict/<tenant>/<pool>/<piece>           a piece of it (00 to 63) that is newer, of more than 64 endpoints: see package pieces
//	verdict/pulse                             Pulse (JSON), written by the elected judge every few seconds
//	world/approval/<tenant>/<id>              Pending (JSON), leased: a change that waits for a second person
//	world/discover/finder/<lease>             candidates of the election of who looks for endpoints; the oldest one does
//	world/edge/<id>                           Edge (JSON), leased
//	world/known/<id>                          Edge (JSON) and when it was written, without a lease: see store.Client.ForgetEdge
//	world/events/teller/<lease>               candidates of the election of who tells events to webhooks; the oldest one does
//	world/events/told/<tenant>                store.Told (JSON): what the targets of a tenant were told, without a lease
//	world/judge/<lease>                       candidates of the judge's election; the oldest one leads
//	world/prune/pruner/<lease>                candidates of the election of who removes what is old; the oldest one does
//	world/obs/<vantage>/<tenant>/<pool>       health.Observation (JSON), without a lease; pieces below it, as of verdicts
//	world/release/<tenant>[/<pool>]           Release (JSON), leased: the judge follows it and takes it away
//	world/release/<tenant>/<pool>/resume      likewise, of a pool that is kept out
//	world/rollout/driver/<lease>              candidates of the election of who drives rollouts; the oldest one does
//	world/signal/<tenant>/<pool>/<group>      signals of a sixteenth of its endpoints (JSON), written by control: see store.SignalKey
//	world/vantage/<id>                        leased: the prober is alive
//
// Verdicts and observations of 1 kB and more are gzip of their JSON, where all edges and vantages that are alive say in their leased
// entries that they read that: see state.Pack.
//
// What edges follow, config/, verdict/ and each other kind of state.Kinds, is one range of keys, so that one watch brings it in order and
// what probers tell each other stays away from them.
//
// # Zones
//
// The content of a zone is cut into runs of whole owner names, at names that their hash chooses, so that
// a changed name touches one run. A version of a zone lists the hashes of its runs; a run is written when
// it is new. Runs that no version refers to any more are removed (see package prune), in transactions that compare the head of the
// platform, which has the zones, and write config/swept; a change that relies on runs that are there compares that key. New content of more
// than a megabyte is written before the transaction that refers to it, in requests that any etcd takes; if that transaction fails, the
// runs wait for the next attempt.
package layout

import (
	"fmt"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"go.etcd.io/etcd/client/v3"

	"github.com/gti/gtm/pkg/health"
	"github.com/gti/gtm/pkg/spec"
	"github.com/gti/gtm/pkg/store/state"
)

// Keys builds and reads keys below a prefix, which it is; the layout stands in the package comment.
type Keys string

// Join makes a key of components.
func (k Keys) Join(parts ...string) string {
	var b strings.Builder
	b.WriteString(string(k))
	for i, p := range parts {
		if i > 0 {
			b.WriteByte('/')
		}
		b.WriteString(escape(p))
	}
	return b.String()
}

// escape keeps a slash in a name from making another component. Names seldom need it.
func escape(s string) string { return url.PathEscape(s) }

// GenText is a generation as it stands in a key.
func GenText(g state.Generation) string { return fmt.Sprintf("%016x", uint64(g)) }

// The keys of single values, and what the keys of several begin with, in the order of the package comment.

func (k Keys) Tokens() string                   { return k.Join("access", "token", "") }
func (k Keys) TokensOf(tenant string) string    { return k.Join("access", "token", tenant, "") }
func (k Keys) Token(tenant, name string) string { return k.Join("access", "token", tenant, name) }
func (k Keys) Found(id state.SourceID) string {
	return k.Join("config", "discovered", id.Tenant, id.Pool, id.Source)
}
func (k Keys) Aims() string                      { return k.Join("config", "aim", "") }
func (k Keys) Aim(tenant string) string          { return k.Join("config", "aim", tenant) }
func (k Keys) Driver() string                    { return k.Join("world", "rollout", "driver") }
func (k Keys) Epoch() string                     { return k.Join("config", "epoch") }
func (k Keys) Heads() string                     { return k.Join("config", "head", "") }
func (k Keys) Head(tenant string) string         { return k.Join("config", "head", tenant) }
func (k Keys) Keyset(zone string) string         { return k.Join("config", "keys", zone) }
func (k Keys) Log(tenant string) string          { return k.Join("config", "log", tenant, "") }
func (k Keys) Resources() string                 { return k.Join("config", "res", "") }
func (k Keys) Tenant(t string) string            { return k.Join("config", "res", t, "") }
func (k Keys) Text(hash string) string           { return k.Join("config", "text", hash) }
func (k Keys) Pulse() string                     { return k.Join("verdict", "pulse") }
func (k Keys) Judge() string                     { return k.Join("world", "judge") }
func (k Keys) Finder() string                    { return k.Join("world", "discover", "finder") }
func (k Keys) Teller() string                    { return k.Join("world", "events", "teller") }
func (k Keys) Tolds() string                     { return k.Join("world", "events", "told", "") }
func (k Keys) Told(tenant string) string         { return k.Join("world", "events", "told", tenant) }
func (k Keys) Edges() string                     { return k.Join("world", "edge", "") }
func (k Keys) Edge(id string) string             { return k.Join("world", "edge", id) }
func (k Keys) KnownEdges() string                { return k.Join("world", "known", "") }
func (k Keys) KnownEdge(id string) string        { return k.Join("world", "known", id) }
func (k Keys) Observations() string              { return k.Join("world", "obs", "") }
func (k Keys) ObservationsOf(v string) string    { return k.Join("world", "obs", v, "") }
func (k Keys) Releases() string                  { return k.Join("world", "release", "") }
func (k Keys) Signals() string                   { return k.Join("world", "signal", "") }
func (k Keys) Vantages() string                  { return k.Join("world", "vantage", "") }
func (k Keys) Vantage(id string) string          { return k.Join("world", "vantage", id) }
func (k Keys) Verdict(p health.PoolID) string    { return k.Join("verdict", p.Tenant, p.Pool) }
func (k Keys) Approvals(tenant string) string    { return k.Join("world", "approval", tenant, "") }
func (k Keys) Approval(tenant, id string) string { return k.Join("world", "approval", tenant, id) }
func (k Keys) AllApprovals() string              { return k.Join("world", "approval", "") }
func (k Keys) Oldest(tenant string) string       { return k.Join("config", "oldest", tenant) }
func (k Keys) Swept() string                     { return k.Join("config", "swept") }
func (k Keys) Texts() string                     { return k.Join("config", "text", "") }
func (k Keys) Pruner() string                    { return k.Join("world", "prune", "pruner") }
func (k Keys) Observation(vantage string, p health.PoolID) string {
	return k.Join("world", "obs", vantage, p.Tenant, p.Pool)
}
func (k Keys) Signal(p health.PoolID, group int) string {
	return k.Join("world", "signal", p.Tenant, p.Pool, fmt.Sprintf("%02d", group))
}
func (k Keys) Release(tenant, pool string) string {
	if pool == "" {
		return k.Join("world", "release", tenant)
	}
	return k.Join("world", "release", tenant, pool)
}
func (k Keys) Resume(tenant, pool string) string {
	return k.Join("world", "release", tenant, pool, "resume")
}
func (k Keys) Record(tenant string, g state.Generation) string {
	return k.Join("config", "log", tenant, GenText(g))
}

// Zones is what the keys of all versions of zones begin with.
func (k Keys) Zones() string {
	return k.Join("config", "res", spec.Platform, string(spec.KindZone), "")
}

func (k Keys) Version(r spec.Key, g state.Generation) string {
	return k.Join("config", "res", r.Tenant, string(r.Kind), r.Name, GenText(g))
}

// Below is what the keys of a kind begin with.
func (k Keys) Below(prefix []string) string { return k.Join(append(slices.Clone(prefix), "")...) }

// Followed is the range of keys that edges need: config/, verdict/ and what else is followed.
func (k Keys) Followed() (from, to string) {
	from = k.Join("config", "")
	to = clientv3.GetPrefixRangeEnd(from)
	for _, kind := range state.Kinds() {
		prefix := k.Below(kind.KeyPrefix())
		from, to = min(from, prefix), max(to, clientv3.GetPrefixRangeEnd(prefix))
	}
	return from, to
}

// Observed is the range of keys that probers need: world/obs/, world/release/, world/signal/ and world/vantage/.
func (k Keys) Observed() (from, to string) {
	return k.Observations(), clientv3.GetPrefixRangeEnd(k.Vantages())
}

// Split gives the unescaped components of a key, or nil for one that is not below the prefix.
func (k Keys) Split(key string) []string {
	rest, ok := strings.CutPrefix(key, string(k))
	if !ok {
		return nil
	}
	parts := strings.Split(rest, "/")
	for i, p := range parts {
		if !strings.Contains(p, "%") {
			continue
		}
		u, err := url.PathUnescape(p)
		if err != nil {
			return nil
		}
		parts[i] = u
	}
	return parts
}

// ParseVersionKey reads the components of a version's key.
func ParseVersionKey(parts []string) (spec.Key, state.Generation, bool) {
	if len(parts) != 6 || parts[0] != "config" || parts[1] != "res" || len(parts[5]) != 16 {
		return spec.Key{}, 0, false
	}
	g, err := strconv.ParseUint(parts[5], 16, 64)
	if err != nil || g == 0 {
		return spec.Key{}, 0, false
	}
	return spec.Key{Tenant: parts[2], Kind: spec.Kind(parts[3]), Name: parts[4]}, state.Generation(g), true
}

// ParseRecordKey reads the generation from the components of a record's key.
func ParseRecordKey(parts []string) (state.Generation, bool) {
	if len(parts) != 4 || parts[0] != "config" || parts[1] != "log" || len(parts[3]) != 16 {
		return 0, false
	}
	g, err := strconv.ParseUint(parts[3], 16, 64)
	return state.Generation(g), err == nil && g != 0
}

// ParseHead reads a head.
func ParseHead(value []byte) (state.Generation, error) {
	g, err := strconv.ParseUint(string(value), 10, 64)
	if err != nil || g == 0 {
		return 0, fmt.Errorf("a head is a number above 0, not %.40q", value)
	}
	return state.Generation(g), nil
}

// HeadText is a head as it is written.
func HeadText(g state.Generation) string { return strconv.FormatUint(uint64(g), 10) }

// PiecesOf is the range of the pieces of a key.
func PiecesOf(key string) (from, to string) { return key + "/", clientv3.GetPrefixRangeEnd(key + "/") }

// DropPieces takes the pieces of a key away.
func DropPieces(key string) clientv3.Op {
	from, to := PiecesOf(key)
	return clientv3.OpDelete(from, clientv3.WithRange(to))
}
