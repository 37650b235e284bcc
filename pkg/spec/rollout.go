package spec

import (
	"net/url"
	"path"
	"slices"
	"time"
)

// Rollout has changes of a tenant reach groups of edges one after the other, and go back by themselves where a gate fails. Its name is the
// tenant's. That of the platform is for all tenants that declare none.
type Rollout struct {
	// Groups get a generation in this order. The last one names no edges: it is all that are in none before.
	Groups []EdgeGroup `json:"groups,omitempty" yaml:"groups,omitempty"`
	Gates  Gates       `json:"gates,omitzero" yaml:"gates,omitempty"`
	// Updates says how updates of zones by DNS go: through (default), to all edges at once, or staged, as everything else.
	Updates string `json:"updates,omitempty" yaml:"updates,omitempty"`
}

// How updates by DNS (RFC 2136) go.
const (
	UpdatesThrough = "through"
	UpdatesStaged  = "staged"
)

// EdgeGroup is a group of edges.
type EdgeGroup struct {
	Name string `json:"name" yaml:"name"`
	// Edges are IDs of edges, in which * stands for anything.
	Edges []string `json:"edges,omitempty" yaml:"edges,omitempty"`
	// Soak is how long all edges of the group serve a generation before the next group gets it; default 5m.
	Soak Duration `json:"soak,omitempty" yaml:"soak,omitempty" zero:"absent"`
}

// Gates say what stops a rollout. That an edge of a group that has the generation crashes, restarts, falls silent or refuses it is a gate
// that is always there. What is absent is not looked at.
type Gates struct {
	// ServFail and NXDomain bound by how much these answers may become a larger share of all that the group gives, as in 1%.
	ServFail string `json:"servfail,omitempty" yaml:"servfail,omitempty"`
	NXDomain string `json:"nxdomain,omitempty" yaml:"nxdomain,omitempty"`
	// Shift bounds which share of a service's answers may move between its pools, of services with metrics: true.
	Shift string `json:"shift,omitempty" yaml:"shift,omitempty"`
	// Latency bounds by how much an answer about the tenant's names may take longer than before, as edges of the group ask themselves.
	Latency string `json:"latency,omitempty" yaml:"latency,omitempty"`
	// Healthy is the least share of the tenant's monitored endpoints that is up.
	Healthy string `json:"healthy,omitempty" yaml:"healthy,omitempty"`
	// Probes are names of steered hosts that each edge of the group must have an answer for.
	Probes []string `json:"probes,omitempty" yaml:"probes,omitempty"`
	// Prometheus is asked a query whose value must not be above a limit.
	Prometheus *PrometheusGate `json:"prometheus,omitempty" yaml:"prometheus,omitempty"`
}

// PrometheusGate is a query to a Prometheus server. It is for the platform's Rollout alone: control asks, from where it stands.
type PrometheusGate struct {
	URL   string  `json:"url" yaml:"url"`
	Query string  `json:"query" yaml:"query"`
	Most  float64 `json:"most,omitempty" yaml:"most,omitempty"`
}

// What a rollout can have.
const (
	maxEdgeGroups = 16
	maxPatterns   = 64
	maxProbes     = 16
	minSoak       = Duration(time.Second)
	maxSoak       = Duration(7 * 24 * time.Hour)
	defaultSoak   = Duration(5 * time.Minute)
)

func (*Rollout) kind() Kind { return KindRollout }

// SoakTime is how long a generation soaks in the group.
func (g *EdgeGroup) SoakTime() time.Duration {
	if g.Soak == 0 {
		return time.Duration(defaultSoak)
	}
	return time.Duration(g.Soak)
}

func (c *checker) rollout(r *Rollout) {
	if c.r.Name != c.r.Tenant {
		c.fail("name", "write "+c.r.Tenant, "is not that of the tenant, %s", c.r.Tenant)
	}
	if n := len(r.Groups); n < 2 || n > maxEdgeGroups {
		c.fail("spec.groups", "the first is the canary, the last, without edges, all others", "%d groups: there can be 2 to %d", n,
			maxEdgeGroups)
	}
	var names []string
	for i := range r.Groups {
		g, at := &r.Groups[i], indexed("spec.groups", i)
		if c.label(at+".name", g.Name); slices.Contains(names, g.Name) {
			c.fail(at+".name", "", "%s is the name of another group, too", shorten(g.Name))
		}
		names = append(names, g.Name)
		c.edgeGroup(at, g, i == len(r.Groups)-1)
	}
	c.gates(&r.Gates)
	if r.Updates != "" {
		c.oneOf("spec.updates", r.Updates, UpdatesThrough, UpdatesStaged)
	}
}

func (c *checker) edgeGroup(at string, g *EdgeGroup, last bool) {
	switch n := len(g.Edges); {
	case last && n > 0:
		c.fail(at+".edges", "leave it out: the last group is of all edges that are in none before", "the last group names edges")
	case !last && n == 0:
		c.fail(at+".edges", "name edges by their --id, as in canary-*", "is missing")
	case n > maxPatterns:
		c.fail(at+".edges", "write * for what they share", "%d entries: there can be %d", n, maxPatterns)
	}
	for i, pattern := range g.Edges {
		if _, err := path.Match(pattern, ""); err != nil || pattern == "" || len(pattern) > 255 {
			c.fail(indexed(at+".edges", i), "write an ID of an edge, in which * stands for anything", "%q is no pattern", shorten(pattern))
		}
	}
	if g.Soak != 0 && (g.Soak < minSoak || g.Soak > maxSoak) {
		c.fail(at+".soak", "", "is out of range: it can be %s to %s", minSoak, maxSoak)
	}
}

func (c *checker) gates(g *Gates) {
	c.share("spec.gates.servfail", g.ServFail)
	c.share("spec.gates.nxdomain", g.NXDomain)
	c.share("spec.gates.shift", g.Shift)
	c.share("spec.gates.latency", g.Latency)
	c.share("spec.gates.healthy", g.Healthy)
	if len(g.Probes) > maxProbes {
		c.fail("spec.gates.probes", "", "%d names: there can be %d", len(g.Probes), maxProbes)
	}
	for i, host := range g.Probes {
		c.hostName(indexed("spec.gates.probes", i), host)
	}
	if p := g.Prometheus; p != nil {
		u, err := url.Parse(p.URL)
		switch {
		case c.r.Tenant != Platform:
			c.fail("spec.gates.prometheus", "have the platform declare it", "only the tenant %s has control ask others", Platform)
		case err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "":
			c.fail("spec.gates.prometheus.url", "write it as in http://prometheus.example:9090", "%q is no address of a server",
				shorten(p.URL))
		case p.Query == "":
			c.fail("spec.gates.prometheus.query", "", "is missing")
		}
	}
}

// RolloutOf gives the rollout of a tenant: its own, else the platform's; nil: there is none. Either may be nil.
func RolloutOf(own, platform *Resource) *Rollout {
	for _, r := range []*Resource{own, platform} {
		if r != nil {
			if s, ok := r.Spec.(*Rollout); ok {
				return s
			}
		}
	}
	return nil
}
