package answer

import (
	"fmt"
	"net/netip"
	"strings"

	"github.com/gti/gtm/pkg/dnswire"
	"github.com/gti/gtm/pkg/table"
)

// chaos answers class CH: which server is this (RFC 4892).
func (a *Answerer) chaos() {
	switch dnswire.NameString(a.q.Name[:a.q.NameLen]) {
	case "id.server.", "hostname.bind.":
		if a.q.QType == dnswire.TypeTXT || a.q.QType == dnswire.TypeANY {
			data := dnswire.AppendTXT(nil, a.cfg.ID)
			a.flags |= dnswire.FlagAA
			a.appendRecord(12, dnswire.TypeTXT, 0, data, &a.an)
			if !a.truncated {
				a.buf[a.pos-len(data)-7] = byte(dnswire.ClassCH) // the class's lower byte
			}
			return
		}
	}
	a.fail(dnswire.RcodeRefused, dnswire.EDENotSupported, "")
}

// whoami answers with what the server sees of the client.
func (a *Answerer) whoami(z *table.Zone, q *dnswire.Query, m table.Match, at int) {
	if q.QType != dnswire.TypeTXT && q.QType != dnswire.TypeANY {
		a.negative(z, q, m, at)
		return
	}
	place, bits := a.view.Place(a.client.Resolver)
	out := []string{
		"resolver " + a.meta.Source.Addr().String(),
		placeText(place.String(), place.ASN, a.client.Resolver, bits),
	}
	if s := &a.q.Subnet; s.Present {
		if a.client.Has {
			place, bits := a.view.Place(a.client.Subnet)
			out = append(out, "subnet "+a.client.Subnet.Prefix().String(), placeText(place.String(), place.ASN, a.client.Subnet, bits))
		} else {
			out = append(out, "subnet 0: the resolver's address decides")
		}
		a.opt.Scope = s.Source
	}
	out = append(out, "edge "+a.cfg.ID)
	start := a.pos
	a.appendRecord(at, dnswire.TypeTXT, 0, dnswire.AppendTXT(nil, out...), &a.an)
	a.signMade(z, q, dnswire.TypeTXT, at, start, true)
}

func placeText(place string, asn uint32, n table.Net, bits uint8) string {
	if place == "" {
		place = "unknown"
	}
	net, err := n.Addr().Prefix(int(bits))
	if err != nil {
		net = n.Prefix()
	}
	text := "place " + place + " network " + net.String()
	if asn != 0 {
		text += fmt.Sprintf(" asn %d", asn)
	}
	return text
}

// explain answers TXT below _explain: the decision for the host that stands before it. Each record is one fact.
func (a *Answerer) explain(z *table.Zone, q *dnswire.Query, m table.Match, at int) {
	if !a.mayExplain() {
		a.fail(dnswire.RcodeRefused, dnswire.EDEProhibited, "explanations are not given to this address")
		return
	}
	if q.QType != dnswire.TypeTXT && q.QType != dnswire.TypeANY {
		a.negative(z, q, m, at)
		return
	}
	host := dnswire.NameString(append(append([]byte(nil), q.Name[:q.LabelOff[m.Label]]...), 0))
	lines := []string{host + ": no service stands here"}
	if s := a.view.FindService(host); s != nil {
		a.client.Label, a.client.Now = s.LabelOf(host), a.cfg.Clock()
		e := a.view.Explain(s, s.Families()[0], &a.client, a.rng.next())
		lines = explainLines(e, a.cfg.ID)
		if a.cfg.Evidence != nil {
			if still := a.cfg.Evidence(); still != "" {
				lines = append(lines, fmt.Sprintf("%d: %s", len(lines)+1, still))
			}
		}
	}
	if a.q.Subnet.Present {
		a.opt.Scope = a.q.Subnet.Source
	}
	start := a.pos
	for _, l := range lines {
		a.appendRecord(at, dnswire.TypeTXT, 0, dnswire.AppendTXT(nil, l), &a.an)
	}
	a.signMade(z, q, dnswire.TypeTXT, at, start, true)
}

