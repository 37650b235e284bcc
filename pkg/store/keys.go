package store

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

// keyspace builds and reads keys below a prefix; the layout stands in the package comment.
type keyspace string

func (k keyspace) join(parts ...string) string {
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

func genText(g state.Generation) string { return fmt.Sprintf("%016x", uint64(g)) }

func (k keyspace) epoch() string                  { return k.join("config", "epoch") }
func (k keyspace) heads() string                  { return k.join("config", "head", "") }
func (k keyspace) head(tenant string) string      { return k.join("config", "head", tenant) }
func (k keyspace) keyset(zone string) string      { return k.join("config", "keys", zone) }
func (k keyspace) log(tenant string) string       { return k.join("config", "log", tenant, "") }
func (k keyspace) resources() string              { return k.join("config", "res", "") }
func (k keyspace) tenant(t string) string         { return k.join("config", "res", t, "") }
func (k keyspace) text(hash string) string        { return k.join("config", "text", hash) }
func (k keyspace) pulse() string                  { return k.join("verdict", "pulse") }
func (k keyspace) judge() string                  { return k.join("world", "judge") }
func (k keyspace) edges() string                  { return k.join("world", "edge", "") }
func (k keyspace) edge(id string) string          { return k.join("world", "edge", id) }
func (k keyspace) knownEdges() string             { return k.join("world", "known", "") }
func (k keyspace) knownEdge(id string) string     { return k.join("world", "known", id) }
func (k keyspace) observations() string           { return k.join("world", "obs", "") }
func (k keyspace) observationsOf(v string) string { return k.join("world", "obs", v, "") }
func (k keyspace) releases() string               { return k.join("world", "release", "") }
func (k keyspace) vantages() string               { return k.join("world", "vantage", "") }
func (k keyspace) vantage(id string) string       { return k.join("world", "vantage", id) }
func (k keyspace) verdict(p health.PoolID) string { return k.join("verdict", p.Tenant, p.Pool) }
func (k keyspace) observation(vantage string, p health.PoolID) string {
	return k.join("world", "obs", vantage, p.Tenant, p.Pool)
}
func (k keyspace) release(tenant, pool string) string {
	if pool == "" {
		return k.join("world", "release", tenant)
	}
	return k.join("world", "release", tenant, pool)
}
func (k keyspace) record(tenant string, g state.Generation) string {
	return k.join("config", "log", tenant, genText(g))
}
func (k keyspace) version(r spec.Key, g state.Generation) string {
	return k.join("config", "res", r.Tenant, string(r.Kind), r.Name, genText(g))
}

// below is what the keys of a kind begin with.
func (k keyspace) below(prefix []string) string { return k.join(append(slices.Clone(prefix), "")...) }

// followed is the range of keys that edges need: config/, verdict/ and what else is followed.
func (k keyspace) followed() (from, to string) {
	from = k.join("config", "")
	to = clientv3.GetPrefixRangeEnd(from)
	for _, kind := range state.Kinds() {
		prefix := k.below(kind.KeyPrefix())
		from, to = min(from, prefix), max(to, clientv3.GetPrefixRangeEnd(prefix))
	}
	return from, to
}

// observed is the range of keys that the judge needs: world/obs/, world/release/ and world/vantage/.
func (k keyspace) observed() (from, to string) {
	return k.observations(), clientv3.GetPrefixRangeEnd(k.vantages())
}

// split gives the unescaped components of a key, or nil for one that is not below the prefix.
func (k keyspace) split(key string) []string {
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

// parseVersion reads the components of a version's key.
func parseVersion(parts []string) (spec.Key, state.Generation, bool) {
	if len(parts) != 6 || parts[0] != "config" || parts[1] != "res" || len(parts[5]) != 16 {
		return spec.Key{}, 0, false
	}
	g, err := strconv.ParseUint(parts[5], 16, 64)
	if err != nil || g == 0 {
		return spec.Key{}, 0, false
	}
	return spec.Key{Tenant: parts[2], Kind: spec.Kind(parts[3]), Name: parts[4]}, state.Generation(g), true
}

// parseRecordKey reads the generation from the components of a record's key.
func parseRecordKey(parts []string) (state.Generation, bool) {
	if len(parts) != 4 || parts[0] != "config" || parts[1] != "log" || len(parts[3]) != 16 {
		return 0, false
	}
	g, err := strconv.ParseUint(parts[3], 16, 64)
	return state.Generation(g), err == nil && g != 0
}

func parseHead(value []byte) (state.Generation, error) {
	g, err := strconv.ParseUint(string(value), 10, 64)
	if err != nil || g == 0 {
		return 0, fmt.Errorf("a head is a number above 0, not %.40q", value)
	}
	return state.Generation(g), nil
}

func headText(g state.Generation) string { return strconv.FormatUint(uint64(g), 10) }

func keyStrings(keys []spec.Key) []string {
	out := make([]string, len(keys))
	for i, k := range keys {
		out[i] = k.String()
	}
	return out
}
