package answer

import (
	"fmt"

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
		table.PlaceText(place, a.client.Resolver, bits),
	}
	if s := &a.q.Subnet; s.Present {
		if a.client.Has {
			place, bits := a.view.Place(a.client.Subnet)
			out = append(out, "subnet "+a.client.Subnet.Prefix().String(), table.PlaceText(place, a.client.Subnet, bits))
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
		lines = a.explainLines(e)
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

// explainLines numbers the lines of an explanation, since resolvers reorder records.
func (a *Answerer) explainLines(e *table.Explanation) []string {
	lines := e.Text("edge "+a.cfg.ID, maxExplained)
	if a.cfg.Evidence != nil {
		lines = a.cfg.Evidence(lines)
	}
	for i := range lines {
		lines[i] = fmt.Sprintf("%d: %s", i+1, lines[i])
	}
	return lines
}