func (a *Answerer) mayExplain() bool {
	for _, p := range a.cfg.ExplainFrom {
		if p.Contains(a.meta.Source.Addr()) {
			return true
		}
	}
	return false
}

// maxExplained bounds how many endpoints and pools the TXT form names; gtmctl explain names all.
const maxExplained = 8

// explainLines tells a decision in a few short strings, numbered, since resolvers reorder records.
func explainLines(e *table.Explanation, id string) []string {
	who := "subnet "
	if e.Resolver {
		who = "resolver "
	}
	rule := "no rule matches"
	if e.Rule != "" {
		rule = "rule " + e.Rule
		if e.Matched != "" {
			rule += " (" + e.Matched + ")"
		}
	}
	ttl := ""
	if e.TTLFrom != "" {
		ttl = fmt.Sprintf(", ttl %ds (%s)", e.TTL, e.TTLFrom)
	}
	lines := []string{
		fmt.Sprintf("%s/%s at %s@%d, edge %s", e.Service.Tenant, e.Service.Name, e.Service.Tenant, e.Generation, id),
		who + e.Asker.Prefix().String() + " " + placeText(e.Place.String(), e.Place.ASN, e.Asker, e.PlaceBits),
		fmt.Sprintf("%s, scope /%d%s", rule, e.Scope, ttl),
	}
	if e.Service.AliasOf != "" {
		lines = append(lines, "alias of "+e.Service.AliasOf)
	}
	if e.Service.Is.Has(table.Pending) {
		lines = append(lines, "not resolved yet: SERVFAIL")
	} else if e.Fallback != table.Normal {
		lines = append(lines, e.Fallback.String())
	}
	for i, p := range e.Pools {
		if i == maxExplained {
			lines = append(lines, fmt.Sprintf("and %d more pools: see gtmctl explain", len(e.Pools)-i))
			break
		}
		lines = append(lines, poolLine(e, &p))
		if p.Share > 0 {
			lines = append(lines, endpointLines(&p)...)
		}
	}
	if e.NoSubnets() {
		lines = append(lines, table.NoSubnetsNote)
	}
	if e.Fixed {
		lines = append(lines, e.FixedNote())
	}
	for i := range lines {
		lines[i] = fmt.Sprintf("%d: %s", i+1, lines[i])
	}
	return lines
}

func poolLine(e *table.Explanation, p *table.PoolInTurn) string {
	state := "down"
	if p.Up {
		state = "up"
	}
	text := fmt.Sprintf("step %d pool %s %s: %s", p.Step, p.Pool.ID.Pool, state, p.Why)
	if p.Pool.Frozen {
		text += ", frozen by the brake"
	}
	if p.LastResort {
		text = "lastResort " + text
	}
	return text + ", " + e.Turns(p)
}

func endpointLines(p *table.PoolInTurn) []string {
	var lines []string
	for i := range p.Pool.Candidates {
		if i == maxExplained {
			return append(lines, fmt.Sprintf("and %d more endpoints: see gtmctl explain", len(p.Pool.Candidates)-i))
		}
		c := &p.Pool.Candidates[i]
		text := fmt.Sprintf("endpoint %s %s weight %d score %.2g %s", c.Endpoint.Name, target(c.Endpoint.Addresses, c.Endpoint.Host),
			c.Weight, c.Score, c.State)
		if c.Held != "" {
			text += ", " + c.Held
		}
		if c.Note != "" {
			text += ", " + c.Note
		}
		switch {
		case c.Out == "":
		case p.AsIfUp && p.Shares[i] > 0:
			text += ", as if up, though " + c.Out
		default:
			text += ", out: " + c.Out
		}
		if c.Out == "" || p.AsIfUp {
			text += ", share " + table.Percent(p.Shares[i])
		}
		lines = append(lines, text)
	}
	return lines
}

func target(addrs []netip.Addr, host string) string {
	if host != "" {
		return host
	}
	var b strings.Builder
	for i, a := range addrs {
		if i > 0 {
			b.WriteByte(' ')
		}
		b.WriteString(a.String())
	}
	return b.String()
}
