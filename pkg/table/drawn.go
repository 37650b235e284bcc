package table

import "github.com/gti/gtm/pkg/table/rr"

// Draw decides n times for the client that e explains, as queries would, and counts in e.Pools whence the answers came.
// random gives what Decide wants. Of SRV and MX records no endpoint is counted, since clients choose among those of an answer.
func (v *View) Draw(e *Explanation, c *Client, n int, random func() uint64) {
	e.Drawn = n
	for i := range e.Pools {
		if p := &e.Pools[i]; e.Family != rr.SRV && e.Family != rr.MX {
			p.DrawnFirst = make([]int, len(p.Pool.Candidates))
		}
	}
	class := v.Classify(e.Service, c)
	var d Decision
	for range e.Drawn {
		v.Decide(&d, e.Service, e.Family, c, class, random())
		if d.Draw == nil {
			continue
		}
		for i := range e.Pools {
			if p := &e.Pools[i]; p.LastResort == e.last && p.at.leadsTo(&d) {
				p.count(&d)
				break
			}
		}
	}
}

func (p *PoolInTurn) count(d *Decision) {
	if p.Drawn++; p.DrawnFirst != nil {
		p.DrawnFirst[d.picks.Named(d.Set)[0]]++
	}
}
